//! Raw disks to VHDs and back, beside `cp --sparse`, `qemu-img convert` and `vhd-lib` of Xen Orchestra (npm; in the folder
//! `node_modules` that `DISK_PEERS_NODE` names).
//!
//! Sources and targets are in memory (`/dev/shm`), the best of a few rounds counts, and what comes out, of peers too,
//! is compared with what went in. A peer that is not installed is left out. Processor time includes that
//! of programs that were started; memory is the most that the program of the row had, for ours without
//! the streams that the benchmark itself holds. Then divan's statistics of the parts that need no disk.

#![expect(clippy::print_stdout, reason = "a benchmark prints its results")]

use std::fs::File;
use std::hint::black_box;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use benches::{process, target};
use bytes::Bytes;
use disk_stream::{
    Consume, Declared, Existing, Image, Opening, Parents, Progress, RawSink, Recode, Upload, Verifier, Zeros,
    receive, scan,
};
use divan::counter::BytesCount;
use http_body_util::{BodyExt, Full};
use tempfile::TempDir;
use vhd::format::{BLOCK_SIZE, MAX_VIRTUAL_SIZE, Timestamp};
use vhd::layout::{Dialect, Parameters, Segment};
use vhd::{BlockSet, Decoder, Layout, zero};

const GIB: u64 = 1 << 30;
const ROUNDS: usize = 3;
/// `vhd-lib` writes every zero of a disk into its stream: larger ones take it minutes.
const VHD_LIB_MOST: u64 = 8 * GIB;
/// Where two programs share two processors, who runs where makes the difference of a round.
const PIPE_ROUNDS: usize = 9;

/// A raw disk to a VHD, told where the blocks with data are, so that its time has no look for zeros in it; or a VHD to a
/// raw file with holes.
const VHD_LIB: &str = "
const fs = require('fs'), vhd = require('vhd-lib');
const [from, to, size, ...blocks] = process.argv.slice(1);
const BLOCK = 2 << 20;
function* content() {
  const source = fs.openSync(from, 'r');
  for (const block of blocks.map(Number)) {
    const data = Buffer.allocUnsafe(BLOCK);
    if (fs.readSync(source, data, 0, BLOCK, block * BLOCK) < BLOCK) throw new Error('the disk ends early');
    yield { logicalAddressBytes: block * BLOCK, data };
  }
}
async function toVhd() {
  const places = blocks.map(block => block * BLOCK);
  const stream = await vhd.createReadableSparseStream(Number(size), BLOCK, places, content());
  await require('stream/promises').pipeline(stream, fs.createWriteStream(to));
}
async function toRaw() {
  const files = {
    openFile: (path, flags) => fs.promises.open(path, flags),
    closeFile: file => file.close(),
    read: (file, buffer, at) => file.read(buffer, 0, buffer.length, at),
    getSize: async file => (await file.stat()).size,
  };
  const target = fs.openSync(to, 'w'), zeros = Buffer.alloc(BLOCK);
  let at = 0;
  for await (const piece of vhd.createContentStream(files, from)) {
    if (!piece.equals(zeros.subarray(0, piece.length))) fs.writeSync(target, piece, 0, piece.length, at);
    at += piece.length;
  }
  fs.ftruncateSync(target, at);
}
(size ? toVhd() : toRaw()).catch(error => { console.error(error); process.exit(1); });
";

/// The most memory that a peer had since this was set to 0, in bytes.
static PEER: AtomicU64 = AtomicU64::new(0);
/// Bytes that this benchmark holds for itself.
static HELD: AtomicU64 = AtomicU64::new(0);

/// A disk of `size` bytes with data in every `stride`th block of 2 MiB, 1 GiB at most.
fn disk(folder: &Path, name: &str, size: u64, stride: usize) -> PathBuf {
    let path = folder.join(format!("{name}.raw"));
    let file = File::create(&path).expect("/dev/shm has room");
    file.set_len(size).expect("a sparse file");
    let mut block = vec![0_u8; BLOCK_SIZE as usize];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for byte in &mut block {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        *byte = state.to_be_bytes()[0] | 1;
    }
    let most = if stride == 1 { usize::MAX } else { 512 };
    for at in (0..size).step_by(BLOCK_SIZE as usize * stride).take(most) {
        file.write_all_at(&block, at).expect("/dev/shm has room");
    }
    path
}

