//! `glance`: images between an image service and a file-based SR, as gzipped tars of VHDs.
//!
//! `curl` moves the bytes, with the certificates that the host trusts; what it sends, such as tokens, goes to
//! it in a file that only root can read. A transfer that makes no progress for 90 seconds ends.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use md5::{Digest, Md5};
use serde_json::{Value, json};

use super::{Error, Outcome, migration, xenhost};
use crate::convention::{Args, Function};
use crate::dom0::{CommandError, Dom0};
use crate::pickle::Pickle;
use crate::staging::{self, Staging};

const SHORT: Duration = Duration::from_secs(300);
/// What `timeout` ends, whatever it is doing.
const LONG: &str = "86400";
/// Statuses after which it is no use to try again.
const PERMANENT: &[u16] = &[
    400, 401, 402, 403, 405, 406, 407, 409, 410, 411, 412, 413, 414, 415, 416, 417, 422, 423, 424, 426, 501,
    505, 510,
];

pub(super) const FUNCTIONS: &[Function] =
    &[Function::serialized("download_vhd2", download_vhd2), Function::serialized("upload_vhd2", upload_vhd2)];

/// `download_vhd2(image_id, endpoint, sr_path, uuid_stack, extra_headers, api_version)`: an image as VDIs of
/// the SR: `{"root": {"uuid": …}}`.
fn download_vhd2(dom0: &dyn Dom0, args: &Args) -> Outcome {
    let sr = staging::sr_path(args)?;
    let stack = args.list("uuid_stack")?;
    let image = Image::of(args)?;
    let staged = Staging::new(&sr)?;
    let folder = staged.path().join("image");
    fs::create_dir(&folder).map_err(|e| Error::file(&folder, &e))?;
    let path = if image.version == 2 { image.path("/file") } else { image.path("") };
    let curl = Curl::new(&staged, &image, &path, &[])?;
    let source = ["timeout", "-s", "KILL", LONG, "curl", "--config", &curl.config];
    let sink = [
        "timeout",
        "-s",
        "KILL",
        LONG,
        "tar",
        "-x",
        "--no-same-owner",
        "-C",
        staging::text(&folder)?,
        "-f",
        "-",
    ];
    let mut digest = Md5::new();
    let [received, unpacked] = dom0
        .pipe(&source, &sink, &mut |from, to| {
            let mut archive = MultiGzDecoder::new(Digested { from, digest: &mut digest });
            io::copy(&mut archive, to)?;
            // The end of a tar is not the end of the body.
            io::copy(&mut archive.into_inner(), &mut io::sink()).map(drop)
        })
        .map_err(|e| broken(&curl, &e))?;
    curl.check(&received.stderr, received.code)?;
    if unpacked.code != 0 {
        let text = format!("unpacking image {}: {}", image.id, unpacked.stderr.trim());
        return Err(Error::Retryable(text));
    }
    curl.compare(digest.finalize().as_slice())?;
    refuse_links(&folder)?;
    staging::import_vhds(dom0, &sr, &folder, stack).map(migration::root)
}

