//! `ipxe`: an ISO from which a guest boots over the network, with its addresses written into it.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use super::{Error, Outcome, xenhost};
use crate::convention::{Args, Function};
use crate::dom0::{Dom0, is_of_dead_call};
use crate::pickle::Pickle;
use crate::staging::{self, Staging};

const LIMIT: Duration = Duration::from_secs(600);
/// Files and folders of an ISO that only boots.
const MAX_ENTRIES: usize = 4_096;
const TOOLS: [&str; 3] = ["mkisofs", "genisoimage", "xorrisofs"];
const MENU: &str = "DEFAULT ipxe\nPROMPT 0\nTIMEOUT 30\nSAY Booting over the network\nLABEL ipxe\n\
                    KERNEL ipxe.krn\nINITRD netcfg.ipxe\n";

const PLACES: &[&str] =
    &["sr_path", "vdi_uuid", "boot_menu_url", "ip_address", "netmask", "gateway", "dns", "mkisofs_cmd"];

pub(super) const FUNCTIONS: &[Function] = &[Function::serialized("inject", PLACES, inject)];

/// `inject(sr_path, vdi_uuid, boot_menu_url, ip_address, netmask, gateway, dns, mkisofs_cmd)`: makes
/// `<sr_path>/iso/<vdi_uuid>.img` anew with `netcfg.ipxe` and `isolinux.cfg` for these. The ISO stays as it is
/// when that fails.
fn inject(dom0: &dyn Dom0, args: &Args) -> Outcome {
    let sr = staging::sr_path(dom0, args)?.join("iso");
    if sr.is_symlink() {
        return Err(Error::Other(format!("SECURITY: {} is no folder", sr.display())));
    }
    let iso = sr.join(format!("{}.img", xenhost::uuid("vdi_uuid", args)?));
    let script = script(args)?;
    let tool = tool(args)?;
    if !iso.is_file() {
        return Err(Error::file(&iso, &io::ErrorKind::NotFound.into()));
    }
    let staged = Staging::new(dom0, &sr)?;
    let (tree, made) = (staged.path().join("tree"), staged.path().join("new.img"));
    unpack(dom0, &iso, &tree)?;
    for (name, text) in [("netcfg.ipxe", script.as_str()), ("isolinux.cfg", MENU)] {
        let path = tree.join(name);
        if fs::symlink_metadata(&path).is_ok_and(|found| !found.is_file()) {
            return Err(Error::Other(format!("SECURITY: {name} of the ISO is no file")));
        }
        fs::write(&path, text).map_err(|e| Error::file(&path, &e))?;
    }
    let layout = ["-c", "boot.cat", "-b", "isolinux.bin", "-no-emul-boot", "-boot-load-size", "4"];
    let [target, source] = [staging::text(&made)?, staging::text(&tree)?];
    let options = [&["-quiet", "-l", "-o", target][..], &layout, &["-boot-info-table", source]].concat();
    dom0.run(tool, &options, "", LIMIT).map_err(|e| match e.is_missing() {
        true => Error::CommandNotFound(e),
        false => Error::Command(e),
    })?;
    fs::rename(&made, &iso).map_err(|e| Error::file(&iso, &e))?;
    Ok(Pickle::None)
}

/// The files of an ISO, in a new folder.
fn unpack(dom0: &dyn Dom0, iso: &Path, tree: &Path) -> Result<(), Error> {
    unmount_left(dom0);
    let mount = dom0.temp_dir().map_err(|e| Error::file(iso, &e))?;
    let copied = (|| {
        let at = staging::text(&mount)?;
        let options = ["-o", "loop,ro,nosuid,nodev,noexec", "-t", "iso9660", staging::text(iso)?, at];
        dom0.run("mount", &options, "", LIMIT)?;
        let done = refuse_bombs(iso, &mount).and_then(|()| {
            // Files of an ISO cannot be written to; their copies are.
            dom0.run("cp", &["-rP", "--no-preserve=mode", "--", at, staging::text(tree)?], "", LIMIT)?;
            Ok(())
        });
        dom0.run("umount", &[at], "", LIMIT)?;
        done
    })();
    let _ = dom0.remove_dir(&mount);
    copied
}

/// Unmounts the ISOs of calls that were killed, whose loop devices go with that.
fn unmount_left(dom0: &dyn Dom0) {
    let mounts = dom0.read_to_string(Path::new("/proc/mounts")).unwrap_or_default();
    for line in mounts.lines() {
        let mut words = line.split(' ').skip(1);
        let (Some(at), Some("iso9660")) = (words.next(), words.next()) else { continue };
        if Path::new(at).file_name().and_then(OsStr::to_str).is_some_and(is_of_dead_call) {
            // One that is still in use stays for the next call.
            let _ = dom0.run("umount", &[at], "", LIMIT);
        }
    }
}

