//! A map that forgets what has not been used for long, so that it has an end.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};

/// Two generations: whatever is used moves to the young one, and when that is full it becomes the old one. At least the
/// `size` entries that were used last are kept, and never more than twice as many.
///
/// Of a key only a hash is kept, which nobody outside can foresee: keys come out of log lines, and may be of any length. That
/// any two of 200,000 have the same one has odds of one in a thousand million.
#[derive(Debug, Clone)]
pub struct Recent<V> {
    size: usize,
    hasher: RandomState,
    young: HashMap<Print, V>,
    old: HashMap<Print, V>,
}

/// What is known of a key.
type Print = u64;

// === impl Recent ===

impl<V> Recent<V> {
    pub fn new(size: usize) -> Self {
        Self { size: size.max(1), hasher: RandomState::new(), young: HashMap::new(), old: HashMap::new() }
    }

    /// The value of a key, which counts as used.
    pub fn get(&mut self, key: &(impl Hash + ?Sized)) -> Option<&mut V> {
        let print = self.print(key);
        if !self.young.contains_key(&print)
            && let Some(value) = self.old.remove(&print)
        {
            self.insert(print, value);
        }
        self.young.get_mut(&print)
    }

    pub fn set(&mut self, key: &(impl Hash + ?Sized), value: V) {
        self.insert(self.print(key), value);
    }

    fn print(&self, key: &(impl Hash + ?Sized)) -> Print {
        self.hasher.hash_one(key)
    }

    fn insert(&mut self, print: Print, value: V) {
        if self.young.len() >= self.size && !self.young.contains_key(&print) {
            self.old = std::mem::take(&mut self.young);
        }
        self.old.remove(&print);
        self.young.insert(print, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_is_kept_and_the_rest_has_an_end() {
        let mut recent = Recent::new(10);
        recent.set(&0, 0);
        for key in 1..1000 {
            recent.set(&key, key);
            assert_eq!(recent.get(&0), Some(&mut 0), "{key}");
            assert!(recent.young.len() + recent.old.len() <= 20);
        }
        assert_eq!(recent.get(&999), Some(&mut 999));
        assert_eq!(recent.get(&500), None);
    }
}