/// `upload_vhd2(vdi_uuids, image_id, endpoint, sr_path, extra_headers, properties, api_version)`: VDIs of the
/// SR, the leaf first, as an image that has been registered and is `queued`.
fn upload_vhd2(dom0: &dyn Dom0, args: &Args) -> Outcome {
    let sr = staging::sr_path(args)?;
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
    let staged = Staging::new(&sr)?;
    let folder = staged.path().join("image");
    fs::create_dir(&folder).map_err(|e| Error::file(&folder, &e))?;
    for (number, uuid) in uuids.iter().enumerate() {
        let source = sr.join(format!("{uuid}.vhd"));
        fs::hard_link(&source, folder.join(format!("{number}.vhd"))).map_err(|e| Error::file(&source, &e))?;
    }
    let headers = match image.version {
        2 => describe(dom0, &staged, &image, &properties)?,
        _ => headers_of_v1(dom0, &staged, &image, &properties)?,
    };
    let path = if image.version == 2 { image.path("/file") } else { image.path("") };
    let lines = [&headers[..], &[option("request", "PUT"), option("upload-file", "-")]].concat();
    let curl = Curl::new(&staged, &image, &path, &lines)?;
    let source = ["timeout", "-s", "KILL", LONG, "tar", "-c", "-C", staging::text(&folder)?, "."];
    let sink = ["timeout", "-s", "KILL", LONG, "curl", "--config", &curl.config];
    let [packed, sent] = dom0
        .pipe(&source, &sink, &mut |from, to| {
            let mut packer = GzEncoder::new(to, level);
            io::copy(from, &mut packer)?;
            packer.finish().map(drop)
        })
        .map_err(|e| broken(&curl, &e))?;
    curl.check(&sent.stderr, sent.code)?;
    match packed.code {
        0 => Ok(Pickle::None),
        _ => Err(Error::Retryable(format!("packing the disks: {}", packed.stderr.trim()))),
    }
}

/// Gives the image its properties, under their own names, and sees that it waits for data: the service would
/// take all of it in before it refuses.
fn describe(
    dom0: &dyn Dom0,
    staged: &Staging,
    image: &Image<'_>,
    properties: &[(String, String)],
) -> Result<Vec<String>, Error> {
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
    Curl::new(staged, image, &image.path(""), &lines)?.run(dom0)?;
    let record = Curl::new(staged, image, &image.path(""), &[])?.run(dom0)?;
    let record: Value = serde_json::from_str(&record)
        .map_err(|e| Error::Retryable(format!("the record of image {} is no JSON: {e}", image.id)))?;
    refuse_unless_queued(image, record["status"].as_str().unwrap_or_default())?;
    Ok(vec![option("header", "Content-Type: application/octet-stream"), chunked()])
}

/// The same of the service's first version, where properties are headers of the upload.
fn headers_of_v1(
    dom0: &dyn Dom0,
    staged: &Staging,
    image: &Image<'_>,
    properties: &[(String, String)],
) -> Result<Vec<String>, Error> {
    let curl = Curl::new(staged, image, &image.path(""), &["head".to_owned()])?;
    curl.run(dom0)?;
    refuse_unless_queued(image, &curl.header("x-image-meta-status").unwrap_or_default())?;
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
        lines.push(option("header", &header(&format!("x-image-meta-property-{name}"), text)?));
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

/// What fails between the programs is not the image service's word, which counts more.
fn broken(curl: &Curl, error: &CommandError) -> Error {
    match error.is_missing() {
        true => Error::CommandNotFound(error.clone()),
        false => curl.check("", 0).err().unwrap_or_else(|| Error::Retryable(error.to_string())),
    }
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
        let is_http = endpoint.starts_with("http://") || endpoint.starts_with("https://");
        // No logins, queries and fragments either.
        let plain = endpoint.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~:/[]%".contains(&b));
        if !is_http || !plain {
            let reason = format!("{endpoint:?} is not the URL of an image service");
            return Err(Error::Argument { name: "endpoint", reason });
        }
        let version = args.number("api_version", Some(1), 2)?.max(1);
        let extra = args.dict("extra_headers").map(Args::texts).into_iter().flatten();
        let headers = extra.map(|(name, text)| header(name, text)).collect::<Result<_, _>>()?;
        Ok(Self { id, endpoint: endpoint.trim_end_matches('/'), version, headers })
    }

    fn path(&self, rest: &str) -> String {
        format!("{}/v{}/images/{}{rest}", self.endpoint, self.version, self.id)
    }
}

fn header(name: &str, text: &str) -> Result<String, Error> {
    let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    match is_name && !text.chars().any(char::is_control) {
        true => Ok(format!("{name}: {text}")),
        // The text may be a secret.
        false => {
            let reason = format!("{name:?} cannot be a header");
            Err(Error::Argument { name: "extra_headers", reason })
        }
    }
}

