//! Chains: differencing disks and what they differ from.
//!
//! Layers are listed from the leaf (0) to the root. This module judges what the layers say of each
//! other and knows which one to ask for a byte; finding their files is the caller's work.

use uuid::Uuid;

use crate::format::{BLOCK_SIZE, DiskType, Timestamp};
use crate::map::DiskMap;

/// What a layer says of itself and of its parent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its identity; `None` for a raw disk, which has none.
    pub uuid: Option<Uuid>,
    /// Its parent, for a differencing disk.
    pub parent: Option<ParentLink>,
    /// Its size in bytes.
    pub virtual_size: u64,
    /// Its block size; `None` when it has no blocks.
    pub block_size: Option<u32>,
    /// blktap's mark of a disk that is only the parent of others.
    pub hidden: bool,
    /// When its file was last written, if anybody knows.
    pub written: Option<Timestamp>,
}

/// What a differencing disk says of its parent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParentLink {
    /// The parent's identity; `None` when the parent is a raw disk.
    pub uuid: Option<Uuid>,
    /// When the parent was last written at the time.
    pub timestamp: Timestamp,
}

impl Link {
    /// A raw disk.
    pub fn raw(virtual_size: u64) -> Self {
        Self { uuid: None, parent: None, virtual_size, block_size: None, hidden: false, written: None }
    }

    /// A VHD.
    pub fn vhd(map: &DiskMap) -> Self {
        let footer = map.footer();
        let parent = map.header().filter(|_| footer.disk_type == DiskType::Differencing);
        Self {
            uuid: Some(footer.uuid),
            parent: parent.map(|header| ParentLink {
                uuid: Some(header.parent_uuid).filter(|uuid| !uuid.is_nil()),
                timestamp: header.parent_timestamp,
            }),
            virtual_size: footer.current_size,
            block_size: map.header().map(|header| header.block_size),
            hidden: footer.hidden != 0,
            written: None,
        }
    }

    /// With the time at which its file was last written.
    #[must_use]
    pub fn written(mut self, written: Timestamp) -> Self {
        self.written = Some(written);
        self
    }
}

/// How much a chain is believed, and how long it may be.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rules {
    /// Most layers; 30 by default, SM's limit. At most [`Rules::MOST_LAYERS`].
    pub depth: usize,
    /// Take a parent whose uuid is not the one that its child names: for somebody who knows better.
    pub trust_order: bool,
}

impl Rules {
    /// No chain has more layers, whatever [`Rules::depth`] says.
    pub const MOST_LAYERS: usize = 4096;
}

impl Default for Rules {
    fn default() -> Self {
        Self { depth: 30, trust_order: false }
    }
}

/// Why layers are no chain. Layers are counted from the leaf, which is 0.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// More layers than allowed.
    #[error("the chain has more than {limit} layers")]
    TooDeep {
        /// The limit.
        limit: usize,
    },
    /// A layer is its own ancestor, or two layers have one identity.
    #[error("layers {layer} and {ancestor} are the same disk ({uuid}): the chain goes round in a circle")]
    Cycle {
        /// The layer nearer to the leaf.
        layer: usize,
        /// The layer nearer to the root.
        ancestor: usize,
        /// The identity of both.
        uuid: Uuid,
    },
    /// The parent is another disk than the child names.
    #[error(
        "layer {layer} names the parent {}, the next layer is {}", name(*expected), name(*found)
    )]
    ParentUuid {
        /// The child.
        layer: usize,
        /// The parent's uuid according to it; `None` is a raw disk.
        expected: Option<Uuid>,
        /// What the next layer is.
        found: Option<Uuid>,
    },
    /// The last layer is a differencing disk, too.
    #[error("the parent of layer {layer} ({}) is missing", name(*uuid))]
    ParentMissing {
        /// The layer nearest to the root.
        layer: usize,
        /// The missing parent; `None` is a raw disk.
        uuid: Option<Uuid>,
    },
    /// A layer that is a whole disk has another one below it.
    #[error("layer {layer} is a whole disk, it has no parent")]
    NotDifferencing {
        /// The layer.
        layer: usize,
    },
    /// Several disks have the identity that a child names.
    #[error("several disks have the uuid {uuid}")]
    Ambiguous {
        /// The identity.
        uuid: Uuid,
    },
}

