//! Disks of a simulated pool over NBD, and qemu's opinion of the simulator.

mod support;

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use tokio::net::TcpStream;
use xapi_simulator::fault::Fault;
use xapi_simulator::{Simulator, World};
use xenapi_client::{Client, Config, ErrorKind, ImportFormat, NbdSecurity, private_connect_fn};
use xenapi_types::{Network, NetworkPurpose, Pif, Sr, Vbd, Vdi, VdiType, network, vdi};
use xenapi_wire::Ref;

const MIB: usize = 1 << 20;

struct Bench {
    simulator: Arc<Simulator>,
    nbd: SocketAddr,
    client: Client,
}

/// A pool that serves NBD, and a client whose NBD connections end at `there` instead if that is given.
async fn bench(there: Option<SocketAddr>) -> Bench {
    let simulator = Arc::new(Simulator::builder().world(World::demo()).password("pw").build().await.unwrap());
    let nbd = simulator.listen_nbd("127.0.0.1:0").await.unwrap();
    let url = simulator.listen("127.0.0.1:0").await.unwrap();
    let config = Config::new(&url, "root", "pw").unwrap().timeouts(support::timeouts());
    let connector = private_connect_fn(move |endpoint| {
        let to = (endpoint.host().unwrap().to_owned(), endpoint.port().unwrap());
        let to =
            there.filter(|_| to.1 == nbd.port()).map_or(to, |there| (there.ip().to_string(), there.port()));
        async move { TcpStream::connect(to).await }
    });
    Bench { simulator, nbd, client: Client::over(config, connector).unwrap() }
}

impl Bench {
    async fn mark(&self, value: NetworkPurpose) {
        let pif = self.client.all_records::<Pif>().await.unwrap().into_values().next().unwrap();
        let network: Ref<Network> = pif.network;
        self.client.call(network::AddPurpose { network, value }).await.unwrap();
    }

    async fn disk(&self, content: &[u8]) -> Ref<Vdi> {
        let create = vdi::Create {
            name_label: "disk".to_owned(),
            sr: self.client.by_name_label::<Sr>("Local storage").await.unwrap(),
            virtual_size: i64::try_from(content.len()).unwrap(),
            r#type: VdiType::User,
            ..vdi::Create::default()
        };
        let vdi = self.client.call(create).await.unwrap();
        let body = Full::new(Bytes::copy_from_slice(content));
        self.client.import_vdi(&vdi, ImportFormat::Raw, body).await.unwrap();
        vdi
    }

    /// Waits until the disk is let go of and no session but the client's is left.
    async fn quiet(&self) {
        let mut changes = self.simulator.core().db().subscribe();
        let counts = || self.simulator.core().db().read(|v| (v.count("session"), v.count("VBD")));
        while counts() != (1, 0) {
            changes.changed().await.unwrap();
        }
        assert_eq!(self.client.all::<Vbd>().await.unwrap(), []);
    }
}

/// Ten MiB, with holes.
fn content() -> Vec<u8> {
    let mut state = 77_u32;
    let mut bytes = vec![0; 10 * MIB];
    for piece in bytes.chunks_mut(3 * MIB) {
        for byte in piece.iter_mut().take(70_001) {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *byte = (state >> 24) as u8;
        }
    }
    bytes
}

