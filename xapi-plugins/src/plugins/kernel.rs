//! `kernel`: kernels and ramdisks of PV guests, as files in `/boot/guest`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::curl::{self, Curl};
use super::{Error, Outcome, partition_utils};
use crate::convention::{Args, Function};
use crate::disk::Disk;
use crate::dom0::{Dom0, Folder};
use crate::partition_table::SECTOR;
use crate::pickle::Pickle;
use crate::staging;
use crate::xapi::Xapi;

/// Nova's own limit is 16 MiB; today's ramdisks are larger.
const MAX_BYTES: u64 = 1 << 30;

pub(super) const FUNCTIONS: &[Function] = &[
    Function::plain("copy_vdi", copy_vdi),
    Function::plain("create_kernel_ramdisk", create_kernel_ramdisk),
    Function::plain("remove_kernel_ramdisk", remove_kernel_ramdisk),
];

/// What is in the cache; no guest's file begins so.
const CACHED: &str = "cache-";
/// What a guest's file is called while it arrives.
const FETCHING: &str = ".fetching";
const FETCH_LIMIT: Duration = Duration::from_secs(3_600);
const DIGEST_LIMIT: Duration = Duration::from_secs(600);

/// `cache_kernel(dev, size_bytes, sha256, name)`: the first bytes of a disk that is attached here, as a file of the
/// cache and as a guest's; the latter's path. Nothing stays when they are not what the digest says.
pub(super) fn cache(dom0: &dyn Dom0, args: &Args) -> Outcome {
    let device = partition_utils::device(args, "dev")?;
    let len = args.number("size_bytes", None, MAX_BYTES)?;
    keep(dom0, &device, len, digest("sha256", args)?, own_name(args.required("name")?)?)
}

fn keep(dom0: &dyn Dom0, device: &Path, len: u64, digest: &str, own: &str) -> Outcome {
    let disk = Disk::open(dom0, device)?;
    let room = disk.sectors()? * SECTOR;
    if len == 0 || len > room {
        let reason = format!("{len} is not from 1 to {room}, which the disk has");
        return Err(Error::Argument { name: "size_bytes", reason });
    }
    let folder = dom0.folder(Folder::Kernels);
    dom0.make_dir(&folder).map_err(|e| Error::file(&folder, &e))?;
    take(dom0, &folder, digest, own, |arriving| {
        dom0.copy_head(device, arriving, len).map_err(|e| Error::file(arriving, &e))
    })
}

/// Has something arrive under a name of the guest's own, which needs no lock: others need not wait for a disk, a server
/// or a digest. What the digest says becomes a file of the cache and the guest's; the latter's path.
fn take(
    dom0: &dyn Dom0,
    folder: &Path,
    digest: &str,
    own: &str,
    arrive: impl FnOnce(&Path) -> Result<(), Error>,
) -> Outcome {
    let arriving = folder.join(format!("{own}{FETCHING}"));
    let kept = arrive(&arriving).and_then(|()| {
        verify(dom0, &arriving, digest)?;
        let cached = folder.join(format!("{CACHED}{digest}"));
        let _lock = lock(dom0, folder)?;
        dom0.link(&arriving, &cached).map_err(|e| Error::file(&cached, &e))?;
        link(dom0, &cached, &folder.join(own))
    });
    dom0.remove(&arriving).map_err(|e| Error::file(&arriving, &e))?;
    kept
}

/// `fetch_kernel(url, headers, digest, max_bytes, name)`: what is at an address as a file of the cache and as a guest's;
/// the latter's path. What the cache has is not fetched.
pub(super) fn fetch(dom0: &dyn Dom0, args: &Args) -> Outcome {
    let (digest, own) = (digest("digest", args)?, own_name(args.required("name")?)?);
    let url = args.required("url")?;
    let max = args.number("max_bytes", Some(MAX_BYTES), MAX_BYTES)?;
    if !curl::is_url(url) {
        // Its query may be a secret.
        let reason = "it is no address of http or https, or has a login in it".to_owned();
        return Err(Error::Argument { name: "url", reason });
    }
    let headers: BTreeMap<String, String> = serde_json::from_str(args.optional("headers").unwrap_or("{}"))
        .map_err(|_| Error::Argument { name: "headers", reason: "they are no object of texts".to_owned() })?;
    let headers = headers.iter().map(|(name, text)| curl::header("headers", name, text));
    let headers: Vec<String> = headers.collect::<Result<_, _>>()?;
    let folder = dom0.folder(Folder::Kernels);
    if let Some(path) = placed(dom0, &folder, digest, own)? {
        return Ok(path);
    }
    take(dom0, &folder, digest, own, |arriving| download(dom0, url, &headers, arriving, max))
}