fn name(uuid: Option<Uuid>) -> String {
    uuid.map_or_else(|| "(a raw disk)".to_owned(), |uuid| uuid.to_string())
}

/// An oddity of a chain that does not stand in the way of reading it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChainWarning {
    /// The parent was written after the child was made. Hiding and coalescing do that; so does
    /// somebody who runs a machine on the parent and thereby destroys the child.
    #[error("the parent of layer {layer} was written {seconds} s after the child was linked to it")]
    ParentNewer {
        /// The child.
        layer: usize,
        /// By how much.
        seconds: u32,
    },
    /// The child is smaller than its parent.
    #[error("layer {layer} has {size} bytes, its parent {parent}: what lies behind is not seen")]
    ChildSmaller {
        /// The child.
        layer: usize,
        /// Its size in bytes.
        size: u64,
        /// The parent's size in bytes.
        parent: u64,
    },
    /// Layers with different block sizes, which XenServer does not read.
    #[error("layer {layer} has blocks of {size} bytes, its parent of {parent}")]
    BlockSizes {
        /// The child.
        layer: usize,
        /// Its block size.
        size: u32,
        /// The parent's block size.
        parent: u32,
    },
    /// The leaf is marked as a parent only; SM deletes such disks.
    #[error("the leaf is marked hidden: XenServer takes it for a parent only and removes it")]
    HiddenLeaf,
    /// The uuid of a parent was not the expected one, and was trusted.
    #[error("layer {layer} names another parent than the next layer")]
    Trusted {
        /// The child.
        layer: usize,
    },
}

/// Checks layers in their order, leaf first.
///
/// # Errors
/// [`ChainError`], with the first thing that makes them no chain.
pub fn check(layers: &[Link], rules: &Rules) -> Result<Vec<ChainWarning>, ChainError> {
    let limit = rules.depth.min(Rules::MOST_LAYERS);
    if layers.len() > limit {
        return Err(ChainError::TooDeep { limit });
    }
    let mut seen = std::collections::HashMap::new();
    for (ancestor, uuid) in layers.iter().enumerate().filter_map(|(at, link)| Some((at, link.uuid?))) {
        // Null uuids are nobody's identity.
        if let Some(layer) = seen.insert(uuid, ancestor).filter(|_| !uuid.is_nil()) {
            return Err(ChainError::Cycle { layer, ancestor, uuid });
        }
    }
    let mut warnings = Vec::new();
    if layers.first().is_some_and(|leaf| leaf.hidden) {
        warnings.push(ChainWarning::HiddenLeaf);
    }
    for (layer, child) in layers.iter().enumerate() {
        let parent = layers.get(layer + 1);
        match (&child.parent, parent) {
            (None, None) => {}
            (None, Some(_)) => return Err(ChainError::NotDifferencing { layer }),
            (Some(link), None) => return Err(ChainError::ParentMissing { layer, uuid: link.uuid }),
            (Some(link), Some(parent)) if link.uuid == parent.uuid => {
                warn(&mut warnings, layer, link, child, parent);
            }
            (Some(link), Some(parent)) if rules.trust_order => {
                warnings.push(ChainWarning::Trusted { layer });
                warn(&mut warnings, layer, link, child, parent);
            }
            (Some(link), Some(parent)) => {
                return Err(ChainError::ParentUuid { layer, expected: link.uuid, found: parent.uuid });
            }
        }
    }
    Ok(warnings)
}

fn warn(warnings: &mut Vec<ChainWarning>, layer: usize, link: &ParentLink, child: &Link, parent: &Link) {
    // Zero says nothing: XAPI and SM write it.
    if let Some(written) = parent.written.filter(|written| link.timestamp.0 != 0 && *written > link.timestamp)
    {
        warnings.push(ChainWarning::ParentNewer { layer, seconds: written.0 - link.timestamp.0 });
    }
    if child.virtual_size < parent.virtual_size {
        let (size, parent) = (child.virtual_size, parent.virtual_size);
        warnings.push(ChainWarning::ChildSmaller { layer, size, parent });
    }
    if let (Some(size), Some(parent)) = (child.block_size, parent.block_size)
        && size != parent
    {
        warnings.push(ChainWarning::BlockSizes { layer, size, parent });
    }
}