/// What a run took.
#[derive(Clone, Copy)]
struct Took {
    time: Duration,
    /// Seconds of processors, of this process and of those that it started.
    cpu: f64,
    /// The most memory that the program had, in MiB.
    memory: u64,
}

/// The shortest of a few runs; `clean` comes before each and is not counted.
fn best<T>(clean: impl Fn(), run: impl Fn() -> T) -> Took {
    let took = (0..ROUNDS).map(|_| {
        clean();
        measured(&run)
    });
    took.min_by_key(|took| took.time).expect("a round")
}

fn measured<T>(run: impl Fn() -> T) -> Took {
    process::forget_peak();
    PEER.store(0, Ordering::Relaxed);
    let (cpu, begun) = (cpu(), Instant::now());
    black_box(run());
    let time = begun.elapsed();
    let memory = match PEER.load(Ordering::Relaxed) {
        0 => process::peak() - HELD.load(Ordering::Relaxed),
        peer => peer,
    };
    Took { time, cpu: self::cpu() - cpu, memory: memory >> 20 }
}

/// User and system time of this process and of its children that have ended, in seconds.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().skip(11).take(4);
    fields.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// Runs a peer, looking at its memory; `false` when it is not installed.
fn peer(command: &str, arguments: &[&Path], options: &[&str]) -> bool {
    watched(Command::new(command).args(options).args(arguments))
}

fn watched(command: &mut Command) -> bool {
    let Ok(mut peer) = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn() else { return false };
    let status = loop {
        // Its last peak is gone with it, so that this is a little less than the truth.
        PEER.fetch_max(process::peak_of(peer.id()), Ordering::Relaxed);
        match peer.try_wait().expect("a child") {
            Some(status) => break status,
            None => std::thread::sleep(Duration::from_millis(2)),
        }
    };
    assert!(status.success(), "{command:?} failed");
    true
}

/// A program for Node.js with the packages that were installed for it.
fn node(script: &str) -> Command {
    let mut node = Command::new("node");
    if let Some(modules) = std::env::var_os("DISK_PEERS_NODE") {
        node.env("NODE_PATH", modules);
    }
    node.args(["-e", script, "--"]);
    node
}

fn has_vhd_lib() -> bool {
    node("require('vhd-lib')").output().is_ok_and(|output| output.status.success())
}

/// `vhd-lib` with these files, and what [`VHD_LIB`] is told besides.
fn vhd_lib(from: &Path, to: &Path, told: &[String]) {
    assert!(watched(node(VHD_LIB).args([from, to]).args(told)));
}

fn image(path: &Path) -> Image {
    Image::open_blocking(path, Declared::Unknown).expect("a disk made here")
}

/// `to_raw_most` is how many times as long as the floor a VHD to a raw file may take.
fn table(runtime: &tokio::runtime::Runtime, folder: &Path, name: &str, raw: &Path, to_raw_most: f64) {
    let (vhd, out) = (folder.join("disk.vhd"), folder.join("out"));
    image(raw).save_vhd(&vhd, Existing::Replace, &Upload::default()).expect("saved");
    let clean = || drop(std::fs::remove_file(&out));
    let floor = best(clean, || assert!(peer("cp", &[raw, &out], &["--sparse=auto"])));
    // What a row wrote is the disk.
    let row = |what: &str, took: Took| {
        line(name, what, took, floor);
        assert_same(what, &out, raw);
    };
    row("cp --sparse=auto", floor);
    let qemu = peer("qemu-img", &[], &["--version"]);
    if qemu {
        let to_vhd = ["convert", "-f", "raw", "-O", "vpc", "-o", "force_size=on"];
        row("qemu-img convert, raw to VHD", best(clean, || peer("qemu-img", &[raw, &out], &to_vhd)));
    }
    let save = || image(raw).save_vhd(&out, Existing::Replace, &Upload::default()).expect("saved");
    let took = best(clean, save);
    row("raw file to VHD file", took);
    reach(name, "raw file to VHD file", took, floor, 1.10);
    let vhd_lib_too = has_vhd_lib() && image(raw).virtual_size() <= VHD_LIB_MOST;
    if vhd_lib_too {
        let found = scan(&image(raw), BLOCK_SIZE, Zeros::Detect, &Progress::new()).expect("read");
        let size = image(raw).virtual_size();
        let told: Vec<String> =
            [size].into_iter().chain(found.iter()).map(|number| number.to_string()).collect();
        row("vhd-lib, raw to VHD", best(clean, || vhd_lib(raw, &out, &told)));
    }
    // Before version 10 it has to be told that the size is what the VHD says.
    let shown =
        format!("driver=vpc,force_size_calc=current_size,file.driver=file,file.filename={}", vhd.display());
    let to_raw = ["convert", "-O", "raw", "--image-opts", &shown];
    let peers = qemu.then(|| best(clean, || peer("qemu-img", &[&out], &to_raw)));
    if let Some(peers) = peers {
        row("qemu-img convert, VHD to raw", peers);
    }
    let save = || image(&vhd).save_raw(&out, Existing::Replace, &Upload::default()).expect("saved");
    let took = best(clean, save);
    row("VHD file to raw file", took);
    reach(name, "VHD file to raw file", took, floor, to_raw_most);
    if let Some(peers) = peers {
        reach(name, "VHD file to raw file, to qemu-img", took, peers, 1.0);
    }
    if vhd_lib_too {
        row("vhd-lib, VHD to raw", best(clean, || vhd_lib(&vhd, &out, &[])));
    }
    bodies(runtime, name, raw, (&vhd, &out), floor);
}