/// Looks at sizes before anything is copied: many files of an ISO may be the same bytes of it, and folders lead into
/// each other. What is honest is no larger than the ISO, and is in the repository twice until the new one is complete.
fn refuse_bombs(iso: &Path, mount: &Path) -> Result<(), Error> {
    fn at(path: &Path) -> impl FnOnce(io::Error) -> Error + '_ {
        move |e| Error::file(path, &e)
    }
    let wrong = |what: &str| Err(Error::Other(format!("SECURITY: the ISO {what}")));
    let len = fs::metadata(iso).map_err(at(iso))?.len();
    let (mut folders, mut entries, mut bytes) = (vec![mount.to_owned()], 0, 0_u64);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(at(&folder))? {
            let path = entry.map_err(at(&folder))?.path();
            let found = fs::symlink_metadata(&path).map_err(at(&path))?;
            entries += 1;
            if entries > MAX_ENTRIES {
                return wrong(&format!("has more than {MAX_ENTRIES} files"));
            }
            match found.file_type() {
                kind if kind.is_dir() => folders.push(path),
                kind if kind.is_file() => bytes = bytes.saturating_add(found.len()),
                kind if kind.is_symlink() => {}
                _ => return wrong("holds what is no file"),
            }
        }
    }
    if bytes > len {
        return wrong(&format!("has {len} bytes, and files of {bytes} bytes in all"));
    }
    let folder = iso.parent().unwrap_or(iso);
    let free = staging::free_bytes(folder).map_err(at(folder))?;
    let reserve = staging::reserve_bytes(folder).map_err(at(folder))?;
    if free < bytes.saturating_add(len).saturating_add(reserve) {
        let reason = format!("the ISO does not fit: less than {reserve} bytes would be left of the SR");
        return Err(Error::Other(reason));
    }
    Ok(())
}

pub(super) fn script(args: &Args) -> Result<String, Error> {
    let address = |name: &'static str| {
        let text = args.required(name)?;
        let wrong = |_| Error::Argument { name, reason: format!("{text:?} is no address") };
        text.parse::<IpAddr>().map_err(wrong)
    };
    let url = args.required("boot_menu_url")?;
    // A blank or the end of the line would end the command, `$` would be put something in place of.
    if !url.bytes().all(|b| b.is_ascii_graphic() && b != b'$') || !url.contains("://") {
        let reason = format!("{url:?} is no URL");
        return Err(Error::Argument { name: "boot_menu_url", reason });
    }
    let [ip, netmask, gateway, dns] =
        [address("ip_address")?, address("netmask")?, address("gateway")?, address("dns")?];
    Ok(format!(
        "#!ipxe\nifclose net0\nset net0/ip {ip}\nset net0/netmask {netmask}\nset net0/gateway {gateway}\n\
         set dns {dns}\nifopen net0\nchain {url}\nsanboot --no-describe --drive 0x80\n"
    ))
}

