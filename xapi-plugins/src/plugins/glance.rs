//! `glance`: images between an image service and a file-based SR, as gzipped tars of VHDs.
//!
//! `curl` moves the bytes.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use md5::{Digest, Md5};
use serde_json::{Value, json};

use super::curl::{self, Curl, broken, header, option};
use super::{Error, Outcome, migration, xenhost};
use crate::convention::{Args, Function};
use crate::dom0::{Dom0, HANDED};
use crate::pickle::Pickle;
use crate::staging::{self, Staging};

/// What `timeout` ends, whatever it is doing.
const LONG: &str = "86400";

/// The disks of the longest chain that is read, and one for swap.
const MAX_MEMBERS: usize = 256;
/// How much is unpacked before what there is of it is looked at.
const LOOK_EVERY_BYTES: u64 = 4 << 20;

const DOWNLOAD: &[&str] = &["image_id", "endpoint", "uuid_stack", "sr_path", "extra_headers", "api_version"];
const UPLOAD: &[&str] =
    &["vdi_uuids", "image_id", "endpoint", "sr_path", "extra_headers", "properties", "api_version"];

pub(super) const FUNCTIONS: &[Function] = &[
    Function::serialized("download_vhd2", DOWNLOAD, download_vhd2),
    Function::serialized("upload_vhd2", UPLOAD, upload_vhd2),
];

