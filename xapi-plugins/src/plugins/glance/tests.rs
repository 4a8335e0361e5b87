//! The real programs against an image service of these tests.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use super::*;
use crate::staging::tests::{Sr, uuid};
use crate::testing::{is_possible, run};

const IMAGE: &str = "11112222-3333-4444-5555-666677778888";

/// Stands at the end of the headers of a request whose body broke off before its last chunk.
const CUT: &str = "cut off";

/// A request: its first line and headers, and its body.
type Request = (String, Vec<u8>);

/// Gives its answers one after another, and keeps what was asked.
struct Service {
    port: u16,
    asked: Arc<Mutex<Vec<Request>>>,
    thread: JoinHandle<()>,
}

impl Service {
    fn with(answers: Vec<(&'static str, Vec<u8>)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let kept = asked.clone();
        let thread = std::thread::spawn(move || {
            for (head, body) in answers {
                let mut stream = listener.accept().unwrap().0;
                let request = read(&mut stream);
                let is_head = request.0.starts_with("HEAD");
                kept.lock().unwrap().push(request);
                let head =
                    format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
                // One that hangs up before it has read everything is allowed to.
                let _ = stream.write_all(head.as_bytes());
                if !is_head {
                    let _ = stream.write_all(&body);
                }
            }
        });
        Self { port, asked, thread }
    }

    fn args(&self, sr: &Sr, version: &str) -> Args {
        let endpoint = format!("http://127.0.0.1:{}/", self.port);
        let properties =
            [("auto_disk_config", "True"), ("os_type", "linux"), ("xenapi_image_compression_level", "9")];
        sr.args(&[("image_id", IMAGE), ("endpoint", &endpoint), ("api_version", version)])
            .with_dict("extra_headers", Args::of(&[("X-Auth-Token", "tok\"en")]))
            .with_dict("properties", Args::of(&properties))
            .with_list("vdi_uuids", &[&uuid(0), &uuid(1)])
            .with_list("uuid_stack", &[&uuid(11), &uuid(10)])
    }

    fn asked(self) -> Vec<Request> {
        self.thread.join().unwrap();
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

fn read(stream: &mut TcpStream) -> Request {
    let mut reader = BufReader::new(stream);
    let line = |reader: &mut BufReader<&mut TcpStream>| {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        line
    };
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        head += &line(&mut reader);
    }
    let lower = head.to_lowercase();
    let mut body = Vec::new();
    if lower.contains("transfer-encoding: chunked") {
        loop {
            let Ok(len) = u64::from_str_radix(line(&mut reader).trim(), 16) else {
                head += CUT;
                break;
            };
            (&mut reader).take(len).read_to_end(&mut body).unwrap();
            line(&mut reader);
            if len == 0 {
                break;
            }
        }
    } else if let Some(rest) = lower.split("content-length: ").nth(1) {
        let len = rest.lines().next().unwrap().parse().unwrap();
        reader.take(len).read_to_end(&mut body).unwrap();
    }
    (head, body)
}

/// A gzipped tar of files, all of which would be set-user-ID and everybody's.
fn archive(files: &[(&str, &str)]) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        match text.strip_prefix("-> ") {
            Some(target) => std::os::unix::fs::symlink(target, folder.path().join(name)).unwrap(),
            None => {
                let file = folder.path().join(name);
                fs::create_dir_all(file.parent().unwrap()).unwrap();
                fs::write(&file, text).unwrap();
                fs::set_permissions(file, fs::Permissions::from_mode(0o6777)).unwrap();
            }
        }
    }
    let (target, source) = (folder.path().with_extension("tgz"), folder.path().to_str().unwrap());
    run("tar", &["-czf", target.to_str().unwrap(), "-C", source, "."], "");
    let bytes = fs::read(&target).unwrap();
    fs::remove_file(target).unwrap();
    bytes
}

fn has_tools() -> bool {
    is_possible(&["curl", "tar", "timeout"])
}

