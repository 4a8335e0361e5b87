//! Guests in QEMU end with the simulator, however it ends.
//!
//! Skipped, visibly, where QEMU is not installed; a failure with `CI=true`.

#![allow(missing_docs, unreachable_pub, reason = "a test is no library")]

#[path = "storage/client.rs"]
#[allow(dead_code, reason = "each test uses a part of this")]
mod client;

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use client::Client;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

const QEMU: &str = "/usr/bin/qemu-system-x86_64";

#[expect(clippy::print_stderr, reason = "a skip must be seen")]
fn qemu_is_missing() -> bool {
    let missing = !fs::exists(QEMU).unwrap();
    assert!(!missing || std::env::var("CI").as_deref() != Ok("true"), "{QEMU} is not installed");
    if missing {
        eprintln!("skipped: {QEMU} is not installed");
    }
    missing
}

fn simulator() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xapi-simulator"));
    command.args(["--listen", "127.0.0.1:0", "--boot", "qemu-tcg"]).stdout(Stdio::piped()).kill_on_drop(true);
    command
}

/// The program, and a client of it.
async fn start() -> (Child, Client) {
    start_in(&std::env::temp_dir()).await
}

/// The same, with what is temporary in a directory.
async fn start_in(scratch: &Path) -> (Child, Client) {
    let mut child = simulator().env("TMPDIR", scratch).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let url = lines.next_line().await.unwrap().expect("the URL is the first line");
    (child, Client::log_in(&url).await)
}

/// A VM without anything to boot from, and its uuid.
async fn create_vm(client: &Client) -> (Value, String) {
    let memory = (64 << 20).to_string();
    let vm = json!({
        "name_label": "a, guest", "name_description": "", "user_version": "1", "is_a_template": false,
        "affinity": "OpaqueRef:NULL", "memory_static_max": memory, "memory_dynamic_max": memory,
        "memory_dynamic_min": memory, "memory_static_min": "0", "VCPUs_params": {}, "VCPUs_max": "1",
        "VCPUs_at_startup": "1", "actions_after_shutdown": "destroy", "actions_after_reboot": "restart",
        "actions_after_crash": "destroy", "PV_bootloader": "", "PV_kernel": "", "PV_ramdisk": "", "PV_args": "",
        "PV_bootloader_args": "", "PV_legacy_args": "", "HVM_boot_policy": "BIOS order",
        "HVM_boot_params": {"order": "dc"}, "platform": {}, "PCI_bus": "", "other_config": {},
        "recommendations": "", "xenstore_data": {},
    });
    let vm = client.call("VM.create", [vm]).await;
    let uuid = client.call("VM.get_uuid", [vm.clone()]).await.as_str().unwrap().to_owned();
    (vm, uuid)
}

/// The processes with this VM's machine: QEMU, and the shell that watches over it.
fn processes(uuid: &str) -> Vec<String> {
    let entries = fs::read_dir("/proc").unwrap();
    // Processes end while they are listed.
    let lines = entries.filter_map(|entry| fs::read(entry.ok()?.path().join("cmdline")).ok());
    lines.map(|line| String::from_utf8_lossy(&line).into_owned()).filter(|line| line.contains(uuid)).collect()
}

async fn until_gone(uuid: &str) {
    while !processes(uuid).is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_simulator_that_is_killed_takes_its_guests_along() {
    if qemu_is_missing() {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let (mut simulator, client) = start_in(scratch.path()).await;
    let (vm, uuid) = create_vm(&client).await;
    client.call("VM.start", [vm.clone(), json!(false), json!(false)]).await;
    let left = || fs::read_dir(scratch.path()).unwrap().count();
    assert_eq!(left(), 1, "the machine's sockets are in a directory");
    assert!(processes(&uuid).iter().any(|line| line.starts_with(QEMU)), "{:?}", processes(&uuid));
    // What only Xen's tools in the guest make possible.
    let refused = client.try_call("VM.suspend", [vm]).await.unwrap_err();
    assert_eq!(refused[0], "VM_LACKS_FEATURE", "{refused}");
    simulator.kill().await.unwrap();
    until_gone(&uuid).await;
    assert_eq!(left(), 0, "whoever watched over the machine has tidied up");
}

#[tokio::test]
async fn a_machine_that_is_killed_is_a_guest_that_has_crashed() {
    if qemu_is_missing() {
        return;
    }
    let (_simulator, client) = start().await;
    let (vm, uuid) = create_vm(&client).await;
    client.call("VM.start", [vm.clone(), json!(true), json!(false)]).await;
    assert_eq!(client.call("VM.get_power_state", [vm.clone()]).await, "Paused");
    for entry in fs::read_dir("/proc").unwrap() {
        let process = entry.unwrap();
        let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
        if line.starts_with(QEMU.as_bytes()) && String::from_utf8_lossy(&line).contains(&uuid) {
            let pid = process.file_name().into_string().unwrap();
            assert!(Command::new("kill").args(["-9", &pid]).status().await.unwrap().success());
        }
    }
    while client.call("VM.get_power_state", [vm.clone()]).await != "Halted" {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    until_gone(&uuid).await;
    let messages = client.call("message.get_all_records", []).await;
    let messages = messages.as_object().unwrap().values();
    assert!(
        messages
            .into_iter()
            .any(|message| message["name"] == "VM_CRASHED" && message["obj_uuid"] == uuid.as_str())
    );
}

#[tokio::test]
async fn without_qemu_the_package_is_named() {
    let output = simulator().env("PATH", "/nowhere").stderr(Stdio::piped()).output().await.unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("qemu-system-x86_64 is not installed") && said.contains("package qemu-system-x86"),
        "{said}"
    );
}
