//! `migration`: disks from host to host, as files in `/images`.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Error, Outcome, xenhost};
use crate::around;
use crate::convention::{Args, Function};
use crate::dom0::{Dom0, Folder};
use crate::pickle::Pickle;
use crate::staging::{self, Staging};

/// More than a chain may have.
const MAX_SEQUENCE: u64 = 255;
const TRANSFER_LIMIT: Duration = Duration::from_secs(24 * 3_600);
/// Whoever answers in another host's place would get the disk: a host whose key is not known is refused.
const SSH: &str = "ssh -o BatchMode=yes -o StrictHostKeyChecking=yes -o ConnectTimeout=60";

pub(super) const FUNCTIONS: &[Function] = &[
    Function::serialized("cancel_transfer", &["instance_uuid"], cancel_transfer),
    Function::serialized("discard_vhds", &["instance_uuid"], |dom0, args| {
        discard_vhds(args, &dom0.folder(Folder::Images))
    }),
    Function::serialized("move_vhds_into_sr", &["instance_uuid", "sr_path", "uuid_stack"], |dom0, args| {
        move_vhds_into_sr(dom0, args, &dom0.folder(Folder::Images))
    }),
    Function::serialized(
        "transfer_vhd",
        &["instance_uuid", "host", "vdi_uuid", "sr_path", "seq_num"],
        |dom0, args| {
            let job = job(label(args)?);
            around::as_job(dom0, Some(&job), |dom0| transfer_vhd(dom0, args, &dom0.folder(Folder::Images)))
        },
    ),
];

/// `discard_vhds(instance_uuid)`: removes what was sent and has not become VDIs, if there is something. Our own: clients
/// of Nova's plugins leave it.
fn discard_vhds(args: &Args, images: &Path) -> Outcome {
    let folder = folder(args, images)?;
    match fs::remove_dir_all(&folder) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(Error::file(&folder, &e)),
        _ => Ok(Pickle::None),
    }
}

/// `cancel_transfer(instance_uuid)`: has the call of `transfer_vhd` end that sends a disk of this name, if
/// there is one, which it answers. What was sent stays until it is discarded. Our own: clients of Nova's
/// plugins wait.
fn cancel_transfer(dom0: &dyn Dom0, args: &Args) -> Outcome {
    around::cancel(dom0, &job(label(args)?), true).map(Pickle::Bool)
}

/// `transfer_vhd(instance_uuid, host, vdi_uuid, sr_path, seq_num)`: sends a disk of an SR to another host as
/// `/images/instance<instance_uuid>/<seq_num>.vhd`. Repeated, it sends what has changed.
///
/// Hosts know each other by their ssh keys: the other's has to be in this one's `known_hosts`.
fn transfer_vhd(dom0: &dyn Dom0, args: &Args, images: &Path) -> Outcome {
    let folder = folder(args, images)?;
    let host = host(args)?;
    let sr = staging::sr_path(dom0, args)?;
    let uuid = xenhost::uuid("vdi_uuid", args)?;
    let number = args.number("seq_num", None, MAX_SEQUENCE)? as usize;
    let staged = Staging::new(dom0, &sr)?;
    staged.link(&sr, uuid, number)?;
    let source = format!("{}/", staging::text(staged.path())?);
    let target = staging::text(&folder)?;
    let addresses = dom0.run("ip", &["addr", "show"], "", Duration::from_secs(60))?;
    if addresses.contains(&format!(" {host}/")) {
        dom0.run("rsync", &["-a", &source, &format!("{target}/")], "", TRANSFER_LIMIT)?;
    } else {
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        let target = format!("root@{host}:{target}/");
        dom0.run("rsync", &["-a", "-e", SSH, &source, &target], "", TRANSFER_LIMIT)?;
    }
    Ok(Pickle::None)
}

/// `move_vhds_into_sr(instance_uuid, sr_path, uuid_stack)`: the disks that were sent, as VDIs of the SR:
/// `{"root": {"uuid": …}}`. What was sent stays when it fails, so that it can be tried again.
fn move_vhds_into_sr(dom0: &dyn Dom0, args: &Args, images: &Path) -> Outcome {
    let folder = folder(args, images)?;
    let sr = staging::sr_path(dom0, args)?;
    let stack = args.list("uuid_stack")?;
    let at = |e: std::io::Error| Error::file(&folder, &e);
    // Worked on as links, so that a failure leaves them under the names that a repeated call looks for.
    let work = folder.join("work");
    let _ = fs::remove_dir_all(&work);
    fs::create_dir(&work).map_err(at)?;
    let moved = (|| {
        for entry in fs::read_dir(&folder).map_err(at)? {
            let entry = entry.map_err(at)?;
            if entry.path() != work {
                fs::hard_link(entry.path(), work.join(entry.file_name())).map_err(at)?;
            }
        }
        staging::import_vhds(dom0, &sr, &work, stack)
    })();
    let _ = fs::remove_dir_all(&work);
    let uuid = moved?;
    fs::remove_dir_all(&folder).map_err(at)?;
    Ok(root(uuid))
}

