//! How costs grow: with the pool, with the rate of changes, with the size of disks and with their number. Each curve
//! stands beside that of a peer, is fitted with a power law, and drawn.
//!
//! Pictures go to the folder that `BENCH_PLOTS` names, or `target/plots`.

#![allow(clippy::print_stdout, reason = "a benchmark prints its table")]

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use benches::curve::{Curve, Series};
use benches::process::{Part, cpu_seconds, peak};
use disk_stream::{Declared, Existing, Image, Upload, VhdSink, receive};
use tempfile::TempDir;
use tokio::task::JoinSet;
use uuid::Uuid;
use xapi_simulator::{Simulator, World};
use xenapi_client::{Cache, Client, Config, ImportFormat};
use xenapi_driver::spec::{ConfigDrive, Flavor, InstanceSpec, Nic};
use xenapi_driver::{Driver, Settings, SpawnOptions};
use xenapi_storage::ownership::Ownership;
use xenapi_types::{OnCrashBehaviour, OnNormalExit, Ref, Sr, VdiType, Vm, host, vdi, vm};

const PASSWORD: &str = "bench";
/// Nova's requests for one instance with a root disk, a config drive and an interface.
const NOVA_REQUESTS: u32 = 86;
const NETWORK: &str = "Pool-wide network associated with eth0";
const VMS: [usize; 4] = [10, 100, 1_000, 10_000];
const HOSTS: [usize; 4] = [1, 4, 16, 64];
/// Changes a second; more than the last one the simulator does not make beside the client.
const RATES: [u64; 4] = [10, 50, 250, 1_250];
const DISK_GIB: [u64; 4] = [1, 16, 256, 2_040];
const DISKS: [usize; 5] = [1, 2, 4, 8, 16];
const MIB: u64 = 1 << 20;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--serve", hosts, vms] => serve(hosts.parse().expect("hosts"), vms.parse().expect("VMs")),
        ["--change", url, rate] => change(url, rate.parse().expect("a rate")),
        ["--convert", source, target] => convert(Path::new(source), Path::new(target)),
        _ if arguments.iter().any(|argument| argument == "--bench") => measure(),
        _ => {}
    }
}

fn measure() {
    let folder = std::env::var_os("BENCH_PLOTS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/plots"), PathBuf::from);
    std::fs::create_dir_all(&folder).expect("a folder for the pictures");
    let files = TempDir::new_in(scratch()).expect("a directory");
    let runtime = runtime();
    let curves: [&dyn Fn() -> Curve; 7] = [
        &|| runtime.block_on(listing_vms()),
        &|| runtime.block_on(listing_hosts()),
        &|| runtime.block_on(spawn_beside_vms(files.path())),
        &|| runtime.block_on(spawn_beside_hosts(files.path())),
        &|| runtime.block_on(following()),
        &|| memory_of_disks(files.path()),
        &|| runtime.block_on(streams(files.path())),
    ];
    for curve in curves {
        let curve = curve();
        println!("{}", curve.table());
        println!("{}", curve.draw(&folder).expect("a picture").display());
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime")
}

fn scratch() -> PathBuf {
    Some(PathBuf::from("/dev/shm")).filter(|path| path.is_dir()).unwrap_or_else(std::env::temp_dir)
}

/// The best of three.
async fn best<T, F: Future<Output = T>>(mut work: impl FnMut() -> F) -> f64 {
    let mut best = f64::MAX;
    for _ in 0..3 {
        let start = Instant::now();
        work().await;
        best = best.min(start.elapsed().as_secs_f64());
    }
    best
}

/// A pool in a process of its own.
struct Pool {
    url: String,
    client: Client,
    driver: Driver,
    _server: Part,
}

impl Pool {
    async fn start(hosts: usize, vms: usize) -> Self {
        let (server, url) = Part::start(&["--serve", &hosts.to_string(), &vms.to_string()]).expect("a pool");
        let config = Config::new(&url, "root", PASSWORD).expect("a configuration");
        let client = Client::connect(config).await.expect("a session");
        let driver = Driver::over(client.clone(), Settings::default());
        Self { url, client, driver, _server: server }
    }
}

/// Plays the pool until it is killed.
fn serve(hosts: usize, vms: usize) {
    runtime().block_on(async {
        let world = World::demo().with_hosts(hosts);
        let builder = Simulator::builder().world(world).password(PASSWORD);
        let simulator = Arc::new(builder.build().await.expect("a pool"));
        let url = simulator.listen("127.0.0.1:0").await.expect("a port");
        let client =
            Client::connect(Config::new(&url, "root", PASSWORD).expect("a URL")).await.expect("a session");
        let mut making = JoinSet::new();
        for n in 0..vms {
            let client = client.clone();
            making.spawn(async move { client.call(instance(n)).await.expect("a VM") });
            if making.len() >= 64 {
                making.join_next().await;
            }
        }
        making.join_all().await;
        client.close().await.expect("a logout");
        println!("{url}");
        std::future::pending::<()>().await;
    });
}