/// The same disk to a body of HTTP and back: `vhd` is to be sent, `out` comes of it.
fn bodies(
    runtime: &tokio::runtime::Runtime,
    name: &str,
    raw: &Path,
    (vhd, out): (&Path, &Path),
    floor: Took,
) {
    let clean = || drop(std::fs::remove_file(out));
    let upload = || {
        runtime.block_on(async {
            let mut body = image(raw).vhd_body(Upload::default()).await.expect("planned");
            while let Some(frame) = body.frame().await {
                black_box(frame.expect("unchanged"));
            }
        });
    };
    line(name, "raw file to VHD body", best(clean, upload), floor);
    let stream = Bytes::from(std::fs::read(vhd).expect("just written"));
    HELD.store(stream.len() as u64, Ordering::Relaxed);
    let save = || {
        let sink = RawSink::of_vhd(out, Existing::Replace).expect("a target");
        runtime.block_on(receive(Full::new(stream.clone()), sink, Progress::new())).expect("saved")
    };
    let took = best(clean, save);
    line(name, "VHD body to raw file", took, floor);
    assert_same("VHD body to raw file", out, raw);
    let verify = || {
        let verifier = Verifier::of_vhd(&image(raw));
        runtime.block_on(receive(Full::new(stream.clone()), verifier, Progress::new())).expect("equal")
    };
    line(name, "VHD body compared with raw file", best(clean, verify), floor);
    HELD.store(0, Ordering::Relaxed);
}

/// The disk in a file is `raw`. Some write whole cylinders, or 2 MiB: what is behind the end is zeros.
fn assert_same(what: &str, out: &Path, raw: &Path) {
    let (out, raw) = (image(out), image(raw));
    assert!(out.virtual_size() >= raw.virtual_size(), "{what}: the disk is too short");
    let different = out.differing_blocks(&raw, &Progress::new()).expect("read");
    assert!(different.is_empty(), "{what}: {:?} differ", different.iter().take(5).collect::<Vec<_>>());
}

fn line(name: &str, what: &str, took: Took, floor: Took) {
    let ratio = took.time.as_secs_f64() / floor.time.as_secs_f64();
    let Took { time, cpu, memory } = took;
    println!("{name:<22} {what:<38} {:>7.3} s {ratio:>5.2} {cpu:>6.2} s {memory:>4} MiB", time.as_secs_f64());
}

/// Says whether a row takes at most so many times as long as its floor or a peer.
fn reach(name: &str, what: &str, took: Took, floor: Took, most: f64) {
    let ratio = took.time.as_secs_f64() / floor.time.as_secs_f64();
    target::at_most(&format!("{name}: {what}"), ratio, most);
}

/// Starts `cat` of a file into a pipe.
fn cat(file: &Path) -> (Child, File) {
    let mut cat = Command::new("cat").arg(file).stdout(Stdio::piped()).spawn().expect("cat");
    let output = File::from(OwnedFd::from(cat.stdout.take().expect("a pipe")));
    disk_stream::enlarge_pipe(&output);
    (cat, output)
}