/// The program that makes ISOs, perhaps with its path.
fn tool(args: &Args) -> Result<&str, Error> {
    let text = args.optional("mkisofs_cmd").unwrap_or(TOOLS[0]);
    let name = Path::new(text).file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let is_plain = text == name || (text.starts_with('/') && !text.contains(".."));
    match TOOLS.contains(&name) && is_plain {
        true => Ok(text),
        false => Err(Error::Argument {
            name: "mkisofs_cmd",
            reason: format!("{text:?} is none of {}", TOOLS.join(", ")),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dom0::Finished;
    use crate::staging::tests::{Sr, uuid};
    use crate::testing::{Except, Fake, is_possible, run};

    const NETWORK: [(&str, &str); 5] = [
        ("boot_menu_url", "http://boot.example.org/menu.ipxe"),
        ("ip_address", "192.0.2.7"),
        ("netmask", "255.255.255.0"),
        ("gateway", "192.0.2.1"),
        ("dns", "192.0.2.53"),
    ];

    fn args(sr: &Sr, name: &str, value: &str) -> Args {
        let disk = uuid(1);
        let mut all = vec![("vdi_uuid", disk.as_str()), ("mkisofs_cmd", "genisoimage")];
        all.extend(NETWORK);
        all.retain(|(known, _)| *known != name);
        all.push((name, value));
        sr.args(&all)
    }

    /// An SR with an ISO from which one boots, and that ISO.
    fn sr() -> (Sr, std::path::PathBuf) {
        let (sr, tree) = (Sr::with_chain(0), tempfile::tempdir().unwrap());
        for (name, text) in
            [("isolinux.bin", [7; 4096].as_slice()), ("ipxe.krn", b"kernel"), ("netcfg.ipxe", b"old")]
        {
            fs::write(tree.path().join(name), text).unwrap();
        }
        fs::create_dir(sr.path().join("iso")).unwrap();
        let iso = sr.path().join("iso").join(format!("{}.img", uuid(1)));
        let options = ["-quiet", "-l", "-o", iso.to_str().unwrap(), tree.path().to_str().unwrap()];
        run("genisoimage", &options, "");
        (sr, iso)
    }

    fn names(folder: &str) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
        entries.map(|name| name.into_string().unwrap()).collect()
    }

    /// This machine; the kernel of a test machine may not know ISOs.
    fn dom0(sr: &Sr) -> Except<'_> {
        let dom0 = Except::new(|program, args| {
            match (program, args) {
                ("mount", [.., iso, at]) => {
                    run("xorriso", &["-osirrox", "on", "-indev", iso, "-extract", "/", at], "");
                    // As the kernel shows such names.
                    for name in names(at) {
                        fs::rename(Path::new(at).join(&name), Path::new(at).join(name.to_lowercase()))
                            .unwrap();
                    }
                }
                ("umount", [at]) => {
                    names(at).iter().for_each(|name| fs::remove_file(Path::new(at).join(name)).unwrap());
                }
                _ => return None,
            }
            Some(Finished { code: 0, stdout: String::new(), stderr: String::new() })
        });
        dom0.with_repositories(sr.path().parent().unwrap())
    }

    #[test]
    fn the_iso_has_the_guests_addresses() {
        if !is_possible(&["genisoimage", "xorriso"]) {
            return;
        }
        let (sr, iso) = sr();
        for _ in 0..2 {
            inject(&dom0(&sr), &args(&sr, "dns", "192.0.2.53")).unwrap();
        }
        let tree = tempfile::tempdir().unwrap();
        let to = tree.path().join("tree");
        unpack(&dom0(&sr), &iso, &to).unwrap();
        let script = fs::read_to_string(to.join("netcfg.ipxe")).unwrap();
        assert!(script.contains("set net0/ip 192.0.2.7\n"), "{script}");
        assert!(script.contains("chain http://boot.example.org/menu.ipxe\n"), "{script}");
        assert_eq!(fs::read(to.join("ipxe.krn")).unwrap(), b"kernel");
        let boots = run("xorriso", &["-indev", iso.to_str().unwrap(), "-report_el_torito", "plain"], "");
        assert!(boots.contains("/ISOLINUX.BIN"), "{boots}");
        assert_eq!(fs::read_dir(iso.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn more_than_the_iso_is_not_copied() {
        let folder = tempfile::tempdir().unwrap();
        let (iso, tree) = (folder.path().join("iso"), folder.path().join("tree"));
        fs::write(&iso, [0; 100]).unwrap();
        fs::create_dir_all(tree.join("below")).unwrap();
        let told = || refuse_bombs(&iso, &tree).map_err(|error| error.to_string());
        fs::write(tree.join("a"), [0; 60]).unwrap();
        std::os::unix::fs::symlink("/", tree.join("link")).unwrap();
        assert_eq!(told(), Ok(()));
        fs::write(tree.join("below/b"), [0; 60]).unwrap();
        assert!(told().unwrap_err().contains("has 100 bytes, and files of 120 bytes"), "{:?}", told());
        fs::remove_file(tree.join("below/b")).unwrap();
        for number in 0..MAX_ENTRIES {
            fs::write(tree.join(number.to_string()), "").unwrap();
        }
        assert!(told().unwrap_err().contains("more than 4096 files"), "{:?}", told());
    }

    #[test]
    fn what_the_killed_left_mounted_is_unmounted() {
        let living = format!("/dev/loop4 /tmp/xapi-plugins-{}-0 iso9660 ro 0 0", std::process::id());
        let mounts = format!(
            "/dev/loop3 /tmp/xapi-plugins-4194305-0 iso9660 ro 0 0\n{living}\n\
             /dev/loop5 /tmp/xapi-plugins-4194305-1 ext4 rw 0 0\n/dev/loop6 /mnt/cdrom iso9660 ro 0 0\n"
        );
        let dom0 = Fake::default().with_file("/proc/mounts", &mounts);
        unmount_left(&dom0);
        assert_eq!(dom0.commands(), ["umount /tmp/xapi-plugins-4194305-0"]);
    }

    #[test]
    fn a_host_without_the_tool() {
        if !is_possible(&["genisoimage", "xorriso"]) {
            return;
        }
        let (sr, iso) = sr();
        let before = fs::read(&iso).unwrap();
        let error = inject(&dom0(&sr), &args(&sr, "mkisofs_cmd", "/nowhere/mkisofs")).unwrap_err();
        assert_eq!(error.class(), "CommandNotFound");
        assert!(fs::read(&iso).unwrap() == before);
    }

    #[test]
    fn hostile_arguments() {
        let sr = Sr::with_chain(0);
        for (name, value) in [
            ("vdi_uuid", "../../etc"),
            ("boot_menu_url", "http://x y"),
            ("boot_menu_url", "http://x\nshell"),
            ("boot_menu_url", "http://${net0/mac}"),
            ("ip_address", "192.0.2.7\nshell"),
            ("dns", ""),
            ("mkisofs_cmd", "rm"),
            ("mkisofs_cmd", "sh -c x mkisofs"),
            ("mkisofs_cmd", "../mkisofs"),
        ] {
            let refused = inject(&dom0(&sr), &args(&sr, name, value));
            assert!(
                matches!(refused, Err(Error::Argument { name: found, .. }) if found == name),
                "{name} {value}"
            );
        }
    }
}