/// An instance as the driver marks it, without disks.
fn instance(n: usize) -> vm::Create {
    let (instance, operation) = (Uuid::new_v4(), Uuid::now_v7());
    let ownership = Ownership { owner: Settings::default().owner, instance, operation };
    vm::Create {
        name_label: format!("instance-{n}"),
        memory_static_max: 256 << 20,
        memory_dynamic_max: 256 << 20,
        memory_dynamic_min: 256 << 20,
        memory_static_min: 256 << 20,
        vcpus_max: 1,
        vcpus_at_startup: 1,
        actions_after_shutdown: OnNormalExit::Destroy,
        actions_after_reboot: OnNormalExit::Restart,
        actions_after_crash: OnCrashBehaviour::Restart,
        other_config: ownership.vm_keys(),
        ..vm::Create::default()
    }
}

/// Peers read the same records: with Python's standard library, as every tool in dom0 does, and with the official client
/// on top of it, of the interpreter that `BENCH_PYTHON` names.
const PYTHON: &str = "
import sys, time
def standard_library(url, password):
    import xmlrpc.client
    server = xmlrpc.client.ServerProxy(url)
    session = server.session.login_with_password('root', password, '1.0', 'bench')['Value']
    return lambda name: getattr(server, name).get_all_records(session)['Value']
def official_client(url, password):
    import XenAPI
    session = XenAPI.Session(url)
    session.xenapi.login_with_password('root', password, '1.0', 'bench')
    return lambda name: getattr(session.xenapi, name).get_all_records()
which, url, password, least = sys.argv[1:]
records = globals()[which](url, password)
best = 1e9
for _ in range(3):
    start = time.time()
    vms = records('VM')
    records('host')
    best = min(best, time.time() - start)
assert len(vms) >= int(least)
print(best)
";

/// The best of three, in seconds; none where there is no such client.
fn listing_in_python(which: &str, pool: &Pool, vms: usize) -> Option<f64> {
    let python = std::env::var_os("BENCH_PYTHON").unwrap_or("python3".into());
    let arguments = ["-c", PYTHON, which, &pool.url, PASSWORD, &vms.to_string()];
    let output = Command::new(python).args(arguments).output().ok()?;
    String::from_utf8_lossy(&output.stdout).trim().parse().ok()
}

async fn listing_vms() -> Curve {
    let title = "Listing the instances of a pool";
    listing("list", title, "VMs in the pool", VMS.map(|vms| (vms, 1, vms))).await
}

async fn listing_hosts() -> Curve {
    let title = "Listing 1,000 instances";
    listing("list-hosts", title, "hosts in the pool", HOSTS.map(|hosts| (hosts, hosts, 1_000))).await
}

/// In pools of so many hosts and VMs, each drawn over the first of its numbers.
async fn listing(
    name: &'static str,
    title: &'static str,
    over: &'static str,
    pools: [(usize, usize, usize); 4],
) -> Curve {
    let (mut ours, mut python, mut official) = (Vec::new(), Vec::new(), Vec::new());
    for (size, hosts, vms) in pools {
        let pool = Pool::start(hosts, vms).await;
        let listed = pool.driver.instances().await.expect("a list").len();
        assert_eq!(listed, vms);
        ours.push((size as f64, best(|| pool.driver.instances()).await));
        for (which, points) in [("standard_library", &mut python), ("official_client", &mut official)] {
            let seconds = listing_in_python(which, &pool, vms);
            points.extend(seconds.map(|seconds| (size as f64, seconds)));
        }
    }
    let python = ("Python's xmlrpc.client", python);
    let official = ("XenAPI.py, the official client", official);
    curve(name, title, over, "seconds", [("Driver::instances", ours), python, official])
}

async fn spawn_beside_vms(files: &Path) -> Curve {
    let (mut ours, mut nova) = (Vec::new(), Vec::new());
    for vms in VMS {
        let (one, sequence) = spawn_in(&Pool::start(1, vms).await, files).await;
        ours.push((vms as f64, one));
        nova.push((vms as f64, sequence));
    }
    let title = "A spawn in a pool with other VMs";
    curve("spawn-vms", title, "VMs in the pool", "seconds", [("spawn", ours), ("86 requests in a row", nova)])
}