/// Has curl write what is at an address to a file, which it cannot make larger than `max` bytes.
fn download(dom0: &dyn Dom0, url: &str, headers: &[String], to: &Path, max: u64) -> Result<(), Error> {
    let mut lines = vec![curl::option("output", staging::text(to)?), "fail".to_owned()];
    if headers.is_empty() {
        // Another server must not be told what was for this one.
        lines.push("location\nmax-redirs = 5".to_owned());
    }
    let curl = Curl::new(headers, url, &lines);
    let args = [&format!("--fsize={max}"), "curl", "--config", "-"];
    let done = dom0.execute("prlimit", &args, &curl.config, FETCH_LIMIT).map_err(curl::broken)?;
    let len = std::fs::metadata(to).map_or(0, |file| file.len());
    if done.code != 0 && len >= max {
        return Err(Error::Other(format!("{} has more than {max} bytes, which are allowed", curl.place)));
    }
    curl.check(&done).map(drop).map_err(|error| match error {
        Error::ImageNotFound => Error::Other(format!("there is nothing at {}", curl.place)),
        other => other,
    })
}

/// `place_kernel(sha256, name)`: a file of the cache as a guest's: its path, or nothing when it is not in the cache.
pub(super) fn place(dom0: &dyn Dom0, args: &Args) -> Outcome {
    let (digest, own) = (digest("sha256", args)?, own_name(args.required("name")?)?);
    let placed = placed(dom0, &dom0.folder(Folder::Kernels), digest, own)?;
    Ok(placed.unwrap_or(Pickle::None))
}

/// A file of the cache as a guest's, if the cache has it and it is still what its name says; what is not is removed.
fn placed(dom0: &dyn Dom0, folder: &Path, digest: &str, own: &str) -> Result<Option<Pickle>, Error> {
    let cached = folder.join(format!("{CACHED}{digest}"));
    let _lock = lock(dom0, folder)?;
    if !dom0.exists(&cached) {
        return Ok(None);
    }
    if digest_of(dom0, &cached, digest)? != digest {
        dom0.remove(&cached).map_err(|e| Error::file(&cached, &e))?;
        return Ok(None);
    }
    link(dom0, &cached, &folder.join(own)).map(Some)
}

/// `remove_kernels(names)`: guests' files, and those of the cache that no guest has any more; how many it were.
pub(super) fn remove(dom0: &dyn Dom0, args: &Args) -> Outcome {
    let names: Vec<&str> = args.list("names")?.iter().map(|text| own_name(text)).collect::<Result<_, _>>()?;
    let folder = dom0.folder(Folder::Kernels);
    if !dom0.exists(&folder) {
        return Ok(Pickle::Int(0));
    }
    let _lock = lock(dom0, &folder)?;
    let remove = |path: &Path| dom0.remove(path).map_err(|e| Error::file(path, &e));
    let mut removed = 0;
    for own in &names {
        removed += i64::from(remove(&folder.join(own))?);
    }
    for entry in dom0.list(&folder).unwrap_or_default() {
        let path = folder.join(&entry);
        // Of a call that was killed, and parts of it.
        if names.iter().any(|own| entry.strip_prefix(own).is_some_and(|rest| rest.starts_with(FETCHING))) {
            removed += i64::from(remove(&path)?);
        }
        // One name alone: the guests' are gone, or a call was killed before there were any.
        if entry.starts_with(CACHED) && dom0.links(&path).is_ok_and(|links| links == 1) {
            removed += i64::from(remove(&path)?);
        }
    }
    Ok(Pickle::Int(removed))
}

fn lock(dom0: &dyn Dom0, folder: &Path) -> Result<std::fs::File, Error> {
    dom0.make_dir(folder).and_then(|()| dom0.lock(folder)).map_err(|e| Error::file(folder, &e))
}

fn link(dom0: &dyn Dom0, cached: &Path, own: &Path) -> Outcome {
    dom0.link(cached, own).map_err(|e| Error::file(own, &e))?;
    Ok(Pickle::Str(own.display().to_string()))
}

