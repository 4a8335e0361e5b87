//! Real folders and files; `vhd-util`, which only dom0 has, is one that works on texts.

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::*;
use crate::dom0::Finished;
use crate::testing::Except;

/// A file-based SR.
pub(crate) struct Sr {
    mounts: tempfile::TempDir,
    folder: PathBuf,
    commands: RefCell<Vec<String>>,
}

pub(crate) fn uuid(number: usize) -> String {
    format!("0a1b2c3d-0000-4000-8000-{number:012}")
}

impl Sr {
    /// With a chain of VHDs, the leaf first.
    pub(crate) fn with_chain(len: usize) -> Self {
        let mounts = tempfile::tempdir().unwrap();
        let folder = mounts.path().join(uuid(99));
        fs::create_dir(&folder).unwrap();
        for number in 0..len {
            fs::write(folder.join(format!("{}.vhd", uuid(number))), format!("leaf {number}\n")).unwrap();
        }
        Self { mounts, folder, commands: RefCell::default() }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn args(&self, texts: &[(&str, &str)]) -> Args {
        let sr = self.folder.to_str().unwrap();
        Args::of(&[texts, &[("sr_path", sr)]].concat())
    }

    /// Contents by uuid, without the folders of calls, of which none may be left.
    pub(crate) fn files(&self) -> BTreeMap<String, String> {
        let entries = fs::read_dir(&self.folder).unwrap().map(|entry| entry.unwrap().path());
        entries
            .map(|path| {
                let name = path.file_name().unwrap().to_str().unwrap().to_owned();
                let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{name}: {e}"));
                (name.trim_end_matches(".vhd").to_owned(), text)
            })
            .collect()
    }

    /// The programs that were started, without `vhd-util`.
    pub(crate) fn commands(&self) -> Vec<String> {
        self.commands.borrow().clone()
    }

    /// This machine, without other hosts.
    pub(crate) fn dom0(&self) -> Except<'_> {
        Except::new(|program, args| match program {
            "vhd-util" => Some(vhd_util(args)),
            _ => {
                self.commands.borrow_mut().push(format!("{program} {}", args.join(" ")));
                let done =
                    |stdout: &str| Some(Finished { code: 0, stdout: stdout.into(), stderr: String::new() });
                match (program, args.contains(&"-e")) {
                    ("ip", _) => done("    inet 127.0.0.1/8 scope host lo\n"),
                    ("rsync", true) => done(""),
                    // What it does when nothing is there yet, on machines that do not have it.
                    ("rsync", false) => {
                        fs::create_dir_all(args[2]).unwrap();
                        crate::testing::run("cp", &["-a", &format!("{}.", args[1]), args[2]], "");
                        done("")
                    }
                    _ => None,
                }
            }
        })
        .with_repositories(self.mounts.path())
    }
}

/// What a VHD's text says: `hidden`, `invalid`, `broken` and `parent=NAME`, each a line.
fn vhd_util(args: &[&str]) -> Finished {
    let path = Path::new(args[2]);
    let text = fs::read_to_string(path).unwrap();
    let has = |line: &str| text.lines().any(|found| found == line);
    let name = path.display();
    let stdout = match (args[0], args[3..].first().copied()) {
        ("modify", _) => {
            let parent = Path::new(args[4]).file_name().unwrap().to_str().unwrap();
            let kept: String = text
                .lines()
                .filter(|line| !line.starts_with("parent="))
                .map(|line| format!("{line}\n"))
                .collect();
            fs::write(path, format!("{kept}parent={parent}\n")).unwrap();
            String::new()
        }
        ("query", Some("-f")) => format!("hidden: {}\n", u8::from(has("hidden"))),
        ("query", _) => match text.lines().find_map(|line| line.strip_prefix("parent=")) {
            Some(parent) => format!("{}\n", path.with_file_name(parent).display()),
            None => format!("{name} has no parent\n"),
        },
        ("repair", _) => {
            fs::write(path, text.replace("invalid\n", "")).unwrap();
            String::new()
        }
        ("check", _) if has("invalid") || has("broken") => format!("{name}: invalid footer: timestamp\n"),
        ("check", _) => format!("{name} is valid\n"),
        other => panic!("{other:?}"),
    };
    Finished { code: 0, stdout, stderr: String::new() }
}

/// Files that an archive may have held, imported; what is wrong with them, and how many VHDs the SR then has.
fn imported(files: &[(&str, &str)], uuids: usize) -> (Result<String, String>, Sr) {
    let sr = Sr::with_chain(0);
    let staging = Staging::new(&sr.dom0(), sr.path()).unwrap();
    for (name, text) in files {
        fs::write(staging.path().join(name), text).unwrap();
    }
    let uuids: Vec<String> = (10..10 + uuids).map(uuid).collect();
    let result = import_vhds(&sr.dom0(), sr.path(), staging.path(), &uuids).map_err(|e| e.to_string());
    drop(staging);
    (result, sr)
}

