//! Disks over the wire: uploads, downloads, chains and limits, with nothing but sockets on the client's side.

#![allow(
    clippy::print_stderr,
    missing_docs,
    unreachable_pub,
    reason = "a test is no library, and a skip is to be seen"
)]

mod client;

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use vhd::Layout;
use vhd::format::Timestamp;
use vhd::layout::{Dialect, Parameters, Segment};
use xapi_simulator::fault::Fault;
use xapi_simulator::{Simulator, World};
use xenapi_types::archive::{self, PieceName};

use client::Client;

const BLOCK: usize = 2 << 20;

async fn pool() -> (Simulator, Client) {
    let simulator = Simulator::builder().world(World::demo()).build().await.unwrap();
    let url = simulator.listen("127.0.0.1:0").await.unwrap();
    (simulator, Client::log_in(&url).await)
}

impl Client {
    async fn sr(&self, name: &str) -> String {
        let found = self.call("SR.get_by_name_label", [json!(name)]).await;
        found[0].as_str().unwrap().to_owned()
    }

    /// Makes a thin or thick SR of this size.
    async fn new_sr(&self, kind: &str, size: u64) -> String {
        let host = self.call("host.get_all", []).await[0].clone();
        let config = json!({"device": "/dev/sdb"});
        let args = [host, config, json!(size), json!("small"), json!(""), json!(kind), json!("user")];
        let sr = self.call("SR.create", args.into_iter().chain([json!(false), json!({})])).await;
        sr.as_str().unwrap().to_owned()
    }

    async fn vdi(&self, sr: &str, size: u64) -> String {
        let vdi = self.call("VDI.create", [vdi_record(sr, size)]).await;
        vdi.as_str().unwrap().to_owned()
    }

    async fn get(&self, class: &str, object: &str) -> Value {
        self.call(&format!("{class}.get_record"), [json!(object)]).await
    }

    async fn snapshot(&self, vdi: &str) -> String {
        self.call("VDI.snapshot", [json!(vdi), json!({})]).await.as_str().unwrap().to_owned()
    }

    /// Uploads and returns the task's record.
    async fn import(&self, vdi: &str, query: &str, body: &[u8]) -> Value {
        let task = self.call("task.create", [json!("import"), json!("")]).await;
        let task = task.as_str().unwrap();
        self.put(&format!("/import_raw_vdi?vdi={vdi}&{query}&task_id={task}"), &[body]).await;
        self.finished(task).await
    }

    /// Downloads; the task must end well.
    async fn export(&self, vdi: &str, query: &str) -> Vec<u8> {
        let task = self.call("task.create", [json!("export"), json!("")]).await;
        let task = task.as_str().unwrap();
        let mut all = Vec::new();
        let path = format!("/export_raw_vdi?vdi={vdi}&{query}&task_id={task}");
        self.download(&path, |bytes| all.extend_from_slice(bytes)).await;
        assert_eq!(self.finished(task).await["status"], "success");
        all
    }

