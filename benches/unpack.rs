//! A compressed XenServer image to a raw disk, its digest verified on the way: beside the decompressor alone, those of
//! others (`gzip`, `pigz`, `igzip`), and what Nova's plugin in dom0 did, which was `tar -zx` and an MD5.
//!
//! Everything is in memory (`/dev/shm`), the best of a few rounds counts, and what comes out, of peers too, is compared with
//! what was packed. A peer that is not installed is left out.

#![expect(clippy::print_stdout, reason = "a benchmark prints its results")]

use std::fs::File;
use std::hint::black_box;
use std::io::{BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use benches::target;
use disk_stream::{Declared, Existing, Image, PackBody, Package, Packed, Progress, Unpack, Upload};
use flate2::bufread::MultiGzDecoder;
use http_body_util::BodyExt;
use image_store::{Algorithm, Digest, FileSource, ImageSource};

const SIZE: u64 = 512 << 20;
const ROUNDS: usize = 3;

/// Text-like data that gzip halves about, with as much of the disk empty.
fn disk(path: &Path) {
    let file = File::create(path).expect("/dev/shm has room");
    file.set_len(SIZE).expect("a sparse file");
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut block = vec![0_u8; 2 << 20];
    for at in (0..SIZE).step_by(4 << 20) {
        for word in block.chunks_mut(4) {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let random = (state >> 33).to_be_bytes();
            word.copy_from_slice(&[b'a' + (random[4] & 15), b' ', random[5] & 0x3f, random[6]]);
        }
        file.write_all_at(&block, at).expect("/dev/shm has room");
    }
}

fn best<T>(mut run: impl FnMut() -> T) -> Duration {
    let mut timed = || {
        let begun = Instant::now();
        black_box(run());
        begun.elapsed()
    };
    (0..ROUNDS).map(|_| timed()).min().unwrap_or_default()
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().expect("a runtime");
    let folder = tempfile::tempdir_in("/dev/shm").expect("/dev/shm");
    let at = |name: &str| folder.path().join(name);
    let (raw, archive, out) = (at("disk.raw"), at("image.tar.gz"), at("out.raw"));
    disk(&raw);
    let packed = runtime.block_on(async {
        let image = Image::open_blocking(&raw, Declared::Raw).expect("a disk made here");
        let vhd = image.vhd_body(Upload::default()).await.expect("a VHD");
        PackBody::new(vhd, Package::VhdArchive { layers: 1 }, None)
            .collect()
            .await
            .expect("packed")
            .to_bytes()
    });
    std::fs::write(&archive, &packed).expect("/dev/shm has room");
    println!("disk of {} MiB, image of {} MiB", SIZE >> 20, packed.len() >> 20);

    let mut buffer = vec![0; 256 << 10];
    let decoder = best(|| {
        let file = BufReader::with_capacity(128 << 10, File::open(&archive).expect("it is there"));
        let mut decoder = MultiGzDecoder::new(file);
        while decoder.read(&mut buffer).expect("intact") > 0 {}
    });
    let row = |what: &str, took: Duration| row(what, took, decoder);
    row("gzip decoder alone (flate2, zlib-rs)", decoder);
    other_decoders(&archive, &packed, row);
    // In the end, that with the peer's digest.
    let mut ours = Duration::ZERO;
    for algorithm in [None, Some(Algorithm::Sha256), Some(Algorithm::Sha512), Some(Algorithm::Md5)] {
        let digest = algorithm.map(|algorithm| Digest::of(algorithm, &packed));
        let source = digest.into_iter().fold(FileSource::new(&archive), FileSource::digest);
        let took = best(|| {
            runtime.block_on(async {
                let image = source.open().await.expect("it is there");
                let packed = Packed::open(image.content, Unpack::default()).await.expect("an image");
                packed.save_raw(&out, Existing::Replace, SIZE).await.expect("a disk")
            })
        });
        let what = format!("to a raw disk, {}", algorithm.map_or("no digest", Algorithm::name));
        row(&what, took);
        target::at_most(&what, took.as_secs_f64() / decoder.as_secs_f64(), 1.15);
        ours = took;
        assert!(std::fs::read(&out).expect("it is there") == std::fs::read(&raw).expect("it is there"));
    }
    if let Some(peer) = what_nova_did(folder.path()) {
        row("tar -zx and md5sum, to a VHD", peer);
        target::at_least("with MD5, to tar and md5sum", peer.as_secs_f64() / ours.as_secs_f64(), 3.0);
    }
}

fn row(what: &str, took: Duration, decoder: Duration) {
    let times = took.as_secs_f64() / decoder.as_secs_f64();
    println!("{what:<42} {:>8.1} ms   {times:>5.2} x decoder", took.as_secs_f64() * 1e3);
}

/// The decompressors that are installed, to nowhere.
fn other_decoders(archive: &Path, packed: &[u8], row: impl Fn(&str, Duration)) {
    let mut plain = Vec::new();
    MultiGzDecoder::new(packed).read_to_end(&mut plain).expect("intact");
    for program in ["gzip", "pigz", "igzip"] {
        let decompress = |output| Command::new(program).arg("-dc").arg(archive).stdout(output).spawn();
        let Ok(running) = decompress(Stdio::piped()) else { continue };
        let output = running.wait_with_output().expect("it ends");
        assert!(output.status.success() && output.stdout == plain, "{program} makes something else of it");
        let took =
            best(|| decompress(Stdio::null()).and_then(|mut running| running.wait()).expect("it ends"));
        row(&format!("{program} -dc, to nowhere"), took);
    }
}

/// How long Nova's plugin took for the archive in a folder, if its tools are here.
fn what_nova_did(folder: &Path) -> Option<Duration> {
    let script = format!(
        "cd {} && mkdir -p x && tee >(md5sum >&2) < image.tar.gz | tar -zx --directory=x",
        folder.display()
    );
    let nova = || Command::new("bash").args(["-c", &script]).stderr(Stdio::null()).status();
    if !nova().is_ok_and(|status| status.success()) {
        return None;
    }
    let open = |path: &str| Image::open_blocking(&folder.join(path), Declared::Unknown).expect("a disk");
    let different = open("x/0.vhd").differing_blocks(&open("disk.raw"), &Progress::new()).expect("read");
    assert!(different.is_empty(), "tar makes something else of it");
    Some(best(nova))
}
