//! Every command on the pages is run as it stands there, by a shell, on simulated pools, with files of the names that the
//! pages have. What is not run is named here with its reason; there is nothing else. The code in Rust is compiled and run
//! with the tests of the documentation (`src/lib.rs`).

mod written;

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;

use anyhow::{Context, Result, bail, ensure};
use examples::demo_image::DemoImage;
use examples::foreign;
use tempfile::TempDir;
use written::root;
use xapi_simulator::targets::Target;
use xapi_simulator::{Simulator, World};
use xenapi_client::{Client, Config};
use xenapi_types::{Host, Pool, pbd, sr, vdi};

/// Lines that are not run, by what is in them, and why.
const NOT_RUN: [(&str, &str); 13] = [
    ("--boot qemu", "a minute of QEMU: e2e/tests/boot.rs has it"),
    ("cargo build", "what is run here was built before"),
    ("cargo fuzz", "fuzzes, as .ci/fuzz does: that the target is there is looked at"),
    ("cargo xtask", "a chore, maybe of hours: that it is there is looked at"),
    ("cargo test", "a test of its own: that it is there is looked at"),
    (".ci/run", "runs this test"),
    ("export XENAPI_", "the environment is the test's own"),
    ("export PATH=", "as that"),
    ("xapi-simulator", "crates/xapi-simulator/tests/service.rs starts it as it is here"),
    ("podman build", "fetches two images; tests/contrib.rs reads the Containerfile"),
    ("podman healthcheck", "is `agent --check` in a container"),
    ("openssl x509", "reads a file of a host's dom0"),
    ("sudo ", "changes the machine; tests/contrib.rs reads the units"),
];

/// Lines that end with an error here, by what is in them, and what the error says.
const FAILS: [(&str, &str); 7] = [
    // examples/tests/glance.rs has a Glance.
    ("glance:", "OS_AUTH_URL is not set"),
    // So it is on most machines: check_host is on, and no VM of the pool is found here.
    ("doctor --set independent_compute=true --strict", ""),
    // The hosts have no plugins here: e2e/tests/guests.rs has the agent.
    ("--agent required", "agent"),
    ("instances set-password", "agent"),
    ("instances inject-file", "agent"),
    ("--kernel vmlinuz", "plugin"),
    // Its host lives.
    ("instances evacuate", "live"),
];

/// Programs that go on until somebody ends them, and what they say when they are ready.
const GO_ON: [(&str, &str); 3] =
    [("agent --listen", "serving"), ("console ", "the console waits"), ("instances watch", "")];

/// Lines of which only the dry run is possible, and why.
const DRY: [(&str, &str); 1] = [("plugins install --archive target/dist", "two hosts with ssh are not here")];

/// What has been done before a line of a page, by the page and what is in the line.
const BEFORE: [(&str, &str, &str); 11] = [
    ("docs/guide/images.md", "--image-digest", "spawn --name db-1 --flavor 1:512:1"),
    ("docs/guide/images.md", "disk convert debian-13.qcow2", "rm debian-13.vhd"),
    ("docs/guide/images.md", "disk convert disk.qcow2", "rm disk.vhd"),
    ("docs/guide/instances.md", "instances revert", "instances resize db-1 --flavor 2:8192:90"),
    ("docs/guide/programs.md", "snapshot --instance web-1 --output", "spawn --name web-1 --flavor 1:512:1"),
    ("docs/guide/programs.md", "--nfs", "spawn --name web-1 --flavor 1:512:1"),
    ("docs/guide/programs.md", "volumes attach web-1 --nfs", "instances destroy app-1"),
    ("docs/guide/programs.md", "networks make", "networks attach web-1 xenbr0"),
    ("docs/guide/programs.md", "disk convert leaf.vhd", "rm disk.raw"),
    ("docs/guide/programs.md", "disk rebase", "disk diff base.vhd monday.raw leaf.vhd"),
    (
        "docs/guide/programs.md",
        "disk import debian",
        "pool eject 2f5d2e0c-7a55-4a0e-9a0c-0f4f5c1f2c11 --lose-local-disks",
    ),
];