#[test]
fn names_of_today_and_of_old() {
    for files in [
        &[("0.vhd", "a\n"), ("1.vhd", "b\n"), ("2.vhd", "c\n"), ("swap.vhd", "s\n")][..],
        &[("snap.vhd", "a\n"), ("image.vhd", "b\n"), ("base.vhd", "c\n")][..],
        &[("snap.vhd", "a\n"), ("1.vhd", "b\n"), ("2.vhd", "c\n")][..],
    ] {
        let (result, sr) = imported(files, 16);
        // The stack is taken from its end.
        assert_eq!(result, Ok(uuid(25)));
        let wanted = [
            (uuid(25), format!("a\nparent={}.vhd\n", uuid(24))),
            (uuid(24), format!("b\nparent={}.vhd\n", uuid(23))),
            (uuid(23), "c\n".to_owned()),
        ];
        assert_eq!(sr.files(), BTreeMap::from(wanted));
    }
    let (result, sr) = imported(&[("anything.vhd", "a\n")], 1);
    assert_eq!((result, sr.files().len()), (Ok(uuid(10)), 1));
}

#[test]
fn images_that_are_not_right() {
    let damaged = [
        (&[][..], "corrupt image: it holds no VHD"),
        (&[("0.vhd", ""), ("2.vhd", "")][..], "expected the VHD with sequence number 1"),
        (&[("0.vhd", "hidden\n")][..], "its leaf is marked as hidden"),
        (
            &[("0.vhd", ""), ("1.vhd", "broken\n")][..],
            "invalid footer: timestamp; do the clocks of the hosts agree?",
        ),
        (&[("0.vhd", "parent=secret.vhd\n")][..], "wrong parent"),
        (&[("0.vhd", ""), ("1.vhd", "parent=../other.vhd\n")][..], "wrong parent"),
        (
            &[("0.vhd", ""), ("1.vhd", ""), ("2.vhd", ""), ("3.vhd", "")][..],
            "3 uuids are too few for 4 disks",
        ),
    ];
    for (files, wanted) in damaged {
        let (result, sr) = imported(files, 3);
        assert!(result.as_ref().is_err_and(|e| e.contains(wanted)), "{result:?} instead of {wanted}");
        assert!(sr.files().is_empty(), "{wanted}");
    }
    let (result, _) = imported(&[("0.vhd", "invalid\n")], 1);
    assert_eq!(result, Ok(uuid(10)), "one that can be repaired is");
}

#[test]
fn links_are_no_disks() {
    let sr = Sr::with_chain(0);
    let staging = Staging::new(&sr.dom0(), sr.path()).unwrap();
    std::os::unix::fs::symlink("/etc/hostname", staging.path().join("0.vhd")).unwrap();
    let error = import_vhds(&sr.dom0(), sr.path(), staging.path(), &[uuid(1)]).unwrap_err();
    assert_eq!(error.to_string(), "corrupt image: 0.vhd is no file");
}

#[test]
fn a_disk_in_the_sr_is_never_replaced() {
    let sr = Sr::with_chain(1);
    let staging = Staging::new(&sr.dom0(), sr.path()).unwrap();
    for name in ["0.vhd", "1.vhd"] {
        fs::write(staging.path().join(name), "new\n").unwrap();
    }
    assert!(import_vhds(&sr.dom0(), sr.path(), staging.path(), &[uuid(1), uuid(0)]).is_err());
    drop(staging);
    assert_eq!(sr.files(), BTreeMap::from([(uuid(0), "leaf 0\n".to_owned())]));
}

/// Of calls at once that bring a disk under one uuid, one does, and it stays.
#[test]
fn what_comes_meanwhile_stays() {
    const CALLS: usize = 8;
    for _ in 0..50 {
        let sr = Sr::with_chain(0);
        let (folder, begin) = (sr.path(), std::sync::Barrier::new(CALLS));
        let target = folder.join("d.vhd");
        let bring = &|number: usize| {
            let own = folder.join(number.to_string());
            fs::write(&own, number.to_string()).unwrap();
            begin.wait();
            bring(&crate::dom0::Real, &own, &target).is_ok()
        };
        let won: Vec<usize> = std::thread::scope(|scope| {
            let calls: Vec<_> =
                (0..CALLS).map(|number| scope.spawn(move || (number, bring(number)))).collect();
            let ended = calls.into_iter().map(|call| call.join().unwrap());
            ended.filter(|(_, won)| *won).map(|(number, _)| number).collect()
        });
        assert_eq!(won.len(), 1);
        assert_eq!(fs::read_to_string(&target).unwrap(), won[0].to_string());
        assert_eq!(sr.files().len(), CALLS, "the others keep what they have");
    }
}