/// How Nova's clients are told what was made.
pub(super) fn root(uuid: String) -> Pickle {
    let uuid = Pickle::Dict(BTreeMap::from([("uuid".to_owned(), Pickle::Str(uuid))]));
    Pickle::Dict(BTreeMap::from([("root".to_owned(), uuid)]))
}

/// The name of a disk on its way: the instance's uuid, perhaps with `_ephemeral_<k>`.
fn label(args: &Args) -> Result<&str, Error> {
    let name = "instance_uuid";
    let label = args.required(name)?;
    let plain = label.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    match plain && (1..=100).contains(&label.len()) {
        true => Ok(label),
        false => Err(Error::Argument { name, reason: format!("{label:?} is not an instance's uuid") }),
    }
}

/// Its folder.
fn folder(args: &Args, images: &Path) -> Result<PathBuf, Error> {
    Ok(images.join(format!("instance{}", label(args)?)))
}

/// The job that sends it. No job of the protocol is called so.
fn job(label: &str) -> String {
    format!("transfer_{label}")
}

fn host(args: &Args) -> Result<&str, Error> {
    let host = args.required("host")?;
    let plain = host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.:".contains(&b));
    match plain && !host.starts_with('-') && (1..=253).contains(&host.len()) {
        true => Ok(host),
        false => Err(Error::Argument { name: "host", reason: format!("{host:?} is not a host's address") }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::staging::tests::{Sr, uuid};

    fn transferred(sr: &Sr, images: &Path, host: &str, disk: usize, number: &str) -> Outcome {
        let args = sr.args(&[
            ("instance_uuid", "0a1b_ephemeral_1"),
            ("host", host),
            ("vdi_uuid", &uuid(disk)),
            ("seq_num", number),
        ]);
        transfer_vhd(&sr.dom0(), &args, images)
    }

    #[test]
    fn a_chain_goes_from_sr_to_sr() {
        let (source, target, images) = (Sr::with_chain(2), Sr::with_chain(0), tempfile::tempdir().unwrap());
        for (disk, number) in [(1, "1"), (0, "0"), (0, "0")] {
            assert_eq!(transferred(&source, images.path(), "127.0.0.1", disk, number), Ok(Pickle::None));
        }
        assert_eq!(source.files().len(), 2);
        let args = |stack: &[&str]| {
            target.args(&[("instance_uuid", "0a1b_ephemeral_1")]).with_list("uuid_stack", stack)
        };
        // What is not wanted any more goes, and with it nothing else.
        let other = target.args(&[("instance_uuid", "0a1b_ephemeral_2")]);
        assert_eq!(discard_vhds(&other, images.path()), Ok(Pickle::None));
        let refused = move_vhds_into_sr(&target.dom0(), &args(&[&uuid(10)]), images.path());
        assert!(matches!(refused, Err(Error::Argument { name: "uuid_stack", .. })));
        assert!(target.files().is_empty());
        let args = args(&[&uuid(11), &uuid(10)]);
        assert_eq!(move_vhds_into_sr(&target.dom0(), &args, images.path()), Ok(root(uuid(10))));
        assert_eq!(target.files()[&uuid(10)], format!("leaf 0\nparent={}.vhd\n", uuid(11)));
        assert_eq!(fs::read_dir(images.path()).unwrap().count(), 0);
        transferred(&source, images.path(), "127.0.0.1", 0, "0").unwrap();
        for _ in 0..2 {
            let sent = target.args(&[("instance_uuid", "0a1b_ephemeral_1")]);
            assert_eq!(discard_vhds(&sent, images.path()), Ok(Pickle::None));
        }
        assert_eq!(fs::read_dir(images.path()).unwrap().count(), 0);
    }

    #[test]
    fn other_hosts_over_ssh() {
        let sr = Sr::with_chain(1);
        let images = tempfile::tempdir().unwrap();
        transferred(&sr, images.path(), "2001:db8::7", 0, "0").unwrap();
        let rsync = sr.commands().into_iter().find(|line| line.starts_with("rsync")).unwrap();
        assert!(rsync.contains("StrictHostKeyChecking=yes"), "{rsync}");
        assert!(
            rsync.ends_with("/instance0a1b_ephemeral_1/") && rsync.contains("root@[2001:db8::7]:"),
            "{rsync}"
        );
    }

    #[test]
    fn hostile_arguments() {
        let sr = Sr::with_chain(1);
        let images = tempfile::tempdir().unwrap();
        for host in ["", "-oProxyCommand=x", "a b", "a/b", "root@a", "a;id"] {
            assert!(matches!(
                transferred(&sr, images.path(), host, 0, "0"),
                Err(Error::Argument { name: "host", .. })
            ));
        }
        assert!(transferred(&sr, images.path(), "a", 0, "../0").is_err());
        for label in ["", "../x", "a/b", "a b"] {
            let args = sr.args(&[("instance_uuid", label)]).with_list("uuid_stack", &[&uuid(10)]);
            assert!(move_vhds_into_sr(&sr.dom0(), &args, images.path()).is_err(), "{label}");
            assert!(discard_vhds(&args, images.path()).is_err(), "{label}");
        }
        assert!(sr.commands().is_empty());
    }
}