/// Files of the names that the pages have, made of `disk.raw`.
const FILES: &str = "
    cp disk.raw monday.raw; cp disk.raw tuesday.raw; cp disk.raw debian-13.raw
    printf tuesday | dd of=tuesday.raw bs=1 seek=5000000 conv=notrunc status=none
    disk convert disk.raw base.vhd; disk diff base.vhd tuesday.raw leaf.vhd
    for name in debian-12 debian-13 rescue windows disk; do cp base.vhd $name.vhd; done
    disk convert -O qcow2 disk.raw disk.qcow2; cp disk.qcow2 debian-13.qcow2
    mkdir -p backups .ssh; cp base.vhd leaf.vhd backups
    gzip -k disk.raw
    echo 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGN0 me' | tee key.pub > .ssh/id_ed25519.pub
    echo 'ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQC9y+XmMJkYyGiivDLa+pKY6j4ssd8AflmQ5fK+IGydIsxxb6goOWyoNwZO8rRWfcqOFCgAaHy5p4GmssDAkokllCvOf8hPWyRLgd1n+nwpA2hUrbCal6NciIuliK46nIxLJMm+oCytfopU372lAxG/ZODqiKmyJmXIFOpIcoIntgm1rdGfbBLwql+JS+YLSMWQxvZCMYm+npAS65Mf1MukPH+qlYsuWBhmHDyYSxjEwNsRdR0mIRBKapCyJLJwA+QkWhiVvTTbO8L1OBoqToEZ8QHo9KfeOkT9wuRgPVfENhuXGm49RKoZGV+50GddhVe5Qp3z9gFyUo96CJ36HTwf me' > .ssh/id_rsa.pub
    echo '#cloud-config' > cloud-init.yaml; echo hello > motd.txt
    echo secret | tee xen3 .xen1-password password > chap
    cp .ssh/id_rsa.pub .; echo '{}' > vendor.json; truncate -s 4M root.img; cp motd.txt vmlinuz; cp motd.txt initrd.img
    printf '[xenserver]\\ncheck_host = false\\n' > nova.conf
    tar -czf xapi-plugins.tar.gz motd.txt
";

const PASSWORD: &str = "secret";

/// A pool, another one, and a host that is alone; and a folder with files.
struct Stage {
    folder: TempDir,
    url: String,
    /// What is on the pages, and what is meant by it here.
    names: Vec<(String, String)>,
    going: Vec<(String, Going)>,
    _pools: Vec<Simulator>,
}

/// A program that has not ended.
struct Going {
    child: Child,
    said: mpsc::Receiver<String>,
}

impl Drop for Going {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Stage {
    async fn set(hosts: usize) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        DemoImage { virtual_bytes: 64 << 20, payload_bytes: 1 << 20 }
            .write(&folder.path().join("disk.raw"))?;
        let worlds = [World::demo().with_all_drivers().with_hosts(hosts).with_devices()]
            .into_iter()
            .chain((3..5).map(|n| World::demo().elsewhere(n)));
        let (mut pools, mut clients, mut urls) = (Vec::new(), Vec::new(), Vec::new());
        for world in worlds {
            let pool = Simulator::builder().world(world).password(PASSWORD).build().await?;
            let listening = pool.listen_pool("127.0.0.1:0").await?;
            let url = listening.first().context("a coordinator")?.url.clone();
            clients.push(Client::connect(Config::new(&url, "root", PASSWORD)?).await?);
            urls.push(url);
            pools.push(pool);
        }
        pools[1..].iter().for_each(|other| pools[0].meet(other));
        let iqn = "iqn.2010-10.org.openstack:volume-1";
        pools[0].targets().add(Target::iscsi("192.0.2.10", iqn, [(1, 1 << 30)]));
        let (nas, path) = ("nas.example.org", "/export/volumes");
        pools[0].targets().add(Target::share(nas, path));
        share(&clients[0], nas, path).await?;
        let disk = strangers(&clients[0], "legacy-7").await?;

