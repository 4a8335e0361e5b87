//! Images that are damaged, dishonest, or do not arrive: each is refused in a sentence, soon, and leaves nothing.

use std::fs;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use disk_stream::{Declared, Existing, Image, Opening, Parents, Upload};
use e2e::pool::{Census, EXT, LVM, Pool};
use examples::demo_image::DemoImage;
use flate2::Compression;
use flate2::write::GzEncoder;
use image_store::http::{Client, HttpSource};
use image_store::{Algorithm, Content, Digest, ImageSource, Pending, Retry};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use xenapi_driver::spec::{Flavor, InstanceSpec, RootImage, SrChoice};

const DISK_BYTES: u64 = 40 << 20;

/// A disk in three layers, and a pool.
struct Bench {
    pool: Pool,
    files: TempDir,
    /// What is in the base, and in all layers together.
    base: Vec<u8>,
    disk: Vec<u8>,
    /// From the leaf to the base.
    layers: Vec<Vec<u8>>,
    before: Census,
}

impl Bench {
    async fn new() -> Result<Self> {
        let files = tempfile::tempdir()?;
        let at = |name: &str| files.path().join(name);
        let raw = at("disk.raw");
        DemoImage { virtual_bytes: DISK_BYTES, payload_bytes: 1 << 20 }.write(&raw)?;
        let base = fs::read(&raw)?;
        Image::open_blocking(&raw, Declared::Raw)?.save_vhd(
            &at("2.vhd"),
            Existing::Refuse,
            &Upload::default(),
        )?;
        for (layer, below, byte) in [("1.vhd", "2.vhd", 1_u8), ("0.vhd", "1.vhd", 2)] {
            let mut disk = fs::read(&raw)?;
            disk[usize::from(byte) * 4096..][..4096].fill(byte);
            fs::write(&raw, disk)?;
            let opening = Opening { parents: Parents::Within(files.path().into()), ..Opening::default() };
            let below = Image::open_with(&at(below), &opening)?;
            let now = Image::open_blocking(&raw, Declared::Raw)?;
            now.save_difference(&below, &at(layer), Existing::Refuse, &Upload::default())?;
        }
        let layers = (0..3).map(|n| fs::read(at(&format!("{n}.vhd")))).collect::<Result<_, _>>()?;
        let disk = fs::read(&raw)?;
        let pool = Pool::demo().await?;
        let before = pool.census().await?;
        Ok(Self { pool, files, base, disk, layers, before })
    }

    fn spec(image: RootImage, sr: &str) -> InstanceSpec {
        let mut spec = InstanceSpec::new("web1", Flavor::new(1, 512, 1), image);
        spec.sr = SrChoice::Named(sr.into());
        spec
    }

    /// Spawns, expects an error with these words, and that it leaves nothing.
    async fn refused(&self, what: &str, spec: InstanceSpec, words: &str) -> Result<()> {
        let spawned = self.pool.spawn(spec).await;
        let error = spawned.expect_err(what);
        assert!(error.leftovers().is_empty(), "{what}: {error}");
        let text = error.to_string();
        assert!(text.contains(words) && !text.contains('\n'), "{what}: {words:?} is missing in: {text}");
        self.pool.census().await?.assert_as(&self.before, what);
        Ok(())
    }
}

/// Bytes in a place that says something of them.
#[derive(Debug, Clone)]
struct Said {
    bytes: Bytes,
    container: &'static str,
    disk: &'static str,
    digest: Option<Digest>,
    /// After so many bytes, the connection breaks.
    cut: Option<usize>,
}

impl Said {
    fn new(bytes: impl Into<Bytes>, container: &'static str, disk: &'static str) -> Self {
        Self { bytes: bytes.into(), container, disk, digest: None, cut: None }
    }
}

impl ImageSource for Said {
    fn open(&self) -> Pending<'_, image_store::Result<image_store::Image>> {
        Box::pin(async {
            let len = Some(self.bytes.len() as u64);
            let there = self.bytes.slice(..self.cut.unwrap_or(self.bytes.len()));
            let inner = Content::from_bytes("inner", there);
            let mut content = Content::from_body("the image", len, inner);
            self.digest.iter().for_each(|digest| content.check(digest.clone()));
            let declared = image_store::Declared {
                container: Some(self.container.into()),
                disk: Some(self.disk.into()),
                ..Default::default()
            };
            Ok(image_store::Image { declared, len, content })
        })
    }
}