async fn spawn_beside_hosts(files: &Path) -> Curve {
    let (mut ours, mut nova) = (Vec::new(), Vec::new());
    for hosts in HOSTS {
        let (one, sequence) = spawn_in(&Pool::start(hosts, 10).await, files).await;
        ours.push((hosts as f64, one));
        nova.push((hosts as f64, sequence));
    }
    let title = "A spawn in a pool of several hosts";
    curve(
        "spawn-hosts",
        title,
        "hosts of the pool",
        "seconds",
        [("spawn", ours), ("86 requests in a row", nova)],
    )
}

/// A spawn onto the coordinator, and Nova's number of requests one after the other.
async fn spawn_in(pool: &Pool, files: &Path) -> (f64, f64) {
    let image = files.join("image.raw");
    if !image.exists() {
        sparse(&image, 16 * MIB, MIB);
    }
    // The coordinator, whose storage is the default.
    let pools = pool.client.all_records::<xenapi_types::Pool>().await.expect("a pool");
    let host = &pools.values().next().expect("a pool").master;
    let node: Uuid = pool.client.record(host).await.expect("a host").uuid.parse().expect("a uuid");
    let mut number = 0;
    let ours = best(|| {
        number += 1;
        let mut spec = InstanceSpec::new(format!("spawned-{number}"), Flavor::new(1, 64, 0), &image);
        spec.node = Some(node);
        spec.nics = vec![Nic::on(NETWORK)];
        spec.config_drive = Some(ConfigDrive::default());
        async { pool.driver.spawn(spec, SpawnOptions::default()).await.expect("an instance") }
    })
    .await;
    let nova = best(|| async {
        for _ in 0..NOVA_REQUESTS {
            pool.client.get_field(host, host::field::UUID).await.expect("an answer");
        }
    })
    .await;
    (ours, nova)
}

/// Changes VMs at a steady rate until it is killed.
fn change(url: &str, rate: u64) {
    runtime().block_on(async {
        let client =
            Client::connect(Config::new(url, "root", PASSWORD).expect("a URL")).await.expect("a session");
        let vms: Vec<Ref<Vm>> = client.all_records::<Vm>().await.expect("VMs").into_keys().collect();
        println!("ready");
        let mut tick = tokio::time::interval(Duration::from_nanos(1_000_000_000 / rate));
        for (n, vm) in vms.iter().cycle().enumerate() {
            tick.tick().await;
            let (client, vm) = (client.clone(), vm.clone());
            let description = format!("changed {n} times");
            tokio::spawn(
                async move { client.set_field(&vm, vm::field::NAME_DESCRIPTION, description).await },
            );
        }
    });
}

/// How long what comes from events is followed.
const FOLLOWED: Duration = Duration::from_secs(5);

async fn following() -> Curve {
    let (mut follow, mut poll) = (Vec::new(), Vec::new());
    for rate in RATES {
        let pool = Pool::start(1, 1_000).await;
        let cache = Cache::builder().watch::<Vm>().start(&pool.client).await.expect("a cache");
        let (_changer, _) = Part::start(&["--change", &pool.url, &rate.to_string()]).expect("a changer");
        let (before, cpu, start) = (cache.counters().changes, cpu_seconds(), Instant::now());
        tokio::time::sleep(FOLLOWED).await;
        let changes = (cache.counters().changes - before) as f64 / start.elapsed().as_secs_f64();
        // Processor time is counted in hundredths of a second: less cannot be told from nothing.
        follow.push((changes, ((cpu_seconds() - cpu) / start.elapsed().as_secs_f64()).max(0.002)));
        drop(cache);
        let (cpu, start) = (cpu_seconds(), Instant::now());
        while start.elapsed() < FOLLOWED {
            pool.client.all_records::<Vm>().await.expect("VMs");
            tokio::time::sleep(Duration::from_secs(1).min(FOLLOWED)).await;
        }
        poll.push((changes, ((cpu_seconds() - cpu) / start.elapsed().as_secs_f64()).max(0.002)));
    }
    curve(
        "follow",
        "Following 1,000 VMs that change",
        "changes a second",
        "processors busy",
        [("Cache, by events", follow), ("all records each second", poll)],
    )
}

/// A raw disk whose first `data` bytes are not zero.
fn sparse(path: &Path, size: u64, data: u64) {
    let mut file = File::create(path).expect("an image");
    let block: Vec<u8> = (0..MIB).map(|i| (i % 251) as u8 | 1).collect();
    for _ in 0..data / MIB {
        file.write_all(&block).expect("data");
    }
    file.set_len(size).expect("a hole");
}