        let (members, alone) = (hosts_of(&clients[0]).await?, hosts_of(&clients[1]).await?);
        let [first, last] = [members.first(), members.last()].map(|host| host.cloned().unwrap_or_default());
        for client in clients {
            client.close().await?;
        }
        let free = || Ok::<_, std::io::Error>(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string());
        let own = |path: &str| folder.path().join(path).display().to_string();
        let names = [
            ("https://xen3.example.org", urls[1].clone()),
            ("https://other.example", urls[2].clone()),
            ("https://cloud.example.org", serve(folder.path())?),
            // In a pool of several hosts, one has to be named.
            ("spawn --name", format!("spawn --node {first} --name")),
            ("4081422d-f3c3-394a-8eb4-83d030001c40", alone.concat()),
            ("2f5d2e0c-7a55-4a0e-9a0c-0f4f5c1f2c11", last),
            ("6f1f8c2e-5a0a-4a53-9a3b-0d8a1ce2a8f1", disk),
            ("target/dist/xapi-plugins-0.1.0.tar.gz", own("xapi-plugins.tar.gz")),
            ("/etc/nova/nova.conf", own("nova.conf")),
            ("/tmp/pool", own("pool")),
            ("/run/user/1000/web-1", own("web-1.socket")),
            ("/state", own("state")),
            ("http://127.0.0.1:8080", urls[0].clone()),
            ("3A:…:7F", ["3A"; 32].join(":")),
            ("0.0.0.0:9618", free()?),
            ("127.0.0.1:9618", free()?),
            ("127.0.0.1:5901", free()?),
        ];
        let names = names.map(|(page, here)| (page.to_owned(), here)).into();
        let mut stage = Self { folder, url: urls[0].clone(), names, going: Vec::new(), _pools: pools };
        let made = stage.shell(FILES)?.output()?;
        ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let digest =
            String::from_utf8(stage.shell("sha256sum debian-13.raw | cut -d' ' -f1")?.output()?.stdout)?;
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        stage.names.push((abc.to_owned(), digest.trim().to_owned()));
        Ok(stage)
    }

    /// A shell in the folder, with the programs at hand. Its environment names the pool.
    fn shell(&self, line: &str) -> Result<Command> {
        let mut programs = std::env::current_exe()?;
        programs.pop();
        programs.pop();
        let programs = programs.join("examples").display().to_string();
        let mut shell = Command::new("bash");
        shell.args(["-e", "-u", "-o", "pipefail", "-c", line]).current_dir(self.folder.path());
        shell.env("PATH", format!("{programs}:{}", std::env::var("PATH")?)).env("HOME", self.folder.path());
        shell.env_remove("RUST_LOG").env_remove("XENAPI_USER").env("XENAPI_PASSWORD", PASSWORD);
        if !line.contains("--simulator-state") {
            shell.env("XENAPI_URL", &self.url);
        } else {
            shell.env_remove("XENAPI_URL");
        }
        shell.stdin(Stdio::null());
        Ok(shell)
    }

