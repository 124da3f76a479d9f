//! A map by hashes whose clones share what is the same in both.
//!
//! A tree that takes four bits of the hash at each level. A change copies the nodes from the root to the place of the
//! change, and of these only those that a clone has as well.

use std::sync::Arc;

use super::Print;

/// Entries of a leaf above which it is split.
pub const MOST_IN_LEAF: usize = 16;

/// Bits of the hash that one level takes.
const BITS: u32 = 4;

const WIDTH: usize = 1 << BITS;

/// See the [module](self).
#[derive(Debug, Clone)]
pub struct Trie<V> {
    root: Arc<Node<V>>,
    len: usize,
}

#[derive(Debug, Clone)]
enum Node<V> {
    Leaf(Vec<(Print, V)>),
    Branch([Arc<Node<V>>; WIDTH]),
}

// === impl Trie ===

impl<V> Default for Trie<V> {
    fn default() -> Self {
        Self { root: Arc::default(), len: 0 }
    }
}

impl<V: Clone> Trie<V> {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn contains(&self, print: Print) -> bool {
        let (mut node, mut rest) = (&self.root, print);
        loop {
            match &**node {
                Node::Leaf(entries) => return entries.iter().any(|(other, _)| *other == print),
                Node::Branch(nodes) => node = &nodes[step(&mut rest)],
            }
        }
    }

    pub fn get_mut(&mut self, print: Print) -> Option<&mut V> {
        if !self.contains(print) {
            // A change of what is not there would copy its leaf.
            return None;
        }
        let (leaf, _) = Node::leaf(&mut self.root, print);
        leaf.iter_mut().find(|(other, _)| *other == print).map(|(_, value)| value)
    }

    pub fn insert(&mut self, print: Print, value: V) {
        if let Some(place) = self.get_mut(print) {
            *place = value;
            return;
        }
        let (leaf, depth) = Node::leaf(&mut self.root, print);
        leaf.push((print, value));
        self.len += 1;
        if leaf.len() > MOST_IN_LEAF && depth + 1 < Print::BITS / BITS {
            Node::split(&mut self.root, print);
        }
    }

    pub fn remove(&mut self, print: Print) -> Option<V> {
        if !self.contains(print) {
            return None;
        }
        let (leaf, _) = Node::leaf(&mut self.root, print);
        let at = leaf.iter().position(|(other, _)| *other == print)?;
        self.len -= 1;
        Some(leaf.swap_remove(at).1)
    }
}

// === impl Node ===

impl<V> Default for Node<V> {
    fn default() -> Self {
        Self::Leaf(Vec::new())
    }
}

impl<V: Clone> Node<V> {
    /// The leaf that a hash belongs to, with its depth, to be changed.
    fn leaf(root: &mut Arc<Self>, print: Print) -> (&mut Vec<(Print, V)>, u32) {
        let (mut node, mut rest, mut depth) = (root, print, 0);
        loop {
            match Arc::make_mut(node) {
                Self::Leaf(entries) => return (entries, depth),
                Self::Branch(nodes) => node = &mut nodes[step(&mut rest)],
            }
            depth += 1;
        }
    }

    /// Makes a branch of the leaf that a hash belongs to.
    fn split(root: &mut Arc<Self>, print: Print) {
        let (mut node, mut rest, mut depth) = (root, print, 0);
        loop {
            node = match Arc::make_mut(node) {
                Self::Branch(nodes) => &mut nodes[step(&mut rest)],
                leaf @ Self::Leaf(_) => {
                    let Self::Leaf(entries) = std::mem::take(leaf) else { return };
                    let mut parts: [Vec<_>; WIDTH] = Default::default();
                    for (print, value) in entries {
                        parts[step(&mut (print >> (BITS * depth)))].push((print, value));
                    }
                    *leaf = Self::Branch(parts.map(|part| Arc::new(Self::Leaf(part))));
                    return;
                }
            };
            depth += 1;
        }
    }
}

/// The next bits of a hash, which are taken from it.
fn step(rest: &mut Print) -> usize {
    let at = *rest as usize % WIDTH;
    *rest >>= BITS;
    at
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Few hashes, some of which differ in their last bits only, so that leaves are split to the last level.
        #[test]
        fn it_is_a_map(steps in prop::collection::vec((any::<bool>(), 0..64_u64, any::<bool>()), 0..400)) {
            let (mut trie, mut map) = (Trie::default(), HashMap::new());
            let mut clones = Vec::new();
            for (at, (inserts, key, is_low)) in steps.into_iter().enumerate() {
                let print = if is_low { key } else { key << 58 };
                if inserts {
                    trie.insert(print, at);
                    map.insert(print, at);
                } else {
                    prop_assert_eq!(trie.remove(print), map.remove(&print));
                }
                if at % 50 == 0 {
                    clones.push((trie.clone(), map.clone()));
                }
            }
            clones.push((trie, map));
            for (mut trie, map) in clones {
                prop_assert_eq!(trie.len(), map.len());
                for print in (0..64).flat_map(|key| [key, key << 58]) {
                    prop_assert_eq!(trie.contains(print), map.contains_key(&print));
                    prop_assert_eq!(trie.get_mut(print).map(|value| *value), map.get(&print).copied());
                }
            }
        }
    }
}