#[test]
fn an_image_becomes_vdis() {
    if !has_tools() {
        return;
    }
    let body = archive(&[("0.vhd", "leaf\n"), ("1.vhd", "base\n")]);
    let digest: String = Md5::digest(&body).iter().map(|byte| format!("{byte:02x}")).collect();
    let head: &'static str = format!("200 OK\r\nContent-MD5: {digest}").leak();
    let (service, sr) = (Service::with(vec![(head, body)]), Sr::with_chain(0));
    let answer = download_vhd2(&sr.dom0(), &service.args(&sr, "2"));
    assert_eq!(answer, Ok(migration::root(uuid(10))));
    assert_eq!(sr.files()[&uuid(10)], format!("leaf\nparent={}.vhd\n", uuid(11)));
    for number in [10, 11] {
        let disk = sr.path().join(format!("{}.vhd", uuid(number)));
        assert_eq!(fs::metadata(disk).unwrap().permissions().mode() & 0o7777, 0o600);
    }
    let (head, _) = service.asked().remove(0);
    assert!(head.starts_with(&format!("GET /v2/images/{IMAGE}/file HTTP/1.1\r\n")), "{head}");
    assert!(head.contains("\r\nX-Auth-Token: tok\"en\r\n"), "{head}");
}

#[test]
fn what_is_wrong_with_an_image_and_whether_to_try_again() {
    if !has_tools() {
        return;
    }
    let good = || archive(&[("0.vhd", "leaf\n")]);
    let names: Vec<String> = (0..=MAX_MEMBERS).map(|number| format!("{number}.vhd")).collect();
    let crowd: Vec<_> = names.iter().map(|name| (name.as_str(), "")).collect();
    let cases: Vec<(&str, Vec<u8>, &str, &str)> = vec![
        ("404 Not Found", b"{}".to_vec(), "Failure", "ImageNotFound"),
        ("403 Forbidden", b"<html>".to_vec(), "PluginError", "answers 403"),
        ("503 Busy", Vec::new(), "RetryableError", "answers 503"),
        ("302 Found\r\nLocation: file:///etc/shadow", Vec::new(), "RetryableError", "answers 302"),
        ("200 OK\r\nETag: \"00\"", good(), "RetryableError", "checksum"),
        ("200 OK", good()[..60].to_vec(), "RetryableError", ""),
        ("200 OK", b"no gzip at all".to_vec(), "RetryableError", ""),
        ("200 OK", archive(&[]), "PluginError", "corrupt image: it holds no VHD"),
        ("200 OK", archive(&[("0.vhd", ""), ("2.vhd", "")]), "PluginError", "sequence number 1"),
        ("200 OK", archive(&[("0.vhd", "-> /etc/shadow")]), "PluginError", "0.vhd is no plain file"),
        ("200 OK", archive(&[("0.vhd", ""), ("folder/0.vhd", "")]), "PluginError", "folder is no plain file"),
        ("200 OK", archive(&crowd), "PluginError", "it has more than 256 members"),
    ];
    for (head, body, class, text) in cases {
        let (service, sr) = (Service::with(vec![(head, body)]), Sr::with_chain(0));
        let error = download_vhd2(&sr.dom0(), &service.args(&sr, "2")).unwrap_err();
        assert_eq!(error.class(), class, "{head}: {error}");
        assert!(error.to_string().contains(text), "{head}: {error}");
        assert!(sr.files().is_empty(), "{head}");
    }
}

#[test]
fn vdis_become_an_image() {
    if !has_tools() {
        return;
    }
    let queued = br#"{"status": "queued"}"#.to_vec();
    let answers = vec![("200 OK", queued), ("200 OK", b"{}".to_vec()), ("204 No Content", Vec::new())];
    let (service, sr) = (Service::with(answers), Sr::with_chain(2));
    assert_eq!(upload_vhd2(&sr.dom0(), &service.args(&sr, "2")), Ok(Pickle::None));
    assert_eq!(sr.files().len(), 2);
    let asked = service.asked();
    assert!(asked[0].0.starts_with(&format!("GET /v2/images/{IMAGE} ")), "{}", asked[0].0);
    assert!(asked[1].0.starts_with(&format!("PATCH /v2/images/{IMAGE} ")), "{}", asked[1].0);
    let patch: Value = serde_json::from_slice(&asked[1].1).unwrap();
    let pairs: Vec<_> = patch
        .as_array()
        .unwrap()
        .iter()
        .map(|op| (op["path"].as_str().unwrap(), op["value"].as_str().unwrap()))
        .collect();
    let wanted = [
        ("/container_format", "ovf"),
        ("/disk_format", "vhd"),
        ("/visibility", "private"),
        ("/auto_disk_config", "True"),
        ("/os_type", "linux"),
    ];
    assert_eq!(pairs, wanted);
    assert!(asked[2].0.starts_with(&format!("PUT /v2/images/{IMAGE}/file ")), "{}", asked[2].0);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("body.tgz");
    fs::write(&path, &asked[2].1).unwrap();
    let listed = run("tar", &["-tzf", path.to_str().unwrap()], "");
    let mut names: Vec<&str> = listed.lines().collect();
    names.sort_unstable();
    assert_eq!(names, ["./", "./0.vhd", "./1.vhd"]);
    assert_eq!(run("tar", &["-xzOf", path.to_str().unwrap(), "./1.vhd"], ""), "leaf 1\n");
}