    fn run(&mut self, line: &str) -> Result<()> {
        let dry = DRY.iter().any(|(what, _)| line.contains(what));
        let mut here = command(line) + if dry { " --dry-run" } else { "" };
        for (page, meant) in &self.names {
            here = here.replace(page, meant);
        }
        let mut shell = self.shell(&here)?;
        if here.contains("--image - ") {
            shell.stdin(fs::File::open(self.folder.path().join("disk.raw"))?);
        }
        let ready = GO_ON.iter().find(|(what, _)| here.starts_with(what));
        if let Some((_, ready)) = ready {
            let going = Going::start(self.shell(&format!("exec {here}"))?, ready)?;
            self.going.push((here, going));
            return Ok(());
        }
        let output = shell.output()?;
        let said = [&output.stdout[..], &output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        match FAILS.iter().find(|(what, _)| line.contains(what)) {
            Some((_, error)) => ensure!(said.contains(error) && !output.status.success(), "{line}\n{said}"),
            None => ensure!(output.status.success(), "{line}\n{here}\n{said}"),
        }
        Ok(())
    }

    /// What goes on has gone on until now, or has ended well.
    fn end(self) -> Result<()> {
        for (line, mut going) in self.going {
            if let Some(status) = going.child.try_wait()? {
                ensure!(status.success(), "{line}: {}", going.said.try_iter().collect::<Vec<_>>().join("\n"));
            }
        }
        Ok(())
    }
}

impl Going {
    /// Starts it and waits until it says that it is ready.
    fn start(mut shell: Command, ready: &str) -> Result<Self> {
        let mut child = shell.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let log = BufReader::new(child.stderr.take().context("its log")?);
        let (say, said) = mpsc::channel();
        std::thread::spawn(move || log.lines().map_while(Result::ok).try_for_each(|line| say.send(line)));
        let going = Self { child, said };
        let mut heard = Vec::new();
        while !ready.is_empty() && !heard.last().is_some_and(|line: &String| line.contains(ready)) {
            heard.push(going.said.recv().with_context(|| format!("it ended: {heard:?}"))?);
        }
        Ok(going)
    }
}

/// The files of a folder over HTTP.
fn serve(folder: &Path) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}", listener.local_addr()?);
    let folder = folder.to_owned();
    std::thread::spawn(move || {
        for mut socket in listener.incoming().flatten() {
            let heads = BufReader::new(&socket).lines().map_while(Result::ok);
            let heads: Vec<String> = heads.take_while(|line| !line.is_empty()).collect();
            let path = heads.first().and_then(|head| head.split([' ', '/']).nth(2)).unwrap_or_default();
            let content = fs::read(folder.join(path)).unwrap_or_default();
            let len = content.len();
            let _ = write!(socket, "HTTP/1.1 200 OK\r\nContent-Length: {len}\r\nConnection: close\r\n\r\n");
            let _ = socket.write_all(&content);
        }
    });
    Ok(url)
}

/// A VM of this name, and a disk, that somebody else has made; the disk's uuid.
async fn strangers(client: &Client, name: &str) -> Result<String> {
    client.call(foreign::vm(name)).await?;
    let sr = client.all_records::<Pool>().await?.into_values().next().context("a pool")?.default_sr;
    let disk = client.call(foreign::disk("", sr)).await?;
    Ok(client.record(&disk).await?.uuid)
}

/// A disk on an NFS share, which the pool then forgets.
async fn share(client: &Client, server: &str, path: &str) -> Result<()> {
    let device_config = [("server", server), ("serverpath", path)];
    let device_config = device_config.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    let host = client.all_records::<Host>().await?.into_keys().next().context("a host")?;
    let share = sr::Create {
        host,
        device_config,
        physical_size: 64 << 30,
        name_label: "volumes".into(),
        r#type: "nfs".into(),
        content_type: "user".into(),
        shared: true,
        name_description: String::new(),
        sm_config: None,
    };
    let sr = client.call(share).await?;
    client.call(vdi::Create { virtual_size: 1 << 30, ..foreign::disk("", sr.clone()) }).await?;
    for pbd in client.get_field(&sr, sr::field::PBDS).await? {
        client.call(pbd::Unplug { pbd: pbd.clone() }).await?;
        // The server notes it when it is plugged.
        client.call(pbd::Plug { pbd: pbd.clone() }).await?;
        client.call(pbd::Unplug { pbd }).await?;
    }
    client.call(sr::Forget { sr }).await?;
    Ok(())
}

/// The uuids of a pool's hosts, by their names.
async fn hosts_of(client: &Client) -> Result<Vec<String>> {
    let hosts = client.all_records::<Host>().await?.into_values();
    let mut hosts: Vec<_> = hosts.map(|host| (host.name_label, host.uuid)).collect();
    hosts.sort();
    Ok(hosts.into_iter().map(|(_, uuid)| uuid).collect())
}