fn verify(dom0: &dyn Dom0, file: &Path, digest: &str) -> Result<(), Error> {
    let found = digest_of(dom0, file, digest)?;
    match found == digest {
        true => Ok(()),
        false => {
            let name = tool(digest).1;
            Err(Error::Retryable(format!("what came has the {name} {found} instead of {digest}")))
        }
    }
}

/// A file's digest of the kind that another is.
fn digest_of(dom0: &dyn Dom0, file: &Path, like: &str) -> Result<String, Error> {
    let said = dom0.run(tool(like).0, &[&file.to_string_lossy()], "", DIGEST_LIMIT)?;
    Ok(said.split(' ').next().unwrap_or_default().trim_start_matches('\\').to_owned())
}

fn tool(digest: &str) -> (&'static str, &'static str) {
    match digest.len() {
        64 => ("sha256sum", "SHA-256"),
        96 => ("sha384sum", "SHA-384"),
        _ => ("sha512sum", "SHA-512"),
    }
}

/// A digest that nobody can make something else for.
fn digest<'a>(argument: &'static str, args: &'a Args) -> Result<&'a str, Error> {
    let text = args.required(argument)?;
    let is_digest = [64, 96, 128].contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let reason = || format!("{text:?} is not 64, 96 or 128 hexadecimal digits");
    let refused = || Error::Argument { name: argument, reason: reason() };
    is_digest.then_some(text).ok_or_else(refused)
}

/// A guest's file, which is none of the cache, and none that is still arriving.
pub(super) fn own_name(text: &str) -> Result<&str, Error> {
    own("name", text)
}

fn own<'a>(argument: &'static str, text: &'a str) -> Result<&'a str, Error> {
    let own = name(argument, text)?;
    match own.starts_with(CACHED) || own.contains(FETCHING) {
        false => Ok(own),
        true => Err(Error::Argument { name: argument, reason: format!("{text:?} is a name of the cache") }),
    }
}

/// `copy_vdi(vdi-ref, image-size, cached-image)`: the first bytes of a VDI as a file that is named after it;
/// its path. With `cached-image`, under that name too.
fn copy_vdi(dom0: &dyn Dom0, args: &Args) -> Outcome {
    let vdi = args.required("vdi-ref")?;
    let len = args.number("image-size", None, MAX_BYTES)?;
    let cached = given(args, "cached-image").map(|text| own("cached-image", text)).transpose()?;
    let folder = dom0.folder(Folder::Kernels);
    let xapi = Xapi::new(dom0, args.session());
    let uuid: String = xapi.call("VDI.get_uuid", &(vdi,))?;
    let path = folder.join(name("vdi-ref", &uuid)?);
    dom0.make_dir(&folder).map_err(|e| Error::file(&folder, &e))?;
    let attached = xapi.attach(vdi)?;
    let device = attached.device()?;
    dom0.copy_head(&device, &path, len).map_err(|e| Error::file(&path, &e))?;
    attached.detach()?;
    if let Some(cached) = cached {
        let cached = folder.join(cached);
        dom0.copy(&path, &cached).map_err(|e| Error::file(&cached, &e))?;
    }
    Ok(Pickle::Str(path.display().to_string()))
}

/// `create_kernel_ramdisk(cached-image, new-image-uuid)`: a copy of a cached file; its path, or nothing
/// when the image is not in the cache.
fn create_kernel_ramdisk(dom0: &dyn Dom0, args: &Args) -> Outcome {
    let folder = dom0.folder(Folder::Kernels);
    let cached = folder.join(own("cached-image", args.required("cached-image")?)?);
    let new = folder.join(own("new-image-uuid", args.required("new-image-uuid")?)?);
    if !dom0.exists(&cached) {
        return Ok(Pickle::Str(String::new()));
    }
    dom0.copy(&cached, &new).map_err(|e| Error::file(&new, &e))?;
    Ok(Pickle::Str(new.display().to_string()))
}

/// `remove_kernel_ramdisk(kernel-file, ramdisk-file)`: either may be left out, and may be gone already.
fn remove_kernel_ramdisk(dom0: &dyn Dom0, args: &Args) -> Outcome {
    let folder = dom0.folder(Folder::Kernels);
    let path = |argument| given(args, argument).map(|text| within(&folder, argument, text)).transpose();
    // Both are looked at before either is removed.
    let files = [path("kernel-file")?, path("ramdisk-file")?];
    for file in files.iter().flatten() {
        dom0.remove(file).map_err(|e| Error::file(file, &e))?;
    }
    Ok(Pickle::Str("ok".to_owned()))
}