#[tokio::test]
async fn a_disk_is_read_over_tls() {
    let bench = bench(None).await;
    bench.mark(NetworkPurpose::Nbd).await;
    let content = content();
    let vdi = bench.disk(&content).await;
    let mut disk = bench.client.open_nbd(&vdi, NbdSecurity::Tls).await.unwrap();
    assert_eq!(disk.size(), content.len() as u64);
    for (offset, len) in [(0, 512), (3 * MIB - 5, 70_010), (MIB, 5 * MIB), (content.len() - 1, 1), (9, 0)] {
        let mut buffer = vec![0xaa; len];
        disk.read_at(offset as u64, &mut buffer).await.unwrap();
        assert!(buffer == content[offset..offset + len], "{len} bytes at {offset}");
    }
    let error = disk.read_at(content.len() as u64 - 1, &mut [0; 2]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    let (mut whole, mut told) = (Vec::new(), 0);
    disk.copy_to(&mut whole, |bytes| told = bytes).await.unwrap();
    assert!(whole == content);
    assert_eq!(told, content.len() as u64);
    disk.close().await;
    bench.quiet().await;
    // And one that is only dropped.
    drop(bench.client.open_nbd(&vdi, NbdSecurity::Tls).await.unwrap());
    bench.quiet().await;
}

#[tokio::test]
async fn plain_connections_must_be_wanted() {
    let bench = bench(None).await;
    let vdi = bench.disk(&[7; 4096]).await;
    let error = bench.client.open_nbd(&vdi, NbdSecurity::Tls).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    bench.mark(NetworkPurpose::InsecureNbd).await;
    let error = bench.client.open_nbd(&vdi, NbdSecurity::Tls).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Untrusted, "{error}");
    let mut disk = bench.client.open_nbd(&vdi, NbdSecurity::Plain).await.unwrap();
    let mut begin = [0; 4096];
    disk.read_at(0, &mut begin).await.unwrap();
    assert_eq!(begin, [7; 4096]);
    disk.close().await;
    bench.quiet().await;
}

#[tokio::test]
async fn another_server_is_not_believed() {
    let other = bench(None).await;
    other.mark(NetworkPurpose::Nbd).await;
    let bench = bench(Some(other.nbd)).await;
    bench.mark(NetworkPurpose::Nbd).await;
    let vdi = bench.disk(&[7; 4096]).await;
    let error = bench.client.open_nbd(&vdi, NbdSecurity::Tls).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Untrusted, "{error}");
    bench.quiet().await;
}

/// A host that attaches no disk any more, as its storage hangs.
#[tokio::test]
async fn a_host_that_tells_nothing_of_a_disk_is_not_waited_for() {
    let bench = bench(None).await;
    bench.mark(NetworkPurpose::Nbd).await;
    let vdi = bench.disk(&[7; 4096]).await;
    bench.simulator.faults().on("VDI.get_nbd_info", Fault::Hang);
    let client = bench.client.with_deadline(Duration::from_secs(2));
    let opening = tokio::time::timeout(Duration::from_secs(60), client.open_nbd(&vdi, NbdSecurity::Tls));
    let error = opening.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    bench.simulator.faults().clear();
    bench.quiet().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_seventeenth_client_is_turned_away() {
    let bench = bench(None).await;
    bench.mark(NetworkPurpose::InsecureNbd).await;
    let vdi = bench.disk(&[7; 4096]).await;
    let mut open = Vec::new();
    for _ in 0..16 {
        open.push(bench.client.open_nbd(&vdi, NbdSecurity::Plain).await.unwrap());
    }
    let error = bench.client.open_nbd(&vdi, NbdSecurity::Plain).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
    for disk in open {
        disk.close().await;
    }
    bench.quiet().await;
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::print_stderr, reason = "a skip must be seen")]
async fn qemu_reads_the_simulators_disks() {
    if Command::new("qemu-img").arg("--version").output().is_err() {
        assert!(std::env::var_os("CI").is_none(), "qemu-img is missing");
        eprintln!("skipped: qemu-img is missing");
        return;
    }
    let bench = bench(None).await;
    bench.mark(NetworkPurpose::InsecureNbd).await;
    let content = content();
    let vdi = bench.disk(&content).await;
    let info = bench.client.call(vdi::GetNbdInfo { vdi }).await.unwrap().remove(0);
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("disk.raw");
    let source = format!("driver=nbd,host={},port={},export={}", info.address, info.port, info.exportname);
    let path = target.clone();
    let output = tokio::task::spawn_blocking(move || {
        let mut qemu = Command::new("qemu-img");
        qemu.args(["convert", "--image-opts", &source, "-O", "raw"]).arg(path).output()
    });
    let output = output.await.unwrap().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(std::fs::read(&target).unwrap() == content);
    bench.quiet().await;
}
