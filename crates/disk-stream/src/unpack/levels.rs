//! What the names in an archive say: which members are disks, and which layer each is.

use vhd::chain::{ChainError, Link, Rules};

use crate::unpack::problem::Problem;

/// A disk in an archive.
pub(crate) struct Layer {
    pub(crate) name: String,
    /// From the leaf, which is 0.
    pub(crate) level: u32,
    place: Place,
    /// Once it was read.
    pub(super) link: Option<Link>,
}

/// What a member's name says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// `0.vhd` is the leaf.
    Numbered(u32),
    /// `snap.vhd`, `image.vhd`, `base.vhd`: from the leaf to the base, some of them.
    Named(u32),
    /// A VHD or a raw disk of any other name, which is the only one.
    Only,
}

/// Takes the next member, of `size` bytes, as a layer; `None` for one that is no part of the disk.
pub(crate) fn admit<'a>(
    layers: &'a mut Vec<Layer>,
    member: &str,
    size: u64,
) -> Result<Option<&'a Layer>, Problem> {
    let name = plain_name(member)?;
    // A leftover of old images.
    if name == "swap.vhd" {
        return Ok(None);
    }
    let place = place(name);
    let level = match place {
        Place::Numbered(level) | Place::Named(level) => level,
        Place::Only => 0,
    };
    let other = layers.iter().find(|layer| {
        let alike = matches!(
            (layer.place, place),
            (Place::Numbered(_), Place::Numbered(_)) | (Place::Named(_), Place::Named(_))
        );
        !alike || layer.level == level
    });
    if let Some(first) = other {
        return Err(Problem::TwoDisks { first: first.name.clone(), second: name.to_owned() });
    }
    let limit = Rules::default().depth;
    if layers.len() >= limit {
        return Err(Problem::Chain(ChainError::TooDeep { limit }));
    }
    if size == 0 {
        return Err(Problem::Member { name: name.to_owned(), problem: "which is empty" });
    }
    layers.push(Layer { name: name.to_owned(), level, place, link: None });
    Ok(layers.last())
}

/// Puts the layers into their order, from the leaf on, and finds that no number is missing.
pub(crate) fn order(layers: &mut [Layer]) -> Result<(), Problem> {
    layers.sort_by_key(|layer| layer.level);
    let last = layers.last().map_or(0, |layer| layer.level);
    let numbered = layers.iter().any(|layer| matches!(layer.place, Place::Numbered(_)));
    let missing = (0..).zip(layers).find(|(number, layer)| layer.level != *number);
    match missing.filter(|_| numbered) {
        Some((missing, _)) => Err(Problem::MissingLayer { missing, last }),
        None => Ok(()),
    }
}

/// A member's name without the `./` that `tar .` puts before it. Nothing is ever written by that name, but one that
/// leads elsewhere shows that the archive is none of ours.
fn plain_name(name: &str) -> Result<&str, Problem> {
    let plain = name.trim_start_matches("./");
    let refuse = |problem| Err(Problem::Member { name: name.to_owned(), problem });
    if plain.is_empty() || plain.contains('/') || plain == ".." {
        return refuse("which is not directly in it");
    }
    if [".ovf", ".mf", ".vmdk", ".xml", ".vhdx", ".qcow2"].iter().any(|end| plain.ends_with(end)) {
        return refuse("which no archive of a XenServer disk has; convert the disk in it first");
    }
    Ok(plain)
}

fn place(name: &str) -> Place {
    match name.strip_suffix(".vhd") {
        Some("snap") => Place::Named(0),
        Some("image") => Place::Named(1),
        Some("base") => Place::Named(2),
        Some(number) if number == "0" || !number.starts_with(['0', '+']) => {
            number.parse().map_or(Place::Only, Place::Numbered)
        }
        _ => Place::Only,
    }
}