/// To the service the last chunk says that the image is whole.
#[test]
fn an_image_that_cannot_be_packed_never_comes_to_its_end() {
    use std::os::unix::fs::PermissionsExt;
    if !has_tools() {
        return;
    }
    let queued = br#"{"status": "queued"}"#.to_vec();
    let answers = vec![("200 OK", queued), ("200 OK", b"{}".to_vec()), ("204 No Content", Vec::new())];
    let (service, sr) = (Service::with(answers), Sr::with_chain(2));
    let folder = tempfile::tempdir().unwrap();
    let broken = folder.path().join("tar");
    fs::write(&broken, "#!/bin/sh\nhead -c 300000 /dev/urandom; echo no more >&2; exit 2\n").unwrap();
    fs::set_permissions(&broken, fs::Permissions::from_mode(0o755)).unwrap();
    let dom0 = sr.dom0().with_program("tar", &broken);
    let error = upload_vhd2(&dom0, &service.args(&sr, "2")).unwrap_err();
    assert_eq!(error, Error::Retryable("packing the disks: no more".to_owned()));
    let asked = service.asked();
    assert!(asked[2].0.ends_with(CUT), "{}", asked[2].0);
    assert_eq!(sr.files().len(), 2);
}

#[test]
fn an_image_that_does_not_wait_for_data() {
    if !has_tools() {
        return;
    }
    let active = br#"{"status": "active"}"#.to_vec();
    for (answers, class) in [
        (vec![("200 OK", active)], "PluginError"),
        (vec![("409 Conflict", Vec::new())], "PluginError"),
        (vec![("404 Not Found", Vec::new())], "Failure"),
        (vec![("500 Oops", Vec::new())], "RetryableError"),
    ] {
        let (service, sr) = (Service::with(answers), Sr::with_chain(2));
        let error = upload_vhd2(&sr.dom0(), &service.args(&sr, "2")).unwrap_err();
        assert_eq!(error.class(), class, "{error}");
        assert_eq!(sr.files().len(), 2);
    }
}

#[test]
fn the_first_version_of_the_service() {
    if !has_tools() {
        return;
    }
    let head = "200 OK\r\nX-Image-Meta-Status: queued";
    let (service, sr) = (Service::with(vec![(head, Vec::new()), ("200 OK", Vec::new())]), Sr::with_chain(2));
    assert_eq!(upload_vhd2(&sr.dom0(), &service.args(&sr, "1")), Ok(Pickle::None));
    let asked = service.asked();
    assert!(asked[0].0.starts_with(&format!("HEAD /v1/images/{IMAGE} ")));
    assert!(asked[1].0.starts_with(&format!("PUT /v1/images/{IMAGE} ")));
    assert!(asked[1].0.contains("\r\nx-image-meta-property-auto-disk-config: True\r\n"), "{}", asked[1].0);
    for (head, class) in [
        ("200 OK\r\nX-Image-Meta-Status: active", "PluginError"),
        ("403 Forbidden", "PluginError"),
        ("409 Conflict", "PluginError"),
        ("404 Not Found", "Failure"),
        ("500 Oops", "RetryableError"),
    ] {
        // With a body that is announced to be long, which nobody reads.
        let service = Service::with(vec![(head, vec![b'x'; 1 << 20])]);
        let error = upload_vhd2(&sr.dom0(), &service.args(&sr, "1")).unwrap_err();
        assert_eq!(error.class(), class, "{head}: {error}");
        assert_eq!(sr.files().len(), 2);
    }
}

