//! A map that forgets what has not been used for long, so that it has an end.

mod trie;

use std::hash::{BuildHasher, Hash, RandomState};

use trie::Trie;

/// Two generations: whatever is used moves to the young one, and when that is full it becomes the old one. At least the
/// `size` entries that were used last are kept, and never more than twice as many.
///
/// A clone shares all entries with its original until one of the two changes, and then all but a few: a pipeline is
/// copied for each batch, so that the batch can be tried again.
///
/// Of a key only a hash is kept, which an outsider cannot foresee: keys come out of log lines, and may be of any length. That
/// any two of 200,000 have the same one has odds of one in a thousand million.
#[derive(Debug, Clone)]
pub struct Recent<V> {
    size: usize,
    hasher: RandomState,
    young: Trie<V>,
    old: Trie<V>,
}

/// What is known of a key.
type Print = u64;

// === impl Recent ===

impl<V: Clone> Recent<V> {
    pub fn new(size: usize) -> Self {
        Self { size: size.max(1), hasher: RandomState::new(), young: Trie::default(), old: Trie::default() }
    }

    /// The value of a key, which counts as used.
    pub fn get(&mut self, key: &(impl Hash + ?Sized)) -> Option<&mut V> {
        let print = self.print(key);
        if !self.young.contains(print)
            && let Some(value) = self.old.remove(print)
        {
            self.insert(print, value);
        }
        self.young.get_mut(print)
    }

    pub fn set(&mut self, key: &(impl Hash + ?Sized), value: V) {
        self.insert(self.print(key), value);
    }

    fn print(&self, key: &(impl Hash + ?Sized)) -> Print {
        self.hasher.hash_one(key)
    }

    fn insert(&mut self, print: Print, value: V) {
        if self.young.len() >= self.size && !self.young.contains(print) {
            self.old = std::mem::take(&mut self.young);
        }
        self.old.remove(print);
        self.young.insert(print, value);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

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

    /// Counts how often it is copied.
    #[derive(Debug, PartialEq)]
    struct Counted(usize, Rc<Cell<usize>>);

    impl Clone for Counted {
        fn clone(&self) -> Self {
            self.1.set(self.1.get() + 1);
            Self(self.0, self.1.clone())
        }
    }

    #[test]
    fn a_clone_costs_a_few_entries_however_many_there_are_and_leaves_its_original_as_it_was() {
        for entries in [10, 1_000, 100_000] {
            let copies = Rc::new(Cell::new(0));
            let counted = |value| Counted(value, copies.clone());
            let mut recent = Recent::new(200_000);
            (0..entries).for_each(|key| recent.set(&key, counted(key)));
            copies.set(0);
            let mut clone = recent.clone();
            assert_eq!(copies.get(), 0, "{entries}");
            clone.get(&7_usize).unwrap().0 = 70;
            clone.set(&"new", counted(1));
            assert!(copies.get() <= 2 * trie::MOST_IN_LEAF, "{} of {entries} were copied", copies.get());
            assert_eq!((recent.get(&7_usize).unwrap().0, recent.get(&"new")), (7, None));
            assert_eq!((clone.get(&7_usize).unwrap().0, clone.get(&"new").unwrap().0), (70, 1));
        }
    }
}
