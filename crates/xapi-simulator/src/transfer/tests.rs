//! The streams against the recordings of a real server, and against themselves.

use testdata::{Step, scenario};
use uuid::Uuid;
use vhd::format::Timestamp;

use super::{TransferError, export, import};
use crate::disk::{BLOCK, BlockMap, Disk, Overrun, Store};

struct Fixture {
    _dir: tempfile::TempDir,
    store: Store,
}

impl Fixture {
    fn new(overrun: Overrun) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), u64::MAX, overrun).unwrap();
        Self { _dir: dir, store }
    }

    fn disk(&self, len_bytes: u64) -> Disk {
        let uuid = Uuid::new_v4();
        self.store.create(uuid, len_bytes).unwrap();
        self.store.disk(uuid).unwrap()
    }
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn content_length(step: &Step) -> Option<u64> {
    let headers = &step.request.headers;
    Some(headers.get("Content-Length")?.as_str()?.parse().unwrap())
}

async fn export_raw(disk: &Disk, len_bytes: u64) -> Vec<u8> {
    let mut out = Vec::new();
    export::raw(&mut out, disk, len_bytes, &mut |_| {}).await.unwrap();
    out
}

async fn export_vhd(disk: &Disk, len_bytes: u64, blocks: &BlockMap) -> Vec<u8> {
    let mut out = Vec::new();
    export::vhd(&mut out, disk, len_bytes, blocks, None, &mut |_| {}).await.unwrap();
    out
}

/// Whether the task of a recorded upload ended well: the next record of a task says so.
fn succeeded(steps: &[Step], upload: usize) -> Option<bool> {
    let next = steps[upload + 1..]
        .iter()
        .find(|step| step.transport == "http" || step.note.starts_with("task of"))?;
    let body = next.response.body();
    let text = String::from_utf8_lossy(&body);
    next.note.starts_with("task of").then(|| text.contains("<value>success</value>"))
}

#[test]
fn recorded_vhd_uploads_end_as_recorded() {
    let scenario = scenario("import_vhd");
    let (mut uploads, mut compared) = (0, 0);
    let mut last = None;
    for (index, step) in scenario.steps.iter().enumerate() {
        if step.request.method == "PUT" {
            let fixture = Fixture::new(Overrun::Grow);
            let disk = fixture.disk(8 << 20);
            let body = step.request.body().unwrap();
            let result = run(import::vhd(&mut &body[..], content_length(step), &disk, &mut |_| {}));
            if let Some(expected) = succeeded(&scenario.steps, index) {
                assert_eq!(result.is_ok(), expected, "{}: {result:?}", step.note);
            } else {
                // No length: the server waits for a footer at the end of the disk's size.
                assert!(result.is_err(), "{}", step.note);
            }
            uploads += 1;
            last = Some((fixture, disk));
        } else if step.request.method == "GET" && step.request.path.contains("format=raw") {
            let (_, disk) = last.as_ref().unwrap();
            assert!(run(export_raw(disk, 8 << 20)) == step.response.body(), "{}", step.note);
            compared += 1;
        } else if step.request.method == "GET" {
            let (_, disk) = last.as_ref().unwrap();
            let blocks = export::nonzero_blocks(disk, 8 << 20).unwrap();
            assert_same_vhd(&run(export_vhd(disk, 8 << 20, &blocks)), &step.response.body());
            compared += 1;
        }
    }
    assert_eq!((uploads, compared), (16, 10));
}

/// Equal up to the random identity in the footers.
#[track_caller]
fn assert_same_vhd(ours: &[u8], theirs: &[u8]) {
    let masked = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        let end = bytes.len() - 512;
        for footer in [0, end] {
            bytes[footer + 64..footer + 84].fill(0);
        }
        bytes
    };
    assert_eq!(ours.len(), theirs.len());
    assert!(masked(ours) == masked(theirs));
}

#[test]
fn recorded_exports_are_reproduced() {
    let scenario = scenario("export_vdi");
    let fixture = Fixture::new(Overrun::Refuse);
    let (full, empty) = (fixture.disk(8 << 20), fixture.disk(4 << 20));
    let fill = scenario.steps.iter().find(|step| step.note == "fill").unwrap();
    let body = fill.request.body().unwrap();
    run(import::raw(&mut &body[..], Some(8 << 20), &full, &mut |_| {})).unwrap();
    for (note, disk) in [("", &full), ("empty disk, ", &empty)] {
        let len = disk.len_bytes();
        let recorded = |format: &str| {
            let note = format!("{note}format {format}");
            scenario.steps.iter().find(|s| s.note == note && s.transport == "http").unwrap().response.body()
        };
        assert!(run(export_raw(disk, len)) == recorded("raw"));
        let blocks = export::nonzero_blocks(disk, len).unwrap();
        assert_same_vhd(&run(export_vhd(disk, len, &blocks)), &recorded("vhd"));
        let mut tar = Vec::new();
        run(export::tar(&mut tar, disk, len, &mut |_| {})).unwrap();
        assert!(tar == recorded("tar"), "{note}tar");
    }
}