#[test]
fn a_service_that_is_not_there() {
    if !has_tools() {
        return;
    }
    let service = Service::with(Vec::new());
    let sr = Sr::with_chain(2);
    let args = service.args(&sr, "2");
    service.asked();
    assert_eq!(download_vhd2(&sr.dom0(), &args).unwrap_err().class(), "RetryableError");
    assert_eq!(upload_vhd2(&sr.dom0(), &args).unwrap_err().class(), "RetryableError");
    assert_eq!(sr.files().len(), 2);
}

#[test]
fn hostile_arguments() {
    let sr = Sr::with_chain(1);
    let good = [("image_id", IMAGE), ("endpoint", "http://192.0.2.1:9292")];
    for (name, value) in [
        ("image_id", "../../secrets"),
        ("image_id", ""),
        ("image_id", "a b"),
        ("endpoint", "file:///etc/shadow"),
        ("endpoint", "http://a\nupload-file=/etc/shadow"),
        ("endpoint", "http://a/\"x"),
        ("endpoint", "http://root:secret@a/"),
    ] {
        let mut all: Vec<_> = good.into_iter().filter(|(known, _)| *known != name).collect();
        all.push((name, value));
        let args = sr.args(&all).with_list("uuid_stack", &[&uuid(10)]);
        let refused = download_vhd2(&sr.dom0(), &args);
        assert!(
            matches!(refused, Err(Error::Argument { name: found, .. }) if found == name),
            "{name} {value}"
        );
    }
    for (name, value) in [("X-A\nb", "c"), ("X-A", "b\r\nHost: c"), ("", "x")] {
        let args = sr.args(&good).with_dict("extra_headers", Args::of(&[(name, value)]));
        let refused = download_vhd2(&sr.dom0(), &args.with_list("uuid_stack", &[&uuid(10)]));
        let Err(error @ Error::Argument { name: "extra_headers", .. }) = refused else { panic!("{name:?}") };
        assert!(!error.to_string().contains("Host"));
    }
}

/// A few bytes of gzip may be a disk that fills the SR, or files that use up its inodes, long before the end is seen.
#[test]
fn an_image_without_end_stops_while_it_is_unpacked() {
    let folder = tempfile::tempdir().unwrap();
    let pour = |reserve| pour(&mut io::repeat(0), &mut io::sink(), folder.path(), reserve).unwrap();
    let error = pour(u64::MAX).unwrap_err().to_string();
    assert!(error.contains("does not fit"), "{error}");
    assert!(staging::reserve_bytes(folder.path()).unwrap() > 0);
    for number in 0..=MAX_MEMBERS {
        fs::write(folder.path().join(number.to_string()), "").unwrap();
    }
    let error = pour(0).unwrap_err().to_string();
    assert!(error.contains("more than 256 members"), "{error}");
}

/// What is said of it when it is stopped: why, and not that the programs were.
#[test]
fn a_bomb_is_told_of() {
    if !has_tools() {
        return;
    }
    // One empty file after another, and no end: 10 MiB that a hundredth of that says.
    let mut packer = GzEncoder::new(Vec::new(), Compression::best());
    for number in 0..20_000 {
        packer.write_all(&head_of_tar(&format!("{number}.vhd"))).unwrap();
    }
    packer.flush().unwrap();
    let body = packer.get_ref().clone();
    let (service, sr) = (Service::with(vec![("200 OK", body)]), Sr::with_chain(0));
    let error = download_vhd2(&sr.dom0(), &service.args(&sr, "2")).unwrap_err();
    assert_eq!(error, Error::Other("corrupt image: it has more than 256 members".to_owned()));
    assert!(sr.files().is_empty());
}

/// The head of an empty file.
fn head_of_tar(name: &str) -> [u8; 512] {
    let mut head = [0; 512];
    let mut put = |at: usize, text: &[u8]| head[at..at + text.len()].copy_from_slice(text);
    put(0, name.as_bytes());
    put(100, b"0000644\0");
    put(124, b"00000000000\0");
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    let sum: u32 = head.iter().map(|byte| u32::from(*byte)).sum();
    head[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    head
}