fn image(source: impl ImageSource + 'static) -> RootImage {
    let source: Arc<dyn ImageSource> = Arc::new(source);
    source.into()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

/// Zeros of which there is no end, as far as the flavor is concerned: 1280 MiB in 1.2 MiB.
fn bomb() -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let piece = vec![0; 1 << 20];
    (0..1280).for_each(|_| encoder.write_all(&piece).expect("memory"));
    encoder.finish().expect("memory")
}

/// A member of an archive, whose header says this size and kind.
fn member(name: &str, kind: u8, size: &[u8], content: &[u8]) -> Vec<u8> {
    let mut head = vec![0; 512];
    head[..name.len()].copy_from_slice(name.as_bytes());
    head[100..108].copy_from_slice(b"0000644\0");
    head[124..124 + size.len()].copy_from_slice(size);
    head[156] = kind;
    head[157..168].copy_from_slice(b"/etc/passwd");
    head[257..265].copy_from_slice(b"ustar  \0");
    head[148..156].fill(b' ');
    let sum: u32 = head.iter().map(|byte| u32::from(*byte)).sum();
    head[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    head.extend_from_slice(content);
    head.resize(head.len().next_multiple_of(512), 0);
    head
}

fn octal(size: usize) -> Vec<u8> {
    format!("{size:011o}\0").into_bytes()
}

fn archive(members: &[(&str, &[u8])]) -> Vec<u8> {
    let members: Vec<_> =
        members.iter().map(|(name, bytes)| member(name, b'0', &octal(bytes.len()), bytes)).collect();
    end(members.concat())
}

fn end(mut members: Vec<u8>) -> Vec<u8> {
    members.resize(members.len() + 1024, 0);
    gzip(&members)
}

#[tokio::test]
async fn bad_input_of_every_kind_is_refused_and_leaves_nothing() -> Result<()> {
    let bench = Bench::new().await?;
    let [leaf, middle, base] = &bench.layers[..] else { panic!("three layers") };
    let good = archive(&[("0.vhd", leaf), ("1.vhd", middle), ("2.vhd", base)]);
    let whole = |name: &str| archive(&[(name, base)]);
    let lying = |size: &[u8]| end(member("0.vhd", b'0', size, base));
    let link = |kind: u8| end(member("0.vhd", kind, &octal(0), b""));
    let ovf = |bytes: Vec<u8>| Said::new(bytes, "ovf", "vhd");
    let large = tempfile::NamedTempFile::new()?;
    large.as_file().set_len(2 << 30)?;
    let large_vhd = Image::open_blocking(large.path(), Declared::Raw)?.vhd_body(Upload::default()).await?;
    let large_vhd = http_body_util::BodyExt::collect(large_vhd).await?.to_bytes().to_vec();
    let cases = [
        (
            "another digest",
            Said { digest: Some(Digest::of(Algorithm::Sha512, b"no")), ..ovf(good.clone()) },
            "damaged or not the image",
        ),
        ("raw declared as VHD", Said::new(bench.disk.clone(), "bare", "vhd"), "declared as a VHD"),
        ("VHD declared as qcow2", Said::new(base.clone(), "bare", "qcow2"), "declared as a qcow2 image"),
        ("VHDs declared as raw", Said::new(good.clone(), "tgz", "raw"), "declared as raw"),
        ("a disk declared as disc", Said::new(bench.disk.clone(), "bare", "iso"), "no disc"),
        ("a raw disk declared as archive", Said::new(bench.disk.clone(), "tgz", "raw"), "a tar archive"),
        ("two disks", ovf(archive(&[("a.vhd", base), ("b.vhd", base)])), "several disks"),
        ("one layer twice", ovf(archive(&[("0.vhd", base), ("./0.vhd", base)])), "several disks"),
        ("no base", ovf(archive(&[("0.vhd", leaf), ("1.vhd", middle)])), "the parent of layer 1"),
        ("no middle", ovf(archive(&[("0.vhd", leaf), ("2.vhd", base)])), "no 1.vhd"),
        ("no leaf", ovf(archive(&[("1.vhd", middle), ("2.vhd", base)])), "no 0.vhd"),
        ("wrong numbers", ovf(archive(&[("0.vhd", middle), ("1.vhd", leaf), ("2.vhd", base)])), "chain"),
        ("a layer alone", Said::new(leaf.clone(), "bare", "vhd"), "the parent of layer 0"),
        ("a path upwards", ovf(whole("../0.vhd")), "not directly in it"),
        ("an absolute path", ovf(whole("/etc/0.vhd")), "not directly in it"),
        ("a path in between", ovf(whole("a/../../0.vhd")), "not directly in it"),
        ("a symbolic link", ovf(link(b'2')), "neither a file nor a directory"),
        ("a hard link", ovf(link(b'1')), "neither a file nor a directory"),
        ("a device", ovf(link(b'3')), "neither a file nor a directory"),
        ("an archive of nothing", ovf(end(Vec::new())), "its content is none"),
        ("an archive of a folder", ovf(end(member("./", b'5', &octal(0), b""))), "no disk"),
        ("an archive of notes", ovf(archive(&[("README", b"see 0.vhd")])), "its content is none"),
        ("an archive of no raw disk", Said::new(end(Vec::new()), "tgz", "raw"), "no archive"),
        ("compressed twice", ovf(gzip(&good)), "compressed twice"),
        ("a bomb", Said::new(bomb(), "bare", "vhd"), "does not fit"),
        ("a bomb of a raw disk", Said::new(bomb(), "other", "raw"), "does not fit"),
        ("a size too large", ovf(lying(&octal(base.len() + 512))), "not a usable VHD"),
        ("a size too small", ovf(lying(&octal(base.len() - 512))), "not a usable VHD"),
        ("a size beyond the archive", ovf(lying(&octal(1 << 32))), "not a usable VHD"),
        ("a size beyond all measure", ovf(lying(&[0xff; 12])), "malformed"),
        ("a size of none", ovf(lying(b"zzzzzzzzzzz\0")), "malformed"),
        ("nothing", Said::new(Bytes::new(), "bare", "vhd"), "empty"),
        ("larger than the flavor", Said::new(large_vhd, "bare", "vhd"), "the flavor's root disk has only"),
        ("something behind it", ovf([good.clone(), b"more".to_vec()].concat()), "damaged or cut short"),
        ("qcow2 with a backing file", Said::new(backed(), "bare", "qcow2"), "backing file"),
    ];
    for (number, (what, said, words)) in cases.into_iter().enumerate() {
        let sr = if number % 2 == 0 { EXT } else { LVM };
        bench.refused(what, Bench::spec(image(said), sr), words).await?;
    }

    // The order of the members is nobody's mistake.
    let shuffled = archive(&[("2.vhd", base), ("0.vhd", leaf), ("1.vhd", middle)]);
    let spec = Bench::spec(image(ovf(shuffled)), LVM);
    let instance = bench.pool.spawn(spec).await?;
    assert!(bench.pool.content(&instance.root_uuid).await?.starts_with(&bench.disk));
    bench.pool.destroy(&instance).await?;
    bench.pool.census().await?.assert_as(&bench.before, "after the good one");
    Ok(())
}

/// Glance's own list: each is the root disk that it should be, or refused before a byte of it is read.
#[tokio::test]
async fn every_format_of_glance_is_read_or_refused() -> Result<()> {
    let bench = Bench::new().await?;
    let base = &bench.layers[2];
    let [raw, qcow2] = ["disk.raw", "disk.qcow2"].map(|name| bench.files.path().join(name));
    Image::open_blocking(&raw, Declared::Raw)?.save_qcow2(&qcow2, Existing::Refuse, &Upload::default())?;
    let mut disc = vec![0; 64 << 10];
    disc[16 * 2048..][..6].copy_from_slice(b"\x01CD001");
    for (container, disk, bytes, starts) in [
        ("bare", "raw", bench.disk.clone(), Some(&bench.disk[..])),
        ("tgz", "raw", archive(&[("disk.raw", &bench.disk)]), Some(&bench.disk)),
        ("bare", "vhd", base.clone(), Some(&bench.base)),
        ("ovf", "vhd", archive(&[("image.vhd", base)]), Some(&bench.base)),
        ("bare", "qcow2", fs::read(&qcow2)?, Some(&bench.disk)),
        // Behind a table of partitions, and a blank disk beside the disc.
        ("bare", "ami", vec![7; 4 << 20], Some(&[])),
        ("bare", "iso", disc, Some(&[0; 512])),
        ("bare", "aki", bench.disk.clone(), None),
        ("bare", "ari", bench.disk.clone(), None),
        ("bare", "vmdk", bench.disk.clone(), None),
        ("bare", "vhdx", bench.disk.clone(), None),
        ("bare", "vdi", bench.disk.clone(), None),
        ("bare", "ploop", bench.disk.clone(), None),
    ] {
        let what = format!("{disk} in {container}");
        let spec = Bench::spec(image(Said::new(bytes, container, disk)), EXT);
        let Some(starts) = starts else {
            bench.refused(&what, spec, &format!("declared as {disk}, which is not read here")).await?;
            continue;
        };
        let instance = bench.pool.spawn(spec).await?;
        let root = bench.pool.content(&instance.root_uuid).await?;
        assert!(root.len() == 1 << 30 && root.starts_with(starts), "{what}");
        bench.pool.destroy(&instance).await?;
        bench.pool.census().await?.assert_as(&bench.before, &what);
    }
    Ok(())
}

/// The header of a qcow2 image that is based on another file.
fn backed() -> Vec<u8> {
    let mut bytes = [&b"QFI\xfb"[..], &3_u32.to_be_bytes(), &512_u64.to_be_bytes()].concat();
    bytes.extend(11_u32.to_be_bytes());
    bytes.extend(16_u32.to_be_bytes());
    bytes.extend((8_u64 << 20).to_be_bytes());
    bytes.resize(100, 0);
    bytes.extend(104_u32.to_be_bytes());
    bytes.resize(512, 0);
    bytes.extend(b"/etc/shadow");
    bytes.resize(1 << 17, 0);
    bytes
}

#[tokio::test]
async fn broken_off_at_any_byte_it_leaves_nothing() -> Result<()> {
    let bench = Bench::new().await?;
    let [leaf, middle, base] = &bench.layers[..] else { panic!("three layers") };
    let good = archive(&[("0.vhd", leaf), ("1.vhd", middle), ("2.vhd", base)]);
    let cuts = (0..24).chain((24..good.len()).step_by(good.len() / 24)).chain(good.len() - 12..good.len());
    for cut in cuts {
        let said = Said { cut: Some(cut), ..Said::new(good.clone(), "ovf", "vhd") };
        bench.refused(&format!("cut at {cut}"), Bench::spec(image(said), EXT), "were announced").await?;
    }
    // Also where the rest can be kept, and where it is a disc.
    for (container, disk, bytes) in [("bare", "raw", &bench.disk), ("bare", "vhd", base)] {
        for cut in [0, 1, 511, 512, 40_000, bytes.len() / 2, bytes.len() - 1] {
            let said = Said { cut: Some(cut), ..Said::new(bytes.clone(), container, disk) };
            bench.refused(disk, Bench::spec(image(said), LVM), "were announced").await?;
        }
    }
    Ok(())
}

/// A server that gives every request the same answer: a status, and so many bytes of what it announces.
async fn server(status: u16, body: Vec<u8>, given: usize) -> Result<(String, Arc<AtomicUsize>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let (url, requests) =
        (format!("http://{}/disk.vhd", listener.local_addr()?), Arc::new(AtomicUsize::new(0)));
    let counted = requests.clone();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::Relaxed);
            let _ = socket.read(&mut [0; 4096]).await;
            let len = body.len();
            let head = format!("HTTP/1.1 {status} so\r\nContent-Length: {len}\r\nConnection: close\r\n\r\n");
            let _ = socket.write_all(head.as_bytes()).await;
            let _ = socket.write_all(&body[..given.min(len)]).await;
            let _ = socket.shutdown().await;
        }
    });
    Ok((url, requests))
}

#[tokio::test]
async fn servers_that_fail_are_given_up_soon() -> Result<()> {
    let bench = Bench::new().await?;
    let base = &bench.layers[2];
    for (status, given, attempts, words) in [
        (404, 0, 1, "not found"),
        (401, 0, 1, "401"),
        (403, 0, 1, "403"),
        (503, 0, 4, "503"),
        (500, 0, 4, "500"),
        (429, 0, 4, "429"),
        // It never gives all of it, and does not go on where it stopped.
        (200, 0, 4, "disk.vhd"),
        (200, 3000, 4, "disk.vhd"),
        (200, base.len() - 1, 4, "disk.vhd"),
    ] {
        let (url, requests) = server(status, base.clone(), given).await?;
        let retry = Retry { first_pause: Duration::from_millis(1), ..Retry::default() };
        let source = HttpSource::new(Client::default(), &url)?.retry(retry);
        let what = format!("{status} after {given} bytes");
        bench.refused(&what, Bench::spec(image(source), EXT), words).await?;
        let made = requests.load(Ordering::Relaxed);
        assert!((1..=attempts).contains(&made), "{what}: {made} requests");
    }
    Ok(())
}
