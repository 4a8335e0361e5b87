use std::collections::BTreeSet;
use std::path::Path;

use proptest::prelude::*;
use xenapi_wire::{Failure, Value};

use super::*;
use crate::schema::Schema;

fn memory() -> Db {
    Db::in_memory(Schema::xapi())
}

fn disk(directory: &Path) -> Db {
    Db::open(Schema::xapi(), directory).unwrap()
}

fn create(db: &Db, class: &str, fields: &[(&str, &str)]) -> String {
    let fields: Vec<(&str, Value)> =
        fields.iter().map(|(name, value)| (*name, Value::from(*value))).collect();
    db.write(|tx| Ok::<_, Failure>(tx.create(class, fields))).unwrap()
}

fn set(db: &Db, class: &str, reference: &str, field: &str, value: &str) {
    db.write(|tx| tx.set(class, reference, field, value)).unwrap();
}

fn members(db: &Db, class: &str, reference: &str, field: &str) -> BTreeSet<String> {
    db.read(|view| view.object(class, reference).unwrap().strs(field).map(str::to_owned).collect())
}

/// All there is, as text.
fn dump(db: &Db) -> Vec<String> {
    db.read(|view| {
        let objects = view.schema().classes().flat_map(|class| view.objects(class.name()));
        objects
            .map(|o| {
                format!(
                    "{} {} {} {} {:?}",
                    o.class().name(),
                    o.reference(),
                    o.created(),
                    o.modified(),
                    o.record()
                )
            })
            .collect()
    })
}

#[test]
fn relations_are_kept_on_both_sides() {
    let db = memory();
    let (vm, other) = (create(&db, "VM", &[]), create(&db, "VM", &[]));
    let vbd = create(&db, "VBD", &[("VM", &vm)]);
    assert_eq!(members(&db, "VM", &vm, "VBDs"), BTreeSet::from([vbd.clone()]));
    set(&db, "VBD", &vbd, "VM", &other);
    assert!(members(&db, "VM", &vm, "VBDs").is_empty());
    assert_eq!(members(&db, "VM", &other, "VBDs"), BTreeSet::from([vbd.clone()]));
    db.write(|tx| {
        tx.delete("VBD", &vbd);
        Ok::<_, Failure>(())
    })
    .unwrap();
    assert!(members(&db, "VM", &other, "VBDs").is_empty());
}

#[test]
fn sets_on_both_sides_mirror_each_other() {
    let db = memory();
    let (vm, group) = (create(&db, "VM", &[]), create(&db, "VM_group", &[]));
    db.write(|tx| tx.set("VM", &vm, "groups", vec![group.clone()])).unwrap();
    assert_eq!(members(&db, "VM_group", &group, "VMs"), BTreeSet::from([vm.clone()]));
    db.write(|tx| tx.set("VM_group", &group, "VMs", Value::Array(Vec::new()))).unwrap();
    assert!(members(&db, "VM", &vm, "groups").is_empty());
}

#[test]
fn a_refused_write_leaves_nothing() {
    let db = memory();
    let vm = create(&db, "VM", &[("name_label", "before")]);
    let before = dump(&db);
    let refused = db.write(|tx| {
        tx.set("VM", &vm, "name_label", "after")?;
        let vbd = tx.create("VBD", [("VM", vm.as_str().into())]);
        tx.delete("VM", &vm);
        tx.set("VBD", &vbd, "bootable", true)?;
        Err::<(), _>(Failure::new("INTERNAL_ERROR", ["on purpose"]))
    });
    assert!(refused.is_err());
    assert_eq!(dump(&db), before);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        db.write(|tx| -> Result<(), Failure> {
            tx.delete("VM", &vm);
            panic!("on purpose");
        })
    }));
    assert!(panicked.is_err());
    assert_eq!(dump(&db), before);
    assert_eq!(db.read(|view| view.by_name_label("VM", "before")), [vm]);
}

