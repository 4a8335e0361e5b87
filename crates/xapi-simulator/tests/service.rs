//! The program as README.md, the guide and the unit start it, and what it tells systemd.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

struct Running {
    child: Child,
    url: String,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts it with the arguments that follow its name in a line, at a free port and with its state in a folder.
fn start(line: &str, state: &Path, environment: &[(&str, &str)]) -> Running {
    let arguments = line.split_once("xapi-simulator").expect("its name").1;
    let mut words = arguments.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    for at in 1..words.len() {
        match words[at - 1].as_str() {
            "--listen" => words[at] = "127.0.0.1:0".to_owned(),
            "--state" => words[at] = state.join("state").display().to_string(),
            _ => {}
        }
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_xapi-simulator"));
    for variable in ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "XAPI_SIMULATOR_PASSWORD"] {
        command.env_remove(variable);
    }
    command.args(words.iter().filter(|word| *word != "--")).envs(environment.iter().copied());
    let mut child = command.stdout(Stdio::piped()).spawn().expect("it starts");
    let mut url = String::new();
    BufReader::new(child.stdout.take().expect("its output")).read_line(&mut url).expect("a line");
    assert!(url.starts_with("http://127.0.0.1:"), "{line}: {url:?}");
    Running { child, url: url.trim().to_owned() }
}

fn terminate(mut running: Running) {
    let pid = rustix::process::Pid::from_child(&running.child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it runs");
    assert!(running.child.wait().expect("its end").success());
}

fn page(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    fs::read_to_string(root.join(path)).expect(path).replace("\\\n", " ")
}

#[test]
fn it_starts_as_the_pages_say() {
    let mut lines = Vec::new();
    for path in ["README.md", "docs/guide/service.md", "crates/xapi-simulator/README.md"] {
        let page = page(path);
        let starts =
            page.lines().filter(|line| line.contains("xapi-simulator ") && line.contains("--listen"));
        lines.extend(starts.map(|line| line.trim().to_owned()));
    }
    assert!(lines.len() >= 3, "{lines:?}");
    for line in lines {
        let folder = tempfile::tempdir().expect("a folder");
        terminate(start(&line, folder.path(), &[]));
        assert!(folder.path().join("state").is_dir(), "{line} keeps nothing");
    }
}

/// Ready, alive as long as it answers, and at its end: each is said to the socket that systemd names.
#[test]
fn the_unit_hears_of_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("notify");
    let systemd = UnixDatagram::bind(&socket).expect("a socket");
    systemd.set_read_timeout(Some(Duration::from_secs(120))).expect("an end to a program that says nothing");
    let hear = || {
        let mut said = [0; 4096];
        let len = systemd.recv(&mut said).expect("a message");
        String::from_utf8_lossy(&said[..len]).trim().to_owned()
    };
    let unit = page("contrib/xapi-simulator.service");
    let value = |key: &str| unit.lines().find_map(|line| line.strip_prefix(key)).expect(key);
    assert_eq!(value("Type="), "notify");
    assert!(value("WatchdogSec=").parse::<u32>().expect("seconds") > 0);

    let socket = socket.display().to_string();
    let environment =
        [("NOTIFY_SOCKET", &*socket), ("WATCHDOG_USEC", "20000"), ("XAPI_SIMULATOR_PASSWORD", "of-the-file")];
    let running = start(value("ExecStart="), folder.path(), &environment);
    assert_eq!(hear(), "READY=1");
    for _ in 0..3 {
        assert_eq!(hear(), "WATCHDOG=1");
    }
    let address = running.url.trim_start_matches("http://");
    let mut connection = TcpStream::connect(address).expect("it listens");
    let body = "<methodCall><methodName>session.login_with_password</methodName><params><param><value>root</value></param>\
        <param><value>of-the-file</value></param></params></methodCall>";
    let head = format!("POST / HTTP/1.1\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    connection.write_all((head + body).as_bytes()).expect("sent");
    let mut answer = String::new();
    connection.read_to_string(&mut answer).expect("an answer");
    assert!(answer.contains("OpaqueRef:"), "{answer}");

    let ending = std::thread::spawn(move || terminate(running));
    while hear() != "STOPPING=1" {}
    ending.join().expect("it ends well");
}