/// The chain that begins with `candidates[leaf]`, found by identity: the places of its layers in
/// `candidates`, leaf first. The result still has to be [`check`]ed.
///
/// # Errors
/// [`ChainError::ParentMissing`], [`ChainError::Ambiguous`], [`ChainError::Cycle`] and
/// [`ChainError::TooDeep`]. A raw parent has no identity and so is missing.
pub fn by_uuid(candidates: &[Link], leaf: usize, rules: &Rules) -> Result<Vec<usize>, ChainError> {
    let limit = rules.depth.min(Rules::MOST_LAYERS);
    let mut chain = vec![leaf];
    while let Some(parent) = chain.last().and_then(|last| candidates.get(*last)?.parent.as_ref()) {
        let layer = chain.len() - 1;
        let missing = ChainError::ParentMissing { layer, uuid: parent.uuid };
        let Some(uuid) = parent.uuid else { return Err(missing) };
        let mut found = candidates.iter().enumerate().filter(|(_, link)| link.uuid == Some(uuid));
        let (Some((next, _)), more) = (found.next(), found.next()) else { return Err(missing) };
        if more.is_some() {
            return Err(ChainError::Ambiguous { uuid });
        }
        if let Some(earlier) = chain.iter().position(|layer| *layer == next) {
            return Err(ChainError::Cycle { layer: earlier, ancestor: chain.len(), uuid });
        }
        if chain.len() == limit {
            return Err(ChainError::TooDeep { limit });
        }
        chain.push(next);
    }
    Ok(chain)
}

/// For each 2 MiB of a disk, the first layer (from the leaf) that may hold something there.
///
/// Memory: two bytes for each 2 MiB of the disk, 2 MiB for 2 TiB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopMap {
    virtual_size: u64,
    top: Vec<u16>,
}

/// Pieces looked at for one answer, so that many answers about one layer stay cheap.
const LOOK_AHEAD: usize = 4096;

const NONE: u16 = u16::MAX;
const PIECE: u64 = BLOCK_SIZE as u64;