/// The lines of a page's shell blocks, those that end with a backslash together with the next.
fn lines(page: &str) -> Result<Vec<String>> {
    let text = fs::read_to_string(root().join(page)).with_context(|| page.to_owned())?;
    let mut lines = Vec::new();
    for block in text.split("```sh\n").skip(1) {
        let block = block.split("```").next().unwrap_or_default().replace("\\\n", " ");
        let commands = block.lines().filter_map(|line| Some(line.split(" # ").next()?.trim().to_owned()));
        lines.extend(commands.filter(|command| !command.is_empty()));
    }
    Ok(lines)
}

/// What a line of a page starts, whoever starts it there: cargo, or a container.
fn command(line: &str) -> String {
    let of_cargo = "cargo run --release -p examples --example ";
    let line =
        line.split_once(" xenapi-rs ").filter(|_| line.starts_with("podman run")).map_or(line, |p| p.1);
    let line = line.trim_start();
    line.strip_prefix(of_cargo).map_or(line.to_owned(), |program| program.replacen(" -- ", " ", 1))
}

/// A chore of `cargo xtask`, as the list of them has it.
struct Chore {
    name: String,
    takes_names: bool,
    /// `--flag`, or `--option=` and what is to follow.
    options: Vec<String>,
}

impl Chore {
    /// All of them, by the source of their list.
    fn all() -> Result<Vec<Self>> {
        let source = fs::read_to_string(root().join("xtask/src/chores.rs"))?;
        let list = source.split_once("ALL: [Chore").context("the list")?.1;
        let list = list.split_once("\n];").context("its end")?.0;
        let text = |rest: &str| rest.split('"').next().unwrap_or_default().to_owned();
        let read = |chore: &str| -> Result<Self> {
            let names = chore.split_once("names: \"").context("what may be named")?.1;
            let mut options: Vec<_> =
                chore.split("(\"--").skip(1).map(|rest| format!("--{}", text(rest))).collect();
            options.extend(chore.contains(" RELEASE").then(|| "--release".to_owned()));
            Ok(Self { name: text(chore), takes_names: !names.starts_with('"'), options })
        };
        list.split(" name: \"").skip(1).map(read).collect()
    }

    fn knows(&self, argument: &str) -> bool {
        let is = |option: &String| match option.split_once('=') {
            Some((name, _)) => {
                argument.split_once('=').is_some_and(|(given, value)| given == name && !value.is_empty())
            }
            None => option == argument,
        };
        match argument.starts_with('-') {
            true => argument == "--help" || self.options.iter().any(is),
            false => self.takes_names,
        }
    }
}

/// Looks whether there is the chore that a line starts, and whether it knows what the line gives it.
fn chore_is_there(line: &str, words: &[&str]) -> Result<()> {
    let [name, arguments @ ..] = words else { bail!("{line}: which chore?") };
    if *name == "--help" {
        return Ok(());
    }
    let chores = Chore::all()?;
    let chore = chores.iter().find(|chore| chore.name == *name);
    let chore = chore.with_context(|| format!("{line}: there is no chore {name}"))?;
    let unknown: Vec<_> = arguments.iter().filter(|argument| !chore.knows(argument)).collect();
    ensure!(unknown.is_empty(), "{line}: {name} does not know {unknown:?}");
    Ok(())
}

