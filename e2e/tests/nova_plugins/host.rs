//! A host for the plugins: folders as those of dom0, tools that say what dom0's say, XAPI's socket, an image service.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::Sender;

use anyhow::{Context, Result};
use e2e::dom0::Dom0;
use e2e::tools;
use xenapi_wire::plugin::{PluginCall, decode_response, encode_response};
use xenapi_wire::{Failure, Limits};

use crate::FUNCTIONS;
use crate::table::{Args, HOST, SR, VDI};

/// A guest's agent answers what it is asked while the request is written.
const AGENT: &str = r#"[ "$1" = -- ] && shift
f="$STORE/$(printf %s "$1" | tr / %)"
case "$1" in
*/domain/7/data/host/*) printf '{"returncode": "0", "message": "file_inject,password"}' > "${f/data%host/data%guest}" ;;
*/refused/*) echo 'xenstore-write: refused' >&2; exit 1 ;;
*) printf %s "$2" > "$f" ;;
esac"#;

const TOOLS: &[(&str, &str)] = &[
    ("xenstore-write", AGENT),
    ("uptime", "echo ' 10:00:00 up 1 day'"),
    ("lspci", "printf 'Slot:\\t00:00.0\\n'"),
    ("ovs-vsctl", r#"echo "ovs-vsctl $*" >> "$STORE/ran""#),
    ("brctl", r#"echo "can't add bridge" >&2; exit 1"#),
    ("ip", r#"[ "$1" = addr ] && echo '    inet 192.0.2.7/24 scope global xenbr0' || echo "ip $*""#),
    ("iptables-save", "echo '*filter'"),
    ("iptables-restore", r#"cat >> "$STORE/rules"; [ "$1" != --noflush ]"#),
    ("conntrack", r#"cat; echo told >&2; exit 3"#),
    (
        "xe",
        r#"echo "xe $*" >> "$STORE/ran"
case "$1$2" in
host-param-list*) printf 'uuid ( RO) : 0a1b2c3d-0000-4000-8000-0000000000ff\n    enabled ( RO): true\n memory-total ( RO): 4096\n' ;;
host-param-get*) echo true ;;
*dead*) echo 'The uuid you supplied was invalid.' >&2; exit 1 ;;
esac"#,
    ),
    (
        "vhd-util",
        r#"case "$1 $4" in "query -p") grep -h '^parent=' "$3" | cut -d= -f2 | grep . || echo "$3 has no parent" ;; "query -f") echo 'hidden: 0' ;;
"modify -p") echo "parent=$5" >> "$3" ;; esac"#,
    ),
    ("mount", r#"[ ! -e "$STORE/no-mount" ] || { echo 'mount: bad superblock' >&2; exit 32; }"#),
    ("umount", "true"),
    ("mkisofs", r#"while [ "$1" != -o ]; do shift; done; echo made > "$2""#),
    ("genisoimage", "exit 127"),
    ("rsync", r#"echo "rsync $*" >> "$STORE/ran""#),
];

pub(crate) struct Host {
    pub(crate) dom0: Dom0,
    pub(crate) sr: PathBuf,
    pub(crate) glance: String,
}

impl Host {
    pub(crate) fn new() -> Result<Self> {
        let plugins = FUNCTIONS.iter().map(|(plugin, _)| *plugin).chain(["dom0_protocol"]);
        let names: Vec<String> = plugins.map(|plugin| format!("{plugin}.py")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let dom0 = Dom0::new(env!("CARGO_BIN_EXE_dom0-plugins"), &names)?.without_loops()?;
        for (name, body) in TOOLS {
            dom0.tool(name, body)?;
        }
        for (path, text) in [
            ("/etc/xapi.conf", "# a = b\nrelax-xsm-sr-check = true\n"),
            ("/etc/xensource-inventory", "CONTROL_DOMAIN_UUID='0a1b2c3d-0000-4000-8000-000000000000'\n"),
            ("/var/log/xen/guest/console.7", "Booting\n"),
            (
                "/proc/net/dev",
                "Inter-|\n  vif7.0: 10 1 0 0 0 0 0 0 20 2 0 0 0 0 0 0\n  eth0: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n",
            ),
            ("/sys/bus/pci/devices/0000:04:10.1/physfn", ""),
            ("/usr/etc/placeholder", ""),
            ("/boot/guest/image", "ELF"),
            ("/dev/xvdc", "kernel and more"),
            (
                "/opt/xensource/sm/cleanup.py",
                "#!/bin/sh\ncase $3 in *dead) exit 1 ;; esac\necho 'Currently running: True'\n",
            ),
            ("/images/instance0a1b/0.vhd", "leaf\n"),
        ] {
            let file = dom0.path(path);
            std::fs::create_dir_all(file.parent().context("a folder")?)?;
            std::fs::write(&file, text)?;
        }
        tools::run("chmod", ["+x".as_ref(), dom0.path("/opt/xensource/sm/cleanup.py").as_os_str()])?;
        std::fs::File::create(dom0.path("/dev/xvdb"))?.set_len(32 << 20)?;
        dom0.write(7, "name", "guest")?;
        dom0.write(7, "vm-data/hostname", "web1")?;
        let sr = dom0.path(&format!("/run/sr-mount/{SR}"));
        std::fs::create_dir_all(sr.join("iso"))?;
        std::fs::write(sr.join(format!("{VDI}.vhd")), "leaf\n")?;
        std::fs::write(sr.join(format!("iso/{VDI}.img")), "iso")?;
        xapi(&dom0.path("/var/lib/xcp/xapi"))?;
        let glance = glance(image()?)?;
        Ok(Self { dom0, sr, glance })
    }

    pub(crate) fn sr(&self) -> String {
        self.sr.display().to_string()
    }

    /// What was run so far of those that note it.
    pub(crate) fn ran(&self) -> String {
        std::fs::read_to_string(self.dom0.store().join("ran")).unwrap_or_default()
    }

    /// As XAPI does it. The client adds `host_uuid` to every map of arguments.
    pub(crate) fn call(&self, plugin: &str, function: &str, args: &Args) -> Result<Result<String, Failure>> {
        let output = self.command(plugin, function, args)?.output()?;
        assert!(output.status.success(), "{output:?}");
        Ok(decode_response(&output.stdout, &Limits::REQUEST)?)
    }

    pub(crate) fn command(&self, plugin: &str, function: &str, args: &Args) -> Result<Command> {
        let mut map = args.map();
        map.entry("host_uuid".to_owned()).or_insert_with(|| HOST.to_owned());
        let call =
            PluginCall { function: function.to_owned(), session: "OpaqueRef:session".to_owned(), args: map };
        let program = self.dom0.plugins().join(format!("{plugin}.py"));
        let mut command = Command::new(program);
        command.arg(call.encode()?);
        Ok(command)
    }
}

/// An image of one disk.
fn image() -> Result<Vec<u8>> {
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("0.vhd"), "disk of an image\n")?;
    let tar = folder.path().join("image.tgz");
    let words =
        ["-czf".as_ref(), tar.as_os_str(), "-C".as_ref(), folder.path().as_os_str(), "0.vhd".as_ref()];
    tools::run("tar", words)?;
    Ok(std::fs::read(tar)?)
}

pub(crate) fn with_input(program: &str, args: &[&str], input: &str) -> Result<String> {
    let mut child = Command::new(program).args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    child.stdin.take().context("its input")?.write_all(input.as_bytes())?;
    let output = child.wait_with_output()?;
    anyhow::ensure!(output.status.success(), "{program}: {output:?}");
    Ok(String::from_utf8(output.stdout)?)
}

/// XAPI's socket, which attaches `xvdc` and knows one VM.
fn xapi(socket: &Path) -> Result<()> {
    std::fs::create_dir_all(socket.parent().context("a folder")?)?;
    let listener = UnixListener::bind(socket)?;
    let answer = |request: &str| {
        let method = request
            .split_once("<methodName>")
            .and_then(|(_, rest)| rest.split_once('<'))
            .map_or("", |(name, _)| name);
        let refused = request.contains("dead");
        let text = match method {
            "VDI.get_uuid" => VDI,
            "VBD.get_device" => "xvdc",
            "VM.get_by_uuid" | "VBD.create" => "OpaqueRef:it",
            _ => "",
        };
        let failure = Failure::new("UUID_INVALID", ["VM", "dead"]);
        encode_response(if refused { Err(&failure) } else { Ok(text) })
    };
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let Ok((_, body)) = request(&mut stream, |_| true) else { continue };
            let Ok(body) = answer(&String::from_utf8_lossy(&body)) else { continue };
            let _ = stream.write_all(format!("HTTP/1.0 200 OK\r\n\r\n{body}").as_bytes());
        }
    });
    Ok(())
}

/// An image service: `there` is an image, `queued` waits for one, and others answer with their name as a status.
fn glance(image: Vec<u8>) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}", listener.local_addr()?);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let Ok((head, _)) = request(&mut stream, |_| true) else { continue };
            let mut words = head.split([' ', '/']);
            let verb = words.next().unwrap_or_default();
            let id = words.skip_while(|word| *word != "images").nth(1).unwrap_or_default();
            let (status, body) = match (verb, id) {
                _ if !head.contains("X-Auth-Token: token") => ("401", Vec::new()),
                ("GET", "there") => ("200", image.clone()),
                ("GET", "queued") => ("200", br#"{"status": "queued"}"#.to_vec()),
                ("PATCH", "queued") => ("200", Vec::new()),
                ("PUT", "queued") => ("204", Vec::new()),
                _ => (id, Vec::new()),
            };
            let head =
                format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
        }
    });
    Ok(url)
}

/// A server that tells of every request for a transfer, and says nothing to it as long as the connection is held.
pub(crate) fn silent(tell: Sender<(String, TcpStream)>) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}", listener.local_addr()?);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let Ok((head, _)) = request(&mut stream, |head| head.starts_with("PATCH")) else { continue };
            let is_transfer =
                head.starts_with("PUT") || head.contains("/file ") || head.contains(" /silent ");
            if !is_transfer {
                let body = r#"{"status": "queued"}"#;
                let answer = format!(
                    "HTTP/1.1 200 X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                    body.len()
                );
                let _ = stream.write_all(answer.as_bytes());
            } else if tell.send((head, stream)).is_err() {
                return;
            }
        }
    });
    Ok(url)
}

/// The head of a request, and its body where that is wanted.
fn request(stream: &mut impl Read, with_body: impl Fn(&str) -> bool) -> std::io::Result<(String, Vec<u8>)> {
    let (mut bytes, mut piece) = (Vec::new(), [0; 4096]);
    let find = |bytes: &[u8]| bytes.windows(4).position(|four| four == b"\r\n\r\n");
    loop {
        let head_end = find(&bytes).map(|at| at + 4);
        if let Some(at) = head_end {
            let head = String::from_utf8_lossy(&bytes[..at]).into_owned();
            let len =
                head.lines().find_map(|line| line.strip_prefix("Content-Length: ")?.parse::<usize>().ok());
            if !with_body(&head) {
                return Ok((head, Vec::new()));
            }
            let is_chunked = head.contains("chunked");
            let is_whole =
                if is_chunked { bytes.ends_with(b"0\r\n\r\n") } else { bytes.len() >= at + len.unwrap_or(0) };
            if is_whole {
                return Ok((head, bytes.split_off(at)));
            }
        }
        match stream.read(&mut piece)? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            len => bytes.extend_from_slice(&piece[..len]),
        }
    }
}