/// A line of curl's file of options.
fn option(name: &str, value: &str) -> String {
    let mut line = format!("{name} = \"");
    for c in value.chars() {
        match c {
            '"' | '\\' => _ = write!(line, "\\{c}"),
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            '\t' => line.push_str("\\t"),
            c => line.push(c),
        }
    }
    line.push('"');
    line
}

/// A request, in files that curl reads and writes.
struct Curl {
    config: String,
    answer: std::path::PathBuf,
    url: String,
}

impl Curl {
    fn new(staged: &Staging, image: &Image<'_>, url: &str, lines: &[String]) -> Result<Self, Error> {
        let (config, answer) = (staged.path().join("request"), staged.path().join("answer"));
        let path = config.clone();
        let at = |e: io::Error| Error::file(&path, &e);
        let headers = image.headers.iter().map(|header| option("header", header));
        let common = [
            option("url", url),
            option("proto", "=http,https"),
            option("dump-header", staging::text(&answer)?),
            option("connect-timeout", "90"),
            option("speed-time", "90"),
            option("speed-limit", "1"),
            // `Expect` costs a second with servers that do not know it.
            option("header", "Expect:"),
            "silent\nshow-error\ngloboff".to_owned(),
        ];
        let text: Vec<String> = common.into_iter().chain(headers).chain(lines.iter().cloned()).collect();
        for old in [&config, &answer] {
            let _ = fs::remove_file(old);
        }
        let mut file =
            fs::File::options().write(true).create_new(true).mode(0o600).open(&config).map_err(at)?;
        file.write_all(text.join("\n").as_bytes()).map_err(at)?;
        Ok(Self { config: staging::text(&config)?.to_owned(), answer, url: url.to_owned() })
    }

    /// A request with a small answer: its body.
    fn run(&self, dom0: &dyn Dom0) -> Result<String, Error> {
        let done =
            dom0.execute("curl", &["--config", &self.config], "", SHORT).map_err(|e| broken(self, &e))?;
        self.check(&done.stderr, done.code)?;
        Ok(done.stdout)
    }

    /// Turns a failure of the network, or a status that is no success, into what it means.
    fn check(&self, stderr: &str, code: i32) -> Result<(), Error> {
        let status = self.lines().first().and_then(|line| line.split(' ').nth(1)?.parse::<u16>().ok());
        let said = |status: u16| format!("{} answers {status}", self.url);
        match status {
            Some(404) => Err(Error::ImageNotFound),
            Some(status) if PERMANENT.contains(&status) => Err(Error::Other(said(status))),
            Some(status) if !(200..300).contains(&status) => Err(Error::Retryable(said(status))),
            _ if code != 0 => Err(Error::Retryable(format!("{}: {}", self.url, stderr.trim()))),
            _ => Ok(()),
        }
    }

    /// Compares what came with the digest that the service sent along, if any.
    fn compare(&self, digest: &[u8]) -> Result<(), Error> {
        let sent = ["etag", "content-md5", "x-image-meta-checksum"].iter().find_map(|name| self.header(name));
        let Some(sent) = sent else { return Ok(()) };
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let sent = sent.trim_matches('"').to_owned();
        match sent.eq_ignore_ascii_case(&hex) || sent == BASE64_STANDARD.encode(digest) {
            true => Ok(()),
            false => Err(Error::Retryable(format!("{}: checksum {hex} instead of {sent}", self.url))),
        }
    }

    fn header(&self, name: &str) -> Option<String> {
        self.lines().iter().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        })
    }

    /// The last answer's head: `100 Continue` and those of proxies come before it.
    fn lines(&self) -> Vec<String> {
        let text = fs::read(&self.answer).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).replace("\r\n", "\n");
        let last = text.trim_end().rsplit("\n\n").next().unwrap_or_default();
        last.lines().map(str::to_owned).collect()
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