/// Looks whether there is the test, the target or the chore that a line starts.
fn is_there(line: &str) -> Result<()> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let after = |word: &str| words.iter().position(|w| *w == word).and_then(|at| words.get(at + 1)).copied();
    if let Some(at) = words.windows(2).position(|pair| pair == ["cargo", "xtask"]) {
        chore_is_there(line, &words[at + 2..])?;
    }
    let targets = match words[..] {
        ["cargo", "xtask", "fuzz", ref targets @ ..] => {
            targets.iter().filter(|word| !word.starts_with('-')).copied().collect()
        }
        ["cargo", "fuzz", "run", ..] => {
            words.iter().rev().skip_while(|word| **word != "--").nth(1).copied().into_iter().collect()
        }
        _ => Vec::new(),
    };
    // Where a sentence tells how each of them was run.
    for target in targets.into_iter().filter(|target| *target != "TARGET") {
        let source = root().join(format!("fuzz/fuzz_targets/{target}.rs"));
        ensure!(source.exists(), "{line}: there is no target {target}");
    }
    if let (Some(package), Some(test)) = (after("-p"), after("--test")) {
        let folder = [format!("crates/{package}"), package.to_owned()].map(|folder| root().join(folder));
        let has = |end: &str| folder.iter().any(|folder| folder.join("tests").join(end).exists());
        ensure!(
            has(&format!("{test}.rs")) || has(&format!("{test}/main.rs")),
            "{line}: there is no such test"
        );
    }
    Ok(())
}

/// Runs what is on a page, from its first line to its last.
async fn walk(page: &str) -> Result<()> {
    // On one page, guests go to another host.
    let mut stage = Stage::set(if page.ends_with("programs.md") { 2 } else { 1 }).await?;
    let mut failed = Vec::new();
    for line in lines(page)? {
        for (.., before) in BEFORE.iter().filter(|(of, what, _)| *of == page && line.contains(what)) {
            failed.extend(stage.run(before).err().map(|error| format!("before {line}: {error:#}")));
        }
        match NOT_RUN.iter().any(|(what, _)| command(&line).contains(what)) {
            true => is_there(&line)?,
            false => failed.extend(stage.run(&line).err().map(|error| format!("{error:#}"))),
        }
    }
    stage.end()?;
    ensure!(failed.is_empty(), "{page}\n{}", failed.join("\n"));
    Ok(())
}

macro_rules! pages {
    ($($name:ident: $page:literal,)*) => {
        const PAGES: &[&str] = &[$($page),*];

        $(#[tokio::test(flavor = "multi_thread")]
        async fn $name() -> Result<()> {
            walk($page).await
        })*
    };
}

pages! {
    readme: "README.md",
    contributing: "CONTRIBUTING.md",
    simulator: "crates/xapi-simulator/README.md",
    fuzz: "fuzz/README.md",
    reliability: "docs/reliability.md",
    tour: "docs/guide/tour.md",
    programs: "docs/guide/programs.md",
    hosts: "docs/guide/hosts.md",
    instances: "docs/guide/instances.md",
    images: "docs/guide/images.md",
    nova: "docs/guide/nova.md",
    dom0: "docs/guide/dom0.md",
    service: "docs/guide/service.md",
    extending: "docs/guide/extending.md",
}

/// The blocks of a page, in its order: what stands behind the backticks.
fn kinds(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| line.trim().strip_prefix("```")).step_by(2)
}

/// The first line that is code by its indentation alone.
fn indented(text: &str) -> Option<&str> {
    let mut before = "";
    let outside = text.split("```").step_by(2).flat_map(str::lines);
    outside
        .into_iter()
        .find(|line| std::mem::replace(&mut before, line).is_empty() && line.starts_with("    "))
}

/// The library whose documentation has a page, so that the code on it is compiled and run.
fn compiles(page: &str) -> Result<bool> {
    let own = page
        .strip_suffix("README.md")
        .map(|folder| (format!("{folder}src/lib.rs"), "../README.md".to_owned()));
    for (library, included) in
        own.into_iter().chain([("examples/src/lib.rs".to_owned(), format!("../../{page}"))])
    {
        let text = fs::read_to_string(root().join(library)).unwrap_or_default();
        if text.contains(&format!("include_str!(\"{included}\")")) {
            return Ok(true);
        }
    }
    Ok(false)
}

