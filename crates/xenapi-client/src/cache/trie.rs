//! A persistent map from hashes to values: copies are cheap, and share what does not change.
//!
//! A node is changed in place as long as no copy knows it, so filling a new trie copies nothing, and
//! a change after a copy costs the nodes on one path.
//!
//! ```text
//! root: Branch [ Leaf{a b} | - | Branch[ Leaf{c} | Leaf{d e} .. ] .. ]      4 bits of the hash a level
//! ```

use std::sync::Arc;

const BITS: u32 = 4;
const FAN_OUT: usize = 1 << BITS;

/// The level below which no bits are left to divide by.
const DEEPEST: u32 = u64::BITS / BITS;

/// How many entries a leaf holds before it is divided.
const LEAF: usize = 12;

/// A multimap: several values may have one hash.
pub(super) struct Trie<V> {
    root: Node<V>,
    len: usize,
}

enum Node<V> {
    Leaf(Vec<(u64, V)>),
    Branch(Box<[Option<Arc<Node<V>>>; FAN_OUT]>),
}

impl<V> Default for Trie<V> {
    fn default() -> Self {
        Self { root: Node::Leaf(Vec::new()), len: 0 }
    }
}

impl<V: Clone> Clone for Trie<V> {
    fn clone(&self) -> Self {
        Self { root: self.root.clone(), len: self.len }
    }
}

impl<V: Clone> Clone for Node<V> {
    fn clone(&self) -> Self {
        match self {
            Self::Leaf(entries) => Self::Leaf(entries.clone()),
            Self::Branch(children) => Self::Branch(children.clone()),
        }
    }
}

impl<V: Clone> Trie<V> {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn insert(&mut self, hash: u64, value: V) {
        self.root.insert(hash, value, 0);
        self.len += 1;
    }

    /// Takes out the first value with this hash for which `is_it` holds.
    pub(super) fn remove(&mut self, hash: u64, is_it: impl Fn(&V) -> bool) -> Option<V> {
        // Looking first: nothing is copied for a value that is not there.
        self.find(hash, &is_it)?;
        let removed = self.root.remove(hash, &is_it, 0)?;
        self.len -= 1;
        Some(removed)
    }

    /// The first value with this hash for which `is_it` holds.
    pub(super) fn find(&self, hash: u64, mut is_it: impl FnMut(&V) -> bool) -> Option<&V> {
        let mut node = &self.root;
        let mut level = 0;
        loop {
            match node {
                Node::Branch(children) => {
                    node = children[digit(hash, level)].as_deref()?;
                    level += 1;
                }
                Node::Leaf(entries) => {
                    return entries
                        .iter()
                        .find(|(h, value)| *h == hash && is_it(value))
                        .map(|(_, value)| value);
                }
            }
        }
    }

    /// All values whose hash has the same upper 32 bits as `hash`.
    pub(super) fn with_upper_half(&self, hash: u64) -> impl Iterator<Item = &V> {
        let same = move |other: u64| other >> 32 == hash >> 32;
        let mut node = Some(&self.root);
        for level in 0..32 / BITS {
            let Some(Node::Branch(children)) = node else { break };
            node = children[digit(hash, level)].as_deref();
        }
        entries(node).filter(move |(other, _)| same(*other)).map(|(_, value)| value)
    }

    /// All values, in no particular order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &V> {
        entries(Some(&self.root)).map(|(_, value)| value)
    }
}

fn entries<V>(root: Option<&Node<V>>) -> impl Iterator<Item = &(u64, V)> {
    let mut stack: Vec<&Node<V>> = root.into_iter().collect();
    let mut leaf: &[(u64, V)] = &[];
    std::iter::from_fn(move || {
        loop {
            if let Some((first, rest)) = leaf.split_first() {
                leaf = rest;
                return Some(first);
            }
            match stack.pop()? {
                Node::Leaf(entries) => leaf = entries,
                Node::Branch(children) => stack.extend(children.iter().rev().flatten().map(|child| &**child)),
            }
        }
    })
}

