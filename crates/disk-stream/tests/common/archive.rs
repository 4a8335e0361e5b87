//! Archives as others pack them, sound and not.

use std::io::Write;

use flate2::write::GzEncoder;

/// A tar member as GNU tar writes it.
pub(crate) fn member(name: &str, kind: u8, size: u64, content: &[u8]) -> Vec<u8> {
    let mut head = vec![0; 512];
    head[..name.len()].copy_from_slice(name.as_bytes());
    head[100..108].copy_from_slice(b"0000644\0");
    head[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
    head[156] = kind;
    head[257..265].copy_from_slice(b"ustar  \0");
    seal(&mut head);
    head.extend_from_slice(content);
    head.resize(head.len().next_multiple_of(512), 0);
    head
}

/// An archive of `0.vhd`, whose header is changed.
pub(crate) fn altered(content: &[u8], change: impl Fn(&mut [u8])) -> Vec<u8> {
    let mut all = member("0.vhd", b'0', content.len() as u64, content);
    change(&mut all[..512]);
    seal(&mut all[..512]);
    all.resize(all.len() + 1024, 0);
    all
}

fn seal(head: &mut [u8]) {
    head[148..156].fill(b' ');
    let sum: u32 = head[..512].iter().map(|byte| u32::from(*byte)).sum();
    head[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

pub(crate) fn tar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut all = member("./", b'5', 0, b"");
    for (name, content) in members {
        all.extend(member(name, b'0', content.len() as u64, content));
    }
    all.resize(all.len() + 10240, 0);
    all
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
