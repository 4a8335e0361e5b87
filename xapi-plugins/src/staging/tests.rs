//! Real folders and files; `vhd-util`, which only dom0 has, is one that works on texts.

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::*;
use crate::dom0::Finished;
use crate::testing::Except;

/// A file-based SR.
pub(crate) struct Sr {
    folder: tempfile::TempDir,
    commands: RefCell<Vec<String>>,
}

pub(crate) fn uuid(number: usize) -> String {
    format!("0a1b2c3d-0000-4000-8000-{number:012}")
}

impl Sr {
    /// With a chain of VHDs, the leaf first.
    pub(crate) fn with_chain(len: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for number in 0..len {
            fs::write(folder.path().join(format!("{}.vhd", uuid(number))), format!("leaf {number}\n"))
                .unwrap();
        }
        Self { folder, commands: RefCell::default() }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn args(&self, texts: &[(&str, &str)]) -> Args {
        let sr = self.folder.path().to_str().unwrap();
        Args::of(&[texts, &[("sr_path", sr)]].concat())
    }

    /// Contents by uuid, without the folders of calls, of which none may be left.
    pub(crate) fn files(&self) -> BTreeMap<String, String> {
        let entries = fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().path());
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
    let staging = Staging::new(sr.path()).unwrap();
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
    let staging = Staging::new(sr.path()).unwrap();
    std::os::unix::fs::symlink("/etc/hostname", staging.path().join("0.vhd")).unwrap();
    let error = import_vhds(&sr.dom0(), sr.path(), staging.path(), &[uuid(1)]).unwrap_err();
    assert_eq!(error.to_string(), "corrupt image: 0.vhd is no file");
}

#[test]
fn a_disk_in_the_sr_is_never_replaced() {
    let sr = Sr::with_chain(1);
    let staging = Staging::new(sr.path()).unwrap();
    for name in ["0.vhd", "1.vhd"] {
        fs::write(staging.path().join(name), "new\n").unwrap();
    }
    assert!(import_vhds(&sr.dom0(), sr.path(), staging.path(), &[uuid(1), uuid(0)]).is_err());
    drop(staging);
    assert_eq!(sr.files(), BTreeMap::from([(uuid(0), "leaf 0\n".to_owned())]));
}

#[test]
fn folders_of_dead_calls_go_and_those_of_others_stay() {
    let sr = Sr::with_chain(0);
    let other = Staging::new(sr.path()).unwrap();
    let dead = sr.path().join(".xapi-plugins-1-0");
    fs::create_dir(&dead).unwrap();
    fs::write(dead.join("0.vhd"), "").unwrap();
    drop(Staging::new(sr.path()).unwrap());
    assert!(!dead.exists() && other.path().exists());
}

#[test]
fn folders_that_are_no_sr() {
    for path in ["", "/", "/tmp", "relative/path", "/var/../etc", "/no/such/folder"] {
        let refused = sr_path(&Args::of(&[("sr_path", path)]));
        assert!(matches!(refused, Err(Error::Argument { name: "sr_path", .. })), "{path:?}");
    }
}