#[test]
fn a_write_is_one_generation_and_no_change_is_none() {
    let db = memory();
    let vm = create(&db, "VM", &[]);
    let before = db.read(View::generation);
    db.write(|tx| {
        tx.create("VBD", [("VM", vm.as_str().into())]);
        tx.set("VM", &vm, "name_label", "x")
    })
    .unwrap();
    assert_eq!(db.read(View::generation), before + 1);
    let changed = db.read(|view| {
        view.changed_since(before).map(|o| (o.class().name(), o.modified())).collect::<Vec<_>>()
    });
    assert_eq!(changed, [("VBD", before + 1), ("VM", before + 1)]);
    set(&db, "VM", &vm, "name_label", "x");
    assert_eq!(db.read(View::generation), before + 1);
}

#[test]
fn what_ends_in_the_write_that_made_it_was_never_there() {
    let db = memory();
    db.write(|tx| {
        let vm = tx.create("VM", []);
        tx.delete("VM", &vm);
        Ok::<_, Failure>(())
    })
    .unwrap();
    assert_eq!(db.read(|view| (view.changed_since(0).count(), view.deleted_since(0).count())), (0, 0));
}

#[test]
fn derived_fields_are_part_of_the_write() {
    let mut db = memory();
    db.derive("VM", |tx, vm| {
        let disks = tx.object("VM", vm).map(|vm| vm.strs("VBDs").count());
        let _ = disks.and_then(|disks| tx.set("VM", vm, "name_description", format!("{disks} disks")));
    });
    let vm = create(&db, "VM", &[]);
    let before = db.read(View::generation);
    create(&db, "VBD", &[("VM", &vm)]);
    assert_eq!(db.read(View::generation), before + 1);
    assert_eq!(db.read(|view| view.object("VM", &vm).unwrap().str("name_description").to_owned()), "1 disks");
}

#[test]
fn unknown_objects_and_keys_fail_as_the_real_server_says() {
    let db = memory();
    let vm = create(&db, "VM", &[("uuid", "u1")]);
    assert_eq!(
        db.write(|tx| tx.set("VM", "OpaqueRef:x", "name_label", "y")),
        Err(Failure::new("HANDLE_INVALID", ["VM", "OpaqueRef:x"]))
    );
    assert_eq!(
        db.read(|view| view.by_uuid("VM", "u2").map(|_| ())),
        Err(Failure::new("UUID_INVALID", ["VM", "u2"]))
    );
    db.write(|tx| tx.add_to("VM", &vm, "HVM_boot_params", "order", "c")).unwrap();
    assert_eq!(
        db.write(|tx| tx.add_to("VM", &vm, "HVM_boot_params", "order", "d")),
        Err(Failure::new("MAP_DUPLICATE_KEY", ["VM", "HVM__boot_params", &vm, "order"]))
    );
    db.write(|tx| tx.remove_from("VM", &vm, "HVM_boot_params", "absent")).unwrap();
}

#[test]
fn a_directory_gives_back_what_was_committed() {
    let directory = tempfile::tempdir().unwrap();
    let db = disk(directory.path());
    let vm = create(&db, "VM", &[("name_label", "kept")]);
    let gone = create(&db, "VM", &[]);
    db.write(|tx| {
        tx.set("VM", &vm, "HVM_shadow_multiplier", f64::INFINITY)?;
        tx.delete("VM", &gone);
        Ok::<_, Failure>(())
    })
    .unwrap();
    create(&db, "session", &[]);
    let (generation, before) = (db.read(View::generation), dump(&db));
    // The process dies: nobody flushes, nobody says good-bye.
    std::mem::forget(db);
    let db = disk(directory.path());
    let sessions: Vec<String> = before.iter().filter(|line| line.starts_with("session ")).cloned().collect();
    assert_eq!(sessions.len(), 1, "sessions do not outlive the server");
    assert_eq!(
        dump(&db),
        before.into_iter().filter(|line| !line.starts_with("session ")).collect::<Vec<_>>()
    );
    assert!(db.read(View::generation) >= generation - 1);
    assert!(db.read(|view| view.by_uuid("VM", view.object("VM", &vm).unwrap().str("uuid")).is_ok()));
}