    async fn finished(&self, task: &str) -> Value {
        loop {
            let record = self.get("task", task).await;
            if record["status"] != "pending" {
                return record;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn vdi_record(sr: &str, size: u64) -> Value {
    json!({"SR": sr, "virtual_size": size, "type": "user", "sharable": false, "read_only": false,
           "other_config": {}, "name_label": "disk"})
}

#[track_caller]
fn assert_failed(task: &Value, code: &str) {
    assert_eq!(task["status"], "failure", "{task}");
    assert_eq!(task["error_info"][0], code, "{task}");
}

/// A disk whose content is known at every place: every `step`-th block has data.
struct Image {
    size: u64,
    step: u64,
    noise: Vec<u8>,
}

impl Image {
    fn new(size: u64, step: u64) -> Self {
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        let words = (0..2 * BLOCK / 8).flat_map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        });
        Self { size, step, noise: words.collect() }
    }

    fn block(&self, index: u64) -> Option<&[u8]> {
        let at = (index as usize * 4096) % BLOCK;
        index.is_multiple_of(self.step).then(|| &self.noise[at..at + BLOCK])
    }

    fn blocks(&self) -> u64 {
        self.size / BLOCK as u64
    }

    fn data_bytes(&self) -> u64 {
        self.blocks().div_ceil(self.step) * BLOCK as u64
    }

    fn vhd(&self) -> Vec<u8> {
        let parameters = Parameters {
            virtual_size: self.size,
            uuid: uuid::Uuid::from_u128(7),
            timestamp: Timestamp(0),
            dialect: Dialect::XenapiRs,
        };
        let extents = (0..self.blocks()).step_by(self.step as usize);
        let extents = extents.map(|index| index * BLOCK as u64..(index + 1) * BLOCK as u64);
        let layout = Layout::dynamic_from_extents(&parameters, extents).unwrap();
        let mut out = Vec::with_capacity(layout.stream_len() as usize);
        for segment in layout.into_segments() {
            match segment {
                Segment::Meta(bytes) => out.extend_from_slice(&bytes),
                Segment::Zeros { len } => out.resize(out.len() + len as usize, 0),
                Segment::Payload { virtual_offset, len } => {
                    let (index, at) = (virtual_offset / BLOCK as u64, virtual_offset as usize % BLOCK);
                    out.extend_from_slice(&self.block(index).unwrap()[at..at + len as usize]);
                }
            }
        }
        out
    }

    /// Downloads a disk and compares it with this.
    async fn check_raw(&self, client: &Client, vdi: &str) {
        let zeros = vec![0; BLOCK];
        let (mut at, mut equal) = (0u64, true);
        client
            .download(&format!("/export_raw_vdi?vdi={vdi}&format=raw"), |mut bytes| {
                while !bytes.is_empty() {
                    let (index, offset) = (at / BLOCK as u64, at as usize % BLOCK);
                    let len = bytes.len().min(BLOCK - offset);
                    let expected = self.block(index).unwrap_or(&zeros);
                    equal &= bytes[..len] == expected[offset..offset + len];
                    at += len as u64;
                    bytes = &bytes[len..];
                }
            })
            .await;
        assert!(equal, "the content differs");
        assert_eq!(at, self.size);
    }
}

fn rate(what: &str, bytes: u64, since: Instant) {
    let seconds = since.elapsed().as_secs_f64();
    eprintln!("{what}: {} MB in {seconds:.2} s, {:.0} MB/s", bytes / 1_000_000, bytes as f64 / 1e6 / seconds);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_sparse_disk_goes_in_and_comes_out_equal() {
    let (_simulator, client) = pool().await;
    let image = Image::new(4 << 30, 14);
    let stream = image.vhd();
    for name in ["Local storage", "Local LVM"] {
        let sr = client.sr(name).await;
        let vdi = client.vdi(&sr, image.size).await;
        let begun = Instant::now();
        let task = client.import(&vdi, "format=vhd", &stream).await;
        assert_eq!(task["status"], "success", "{task}");
        assert_eq!(task["result"], format!("<value>{vdi}</value>"));
        rate(&format!("{name}: VHD in"), image.data_bytes(), begun);
        let begun = Instant::now();
        let exported = client.export(&vdi, "format=vhd").await;
        rate(&format!("{name}: VHD out"), image.data_bytes(), begun);
        // XAPI has a sector between header and table.
        assert_eq!(exported.len(), stream.len() + 512);
        let (table, first) = (1536 + 8 * 1024, 2048 + 8 * 1024);
        assert!(exported[first..exported.len() - 512] == stream[table..stream.len() - 512]);
        let begun = Instant::now();
        image.check_raw(&client, &vdi).await;
        rate(&format!("{name}: raw out"), image.size, begun);
        assert_eq!(client.call("VBD.get_all", []).await.as_array().unwrap().len(), 0, "a VBD was left");
    }
    // Raw: every byte goes over the wire and is allocated.
    let sr = client.sr("Local storage").await;
    let vdi = client.vdi(&sr, image.size).await;
    let zeros = vec![0; BLOCK];
    let body: Vec<&[u8]> = (0..image.blocks()).map(|index| image.block(index).unwrap_or(&zeros)).collect();
    let begun = Instant::now();
    client.put(&format!("/import_raw_vdi?vdi={vdi}&format=raw"), &body).await;
    rate("raw in", image.size, begun);
    image.check_raw(&client, &vdi).await;
    client.call("VDI.update", [json!(vdi)]).await;
    assert!(client.get("VDI", &vdi).await["physical_utilisation"].as_u64().unwrap() > image.size);
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_share_a_base_copy_and_deltas_rebuild_disks() {
    let (simulator, client) = pool().await;
    for name in ["Local storage", "Local LVM"] {
        let before = simulator.snapshot_of_objects();
        let sr = client.sr(name).await;
        let size = 32 << 20;
        let image = Image::new(size, 4);
        let vdi = client.vdi(&sr, size).await;
        assert_eq!(client.import(&vdi, "format=vhd", &image.vhd()).await["status"], "success");
        let snapshot = client.snapshot(&vdi).await;
        let (source, copy) = (client.get("VDI", &vdi).await, client.get("VDI", &snapshot).await);
        let parent = source["sm_config"]["vhd-parent"].as_str().expect("no base copy");
        assert_eq!(copy["sm_config"]["vhd-parent"], parent);
        assert_eq!((&copy["is_a_snapshot"], &copy["snapshot_of"]), (&json!(true), &json!(vdi)));
        let base = client.call("VDI.get_by_uuid", [json!(parent)]).await;
        let base = base.as_str().unwrap().to_owned();
        let record = client.get("VDI", &base).await;
        assert_eq!((&record["managed"], &record["name_label"]), (&json!(false), &json!("base copy")));

        // What is written afterwards is in the delta, and only that.
        let chunk = [&(3u64 << 20).to_le_bytes()[..], &512u32.to_le_bytes(), &[9; 512], &[0; 12]].concat();
        let task = client.import(&vdi, "format=raw&chunked=true", &chunk).await;
        assert_eq!(task["status"], "success", "{task}");
        let later = client.snapshot(&vdi).await;
        let delta = client.export(&later, &format!("format=vhd&base={snapshot}")).await;
        assert_eq!(delta.len(), 2048 + 512 + 512 + BLOCK + 512);
        let whole = client.export(&snapshot, "format=vhd").await;
        let rebuilt = client.vdi(&sr, size).await;
        for stream in [&whole, &delta] {
            assert_eq!(client.import(&rebuilt, "format=vhd", stream).await["status"], "success");
        }
        let expected = client.export(&later, "format=raw").await;
        assert!(client.export(&rebuilt, "format=raw").await == expected);
        image.check_raw(&client, &snapshot).await;

        // Base copies go with the last disk that needs them.
        for disk in [&vdi, &snapshot, &later, &rebuilt] {
            client.call("VDI.destroy", [json!(disk)]).await;
        }
        assert_eq!(simulator.snapshot_of_objects(), before, "something was left");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_sr_says_so() {
    let (_simulator, client) = pool().await;
    let thick = client.new_sr("lvm", 64 << 20).await;
    client.vdi(&thick, 32 << 20).await;
    let failure = client.try_call("VDI.create", [vdi_record(&thick, 32 << 20)]).await.unwrap_err();
    assert_eq!(failure[0], "SR_BACKEND_FAILURE_44");

    let thin = client.new_sr("ext", 16 << 20).await;
    let vdi = client.vdi(&thin, 64 << 20).await;
    let image = Image::new(64 << 20, 2);
    assert_failed(&client.import(&vdi, "format=vhd", &image.vhd()).await, "VDI_IO_ERROR");
    let failure = client.try_call("VDI.create", [vdi_record(&thin, 2 << 20)]).await.unwrap_err();
    assert_eq!(failure[0], "SR_BACKEND_FAILURE_44");
    // Room again once the disk is gone.
    client.call("VDI.destroy", [json!(vdi)]).await;
    client.vdi(&thin, 2 << 20).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn disjoint_chunks_of_one_disk_may_come_at_once() {
    let (_simulator, client) = pool().await;
    let sr = client.sr("Local storage").await;
    let vdi = client.vdi(&sr, 64 << 20).await;
    let image = Image::new(64 << 20, 1);
    let chunks = |lane: u64| {
        let mut body = Vec::new();
        for index in (lane..image.blocks()).step_by(4) {
            body.extend_from_slice(&(index * BLOCK as u64).to_le_bytes());
            body.extend_from_slice(&(BLOCK as u32).to_le_bytes());
            body.extend_from_slice(image.block(index).unwrap());
        }
        body.resize(body.len() + 12, 0);
        body
    };
    let bodies = [chunks(0), chunks(1), chunks(2), chunks(3)];
    let uploads = bodies.iter().map(|body| client.import(&vdi, "format=raw&chunked=true", body));
    let [a, b, c, d]: [_; 4] = uploads.collect::<Vec<_>>().try_into().ok().unwrap();
    let (a, b, c, d) = tokio::join!(a, b, c, d);
    for task in [a, b, c, d] {
        assert_eq!(task["status"], "success", "{task}");
    }
    image.check_raw(&client, &vdi).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_upload_fails_its_task_and_leaves_no_vbd() {
    let (simulator, client) = pool().await;
    let sr = client.sr("Local storage").await;
    let image = Image::new(64 << 20, 2);
    let stream = image.vhd();
    let vdi = client.vdi(&sr, image.size).await;
    let before = simulator.snapshot_of_objects();
    // The client hangs up.
    let half = &stream[..stream.len() / 2];
    let task = client.call("task.create", [json!("import"), json!("")]).await;
    let task = task.as_str().unwrap();
    let path = format!("/import_raw_vdi?vdi={vdi}&format=vhd&task_id={task}");
    client.put_and_hang_up(&path, stream.len(), half).await;
    assert_failed(&client.finished(task).await, "VDI_IO_ERROR");
    // The server does.
    simulator.faults().on("/import_raw_vdi", Fault::DropAfterBytes(3 << 20));
    assert_failed(&client.import(&vdi, "format=vhd", &stream).await, "VDI_IO_ERROR");
    assert_eq!(simulator.snapshot_of_objects(), before);
    // Neither hinders the next attempt.
    assert_eq!(client.import(&vdi, "format=vhd", &stream).await["status"], "success");
    image.check_raw(&client, &vdi).await;
}

/// The archive form of pieces of a disk, each a MiB of this byte.
fn tar(pieces: &[(u64, u8)]) -> Vec<u8> {
    let piece = |&(index, byte): &(u64, u8)| {
        archive::piece(PieceName { disk: "vdi", index }, &vec![byte; 1 << 20]).unwrap()
    };
    let mut tar: Vec<u8> = pieces.iter().flat_map(piece).collect();
    tar.extend_from_slice(&archive::END);
    tar
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_fills_a_disk() {
    let (simulator, client) = pool().await;
    let sr = client.sr("Local storage").await;
    let vdi = client.vdi(&sr, 4 << 20).await;
    let before = simulator.snapshot_of_objects();
    let whole = tar(&[(0, 1), (2, 3), (3, 0)]);
    assert_eq!(client.import(&vdi, "format=tar", &whole).await["status"], "success");
    // As old hosts wrote them, and what is left out stays.
    let old = |byte: u8| {
        let mut old = archive::member("vdi/00000001", &vec![byte; 1 << 20], 0).unwrap();
        let sha1 = b"3134e35b72775a28d7e7242e077709af45c3b9e9";
        old.extend(archive::member("vdi/00000001.checksum", sha1, 0).unwrap());
        old.extend_from_slice(&archive::END);
        old
    };
    assert_eq!(client.import(&vdi, "format=tar", &old(2)).await["status"], "success");
    let refused = client.import(&vdi, "format=tar", &old(4)).await;
    assert_failed(&refused, "IMPORT_ERROR_SOME_CHECKSUMS_FAILED");
    let bytes = client.export(&vdi, "format=raw").await;
    let kinds: Vec<u8> = bytes.chunks(1 << 20).map(|piece| piece[piece.len() / 2]).collect();
    // The damaged piece, too: only its task tells.
    assert_eq!(kinds, [1, 4, 3, 0]);
    assert!(bytes.chunks(1 << 20).all(|piece| piece.iter().all(|byte| *byte == piece[0])));

    let mut foreign = archive::member("readme", b"hello", 0).unwrap();
    foreign.extend_from_slice(&archive::END);
    for (body, code) in [
        (tar(&[(4, 1)]), "IMPORT_ERROR_UNEXPECTED_FILE"),
        (tar(&[(2, 1), (1, 1)]), "IMPORT_ERROR_UNEXPECTED_FILE"),
        (foreign, "IMPORT_ERROR_UNEXPECTED_FILE"),
        (b"j".repeat(4_096), "IMPORT_ERROR_PREMATURE_EOF"),
    ] {
        assert_failed(&client.import(&vdi, "format=tar", &body).await, code);
    }
    let task = client.call("task.create", [json!("import"), json!("")]).await;
    let task = task.as_str().unwrap();
    let path = format!("/import_raw_vdi?vdi={vdi}&format=tar&task_id={task}");
    client.put_and_hang_up(&path, whole.len(), &whole[..1 << 20]).await;
    assert_failed(&client.finished(task).await, "IMPORT_ERROR_PREMATURE_EOF");
    assert_eq!(simulator.snapshot_of_objects(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn disks_outlive_the_process() {
    let state = tempfile::tempdir().unwrap();
    let image = Image::new(16 << 20, 3);
    let start = async || {
        let builder = Simulator::builder().world(World::demo()).state_dir(state.path());
        let simulator = builder.build().await.unwrap();
        let url = simulator.listen("127.0.0.1:0").await.unwrap();
        (simulator, Client::log_in(&url).await)
    };
    let (snapshot, vdi) = {
        let (simulator, client) = start().await;
        let vdi = client.vdi(&client.sr("Local storage").await, image.size).await;
        assert_eq!(client.import(&vdi, "format=vhd", &image.vhd()).await["status"], "success");
        let snapshot = client.snapshot(&vdi).await;
        simulator.shutdown().unwrap();
        (snapshot, vdi)
    };
    let (_simulator, client) = start().await;
    for disk in [&snapshot, &vdi] {
        image.check_raw(&client, disk).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_go_to_another_sr() {
    let (_simulator, client) = pool().await;
    let (ext, lvm) = (client.sr("Local storage").await, client.sr("Local LVM").await);
    let image = Image::new(64 << 20, 3);
    let vdi = client.vdi(&ext, image.size).await;
    assert_eq!(client.import(&vdi, "format=vhd", &image.vhd()).await["status"], "success");
    let copy = client.call("VDI.copy", [json!(vdi), json!(lvm)]).await;
    let copy = copy.as_str().unwrap();
    assert_eq!(client.get("VDI", copy).await["SR"], json!(lvm));
    image.check_raw(&client, copy).await;
    let clone = client.call("VDI.clone", [json!(copy), json!({})]).await;
    image.check_raw(&client, clone.as_str().unwrap()).await;
    // Into a disk that holds other data, zeros are written too.
    let target = client.vdi(&lvm, image.size).await;
    let noise = Image::new(image.size, 1);
    assert_eq!(client.import(&target, "format=vhd", &noise.vhd()).await["status"], "success");
    let null = json!("OpaqueRef:NULL");
    client.call("VDI.copy", [json!(vdi), null.clone(), null, json!(target)]).await;
    image.check_raw(&client, &target).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_does_not_read_as_zeros_takes_no_vhd() {
    let (_simulator, client) = pool().await;
    let sr = client.sr("Local LVM").await;
    let image = Image::new(16 << 20, 3);
    let mut record = vdi_record(&sr, image.size);
    record["sm_config"] = json!({"type": "raw"});
    let vdi = client.call("VDI.create", [record]).await;
    let vdi = vdi.as_str().unwrap();
    assert_eq!(client.get("VDI", vdi).await["sm_config"]["type"], "raw");
    assert_failed(&client.import(vdi, "format=vhd", &image.vhd()).await, "VDI_IO_ERROR");
    let raw: Vec<u8> = (0..image.blocks())
        .flat_map(|index| image.block(index).map_or_else(|| vec![0; BLOCK], <[u8]>::to_vec))
        .collect();
    assert_eq!(client.import(vdi, "format=raw", &raw).await["status"], "success");
    image.check_raw(&client, vdi).await;
    // Exported as a VHD, it is looked at for zeros.
    let exported = client.export(vdi, "format=vhd").await;
    assert_eq!(
        exported.len() as u64,
        2048 + 512 + 512 + image.data_bytes() / BLOCK as u64 * (BLOCK as u64 + 512)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_does_not_see_the_disk_names_one_that_does() {
    let (simulator, client) = pool().await;
    let sr = client.sr("Local storage").await;
    let vdi = client.vdi(&sr, 4 << 20).await;
    let moved = simulator.core().db().write(|tx| {
        let host = tx.create("host", [("address", "192.0.2.7".into())]);
        let pbd = tx.objects("PBD").find(|pbd| pbd.str("SR") == sr).unwrap().reference().to_owned();
        tx.set("PBD", &pbd, "host", host)
    });
    moved.unwrap();
    let task = client.call("task.create", [json!("import"), json!("")]).await;
    let task = task.as_str().unwrap();
    for (verb, path) in [("PUT", "import_raw_vdi"), ("GET", "export_raw_vdi")] {
        let target = format!("/{path}?vdi={vdi}&format=raw&task_id={task}");
        let head = client.head(verb, &target).await;
        assert!(head.starts_with("HTTP/1.1 302 Found\r\n"), "{head}");
        assert!(head.contains(&format!("\r\nLocation: https://192.0.2.7{target}")), "{head}");
    }
    assert_eq!(client.get("task", task).await["status"], "pending");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_forgets_what_was_in_progress() {
    let state = tempfile::tempdir().unwrap();
    let start = async || {
        let builder = Simulator::builder().world(World::demo()).state_dir(state.path());
        let simulator = builder.build().await.unwrap();
        let url = simulator.listen("127.0.0.1:0").await.unwrap();
        (simulator, Client::log_in(&url).await)
    };
    let vdi = {
        let (simulator, client) = start().await;
        let vdi = client.vdi(&client.sr("Local storage").await, 4 << 20).await;
        // What the state directory holds when the server dies in the middle of an upload and a resize.
        let dom0 =
            client.call("VM.get_all_records_where", [json!("field \"is_control_domain\"=\"true\"")]).await;
        let dom0 = dom0.as_object().unwrap().keys().next().unwrap().clone();
        let vbd = json!({"VM": dom0, "VDI": vdi, "userdevice": "autodetect", "bootable": false, "mode": "RW",
            "type": "Disk", "empty": false, "other_config": {"task_id": "OpaqueRef:1"},
            "qos_algorithm_type": "", "qos_algorithm_params": {}});
        let vbd = client.call("VBD.create", [vbd]).await;
        client.call("VBD.plug", [vbd]).await;
        let busy = simulator
            .core()
            .db()
            .write(|tx| tx.set_entry("VDI", &vdi, "current_operations", "OpaqueRef:2", "resize"));
        busy.unwrap();
        simulator.shutdown().unwrap();
        vdi
    };
    let (_simulator, client) = start().await;
    assert_eq!(client.call("VBD.get_all", []).await, json!([]));
    client.call("VDI.destroy", [json!(vdi)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hosts_do_not_write_one_disk() {
    let (simulator, client) = pool().await;
    let vdi = client.vdi(&client.sr("Local storage").await, 4 << 20).await;
    let other = simulator.core().db().write(|tx| {
        let host = tx.create("host", [("name_label", "second".into())]);
        let fields = [
            ("is_control_domain", true.into()),
            ("power_state", "Running".into()),
            ("resident_on", host.into()),
        ];
        Ok::<_, xenapi_wire::Failure>(tx.create("VM", fields))
    });
    let other = other.unwrap();
    let hosts =
        client.call("VM.get_all_records_where", [json!("field \"is_control_domain\"=\"true\"")]).await;
    let first = hosts.as_object().unwrap().keys().find(|vm| **vm != other).unwrap().clone();
    let plug = async |vm: &str, mode: &str| {
        let vbd = json!({"VM": vm, "VDI": vdi, "userdevice": "autodetect", "bootable": false, "mode": mode,
            "type": "Disk", "empty": false, "other_config": {}, "qos_algorithm_type": "", "qos_algorithm_params": {}});
        let vbd = client.call("VBD.create", [vbd]).await;
        (client.try_call("VBD.plug", [vbd.clone()]).await, vbd)
    };
    let (done, vbd) = plug(&first, "RW").await;
    done.unwrap();
    for mode in ["RO", "RW"] {
        assert_eq!(plug(&other, mode).await.0.unwrap_err()[0], "SR_BACKEND_FAILURE_46");
        plug(&first, mode).await.0.unwrap();
    }
    client.call("VBD.unplug", [vbd]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_memory_of_a_suspended_guest_is_a_disk() {
    let (simulator, client) = pool().await;
    let sr = client.sr("Local storage").await;
    let template = client.call("VM.get_by_name_label", [json!("Other install media")]).await[0].clone();
    let vm = client.call("VM.clone", [template, json!("guest")]).await;
    client.call("VM.provision", [vm.clone()]).await;
    let before = simulator.snapshot_of_objects();
    let image = async || client.get("VM", vm.as_str().unwrap()).await["suspend_VDI"].clone();
    client.call("VM.start", [vm.clone(), json!(false), json!(false)]).await;
    client.call("VM.suspend", [vm.clone()]).await;
    let first = image().await;
    let record = client.get("VDI", first.as_str().unwrap()).await;
    assert_eq!((&record["type"], &record["SR"]), (&json!("suspend"), &json!(sr)));
    // It is found where it is said to be.
    client.call("SR.scan", [json!(sr)]).await;
    assert_eq!(client.get("VDI", first.as_str().unwrap()).await["uuid"], record["uuid"]);
    client.call("VM.resume", [vm.clone(), json!(false), json!(false)]).await;
    assert_eq!(image().await, "OpaqueRef:NULL");
    let checkpoint = client.call("VM.checkpoint", [vm.clone(), json!("checkpoint")]).await;
    let kept = client.get("VM", checkpoint.as_str().unwrap()).await["suspend_VDI"].clone();
    client.call("SR.scan", [json!(sr)]).await;
    assert_eq!(client.get("VDI", kept.as_str().unwrap()).await["is_a_snapshot"], true);
    client.call("VM.revert", [checkpoint.clone()]).await;
    let own = image().await;
    assert!(own != kept && own != "OpaqueRef:NULL", "{own}");
    client.call("SR.scan", [json!(sr)]).await;
    client.get("VDI", own.as_str().unwrap()).await;
    // Nothing is left of it, in the pool or on disk.
    client.call("VM.hard_shutdown", [vm.clone()]).await;
    client.call("VM.destroy", [checkpoint]).await;
    if client.try_call("VDI.get_uuid", [kept.clone()]).await.is_ok() {
        client.call("VDI.destroy", [kept]).await;
    }
    client.call("SR.scan", [json!(sr)]).await;
    assert_eq!(simulator.snapshot_of_objects().get("VDI"), before.get("VDI"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_being_made_when_the_server_ends_is_never_there() {
    let state = tempfile::tempdir().unwrap();
    let simulator = Simulator::builder().world(World::demo()).state_dir(state.path()).build().await.unwrap();
    let url = simulator.listen("127.0.0.1:0").await.unwrap();
    let client = Client::log_in(&url).await;
    let sr = client.sr("Local LVM").await;
    let before = client.call("VDI.get_all", []).await;
    let folder = client.get("SR", &sr).await["uuid"].as_str().unwrap().to_owned();
    let folder = state.path().join("disks").join(folder);
    let files = || std::fs::read_dir(&folder).map_or(0, Iterator::count);
    // So large that it takes a while to write what others have left on it.
    let mut record = vdi_record(&sr, 8 << 30);
    record["sm_config"] = json!({"type": "raw"});
    let _unanswered = client.begin_call("VDI.create", [record]).await;
    while files() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    simulator.restart_toolstack();
    let client = Client::log_in(&url).await;
    while files() > 0 {
        assert_eq!(client.call("VDI.get_all", []).await, before);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(client.call("VDI.get_all", []).await, before);
}
