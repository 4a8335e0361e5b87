//! `kernel`: kernels and ramdisks of PV guests, as files in `/boot/guest`.
//!
//! Not here: `copy_vdi`, which attaches a VDI to the control domain and needs a session for that.

use std::path::{Path, PathBuf};

use super::{Error, Outcome};
use crate::convention::{Args, Function};
use crate::dom0::Dom0;
use crate::pickle::Pickle;

/// Operators make this a link to where there is more room.
const FOLDER: &str = "/boot/guest";

pub(super) const FUNCTIONS: &[Function] = &[
    Function::plain("create_kernel_ramdisk", create_kernel_ramdisk),
    Function::plain("remove_kernel_ramdisk", remove_kernel_ramdisk),
];

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