#[test]
fn a_torn_last_line_is_cut_off_and_damage_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let db = disk(directory.path());
    create(&db, "VM", &[("name_label", "one")]);
    let whole = dump(&db);
    create(&db, "VM", &[("name_label", "two")]);
    drop(db);
    let path = directory.path().join("journal.jsonl");
    let text = std::fs::read(&path).unwrap();
    for cut in [1, 10, 100] {
        std::fs::write(&path, &text[..text.len() - cut]).unwrap();
        let db = disk(directory.path());
        assert_eq!(dump(&db), whole, "{cut} bytes lost");
        create(&db, "VM", &[("name_label", "three")]);
        drop(db);
        assert_eq!(disk(directory.path()).read(|view| view.count("VM")), 2);
    }
    let mut damaged = text.clone();
    damaged[5] = b'}';
    std::fs::write(&path, damaged).unwrap();
    let error = Db::open(Schema::xapi(), directory.path()).err().unwrap().to_string();
    assert!(error.contains("journal.jsonl line 1 is damaged"), "{error}");
}

#[test]
fn a_long_journal_becomes_a_snapshot() {
    let directory = tempfile::tempdir().unwrap();
    let db = disk(directory.path());
    let vm = create(&db, "VM", &[]);
    let text = "x".repeat(100_000);
    for i in 0..100 {
        set(&db, "VM", &vm, "name_description", &format!("{i}{text}"));
    }
    let journal = std::fs::metadata(directory.path().join("journal.jsonl")).unwrap().len();
    assert!(journal < 9 << 20, "{journal}");
    let before = dump(&db);
    let snapshot = std::fs::read(directory.path().join("snapshot.json")).unwrap();
    drop(db);
    assert_eq!(dump(&disk(directory.path())), before);
    // A crash between the new snapshot and the emptying of the journal: its lines are old news.
    let line = String::from_utf8(snapshot).unwrap().replace(&text, "old");
    let path = directory.path().join("journal.jsonl");
    let rest = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{line}\n{rest}")).unwrap();
    assert_eq!(dump(&disk(directory.path())), before);
}

#[derive(Debug, Clone)]
enum Op {
    Create(usize, usize),
    Move(usize, usize),
    Delete(usize),
    DeleteVm(usize),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        (0..4usize, 0..4usize).prop_map(|(vm, vdi)| Op::Create(vm, vdi)),
        (0..8usize, 0..4usize).prop_map(|(vbd, vm)| Op::Move(vbd, vm)),
        (0..8usize).prop_map(Op::Delete),
        (0..4usize).prop_map(Op::DeleteVm),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever happens, a set holds exactly the objects that refer to its owner, and the history every object once.
    #[test]
    fn sets_follow_references(ops in prop::collection::vec(op(), 1..40)) {
        let db = memory();
        let mut vms: Vec<String> = (0..4).map(|_| create(&db, "VM", &[])).collect();
        let vdis: Vec<String> = (0..4).map(|_| create(&db, "VDI", &[])).collect();
        let mut vbds: Vec<String> = Vec::new();
        for op in ops {
            match op {
                Op::Create(vm, vdi) => vbds.push(create(&db, "VBD", &[("VM", &vms[vm]), ("VDI", &vdis[vdi])])),
                Op::Move(vbd, vm) if vbd < vbds.len() => set(&db, "VBD", &vbds[vbd], "VM", &vms[vm]),
                Op::Delete(vbd) if vbd < vbds.len() => {
                    let vbd = vbds.remove(vbd);
                    db.write(|tx| { tx.delete("VBD", &vbd); Ok::<_, Failure>(()) }).unwrap();
                }
                Op::DeleteVm(vm) => {
                    db.write(|tx| { tx.delete("VM", &vms[vm]); Ok::<_, Failure>(()) }).unwrap();
                    vms[vm] = create(&db, "VM", &[]);
                }
                _ => {}
            }
            db.read(|view| {
                for (class, field) in [("VM", "VM"), ("VDI", "VDI")] {
                    for object in view.objects(class) {
                        let held: BTreeSet<&str> = object.strs("VBDs").collect();
                        let referring: BTreeSet<&str> = view
                            .objects("VBD")
                            .filter(|vbd| vbd.str(field) == object.reference())
                            .map(|vbd| vbd.reference())
                            .collect();
                        assert_eq!(held, referring);
                    }
                }
                let all: usize = view.schema().classes().map(|class| view.count(class.name())).sum();
                assert_eq!(view.changed_since(0).count(), all);
            });
        }
    }
}