/// Feeds a pipe to a consumer, as `disk convert -` does.
fn feed<C: Consume>(mut consumer: C, file: &Path) -> C::Output {
    let (mut cat, mut pipe) = cat(file);
    let (mut buffer, progress) = (vec![0; 256 << 10], Progress::new());
    let output = loop {
        match pipe.read(&mut buffer).expect("a pipe") {
            0 => break consumer.finish().expect("complete"),
            len => consumer.feed(&buffer[..len], &progress).expect("a VHD"),
        }
    };
    assert!(cat.wait().expect("it ends").success());
    output
}

/// From pipes to pipes.
fn pipes(folder: &Path, name: &str, raw: &Path) {
    let (vhd, out) = (folder.join("disk.vhd"), folder.join("out"));
    image(raw).save_vhd(&vhd, Existing::Replace, &Upload::default()).expect("saved");
    let shell = format!("cat {} | cat > /dev/null", vhd.display());
    let null = || File::create("/dev/null").expect("there");
    let from_cat = |take: &dyn Fn(File)| {
        let (mut cat, pipe) = cat(&vhd);
        take(pipe);
        assert!(cat.wait().expect("it ends").success());
    };
    let recode = |pipe: File| {
        Recode::new(null(), Upload::default()).feed_all(&pipe, &Progress::new()).expect("a VHD");
    };
    // The least that can be had with this source: the system moves the bytes, nobody looks at them.
    let unchecked = |mut pipe: File| {
        std::io::copy(&mut pipe, &mut null()).expect("all of it");
    };
    let rounds: Vec<[Took; 3]> = (0..PIPE_ROUNDS)
        .map(|_| {
            [
                measured(|| assert!(peer("sh", &[], &["-c", &shell]))),
                measured(|| from_cat(&unchecked)),
                measured(|| from_cat(&recode)),
            ]
        })
        .collect();
    let shortest = |which: usize| {
        let of_rounds = rounds.iter().map(|round| round[which]);
        of_rounds.min_by_key(|took| took.time).expect("a round")
    };
    let floor = shortest(0);
    for (which, what) in ["cat | cat", "cat, moved by the system", "VHD pipe to VHD pipe"].iter().enumerate()
    {
        line(name, what, shortest(which), floor);
    }
    reach(name, "VHD pipe to VHD pipe, to cat | cat", shortest(2), floor, 0.70);
    from_cat(&|pipe: File| {
        let target = File::create(&out).expect("/dev/shm has room");
        Recode::new(target, Upload::default()).feed_all(&pipe, &Progress::new()).expect("a VHD");
    });
    assert_same("VHD pipe to VHD pipe", &out, raw);
}

/// From standard input, and from a chain of three layers with a third of the data each.
fn input_and_chain(folder: &Path, name: &str, raw: &Path) {
    let (vhd, out) = (folder.join("disk.vhd"), folder.join("out"));
    let clean = || drop(std::fs::remove_file(&out));
    let floor = best(clean, || assert!(peer("cp", &[raw, &out], &["--sparse=auto"])));
    line(name, "cp --sparse=auto", floor, floor);
    let save = || feed(RawSink::of_any(&out, Existing::Replace).expect("a target"), &vhd);
    let took = best(clean, save);
    line(name, "VHD from standard input to raw file", took, floor);
    reach(name, "VHD from standard input to raw file", took, floor, 1.50);
    assert_same("VHD from standard input to raw file", &out, raw);

    let path = |layer: usize| folder.join(format!("layer{layer}.vhd"));
    let partial = folder.join("partial.raw");
    let source = File::open(raw).expect("made here");
    let target = File::create(&partial).expect("/dev/shm has room");
    target.set_len(image(raw).virtual_size()).expect("a sparse file");
    let mut block = vec![0; BLOCK_SIZE as usize];
    let found = scan(&image(raw), BLOCK_SIZE, Zeros::Detect, &Progress::new()).expect("read");
    for layer in 0..3 {
        for number in found.iter().skip(layer).step_by(3) {
            let at = found.block_bytes(number).start;
            source.read_exact_at(&mut block, at).expect("whole blocks");
            target.write_all_at(&block, at).expect("/dev/shm has room");
        }
        match layer.checked_sub(1) {
            None => image(&partial).save_vhd(&path(0), Existing::Replace, &Upload::default()),
            Some(base) => image(&partial).save_difference(
                &chain(&path(base)),
                &path(layer),
                Existing::Replace,
                &Upload::default(),
            ),
        }
        .expect("saved");
    }
    drop(std::fs::remove_file(partial));
    let save = || chain(&path(2)).save_raw(&out, Existing::Replace, &Upload::default()).expect("saved");
    let took = best(clean, save);
    line(name, "chain of three VHDs to raw file", took, floor);
    reach(name, "chain of three VHDs to raw file", took, floor, 1.10);
    assert_same("chain of three VHDs to raw file", &out, raw);
    (0..3).for_each(|layer| drop(std::fs::remove_file(path(layer))));
}

