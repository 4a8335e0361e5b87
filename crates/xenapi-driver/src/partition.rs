//! A partition table for images that are a file system and no more, as Amazon's and Nova's AMI images are.

use image_store::{Content, Image};
use uuid::Uuid;

use crate::error::Cause;
use crate::image::{Head, Replay};

const SECTOR: u64 = 512;
/// The sector that the partition begins with: where Nova and the DOS tools of its time have it.
const START: u32 = 63;
/// `Linux` in the list of types of partitions.
const LINUX: u8 = 0x83;
/// Where an ext file system says that it is one.
const EXT_MAGIC: usize = 1024 + 56;

/// The disk whose only partition is the image.
///
/// # Errors
///
/// When it has a table of its own, is too large for one, or nobody knows how long it is.
pub(crate) async fn around(mut image: Image, instance: Uuid) -> Result<Image, Cause> {
    let name = image.content.what().to_owned();
    let refuse = |why: &str| Cause::NotAFileSystem { image: name.clone(), why: why.to_owned() };
    let len = image.len.ok_or_else(|| refuse("its place does not say how long it is"))?;
    let sectors = len.div_ceil(SECTOR);
    let sectors = u32::try_from(sectors).map_err(|_| refuse("it is larger than 2 TiB"))?;
    let mut head = Head::default();
    while head.len() < EXT_MAGIC + 2
        && let Some(piece) = image.content.chunk().await.map_err(Cause::Source)?
    {
        head.push(piece);
    }
    if sectors == 0 || is_partitioned(&head.first(EXT_MAGIC + 2)) {
        return Err(refuse(if sectors == 0 { "it is empty" } else { "it has a partition table of its own" }));
    }
    let mut before = vec![0; (u64::from(START) * SECTOR) as usize];
    before[..SECTOR as usize].copy_from_slice(&table(sectors, instance));
    head.push_front(before.into());
    let len = u64::from(START) * SECTOR + len;
    let content = Content::from_body(name, Some(len), Replay { head, rest: image.content });
    Ok(Image { len: Some(len), content, declared: image.declared })
}

/// Whether these are the first bytes of a disk: boot sectors of file systems have the same mark, and text where the
/// table would be.
fn is_partitioned(head: &[u8]) -> bool {
    let (Some(table), Some(mark)) = (head.get(446..510), head.get(510..512)) else { return false };
    let is_ext = head.get(EXT_MAGIC..EXT_MAGIC + 2) == Some(&[0x53, 0xef]);
    let mut entries = table.chunks_exact(16);
    let is_entry =
        |entry: &[u8]| entry[0] & 0x7f == 0 && (entry[4] != 0 || entry.iter().all(|byte| *byte == 0));
    mark == [0x55, 0xaa] && !is_ext && table.iter().any(|byte| *byte != 0) && entries.all(is_entry)
}

/// A master boot record with one partition.
fn table(sectors: u32, instance: Uuid) -> [u8; SECTOR as usize] {
    let mut sector = [0; SECTOR as usize];
    // The disk's id, by which Linux may be told of its partitions.
    sector[440..444].copy_from_slice(&instance.as_bytes()[..4]);
    let entry = &mut sector[446..462];
    entry[1..4].copy_from_slice(&chs(START));
    entry[4] = LINUX;
    entry[5..8].copy_from_slice(&chs(START.saturating_add(sectors - 1)));
    entry[8..12].copy_from_slice(&START.to_le_bytes());
    entry[12..].copy_from_slice(&sectors.to_le_bytes());
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    sector
}

/// A sector as cylinder, head and sector of a disk with 255 heads and 63 sectors; what is beyond is its last one.
fn chs(sector: u32) -> [u8; 3] {
    let (cylinder, head, sector) = (sector / (255 * 63), sector / 63 % 255, sector % 63 + 1);
    if cylinder > 1023 {
        return [254, 0xff, 0xff];
    }
    [head as u8, (sector | cylinder >> 8 << 6) as u8, cylinder as u8]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_of_old() {
        assert_eq!(chs(63), [1, 1, 0]);
        assert_eq!(chs(62), [0, 63, 0]);
        assert_eq!(chs(255 * 63 * 1023 + 254 * 63 + 62), [254, 0xff, 0xff]);
        assert_eq!(chs(255 * 63 * 300), [0, 1 | 0x40, 44]);
        assert_eq!(chs(u32::MAX), [254, 0xff, 0xff]);
    }

    #[test]
    fn what_has_a_table() {
        let mut disk = table(8, Uuid::from_u128(1)).to_vec();
        assert!(is_partitioned(&disk));
        assert!(!is_partitioned(&disk[..511]));
        disk.resize(2048, 0);
        disk[EXT_MAGIC..EXT_MAGIC + 2].copy_from_slice(&[0x53, 0xef]);
        assert!(!is_partitioned(&disk), "a boot loader in front of an ext file system");
        let mut fat = vec![0; 2048];
        fat[510..512].copy_from_slice(&[0x55, 0xaa]);
        assert!(!is_partitioned(&fat));
        fat[446..450].copy_from_slice(b"boot");
        assert!(!is_partitioned(&fat));
    }
}
