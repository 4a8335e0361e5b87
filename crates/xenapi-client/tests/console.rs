//! Consoles of a simulated pool, in this process and over TLS.

mod support;

use std::sync::Arc;

use support::simulated;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use xapi_simulator::Simulator;
use xapi_simulator::fault::Fault;
use xenapi_client::{Client, Config, ConsoleStream, ErrorKind, Trust};
use xenapi_types::{ConsoleProtocol, Vm, vm};
use xenapi_wire::{Failure, Ref};

struct Bench {
    simulator: Arc<Simulator>,
    client: Client,
    vm: Ref<Vm>,
}

/// A running VM, and a client without a network.
async fn bench() -> Bench {
    let simulator = simulated::demo().await;
    let client = simulated::client(&simulator, |config| config);
    let vm = started(&client).await;
    Bench { simulator, client, vm }
}

async fn started(client: &Client) -> Ref<Vm> {
    let vm = client.call(simulated::new_vm("guest")).await.unwrap();
    client.call(vm::Start { vm: vm.clone(), start_paused: false, force: false }).await.unwrap();
    vm
}

fn sessions(simulator: &Simulator) -> usize {
    simulator.core().db().read(|view| view.count("session"))
}

/// Waits for the sessions that end in the background.
async fn one_session(simulator: &Simulator) {
    let mut changes = simulator.core().db().subscribe();
    while sessions(simulator) != 1 {
        changes.changed().await.unwrap();
    }
}

/// What a viewer says first, and the name and size of the screen that it is told.
async fn greet(console: &mut ConsoleStream) -> (u16, u16, String) {
    let mut version = [0; 12];
    console.read_exact(&mut version).await.unwrap();
    assert_eq!(&version, b"RFB 003.008\n");
    console.write_all(&version).await.unwrap();
    assert_eq!((console.read_u8().await.unwrap(), console.read_u8().await.unwrap()), (1, 1));
    console.write_all(&[1]).await.unwrap();
    assert_eq!(console.read_u32().await.unwrap(), 0);
    console.write_all(&[1]).await.unwrap();
    let (width, height) = (console.read_u16().await.unwrap(), console.read_u16().await.unwrap());
    console.read_exact(&mut [0; 16]).await.unwrap();
    let mut name = vec![0; console.read_u32().await.unwrap() as usize];
    console.read_exact(&mut name).await.unwrap();
    (width, height, String::from_utf8(name).unwrap())
}

/// Asks for an area and returns its pixels.
async fn look(console: &mut ConsoleStream, incremental: bool, area: [u16; 4]) -> Vec<u8> {
    console.write_all(&[3, incremental.into()]).await.unwrap();
    for number in area {
        console.write_u16(number).await.unwrap();
    }
    pixels(console, area).await
}

async fn pixels(console: &mut ConsoleStream, area: [u16; 4]) -> Vec<u8> {
    assert_eq!(console.read_u32().await.unwrap(), 1, "one rectangle");
    for number in area {
        assert_eq!(console.read_u16().await.unwrap(), number);
    }
    assert_eq!(console.read_u32().await.unwrap(), 0, "raw");
    let mut pixels = vec![0; usize::from(area[2]) * usize::from(area[3]) * 4];
    console.read_exact(&mut pixels).await.unwrap();
    pixels
}

#[tokio::test]
async fn a_screen_is_seen_and_reacts() {
    let bench = bench().await;
    assert_eq!(sessions(&bench.simulator), 1);
    let mut screen = bench.client.vm_console(&bench.vm, ConsoleProtocol::Rfb).await.unwrap();
    assert_eq!(sessions(&bench.simulator), 2, "the console has its own session");
    let (width, height, name) = greet(&mut screen).await;
    assert_eq!(name, "guest");
    let before = look(&mut screen, false, [0, 0, width, height]).await;
    // A viewer that waits for what changes, and a key that is pressed.
    let area = [8, 8, 16, 16];
    screen.write_all(&[3, 1, 0, 8, 0, 8, 0, 16, 0, 16]).await.unwrap();
    screen.write_all(&[4, 1, 0, 0, 0, 0, 0, 0x41]).await.unwrap();
    let after = pixels(&mut screen, area).await;
    assert_ne!(before[..16], after[..16]);
    screen.close().await.unwrap();
    assert_eq!(sessions(&bench.simulator), 1);
}

#[tokio::test]
async fn a_terminal_ends_with_its_vm() {
    let bench = bench().await;
    let mut terminal = bench.client.vm_console(&bench.vm, ConsoleProtocol::Vt100).await.unwrap();
    terminal.write_all(b"hello").await.unwrap();
    let mut text = vec![0; "\r\nguest login: hello".len()];
    terminal.read_exact(&mut text).await.unwrap();
    assert_eq!(text, b"\r\nguest login: hello");
    bench.client.call(vm::HardShutdown { vm: bench.vm.clone() }).await.unwrap();
    assert_eq!(terminal.read(&mut [0; 16]).await.unwrap(), 0);
    drop(terminal);
    one_session(&bench.simulator).await;
    let error = bench.client.vm_console(&bench.vm, ConsoleProtocol::Vt100).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
}

#[tokio::test]
async fn a_console_that_is_refused_leaves_no_session() {
    let bench = bench().await;
    let console = bench.client.get_field(&bench.vm, vm::field::CONSOLES).await.unwrap().remove(0);
    let offline = Failure::new("HOST_OFFLINE", ["OpaqueRef:h"]);
    bench.simulator.faults().on("/console", Fault::Failure(offline));
    let error = bench.client.console(&console).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Failure);
    assert!(error.to_string().contains("HTTP 500") && error.to_string().contains("HOST_OFFLINE"), "{error}");
    bench.simulator.faults().on("/console", Fault::DropBefore);
    let error = bench.client.console(&console).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
    assert_eq!(sessions(&bench.simulator), 1);
}

#[tokio::test]
async fn a_console_over_tls() {
    let simulator = simulated::demo().await;
    let (url, fingerprint) = simulator.listen_tls("127.0.0.1:0").await.unwrap();
    let trust = Trust::Fingerprints(vec![fingerprint.parse().unwrap()]);
    let client = Client::new(Config::new(&url, "root", "pw").unwrap().trust(trust)).unwrap();
    let vm = started(&client).await;
    let mut screen = client.vm_console(&vm, ConsoleProtocol::Rfb).await.unwrap();
    assert_eq!(greet(&mut screen).await.2, "guest");
    screen.close().await.unwrap();
    client.close().await.unwrap();
    assert_eq!(sessions(&simulator), 0);
}