/// A disk that comes while one of the same uuid is copied from another file system.
#[test]
#[expect(clippy::print_stderr, reason = "a skip is to be seen")]
fn what_comes_during_a_copy_stays() {
    use std::os::unix::fs::MetadataExt;
    let (sr, Ok(other)) = (Sr::with_chain(0), tempfile::tempdir_in("/dev/shm")) else { return };
    if fs::metadata(sr.path()).unwrap().dev() == fs::metadata(other.path()).unwrap().dev() {
        eprintln!("SKIPPED: /dev/shm is no file system of its own");
        return;
    }
    let (source, target) = (other.path().join("0.vhd"), sr.path().join("d.vhd"));
    fs::write(&source, "new").unwrap();
    let meanwhile = Except::new(|program, _| {
        assert_eq!(program, "cp");
        fs::write(&target, "of another call").unwrap();
        None
    });
    assert!(bring(&meanwhile, &source, &target).is_err());
    let left = BTreeMap::from([("d".to_owned(), "of another call".to_owned())]);
    assert_eq!(sr.files(), left);
    fs::remove_file(&target).unwrap();
    bring(&crate::dom0::Real, &source, &target).unwrap();
    assert_eq!(sr.files()["d"], "new");
}

/// Hosts of a shared SR do not see each other's locks.
#[test]
fn folders_of_dead_calls_go_and_those_of_others_stay() {
    let sr = Sr::with_chain(0);
    let other = Staging::new(&sr.dom0(), sr.path()).unwrap();
    let folder = |host: &str| {
        let folder = sr.path().join(format!("{PREFIX}{host}-1-0"));
        fs::create_dir_all(folder.join("image")).unwrap();
        fs::write(folder.join("image/0.vhd"), "").unwrap();
        folder
    };
    let own = prefix(&sr.dom0()).unwrap();
    let dead = folder(own.trim_start_matches(PREFIX).trim_end_matches('-'));
    let [foreign, old, half_old] = [1, 2, 3].map(|host| folder(&uuid(host)));
    let long_ago = SystemTime::now() - FOREIGN_LIMIT - Duration::from_secs(60);
    for path in [old.join("image/0.vhd"), old.join("image"), old.clone(), half_old.clone()] {
        File::open(path).unwrap().set_modified(long_ago).unwrap();
    }
    drop(Staging::new(&sr.dom0(), sr.path()).unwrap());
    assert_eq!([&dead, &old].map(|path| path.exists()), [false, false]);
    assert_eq!([other.path(), &foreign, &half_old].map(Path::exists), [true, true, true]);
}

#[test]
fn a_host_is_known_by_its_inventory() {
    use crate::testing::Fake;
    const INVENTORY: &str = "/etc/xensource-inventory";
    let host = uuid(7);
    let installed = Fake::default().with_file(INVENTORY, &format!("INSTALLATION_UUID='{host}'\n"));
    assert_eq!(prefix(&installed), Ok(format!(".xapi-plugins-{host}-")));
    let running = Fake::default().with_file(BOOT, &format!("{host}\n"));
    assert_eq!(prefix(&running), Ok(format!(".xapi-plugins-{host}-")));
    for odd in [Fake::default(), Fake::default().with_file(INVENTORY, "INSTALLATION_UUID='../x'\n")] {
        assert!(prefix(&odd).is_err());
    }
}

#[test]
fn folders_that_are_no_sr() {
    use std::os::unix::fs::symlink;
    let sr = Sr::with_chain(0);
    let (mounts, path) = (sr.mounts.path(), |path: &Path| path.to_str().unwrap().to_owned());
    for folder in ["elsewhere/images", "elsewhere/other", &uuid(97)] {
        fs::create_dir_all(mounts.join(folder)).unwrap();
    }
    // As SM makes it of a `file` SR.
    symlink(mounts.join("elsewhere/images"), mounts.join(uuid(98))).unwrap();
    symlink(mounts.join("elsewhere/other"), sr.path().join("out")).unwrap();
    let at = |text: &str| sr_path(&sr.dom0(), &Args::of(&[("sr_path", text)]));
    assert_eq!(at(&path(sr.path())).unwrap(), sr.path().canonicalize().unwrap());
    let images = mounts.join("elsewhere/images").canonicalize().unwrap();
    for text in [mounts.join(uuid(98)), mounts.join("elsewhere/images")] {
        assert_eq!(at(&path(&text)).unwrap(), images);
    }
    let wrong =
        [mounts.to_owned(), mounts.join("elsewhere/other"), sr.path().join("out"), sr.path().join("..")];
    let wrong = wrong.iter().map(|text| path(text));
    let plain = ["", "/", "/tmp", "/etc", "/etc/xapi.d", "relative/path", "/var/../etc", "/no/such/folder"];
    for text in wrong.chain(plain.map(str::to_owned)) {
        assert!(matches!(at(&text), Err(Error::Argument { name: "sr_path", .. })), "{text:?}");
    }
}