fn chain(path: &Path) -> Image {
    let parents = Parents::Within(path.parent().expect("a folder").to_owned());
    Image::open_with(path, &Opening { parents, ..Opening::default() }).expect("made here")
}

fn full_layout() -> Layout {
    let mut all = BlockSet::new(MAX_VIRTUAL_SIZE, BLOCK_SIZE);
    all.insert_bytes(0..MAX_VIRTUAL_SIZE);
    let parameters = Parameters {
        virtual_size: MAX_VIRTUAL_SIZE,
        uuid: uuid::Uuid::from_u128(1),
        timestamp: Timestamp(1),
        dialect: Dialect::XenapiRs,
    };
    Layout::dynamic(&parameters, all).expect("the largest disk there is")
}

/// Footer, header and table of a full disk of 2040 GiB: 4 MiB.
fn metadata() -> Vec<u8> {
    let mut bytes = Vec::new();
    for segment in full_layout().into_segments() {
        let Segment::Meta(piece) = segment else { break };
        bytes.extend_from_slice(&piece);
    }
    bytes
}

#[divan::bench]
fn decode_table_of_2040_gib(bencher: divan::Bencher<'_, '_>) {
    let bytes = metadata();
    bencher.counter(BytesCount::new(bytes.len())).bench_local(|| {
        let mut decoder = Decoder::new();
        let mut input = bytes.as_slice();
        while let Some(event) = decoder.feed(&mut input).expect("valid") {
            black_box(event);
        }
        decoder
    });
}

#[divan::bench]
fn plan_table_of_2040_gib(bencher: divan::Bencher<'_, '_>) {
    bencher.with_inputs(full_layout).bench_local_values(|layout| {
        layout.into_segments().take_while(|segment| matches!(segment, Segment::Meta(_))).count()
    });
}

#[divan::bench(args = [2 << 20, 256 << 20])]
fn find_zeros(bencher: divan::Bencher<'_, '_>, len: usize) {
    // Written to once: memory that never was is one page of the kernel's, which stays in the cache.
    let mut zeros = black_box(vec![1_u8; len]);
    zeros.fill(0);
    bencher.counter(BytesCount::new(len)).bench_local(|| zero::is_zero(black_box(&zeros)));
}

fn ratios() {
    let folder = TempDir::new_in("/dev/shm").expect("a file system in memory");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    println!("{:<22} {:<38} {:>9} {:>5} {:>8} {:>8}", "disk", "what", "best", "ratio", "cpu", "memory");
    let disks = [
        ("4 GiB, 1 GiB in it", 4 * GIB, 4, 0.90),
        ("2 GiB, full", 2 * GIB, 1, 1.05),
        ("100 GiB, 1 GiB in it", 100 * GIB, 100, 0.90),
    ];
    for (name, size, stride, to_raw_most) in disks {
        let raw = disk(folder.path(), "disk", size, stride);
        table(&runtime, folder.path(), name, &raw, to_raw_most);
        pipes(folder.path(), name, &raw);
        input_and_chain(folder.path(), name, &raw);
        drop(std::fs::remove_file(raw));
    }
}

fn main() {
    // Cargo runs this with --bench; `cargo test` without. Who names a benchmark wants only that.
    let named = std::env::args().skip(1).any(|arg| !arg.starts_with('-'));
    if !named && std::env::args().any(|arg| arg == "--bench") {
        ratios();
    }
    divan::main();
}