impl<V: Clone> Node<V> {
    fn insert(&mut self, hash: u64, value: V, level: u32) {
        match self {
            Self::Branch(children) => match &mut children[digit(hash, level)] {
                Some(child) => Arc::make_mut(child).insert(hash, value, level + 1),
                empty => *empty = Some(Arc::new(Self::Leaf(vec![(hash, value)]))),
            },
            Self::Leaf(entries) if entries.len() < LEAF || level == DEEPEST => entries.push((hash, value)),
            Self::Leaf(entries) => {
                let entries = std::mem::take(entries);
                *self = Self::Branch(Box::new([const { None }; FAN_OUT]));
                for (hash, value) in entries.into_iter().chain([(hash, value)]) {
                    self.insert(hash, value, level);
                }
            }
        }
    }

    fn remove(&mut self, hash: u64, is_it: &impl Fn(&V) -> bool, level: u32) -> Option<V> {
        match self {
            Self::Leaf(entries) => {
                let at = entries.iter().position(|(h, value)| *h == hash && is_it(value))?;
                Some(entries.swap_remove(at).1)
            }
            Self::Branch(children) => {
                let slot = &mut children[digit(hash, level)];
                let child = Arc::make_mut(slot.as_mut()?);
                let removed = child.remove(hash, is_it, level + 1);
                if child.is_empty() {
                    *slot = None;
                }
                removed
            }
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::Leaf(entries) => entries.is_empty(),
            Self::Branch(children) => children.iter().all(Option::is_none),
        }
    }
}

fn digit(hash: u64, level: u32) -> usize {
    (hash >> (u64::BITS - BITS * (level + 1))) as usize & (FAN_OUT - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers that differ in all bits.
    fn mix(n: u64) -> u64 {
        let n = (n ^ n >> 31).wrapping_mul(0x7fb5_d329_728e_a185);
        (n ^ n >> 27).wrapping_mul(0x81da_def4_bc2d_d44d)
    }

    #[test]
    fn a_copy_stays_as_it_was() {
        let mut trie = Trie::default();
        for n in 0..2_000 {
            trie.insert(mix(n), n);
        }
        let copy = trie.clone();
        for n in 0..2_000 {
            if n % 3 == 0 {
                assert_eq!(trie.remove(mix(n), |v| *v == n), Some(n));
            }
            assert_eq!(trie.remove(mix(n + 5_000), |_| true), None);
        }
        for n in 0..2_000 {
            assert_eq!(trie.find(mix(n), |v| *v == n).is_some(), n % 3 != 0, "{n}");
            assert!(copy.find(mix(n), |v| *v == n).is_some());
        }
        assert_eq!((trie.len(), trie.iter().count()), (1_333, 1_333));
        assert_eq!((copy.len(), copy.iter().count()), (2_000, 2_000));
        for n in 0..2_000 {
            trie.remove(mix(n), |v| *v == n);
        }
        assert!(trie.len() == 0 && trie.iter().next().is_none());
    }

    #[test]
    fn equal_hashes_are_kept_apart_by_the_caller() {
        let mut trie = Trie::default();
        for n in 0..100_u64 {
            trie.insert(7, n);
        }
        assert_eq!(trie.find(7, |v| *v == 42).copied(), Some(42));
        assert_eq!(trie.remove(7, |v| *v == 42), Some(42));
        assert!(trie.find(7, |v| *v == 42).is_none() && trie.len() == 99);
    }

    #[test]
    fn values_are_found_by_half_of_the_hash() {
        let mut trie = Trie::default();
        let hash = |group: u64, n: u64| mix(group) & !0xffff_ffff | mix(n) >> 32;
        for n in 0..3_000 {
            trie.insert(hash(n % 7, n), n);
        }
        for group in 0..7 {
            let mut found: Vec<u64> = trie.with_upper_half(hash(group, 0)).copied().collect();
            found.sort_unstable();
            assert_eq!(found, (0..3_000).filter(|n| n % 7 == group).collect::<Vec<_>>());
        }
        assert_eq!(trie.with_upper_half(hash(8, 0)).count(), 0);
    }
}
