//! A map that forgets what has not been used for long, so that it has an end.

use std::collections::HashMap;
use std::hash::Hash;

/// Two generations: whatever is used moves to the young one, and when that is full it becomes the old one. At least the
/// `size` entries that were used last are kept, and never more than twice as many.
#[derive(Debug, Clone)]
pub struct Recent<K, V> {
    size: usize,
    young: HashMap<K, V>,
    old: HashMap<K, V>,
}

// === impl Recent ===

impl<K: Hash + Eq, V> Recent<K, V> {
    pub fn new(size: usize) -> Self {
        Self { size: size.max(1), young: HashMap::new(), old: HashMap::new() }
    }

    /// The value of a key, which counts as used.
    pub fn get(&mut self, key: &K) -> Option<&mut V> {
        if !self.young.contains_key(key)
            && let Some((key, value)) = self.old.remove_entry(key)
        {
            self.set(key, value);
        }
        self.young.get_mut(key)
    }

    pub fn set(&mut self, key: K, value: V) {
        if self.young.len() >= self.size && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        self.old.remove(&key);
        self.young.insert(key, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_is_kept_and_the_rest_has_an_end() {
        let mut recent = Recent::new(10);
        recent.set(0, 0);
        for key in 1..1000 {
            recent.set(key, key);
            assert_eq!(recent.get(&0), Some(&mut 0), "{key}");
            assert!(recent.young.len() + recent.old.len() <= 20);
        }
        assert_eq!(recent.get(&999), Some(&mut 999));
        assert_eq!(recent.get(&500), None);
    }
}