/// Converts a raw disk to a VHD in a process of its own.
fn convert(source: &Path, target: &Path) {
    runtime().block_on(async {
        let image = Image::open(source, Declared::Raw).await.expect("an image");
        let body = image.vhd_body(Upload::default()).await.expect("a body");
        let sink = VhdSink::create(target, Existing::Replace).expect("a file");
        receive(body, sink, disk_stream::Progress::new()).await.expect("a VHD");
    });
    println!("{}", peak());
}

fn memory_of_disks(files: &Path) -> Curve {
    let (mut ours, mut qemu) = (Vec::new(), Vec::new());
    let (source, target) = (files.join("large.raw"), files.join("large.vhd"));
    for gib in DISK_GIB {
        sparse(&source, gib << 30, 64 * MIB);
        let (from, to) = (source.display().to_string(), target.display().to_string());
        let (_part, peak) = Part::start(&["--convert", &from, &to]).expect("a process");
        let bytes: f64 = peak.parse().expect("a number of bytes");
        ours.push((gib as f64, bytes / MIB as f64));
        let options = ["convert", "-f", "raw", "-O", "vpc", "-o", "subformat=dynamic,force_size=on"];
        let arguments: Vec<&str> = options.into_iter().chain([from.as_str(), to.as_str()]).collect();
        qemu.extend(peak_of("qemu-img", &arguments).map(|bytes| (gib as f64, bytes as f64 / MIB as f64)));
    }
    drop(std::fs::remove_file(source));
    drop(std::fs::remove_file(target));
    curve(
        "memory",
        "Memory of a conversion from raw to VHD, 64 MiB of data",
        "size of the disk in GiB",
        "MiB at the peak",
        [("disk-stream", ours), ("qemu-img", qemu)],
    )
}

/// The most memory that a program took, as it was last seen before its end.
fn peak_of(program: &str, arguments: &[&str]) -> Option<u64> {
    let mut child = Command::new(program).args(arguments).stdout(Stdio::null()).spawn().ok()?;
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    loop {
        let mut text = String::new();
        let _ = File::open(&status).and_then(|mut file| file.read_to_string(&mut text));
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
        peak = peak.max(kilobytes.unwrap_or(0) * 1024);
        if let Some(status) = child.try_wait().ok()? {
            return status.success().then_some(peak);
        }
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// So much is in each of the disks that are sent at the same time.
const STREAMED: u64 = 64 * MIB;

async fn streams(files: &Path) -> Curve {
    let image = files.join("streamed.raw");
    sparse(&image, STREAMED, STREAMED);
    let (mut at_once, mut in_turn) = (Vec::new(), Vec::new());
    for disks in DISKS {
        let pool = Pool::start(1, 0).await;
        let start = Instant::now();
        let mut imports = JoinSet::new();
        for _ in 0..disks {
            imports.spawn(import(pool.client.clone(), image.clone()));
        }
        imports.join_all().await;
        at_once.push((disks as f64, start.elapsed().as_secs_f64()));
        let start = Instant::now();
        for _ in 0..disks {
            import(pool.client.clone(), image.clone()).await;
        }
        in_turn.push((disks as f64, start.elapsed().as_secs_f64()));
    }
    curve(
        "streams",
        "Disks with 64 MiB of data sent to one host",
        "disks",
        "seconds for all",
        [("at the same time", at_once), ("one after the other", in_turn)],
    )
}

async fn import(client: Client, image: PathBuf) {
    let sr = client.all::<Sr>().await.expect("SRs");
    let sr = client
        .all_by_name_label::<Sr>("Local storage")
        .await
        .ok()
        .and_then(|mut named| named.pop())
        .or_else(|| sr.into_iter().next());
    let image = Image::open(&image, Declared::Raw).await.expect("an image");
    let call = vdi::Create {
        name_label: "streamed".into(),
        sr: sr.expect("an SR"),
        virtual_size: STREAMED as i64,
        r#type: VdiType::User,
        ..vdi::Create::default()
    };
    let vdi = client.call(call).await.expect("a VDI");
    let body = image.vhd_body(Upload::default()).await.expect("a body");
    client.import_vdi(&vdi, ImportFormat::Vhd, body).await.expect("an import");
}

fn curve<const N: usize>(
    name: &'static str,
    title: &'static str,
    size: &'static str,
    cost: &'static str,
    series: [(&str, Vec<(f64, f64)>); N],
) -> Curve {
    let series = series.into_iter().filter(|(_, points)| !points.is_empty());
    let series = series.map(|(name, points)| Series { name: name.into(), points }).collect();
    Curve { name, title, size, cost, series }
}
