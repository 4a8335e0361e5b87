//! `kernel`: kernels and ramdisks of PV guests, as files in `/boot/guest`.

use std::path::{Path, PathBuf};

use super::{Error, Outcome};
use crate::convention::{Args, Function};
use crate::dom0::Dom0;
use crate::pickle::Pickle;
use crate::xapi::Xapi;

/// Operators make this a link to where there is more room.
const FOLDER: &str = "/boot/guest";
/// Nova's own limit is 16 MiB; today's ramdisks are larger.
const MAX_BYTES: u64 = 1 << 30;

pub(super) const FUNCTIONS: &[Function] = &[
    Function::plain("copy_vdi", copy_vdi),
    Function::plain("create_kernel_ramdisk", create_kernel_ramdisk),
    Function::plain("remove_kernel_ramdisk", remove_kernel_ramdisk),
];

/// `copy_vdi(vdi-ref, image-size, cached-image)`: the first bytes of a VDI as a file that is named after it;
/// its path. With `cached-image`, under that name too.
fn copy_vdi(dom0: &dyn Dom0, args: &Args) -> Outcome {
    let vdi = args.required("vdi-ref")?;
    let len = args.number("image-size", None, MAX_BYTES)?;
    let cached = args.optional("cached-image").map(|text| name("cached-image", text)).transpose()?;
    let xapi = Xapi::new(dom0, args.session());
    let uuid: String = xapi.call("VDI.get_uuid", &(vdi,))?;
    let path = Path::new(FOLDER).join(name("vdi-ref", &uuid)?);
    let attached = xapi.attach(vdi)?;
    let device = attached.device()?;
    dom0.copy_head(&device, &path, len).map_err(|e| Error::file(&path, &e))?;
    attached.detach()?;
    if let Some(cached) = cached {
        let cached = Path::new(FOLDER).join(cached);
        dom0.copy(&path, &cached).map_err(|e| Error::file(&cached, &e))?;
    }
    Ok(Pickle::Str(path.display().to_string()))
}

/// `create_kernel_ramdisk(cached-image, new-image-uuid)`: a copy of a cached file; its path, or nothing
/// when the image is not in the cache.
fn create_kernel_ramdisk(dom0: &dyn Dom0, args: &Args) -> Outcome {
    let cached = Path::new(FOLDER).join(name("cached-image", args.required("cached-image")?)?);
    let new = Path::new(FOLDER).join(name("new-image-uuid", args.required("new-image-uuid")?)?);
    if !dom0.exists(&cached) {
        return Ok(Pickle::Str(String::new()));
    }
    dom0.copy(&cached, &new).map_err(|e| Error::file(&new, &e))?;
    Ok(Pickle::Str(new.display().to_string()))
}

/// `remove_kernel_ramdisk(kernel-file, ramdisk-file)`: either may be left out, and may be gone already.
fn remove_kernel_ramdisk(dom0: &dyn Dom0, args: &Args) -> Outcome {
    let path = |argument| args.optional(argument).map(|text| within(argument, text)).transpose();
    // Both are looked at before either is removed.
    let files = [path("kernel-file")?, path("ramdisk-file")?];
    for file in files.iter().flatten() {
        dom0.remove(file).map_err(|e| Error::file(file, &e))?;
    }
    Ok(Pickle::Str("ok".to_owned()))
}

/// A path that is a name in the folder and nothing else.
fn within(argument: &'static str, path: &str) -> Result<PathBuf, Error> {
    let refused =
        || Error::Argument { name: argument, reason: format!("{path:?} is not a file in {FOLDER}") };
    let file = path.strip_prefix(FOLDER).and_then(|rest| rest.strip_prefix('/')).ok_or_else(refused)?;
    Ok(Path::new(FOLDER).join(name(argument, file)?))
}

fn name<'a>(argument: &'static str, text: &'a str) -> Result<&'a str, Error> {
    let plain = (1..=128).contains(&text.len())
        && !text.starts_with(['.', '-'])
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    let refused =
        || Error::Argument { name: argument, reason: format!("{text:?} is not the name of an image") };
    plain.then_some(text).ok_or_else(refused)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Fake;

    fn text(text: &str) -> Outcome {
        Ok(Pickle::Str(text.to_owned()))
    }

    #[test]
    fn copies_come_and_go() {
        let dom0 = Fake::default().with_file("/boot/guest/image", "ELF");
        let create = |from| {
            create_kernel_ramdisk(&dom0, &Args::of(&[("cached-image", from), ("new-image-uuid", "aa-bb")]))
        };
        assert_eq!(create("other"), text(""));
        assert_eq!(create("image"), text("/boot/guest/aa-bb"));
        assert_eq!(dom0.file("/boot/guest/aa-bb").as_deref(), Some("ELF"));
        let args = Args::of(&[("kernel-file", "/boot/guest/aa-bb"), ("ramdisk-file", "/boot/guest/gone")]);
        assert_eq!(remove_kernel_ramdisk(&dom0, &args), text("ok"));
        assert_eq!(dom0.file("/boot/guest/aa-bb"), None);
        assert!(dom0.file("/boot/guest/image").is_some());
    }

    #[test]
    fn a_vdi_becomes_a_file() {
        let dom0 = Fake::default()
            .with_file("/etc/xensource-inventory", "CONTROL_DOMAIN_UUID='d'\n")
            .with_file("/dev/xvdq", "ELF and what is behind")
            .with_xapi("VDI.get_uuid", Ok("0a1b2c3d-0000-4000-8000-00000000000a"))
            .with_xapi("VBD.create", Ok("OpaqueRef:vbd"))
            .with_xapi("VBD.get_device", Ok("xvdq"));
        let args = |size, cached| {
            Args::of(&[("vdi-ref", "OpaqueRef:vdi"), ("image-size", size), ("cached-image", cached)])
        };
        let path = "/boot/guest/0a1b2c3d-0000-4000-8000-00000000000a";
        assert_eq!(copy_vdi(&dom0, &args("3", "image")), text(path));
        assert_eq!(dom0.file(path).as_deref(), Some("ELF"));
        assert_eq!(dom0.file("/boot/guest/image").as_deref(), Some("ELF"));
        assert_eq!(dom0.commands().last().unwrap(), "VBD.destroy OpaqueRef:vbd");
        assert!(copy_vdi(&dom0, &args("3", "../image")).is_err());
        assert!(copy_vdi(&dom0, &args("999", "image")).is_err());
        assert_eq!(dom0.commands().last().unwrap(), "VBD.destroy OpaqueRef:vbd");
    }

    #[test]
    fn files_elsewhere_are_safe() {
        let dom0 = Fake::default().with_file("/etc/passwd", "x").with_file("/boot/guest/k", "x");
        for path in ["/etc/passwd", "/boot/guest/../../etc/passwd", "/boot/guest/", "/boot/guestx/k", "k", ""]
        {
            let args = Args::of(&[("kernel-file", "/boot/guest/k"), ("ramdisk-file", path)]);
            assert!(matches!(remove_kernel_ramdisk(&dom0, &args), Err(Error::Argument { .. })), "{path}");
        }
        for image in ["../x", "a/b", ".", "", "-f"] {
            let args = Args::of(&[("cached-image", image), ("new-image-uuid", "a")]);
            assert!(matches!(create_kernel_ramdisk(&dom0, &args), Err(Error::Argument { .. })), "{image}");
        }
        assert!(dom0.file("/boot/guest/k").is_some());
    }
}
