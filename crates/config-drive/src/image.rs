//! A disk image in memory that stores only what is not zero.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read, Seek, SeekFrom, Write};

use zeroize::Zeroize;

/// A disk image. Chunks that are all zeros take no memory, so that an image of 64 MiB with a few
/// small files costs a few hundred kilobytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Image {
    len_bytes: u64,
    chunks: BTreeMap<u64, Box<[u8]>>,
}

/// The unit of what is stored or not. Image lengths are multiples of it.
const CHUNK_BYTES: usize = 64 << 10;

impl Drop for Image {
    /// A password may be among the files.
    fn drop(&mut self) {
        self.chunks.values_mut().for_each(Zeroize::zeroize);
    }
}

impl Image {
    /// An image of zeros.
    pub(crate) fn zeros(len_bytes: u64) -> Self {
        debug_assert_eq!(len_bytes % CHUNK_BYTES as u64, 0);
        Self { len_bytes, chunks: BTreeMap::new() }
    }

    /// The length of the disk, zeros and all.
    pub fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    /// The parts that are not zero, as offset and bytes, in order and not overlapping; all else is zero.
    pub fn extents(&self) -> impl Iterator<Item = (u64, &[u8])> {
        self.chunks.iter().map(|(index, chunk)| (index * CHUNK_BYTES as u64, &**chunk))
    }

    /// The whole disk as bytes.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(self.len_bytes).expect("an image is at most 1 GiB")];
        for (offset, chunk) in self.extents() {
            let start = usize::try_from(offset).expect("an image is at most 1 GiB");
            bytes[start..start + chunk.len()].copy_from_slice(chunk);
        }
        bytes
    }

    /// A reader of the whole disk, from its start.
    pub fn reader(&self) -> impl Read + Seek + '_ {
        Cursor { image: self, position: 0 }
    }

    /// A reader and writer, for the file system to be written with.
    pub(crate) fn cursor(&mut self) -> impl Read + Write + Seek + '_ {
        Cursor { image: self, position: 0 }
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> usize {
        if offset >= self.len_bytes {
            return 0;
        }
        let start = (offset % CHUNK_BYTES as u64) as usize;
        let len = buf.len().min(CHUNK_BYTES - start);
        match self.chunks.get(&(offset / CHUNK_BYTES as u64)) {
            Some(chunk) => buf[..len].copy_from_slice(&chunk[start..start + len]),
            None => buf[..len].fill(0),
        }
        len
    }

    pub(crate) fn write_at(&mut self, offset: u64, buf: &[u8]) -> usize {
        if offset >= self.len_bytes {
            return 0;
        }
        let start = (offset % CHUNK_BYTES as u64) as usize;
        let buf = &buf[..buf.len().min(CHUNK_BYTES - start)];
        let index = offset / CHUNK_BYTES as u64;
        if self.chunks.contains_key(&index) || buf.iter().any(|&byte| byte != 0) {
            let chunk = self.chunks.entry(index).or_insert_with(|| vec![0; CHUNK_BYTES].into());
            chunk[start..start + buf.len()].copy_from_slice(buf);
        }
        buf.len()
    }
}

impl fmt::Debug for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Image")
            .field("len_bytes", &self.len_bytes)
            .field("stored_bytes", &(self.chunks.len() * CHUNK_BYTES))
            .finish()
    }
}

struct Cursor<I> {
    image: I,
    position: u64,
}

impl<I: std::borrow::Borrow<Image>> Read for Cursor<I> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let len = self.image.borrow().read_at(self.position, buf);
        self.position += len as u64;
        Ok(len)
    }
}

impl Write for Cursor<&mut Image> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let len = self.image.write_at(self.position, buf);
        self.position += len as u64;
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<I: std::borrow::Borrow<Image>> Seek for Cursor<I> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::Current(delta) => self.position.checked_add_signed(delta),
            SeekFrom::End(delta) => self.image.borrow().len_bytes.checked_add_signed(delta),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_what_was_written_and_stores_no_zeros() {
        let mut image = Image::zeros(4 << 20);
        let mut plain = vec![0u8; 4 << 20];
        for (offset, bytes) in
            [(0, vec![1; 10]), (65530, vec![2; 20]), (1 << 20, vec![0; 300_000]), (3 << 20, vec![3; 200_000])]
        {
            let mut cursor = image.cursor();
            cursor.seek(SeekFrom::Start(offset as u64)).unwrap();
            cursor.write_all(&bytes).unwrap();
            plain[offset..offset + bytes.len()].copy_from_slice(&bytes);
        }
        assert!(image.to_vec() == plain);
        let mut read = Vec::new();
        image.reader().read_to_end(&mut read).unwrap();
        assert!(read == plain);
        assert_eq!(image.extents().count(), 2 + 4);
        assert_eq!(image.write_at(4 << 20, &[1]), 0);
    }
}