/// `download_vhd2(image_id, endpoint, uuid_stack, sr_path, extra_headers, api_version)`: an image as VDIs of
/// the SR: `{"root": {"uuid": …}}`.
fn download_vhd2(dom0: &dyn Dom0, args: &Args) -> Outcome {
    let sr = staging::sr_path(dom0, args)?;
    let stack = args.list("uuid_stack")?;
    let image = Image::of(args)?;
    let staged = Staging::new(dom0, &sr)?;
    let folder = staged.path().join("image");
    fs::create_dir(&folder).map_err(|e| Error::file(&folder, &e))?;
    let path = if image.version == 2 { image.path("/file") } else { image.path("") };
    let curl = Curl::new(&image.headers, &path, &[]);
    let source = ["timeout", "-s", "KILL", LONG, "curl", "--config", HANDED];
    let sink = [
        "timeout",
        "-s",
        "KILL",
        LONG,
        "tar",
        "-x",
        "--no-same-owner",
        "--no-same-permissions",
        "-C",
        staging::text(&folder)?,
        "-f",
        "-",
    ];
    let (mut digest, mut refused) = (Md5::new(), Ok(()));
    let piped = dom0
        .pipe(&source, &sink, &curl.config, &mut |from, to| {
            let mut archive = MultiGzDecoder::new(Digested { from, digest: &mut digest });
            refused = pour(&mut archive, to, &folder, staging::reserve_bytes(&folder)?)?;
            if refused.is_err() {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
            // The end of a tar is not the end of the body.
            io::copy(&mut archive.into_inner(), &mut io::sink()).map(drop)
        })
        .map_err(broken)?;
    // It ends both programs, whose own words are about that.
    refused?;
    let head = curl.check(&piped.first)?;
    let unpacked = piped.second.stderr.trim();
    if let Some(wrong) = piped.moved.err().or((piped.second.code != 0).then(|| unpacked.to_owned())) {
        return Err(Error::Retryable(format!("unpacking image {}: {wrong}", image.id)));
    }
    curl.compare(&head, digest.finalize().as_slice())?;
    refuse_crowds(&folder)?;
    refuse_links(&folder)?;
    staging::import_vhds(dom0, &sr, &folder, stack).map(migration::root)
}

/// `upload_vhd2(vdi_uuids, image_id, endpoint, sr_path, extra_headers, properties, api_version)`: VDIs of the
/// SR, the leaf first, as an image that has been registered and is `queued`.
fn upload_vhd2(dom0: &dyn Dom0, args: &Args) -> Outcome {
    let sr = staging::sr_path(dom0, args)?;
    let uuids = xenhost::uuids("vdi_uuids", args)?;
    let image = Image::of(args)?;
    let mut properties: Vec<(String, String)> = Vec::new();
    let mut level = Compression::default();
    for (name, text) in args.dict("properties").map(Args::texts).into_iter().flatten() {
        if name == "xenapi_image_compression_level" {
            let wrong =
                || Error::Argument { name: "properties", reason: format!("{name} is 1 to 9, not {text:?}") };
            level =
                text.parse().ok().filter(|n| (1..=9).contains(n)).map(Compression::new).ok_or_else(wrong)?;
        } else {
            properties.push((name.to_owned(), text.to_owned()));
        }
    }
    let staged = Staging::new(dom0, &sr)?;
    let folder = staged.path().join("image");
    fs::create_dir(&folder).map_err(|e| Error::file(&folder, &e))?;
    for (number, uuid) in uuids.iter().enumerate() {
        let source = sr.join(format!("{uuid}.vhd"));
        fs::hard_link(&source, folder.join(format!("{number}.vhd"))).map_err(|e| Error::file(&source, &e))?;
    }
    let headers = match image.version {
        2 => describe(dom0, &image, &properties)?,
        _ => headers_of_v1(dom0, &image, &properties)?,
    };
    let path = if image.version == 2 { image.path("/file") } else { image.path("") };
    // What is sent is looked after by the pipe; the service may be silent for longer when it has everything.
    let more = [option("request", "PUT"), option("upload-file", "-"), option("speed-time", "0")];
    let lines = [&headers[..], &more].concat();
    let curl = Curl::new(&image.headers, &path, &lines);
    let source = ["timeout", "-s", "KILL", LONG, "tar", "-c", "-C", staging::text(&folder)?, "."];
    let sink = ["timeout", "-s", "KILL", LONG, "curl", "--config", HANDED];
    let piped = dom0
        .pipe(&source, &sink, &curl.config, &mut |from, to| {
            let mut packer = GzEncoder::new(to, level);
            io::copy(from, &mut packer)?;
            packer.finish().map(drop)
        })
        .map_err(broken)?;
    if !piped.is_cut {
        curl.check(&piped.second)?;
    }
    match piped.moved {
        Err(wrong) => Err(Error::Retryable(format!("{}: {wrong}", curl.place))),
        Ok(()) if piped.first.code != 0 => {
            Err(Error::Retryable(format!("packing the disks: {}", piped.first.stderr.trim())))
        }
        Ok(()) => Ok(Pickle::None),
    }
}

/// Sees that the image waits for data, as the service would take all of it in before it refuses, and gives it its
/// properties, under their own names.
fn describe(
    dom0: &dyn Dom0,
    image: &Image<'_>,
    properties: &[(String, String)],
) -> Result<Vec<String>, Error> {
    let (_, record) = Curl::new(&image.headers, &image.path(""), &[]).run(dom0)?;
    let record: Value = serde_json::from_str(&record)
        .map_err(|e| Error::Retryable(format!("the record of image {} is no JSON: {e}", image.id)))?;
    refuse_unless_queued(image, record["status"].as_str().unwrap_or_default())?;
    let fixed = [("container_format", "ovf"), ("disk_format", "vhd"), ("visibility", "private")];
    let all = fixed.into_iter().chain(properties.iter().map(|(name, text)| (name.as_str(), text.as_str())));
    // A name of a JSON pointer.
    let pointer = |name: &str| format!("/{}", name.replace('~', "~0").replace('/', "~1"));
    let patch: Vec<Value> =
        all.map(|(name, text)| json!({"op": "add", "path": pointer(name), "value": text})).collect();
    let kind = "Content-Type: application/openstack-images-v2.1-json-patch";
    let lines = [
        option("request", "PATCH"),
        option("header", kind),
        option("data-binary", &Value::from(patch).to_string()),
    ];
    Curl::new(&image.headers, &image.path(""), &lines).run(dom0)?;
    Ok(vec![option("header", "Content-Type: application/octet-stream"), chunked()])
}

/// The same of the service's first version, where properties are headers of the upload.
fn headers_of_v1(
    dom0: &dyn Dom0,
    image: &Image<'_>,
    properties: &[(String, String)],
) -> Result<Vec<String>, Error> {
    // What it would print is the head once more.
    let lines = ["head".to_owned(), option("output", "/dev/null")];
    let (head, _) = Curl::new(&image.headers, &image.path(""), &lines).run(dom0)?;
    refuse_unless_queued(image, &head.get("x-image-meta-status").unwrap_or_default())?;
    let fixed = [
        ("x-image-meta-is-public", "False"),
        ("x-image-meta-status", "queued"),
        ("x-image-meta-disk-format", "vhd"),
        ("x-image-meta-container-format", "ovf"),
        ("x-glance-registry-purge-props", "False"),
        ("content-type", "application/octet-stream"),
    ];
    let mut lines: Vec<String> =
        fixed.iter().map(|(name, text)| option("header", &format!("{name}: {text}"))).collect();
    for (name, text) in properties {
        // Headers cannot hold an underscore everywhere; that service reads dashes as such.
        let name = name.replace('_', "-");
        lines.push(option("header", &header("properties", &format!("x-image-meta-property-{name}"), text)?));
    }
    lines.push(chunked());
    Ok(lines)
}

fn chunked() -> String {
    option("header", "Transfer-Encoding: chunked")
}

fn refuse_unless_queued(image: &Image<'_>, status: &str) -> Result<(), Error> {
    match status {
        "queued" => Ok(()),
        _ => {
            Err(Error::Other(format!("image {} is {status:?}: only one that is queued takes data", image.id)))
        }
    }
}

/// Gives an archive to the program that unpacks it, and sees now and then what becomes of it: a few bytes may say a
/// disk of zeros that fills the SR, or files without end. The inner error is what is wrong with the image.
fn pour(
    archive: &mut dyn Read,
    to: &mut dyn Write,
    folder: &Path,
    reserve: u64,
) -> io::Result<Result<(), Error>> {
    loop {
        let poured = io::copy(&mut (&mut *archive).take(LOOK_EVERY_BYTES), to)?;
        if let Err(crowd) = refuse_crowds(folder) {
            return Ok(Err(crowd));
        }
        if staging::free_bytes(folder)? < reserve {
            let reason = format!("the image does not fit: less than {reserve} bytes would be left of the SR");
            return Ok(Err(Error::Other(reason)));
        }
        if poured < LOOK_EVERY_BYTES {
            return Ok(Ok(()));
        }
    }
}

/// More members than a chain has disks, or a folder, which none of them is.
fn refuse_crowds(folder: &Path) -> Result<(), Error> {
    let at = |e: io::Error| Error::file(folder, &e);
    let mut count = 0;
    for entry in fs::read_dir(folder).map_err(at)? {
        let entry = entry.map_err(at)?;
        count += 1;
        if count > MAX_MEMBERS {
            return Err(Error::Other(format!("corrupt image: it has more than {MAX_MEMBERS} members")));
        }
        // One that `tar` has just removed to write it again is none.
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            let name = entry.file_name().to_string_lossy().into_owned();
            return Err(Error::Other(format!("corrupt image: {name} is no plain file")));
        }
    }
    Ok(())
}