/// An argument that may be left out, or be empty.
fn given<'a>(args: &'a Args, argument: &str) -> Option<&'a str> {
    args.optional(argument).filter(|text| !text.is_empty())
}

/// A path that is a name in the folder and nothing else.
fn within(folder: &Path, argument: &'static str, path: &str) -> Result<PathBuf, Error> {
    let refused = || {
        let reason = format!("{path:?} is not a file in {}", folder.display());
        Error::Argument { name: argument, reason }
    };
    let prefix = format!("{}/", folder.display());
    let file = path.strip_prefix(&prefix).ok_or_else(refused)?;
    Ok(folder.join(own(argument, file)?))
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
    use dom0_protocol::{Call, FetchKernel};

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
    fn a_kernel_is_kept_as_long_as_a_guest_has_it() {
        let (root, disk) = (tempfile::tempdir().unwrap(), tempfile::NamedTempFile::new().unwrap());
        let mut bytes = vec![0; 1024];
        bytes[..6].copy_from_slice(b"kernel");
        std::fs::write(disk.path(), &bytes).unwrap();
        let dom0 = crate::around::Around::in_folder(&crate::dom0::Real, root.path());
        let digest = "6923dd1bc0460082c5d55a831908c24a282860b7f1cd6c2b79cf1bc8857c639c";
        let folder = root.path().join("boot/guest");
        let names = || {
            let entries = std::fs::read_dir(&folder).unwrap();
            let mut all: Vec<_> =
                entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            all.sort();
            all
        };
        let args = |name| Args::of(&[("sha256", digest), ("name", name)]);
        let path = |name: &str| text(&folder.join(name).display().to_string());
        assert_eq!(place(&dom0, &args("one-kernel")), Ok(Pickle::None));
        assert_eq!(keep(&dom0, disk.path(), 6, digest, "one-kernel"), path("one-kernel"));
        assert_eq!(std::fs::read(folder.join("one-kernel")).unwrap(), b"kernel");
        for _ in 0..2 {
            assert_eq!(place(&dom0, &args("two-kernel")), path("two-kernel"));
        }
        let cached = format!("cache-{digest}");
        assert_eq!(names(), [cached.as_str(), "one-kernel", "two-kernel"]);
        let gone = |names: &[&str]| remove(&dom0, &Args::default().with_list("names", names));
        assert_eq!(gone(&["one-kernel", "never-there"]), Ok(Pickle::Int(1)));
        assert_eq!(names(), [cached.as_str(), "two-kernel"]);
        // A call that was killed has left this.
        std::fs::write(folder.join("cache-0.unverified"), "").unwrap();
        assert_eq!(gone(&["two-kernel"]), Ok(Pickle::Int(3)));
        assert_eq!(names(), [""; 0]);

        let error = keep(&dom0, disk.path(), 6, &digest.replace('4', "5"), "k").unwrap_err();
        assert!(error.to_string().contains(digest) && error.class() == "RetryableError", "{error}");
        assert_eq!(names(), [""; 0]);
        assert!(keep(&dom0, disk.path(), 1025, digest, "k").is_err());
    }

    /// What is in the cache got there by its digest, and by nothing else; what is no more what its name says goes.
    #[test]
    fn nothing_else_comes_into_the_cache() {
        let digest = "6923dd1bc0460082c5d55a831908c24a282860b7f1cd6c2b79cf1bc8857c639c";
        let cached = format!("cache-{digest}");
        let dom0 = Fake::default().with_file("/boot/guest/image", "evil");
        for name in [cached.as_str(), "k.fetching"] {
            for (from, to) in [("image", name), (name, "image")] {
                let args = Args::of(&[("cached-image", from), ("new-image-uuid", to)]);
                assert!(matches!(create_kernel_ramdisk(&dom0, &args), Err(Error::Argument { .. })), "{from}");
            }
            let args = [("vdi-ref", "OpaqueRef:vdi"), ("image-size", "3"), ("cached-image", name)];
            let refused = copy_vdi(&dom0, &Args::of(&args));
            assert!(matches!(refused, Err(Error::Argument { name: "cached-image", .. })), "{refused:?}");
            let args = Args::of(&[("kernel-file", &format!("/boot/guest/{name}"))]);
            assert!(matches!(remove_kernel_ramdisk(&dom0, &args), Err(Error::Argument { .. })), "{name}");
        }
        assert!(dom0.commands().is_empty());

        let (root, disk) = (tempfile::tempdir().unwrap(), tempfile::NamedTempFile::new().unwrap());
        let mut bytes = vec![0; 1024];
        bytes[..6].copy_from_slice(b"kernel");
        std::fs::write(disk.path(), &bytes).unwrap();
        let dom0 = crate::around::Around::in_folder(&crate::dom0::Real, root.path());
        keep(&dom0, disk.path(), 6, digest, "one-kernel").unwrap();
        let cached = root.path().join("boot/guest").join(cached);
        std::fs::write(&cached, "evil").unwrap();
        assert_eq!(place(&dom0, &Args::of(&[("sha256", digest), ("name", "two-kernel")])), Ok(Pickle::None));
        assert!(!cached.exists() && !cached.with_file_name("two-kernel").exists());
    }

    /// A server of HTTP that answers each request with what belongs to its path, and tells the requests.
    fn serve(answers: Vec<(&'static str, String)>) -> (String, std::sync::mpsc::Receiver<String>) {
        use std::io::{Read, Write};
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, mut head) = (stream.unwrap(), Vec::new());
                while !head.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    if stream.read(&mut byte).unwrap_or(0) == 0 {
                        break;
                    }
                    head.extend(byte);
                }
                let head = String::from_utf8(head).unwrap();
                let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
                let answer =
                    answers.iter().find(|(known, _)| *known == path).map(|(_, answer)| answer.as_str());
                let _ = stream.write_all(answer.unwrap_or("HTTP/1.0 404 no\r\n\r\n").as_bytes());
                if tell.send(head).is_err() {
                    break;
                }
            }
        });
        (url, told)
    }

    #[test]
    fn a_kernel_is_fetched_once_and_checked() {
        let (url, requests) = serve(vec![
            ("/k?sig=s3cr3t", "HTTP/1.0 200 OK\r\n\r\nkernel".to_owned()),
            ("/moved", "HTTP/1.0 302 Found\r\nLocation: /k?sig=s3cr3t\r\n\r\n".to_owned()),
            ("/large", format!("HTTP/1.0 200 OK\r\n\r\n{}", "x".repeat(200_000))),
        ]);
        let root = tempfile::tempdir().unwrap();
        let dom0 = crate::around::Around::in_folder(&crate::dom0::Real, root.path());
        let digest = "6923dd1bc0460082c5d55a831908c24a282860b7f1cd6c2b79cf1bc8857c639c";
        let folder = root.path().join("boot/guest");
        let names = || {
            let mut all: Vec<_> =
                std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            all.sort();
            all
        };
        let ask = |path: &str, digest: &str, max_bytes: u64, own: &str, token: &str| {
            let token =
                Some(("X-Auth-Token".to_owned(), token.to_owned())).filter(|(_, token)| !token.is_empty());
            let request = FetchKernel {
                url: format!("{url}{path}"),
                headers: token.into_iter().collect(),
                digest: digest.to_owned(),
                max_bytes,
                name: own.to_owned(),
            };
            // As it comes from the driver.
            let function = Function::protocol(FetchKernel::FUNCTION, fetch);
            fetch(&dom0, &function.arguments(&dom0_protocol::encode(&request, None)).unwrap())
        };
        let own = |name: &str| text(&folder.join(name).display().to_string());
        assert_eq!(ask("/k?sig=s3cr3t", digest, 6, "one-kernel", "t0ken"), own("one-kernel"));
        assert_eq!(std::fs::read(folder.join("one-kernel")).unwrap(), b"kernel");
        assert!(requests.recv().unwrap().contains("X-Auth-Token: t0ken\r\n"));
        // It is in the cache, wherever it is said to be.
        assert_eq!(ask("/nowhere", digest, 6, "two-kernel", ""), own("two-kernel"));
        assert!(requests.try_recv().is_err());
        let gone = remove(&dom0, &Args::default().with_list("names", &["one-kernel", "two-kernel"]));
        assert_eq!((gone, names()), (Ok(Pickle::Int(3)), vec![]));

        // Another address is followed, but not with what is for this one alone.
        assert_eq!(ask("/moved", digest, 6, "one-kernel", ""), own("one-kernel"));
        remove(&dom0, &Args::default().with_list("names", &["one-kernel"])).unwrap();
        for (path, digest, max, token, says) in [
            ("/moved", digest, 6, "t0ken", "answers 302"),
            ("/nowhere", digest, 6, "", "there is nothing at http"),
            ("/k?sig=s3cr3t", &*"0".repeat(128), 6, "", "has the SHA-512"),
            ("/k?sig=s3cr3t", digest, 5, "", "more than 5 bytes"),
            ("/large", digest, 6, "", "more than 6 bytes"),
        ] {
            let error = ask(path, digest, max, "k", token).unwrap_err().to_string();
            assert!(error.contains(says) && !error.contains("s3cr3t") && !error.contains("t0ken"), "{error}");
            assert_eq!(names(), [""; 0], "{path}");
        }
        // A call that was killed leaves a part of it.
        std::fs::write(folder.join("one-kernel.fetching"), "ker").unwrap();
        remove(&dom0, &Args::default().with_list("names", &["one-kernel"])).unwrap();
        assert_eq!(names(), [""; 0]);
        for url in ["", "ftp://a/b", "file:///etc/passwd", "http://root@a/b", "http://a/b#c", "http://a/\nb"]
        {
            let args = Args::of(&[("url", url), ("digest", digest), ("name", "k")]);
            assert!(matches!(fetch(&dom0, &args), Err(Error::Argument { name: "url", .. })), "{url}");
        }
    }

    /// What is larger is refused before anything is read, and what says nothing of its length is cut there.
    #[test]
    fn no_kernel_is_larger_than_a_gib() {
        let (digest, most) = ("0".repeat(64), 1_u64 << 30);
        let (most, more) = (most.to_string(), (most + 1).to_string());
        let dom0 = Fake::default().with_file("/dev/xvdq", "ELF");
        let refused = |outcome: Outcome| match outcome {
            Err(Error::Argument { name, reason }) if reason.contains("0 to 1073741824") => name,
            other => panic!("{other:?}"),
        };
        let kernel = [("dev", "xvdq"), ("sha256", &digest), ("name", "k"), ("size_bytes", &more)];
        assert_eq!(refused(cache(&dom0, &Args::of(&kernel))), "size_bytes");
        let url = [("url", "http://h/k"), ("digest", digest.as_str()), ("name", "k")];
        let with = |max: &str| Args::of(&[&url[..], &[("max_bytes", max)]].concat());
        assert_eq!(refused(fetch(&dom0, &with(&more))), "max_bytes");
        let vdi = [("vdi-ref", "OpaqueRef:vdi"), ("image-size", more.as_str())];
        assert_eq!(refused(copy_vdi(&dom0, &Args::of(&vdi))), "image-size");
        assert!(dom0.commands().is_empty(), "{:?}", dom0.commands());
        for args in [with(&most), Args::of(&url)] {
            let _ = fetch(&dom0, &args);
            let ran = dom0.commands().into_iter().find(|command| command.starts_with("prlimit "));
            assert!(
                ran.is_some_and(|ran| ran.contains(&format!("--fsize={most} curl"))),
                "{:?}",
                dom0.commands()
            );
        }
    }

    #[test]
    fn names_that_are_none() {
        let dom0 = Fake::default();
        let digest = "0".repeat(64);
        for name in ["", "../k", "a/b", ".k", "cache-0", "-f"] {
            let args = Args::of(&[("sha256", &digest), ("name", name)]);
            assert!(matches!(place(&dom0, &args), Err(Error::Argument { name: "name", .. })), "{name}");
            let args = Args::default().with_list("names", &["k", name]);
            assert!(matches!(remove(&dom0, &args), Err(Error::Argument { name: "name", .. })), "{name}");
        }
        for digest in ["", "00", "/".repeat(64).as_str(), "A".repeat(64).as_str()] {
            let args = Args::of(&[("sha256", digest), ("name", "k")]);
            assert!(matches!(place(&dom0, &args), Err(Error::Argument { name: "sha256", .. })), "{digest}");
        }
    }

    #[test]
    fn files_elsewhere_are_safe() {
        let dom0 = Fake::default().with_file("/etc/passwd", "x").with_file("/boot/guest/k", "x");
        for path in ["/etc/passwd", "/boot/guest/../../etc/passwd", "/boot/guest/", "/boot/guestx/k", "k"] {
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