impl TopMap {
    /// For a disk of `virtual_size` bytes. Layers from the leaf on; each with its map, or the
    /// size of a raw disk.
    pub fn new<'a>(
        virtual_size: u64,
        layers: impl DoubleEndedIterator<Item = Result<&'a DiskMap, u64>> + ExactSizeIterator,
    ) -> Self {
        let pieces = usize::try_from(virtual_size.div_ceil(PIECE)).unwrap_or(usize::MAX);
        let mut map = Self { virtual_size, top: vec![NONE; pieces] };
        for (number, layer) in layers.enumerate().rev() {
            // `Rules::MOST_LAYERS` is far below.
            let number = u16::try_from(number).unwrap_or(NONE - 1);
            match layer {
                Ok(vhd) if vhd.header().is_some() => {
                    vhd.allocated().for_each(|bytes| map.cover(number, bytes));
                }
                Ok(fixed) => map.cover(number, 0..fixed.virtual_size()),
                Err(size) => map.cover(number, 0..size),
            }
        }
        map
    }

    fn cover(&mut self, number: u16, bytes: std::ops::Range<u64>) {
        let place = |piece: u64| usize::try_from(piece).unwrap_or(usize::MAX).min(self.top.len());
        let pieces = place(bytes.start / PIECE)..place(bytes.end.div_ceil(PIECE));
        self.top[pieces].fill(number);
    }

    /// The first layer to ask for the byte at `at`, and for how many bytes (at
    /// least) that is the answer.
    /// `None`: no layer has it, it is zero.
    pub fn first(&self, at: u64) -> (Option<usize>, u64) {
        let left = self.virtual_size.saturating_sub(at);
        let piece = usize::try_from(at / PIECE).unwrap_or(usize::MAX);
        let Some(top) = self.top.get(piece) else { return (None, left) };
        let ahead = self.top[piece..].iter().take(LOOK_AHEAD);
        let same = ahead.take_while(|other| *other == top).count() as u64;
        let len = ((piece as u64 + same) * PIECE - at).min(left);
        ((*top != NONE).then_some(usize::from(*top)), len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(uuid: u128, parent: Option<u128>) -> Link {
        Link {
            uuid: Some(Uuid::from_u128(uuid)),
            parent: parent.map(|parent| ParentLink {
                uuid: Some(Uuid::from_u128(parent)).filter(|uuid| !uuid.is_nil()),
                timestamp: Timestamp(100),
            }),
            virtual_size: 1 << 20,
            block_size: Some(BLOCK_SIZE),
            hidden: false,
            written: None,
        }
    }

    #[test]
    fn orders_by_identity() {
        let all = [link(1, None), link(3, Some(2)), link(9, None), link(2, Some(1))];
        let rules = Rules::default();
        assert_eq!(by_uuid(&all, 1, &rules), Ok(vec![1, 3, 0]));
        assert_eq!(by_uuid(&all, 0, &rules), Ok(vec![0]));
        let missing = ChainError::ParentMissing { layer: 1, uuid: Some(Uuid::from_u128(1)) };
        assert_eq!(by_uuid(&all[1..], 0, &rules), Err(missing));
        let twice = [link(2, Some(1)), link(1, None), link(1, None)];
        assert_eq!(by_uuid(&twice, 0, &rules), Err(ChainError::Ambiguous { uuid: Uuid::from_u128(1) }));
        for circle in [vec![link(1, Some(1))], vec![link(1, Some(2)), link(2, Some(3)), link(3, Some(1))]] {
            let ancestor = circle.len();
            let expected = ChainError::Cycle { layer: 0, ancestor, uuid: Uuid::from_u128(1) };
            assert_eq!(by_uuid(&circle, 0, &rules), Err(expected));
        }
    }

    #[test]
    fn long_chains_need_permission() {
        let long: Vec<Link> = (0..500).map(|at| link(at + 1, (at < 499).then_some(at + 2))).collect();
        assert_eq!(check(&long, &Rules::default()), Err(ChainError::TooDeep { limit: 30 }));
        assert_eq!(by_uuid(&long, 0, &Rules::default()), Err(ChainError::TooDeep { limit: 30 }));
        let rules = Rules { depth: 500, ..Rules::default() };
        assert_eq!(check(&long, &rules), Ok(vec![]));
        assert_eq!(by_uuid(&long, 0, &rules).map(|chain| chain.len()), Ok(500));
    }

    #[test]
    fn links_must_fit() {
        let rules = Rules::default();
        let wrong = ChainError::ParentUuid {
            layer: 0,
            expected: Some(Uuid::from_u128(2)),
            found: Some(Uuid::from_u128(3)),
        };
        let layers = [link(1, Some(2)), link(3, None)];
        assert_eq!(check(&layers, &rules), Err(wrong));
        let trusting = Rules { trust_order: true, ..rules.clone() };
        assert_eq!(check(&layers, &trusting), Ok(vec![ChainWarning::Trusted { layer: 0 }]));
        assert_eq!(
            check(&[link(1, None), link(2, None)], &rules),
            Err(ChainError::NotDifferencing { layer: 0 })
        );
        assert_eq!(check(&[link(1, Some(0)), Link::raw(1 << 20)], &rules), Ok(vec![]));
        assert!(check(&[link(1, Some(5)), Link::raw(1 << 20)], &rules).is_err());
        let again = check(&[link(1, Some(2)), link(2, Some(1)), link(1, None)], &rules);
        assert_eq!(again, Err(ChainError::Cycle { layer: 0, ancestor: 2, uuid: Uuid::from_u128(1) }));
    }

    #[test]
    fn oddities_are_told() {
        let mut parent = link(2, None).written(Timestamp(160));
        parent.virtual_size = 2 << 20;
        parent.block_size = Some(4096);
        let mut leaf = link(1, Some(2));
        leaf.hidden = true;
        let expected = [
            ChainWarning::HiddenLeaf,
            ChainWarning::ParentNewer { layer: 0, seconds: 60 },
            ChainWarning::ChildSmaller { layer: 0, size: 1 << 20, parent: 2 << 20 },
            ChainWarning::BlockSizes { layer: 0, size: BLOCK_SIZE, parent: 4096 },
        ];
        assert_eq!(check(&[leaf, parent], &Rules::default()), Ok(expected.to_vec()));
    }
}