/// Members that lead elsewhere, or are a second name of something.
fn refuse_links(folder: &Path) -> Result<(), Error> {
    let at = |e: io::Error| Error::file(folder, &e);
    for entry in fs::read_dir(folder).map_err(at)? {
        let entry = entry.map_err(at)?;
        let found = fs::symlink_metadata(entry.path()).map_err(at)?;
        if !found.is_file() || found.nlink() != 1 {
            let name = entry.file_name().to_string_lossy().into_owned();
            return Err(Error::Other(format!("corrupt image: {name} is no plain file")));
        }
    }
    Ok(())
}

/// An image of a service.
struct Image<'a> {
    id: &'a str,
    endpoint: &'a str,
    version: u64,
    headers: Vec<String>,
}

impl<'a> Image<'a> {
    fn of(args: &'a Args) -> Result<Self, Error> {
        let (id, endpoint) = (args.required("image_id")?, args.required("endpoint")?);
        let plain = id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if !plain || !(1..=64).contains(&id.len()) {
            let reason = format!("{id:?} is not an image's id");
            return Err(Error::Argument { name: "image_id", reason });
        }
        // No queries either.
        if !curl::is_url(endpoint) || endpoint.contains('?') {
            let reason = format!("{endpoint:?} is not the URL of an image service");
            return Err(Error::Argument { name: "endpoint", reason });
        }
        let version = args.number("api_version", Some(1), 2)?.max(1);
        let extra = args.dict("extra_headers").map(Args::texts).into_iter().flatten();
        let headers =
            extra.map(|(name, text)| header("extra_headers", name, text)).collect::<Result<_, _>>()?;
        Ok(Self { id, endpoint: endpoint.trim_end_matches('/'), version, headers })
    }

    fn path(&self, rest: &str) -> String {
        format!("{}/v{}/images/{}{rest}", self.endpoint, self.version, self.id)
    }
}

/// What is read, digested on the way.
struct Digested<'a> {
    from: &'a mut dyn Read,
    digest: &'a mut Md5,
}

impl Read for Digested<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.from.read(buffer)?;
        self.digest.update(&buffer[..len]);
        Ok(len)
    }
}

#[cfg(test)]
mod tests;