#[test]
fn recorded_raw_uploads_end_as_recorded() {
    let scenario = scenario("import_raw");
    let fixture = Fixture::new(Overrun::Refuse);
    let mut disk = fixture.disk(8 << 20);
    let mut compared = 0;
    for step in &scenario.steps {
        let path = &step.request.path;
        if step.method_name.as_deref() == Some("VDI.create") {
            disk = fixture.disk(8 << 20);
        } else if step.request.method == "PUT" && step.response.status == Some(200) && !path.contains("sr_id")
        {
            let body = step.request.body().unwrap_or_default();
            let result = run(async {
                if path.contains("chunked") {
                    import::chunked(&mut &body[..], &disk).await
                } else {
                    import::raw(&mut &body[..], content_length(step), &disk, &mut |_| {}).await
                }
            });
            assert_eq!(result.is_ok(), step.response.body().is_empty(), "{}: {result:?}", step.note);
        } else if step.request.method == "GET" {
            assert!(run(export_raw(&disk, 8 << 20)) == step.response.body(), "{}", step.note);
            compared += 1;
        }
    }
    assert_eq!(compared, 6);
}

#[test]
fn short_streams_leave_what_came() {
    let fixture = Fixture::new(Overrun::Refuse);
    let disk = fixture.disk(8 << 20);
    let body = vec![7; 3 << 20];
    let result = run(import::raw(&mut &body[..], None, &disk, &mut |_| {}));
    assert!(matches!(result, Err(TransferError::Connection(_))), "{result:?}");
    let all = run(export_raw(&disk, 8 << 20));
    assert!(all[..3 << 20] == body && all[3 << 20..].iter().all(|&byte| byte == 0));
}

#[test]
fn chunks_must_be_whole_sectors_within_the_disk() {
    let fixture = Fixture::new(Overrun::Refuse);
    let disk = fixture.disk(8 << 20);
    let chunk = |offset: u64, len: u32, data: usize| {
        [&offset.to_le_bytes()[..], &len.to_le_bytes(), &vec![1; data], &[0; 12]].concat()
    };
    for (what, body, good) in [
        ("good", chunk((8 << 20) - 512, 512, 512), true),
        ("odd offset", chunk(100, 512, 512), false),
        ("odd length", chunk(0, 100, 100), false),
        ("behind the end", chunk(8 << 20, 512, 512), false),
        ("far behind the end", chunk(u64::MAX - 511, 512, 512), false),
        ("too long", chunk(0, 1 << 31, 0), false),
        ("data missing", chunk(0, 1024, 0), false),
        ("no end", chunk(0, 512, 512 - 12), false),
        ("nothing", Vec::new(), false),
    ] {
        let result = run(import::chunked(&mut &body[..], &disk));
        assert_eq!(result.is_ok(), good, "{what}: {result:?}");
    }
}

#[test]
fn a_full_store_fails_the_import() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), 2 * BLOCK, Overrun::Refuse).unwrap();
    let uuid = Uuid::new_v4();
    store.create(uuid, 64 << 20).unwrap();
    let body = vec![9; 64 << 20];
    let result = run(import::raw(&mut &body[..], None, &store.disk(uuid).unwrap(), &mut |_| {}));
    assert!(matches!(result, Err(TransferError::Disk(crate::disk::DiskError::Full(_)))), "{result:?}");
    assert_eq!(store.used_bytes(), 2 * BLOCK);
}

#[test]
fn deltas_rebuild_the_disk_they_were_taken_from() {
    let fixture = Fixture::new(Overrun::Refuse);
    let size = 16 << 20;
    let (id, base, snapshot, base2, later) =
        (Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4());
    let store = &fixture.store;
    store.create(id, size).unwrap();
    let disk = store.disk(id).unwrap();
    disk.write_at(0, &vec![1; 5 << 20]).unwrap();
    store.snapshot(id, base, snapshot).unwrap();
    disk.write_at((4 << 20) + 100, b"changed").unwrap();
    disk.write_at(10 << 20, b"added").unwrap();
    store.snapshot(id, base2, later).unwrap();

    let (from, to) = (store.disk(snapshot).unwrap(), store.disk(later).unwrap());
    let blocks = export::changed_blocks(&to, &from);
    assert_eq!(blocks.iter().collect::<Vec<_>>(), [2, 5]);
    let parent = export::Base { uuid: snapshot, path: "/run/sr/x.vhd".into(), modified: Timestamp(7) };
    run(async {
        let mut delta = Vec::new();
        export::vhd(&mut delta, &to, size, &blocks, Some(&parent), &mut |_| {}).await.unwrap();
        assert_eq!(delta[60..64], 4u32.to_be_bytes(), "not a differencing disk");
        assert_eq!(delta[512 + 40..512 + 56], *snapshot.as_bytes());
        let whole = export_vhd(&from, size, &from.allocated()).await;

        let rebuilt = fixture.disk(size);
        for stream in [&whole, &delta] {
            let length = Some(stream.len() as u64);
            import::vhd(&mut &stream[..], length, &rebuilt, &mut |_| {}).await.unwrap();
        }
        assert!(export_raw(&rebuilt, size).await == export_raw(&to, size).await);
    });
}