#[test]
fn no_block_is_left_out_and_no_exception_is_stale() -> Result<()> {
    let mut all = Vec::new();
    for page in written::pages()? {
        let text = fs::read_to_string(root().join(&page))?;
        for kind in kinds(&text) {
            match kind {
                // Drawings; and code, which is compiled with the documentation.
                "text" => {}
                "sh" => ensure!(PAGES.contains(&&*page), "{page} has commands, and is not among the pages"),
                "rust" => ensure!(compiles(&page)?, "{page} has code that is not compiled"),
                _ => bail!("{page}: nothing looks at blocks of {kind:?}"),
            }
        }
        if let Some(line) = indented(&text) {
            bail!("{page}: nothing looks at code without backticks: {line:?}");
        }
        all.extend(lines(&page)?);
    }
    let stale = |what: &str| !all.iter().any(|line| command(line).contains(what));
    let exceptions = NOT_RUN.iter().chain(&FAILS).chain(&GO_ON).chain(&DRY).map(|(what, _)| what);
    let exceptions = exceptions.chain(BEFORE.iter().map(|(_, what, _)| what));
    let stale: Vec<_> = exceptions.filter(|what| stale(what)).collect();
    ensure!(stale.is_empty(), "no page has {stale:?}");
    Ok(())
}

/// The code within a page's sentences.
fn inline(text: &str) -> impl Iterator<Item = &str> {
    text.split("```").step_by(2).flat_map(|outside| outside.split('`').skip(1).step_by(2))
}

#[test]
fn what_sentences_tell_to_start_is_there() -> Result<()> {
    let (mut chores, mut wrong) = (0, Vec::new());
    for page in written::pages()? {
        let text = fs::read_to_string(root().join(&page))?;
        for code in inline(&text).filter(|code| code.starts_with("cargo ")) {
            chores += usize::from(code.starts_with("cargo xtask "));
            wrong.extend(is_there(code).err().map(|error| format!("{page}: {error:#}")));
        }
    }
    ensure!(wrong.is_empty() && chores > 10, "{chores} chores\n{}", wrong.join("\n"));
    Ok(())
}

#[test]
fn chores_that_would_be_refused_are_seen() {
    for line in [
        "cargo xtask --help",
        "cargo xtask tidy",
        "cargo xtask rivals --minutes=5 --calm",
        "cargo xtask load --release --spawns=N",
        "cargo xtask kills --only=13 destroy",
        "cargo xtask fuzz vhd_parse --seconds=30",
    ] {
        is_there(line).expect(line);
    }
    for line in [
        "cargo xtask",
        "cargo xtask tidied",
        "cargo xtask tidy --fix",
        "cargo xtask tidy crates",
        "cargo xtask rivals --minutes",
        "cargo xtask rivals --minutes=",
        "cargo xtask rivals --calm=1",
        "cargo xtask releases --release",
        "cargo xtask fuzz no_such_target",
    ] {
        assert!(is_there(line).is_err(), "{line}");
    }
}

/// The agent's page tells of every metric, and of no other.
#[test]
fn the_metrics_of_the_agent_are_on_its_page() -> Result<()> {
    let page = fs::read_to_string(root().join("docs/guide/service.md"))?;
    let told: BTreeSet<String> =
        inline(&page).filter(|code| code.starts_with("xenapi_")).map(str::to_owned).collect();
    let source = fs::read_to_string(root().join("examples/src/metrics.rs"))?;
    let served: BTreeSet<_> = source
        .split("\"xenapi_")
        .skip(1)
        .filter_map(|rest| Some(format!("xenapi_{}", rest.split_once('"')?.0)))
        .collect();
    ensure!(served.len() > 10, "{served:?}");
    assert_eq!(told, served);
    Ok(())
}

#[test]
fn code_without_backticks_is_seen() {
    assert_eq!(indented("a\n\n    cargo test\n"), Some("    cargo test"));
    assert_eq!(indented("1. a\n   b\n\n   ```sh\n\n    c\n   ```\n* a\n    b\n"), None);
}
