//! `--json` everywhere: each subcommand of each tool, as its own help lists them, prints objects and nothing else when
//! it succeeds, and one object with the error when it fails.

mod simulated;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail, ensure};
use examples::demo_image::DemoImage;
use serde_json::Value;
use tempfile::TempDir;
use xapi_simulator::core::Config as Behaviour;
use xapi_simulator::{Simulator, World};
use xenapi_client::{Client, Config};
use xenapi_types::{Sr, VdiType, sr, vdi};

const PASSWORD: &str = "json-everywhere";
/// Where nobody listens.
const NOBODY: &str = "http://127.0.0.1:1";

/// What is run: the tool and, if it has them, its subcommand; the rest of the command line; and one that must fail. Where
/// that is empty, the same is tried at a host that is not there. The rows are run one after another on the same pool.
const ROWS: &[(&str, &str, &str)] = &[
    ("spawn", "--name web1 --image disk.raw --user-data data --network xenbr0", ""),
    ("instances list", "", ""),
    ("instances show", "web1", "nobody"),
    ("instances power", "web1 reboot --hard", "nobody on"),
    ("instances metadata", "web1 role=web", "nobody role=web"),
    ("instances console-log", "web1", "nobody"),
    ("instances diagnostics", "web1", "nobody"),
    ("instances load", "web1", "nobody"),
    ("instances traffic", "web1", "nobody"),
    ("instances watch", "--count 1", ""),
    ("instances power", "web1 on", ""),
    ("instances agent-version", "web1", "nobody"),
    (
        "instances update-agent",
        "web1 1.40,url=http://agents/1.40,md5=0f",
        "nobody 1.40,url=http://agents/1.40,md5=0f",
    ),
    ("instances set-password", "web1 --admin-password-file data", "web1 --admin-password-file none"),
    ("instances sealed-password", "web1", "nobody"),
    ("instances inject-file", "web1 /etc/motd data", "web1 /etc/motd none"),
    ("instances reset-network", "web1", "nobody"),
    ("instances adopt", "web1", "nobody"),
    ("instances check-drive", "web1", "nobody"),
    ("instances rescue", "web1 --image disk.raw", "web1 --image none"),
    ("instances unrescue", "web1", "web1"),
    ("instances resize", "web1 --flavor 2:512:0", "web1 --flavor 2:512:0"),
    ("instances revert", "web1", "web1"),
    ("instances resize", "web1 --flavor 1:256:0", ""),
    ("instances confirm", "web1", "web1"),
    ("instances rebuild", "web1 --image disk.raw", "web1 --image none"),
    ("instances evacuate", "web1 --to {node} --dry-run", "web1 --to nowhere"),
    ("instances soft-delete", "web1", "nobody"),
    ("instances restore", "web1", "nobody"),
    ("instances power", "web1 off --hard", ""),
    ("volumes attach", "web1 --sr {sr} --vdi {vdi} --id data", "nobody --sr {sr} --vdi {vdi}"),
    ("volumes list", "web1", "nobody"),
    ("volumes check", "web1", "nobody"),
    ("volumes swap", "web1 data --sr {sr} --vdi {vdi2} --id other", "web1 nobody --sr {sr} --vdi {vdi2}"),
    ("volumes connector", "{node}", "nowhere"),
    ("volumes extend", "web1 other --gib 1", "web1 other --gib 1000000"),
    ("volumes detach", "web1 other", "web1 other"),
    ("networks list", "", ""),
    ("networks make", "tenant --vlan 7 --over xenbr0", "tenant --vlan 8 --over xenbr0"),
    ("networks attach", "web1 tenant,mtu=1400", "web1 nothing"),
    ("networks interfaces", "web1", "nobody"),
    ("networks lock", "web1 1 --locking disabled", "web1 9 --locking disabled"),
    ("networks tell", "web1", "nobody"),
    ("networks detach", "web1 1", "web1 9"),
    ("networks remove", "tenant", ""),
    ("networks attach", "web1 xenbr0,port={port}", ""),
    ("instances power", "web1 on", ""),
    ("networks plug", "web1 {port} --bridge br-int", "web1 {port}"),
    ("networks unplug", "{node} {port} --bridge br-int", "nowhere {port} --bridge br-int"),
    ("snapshot", "--instance web1 --output out.vhd", "--instance web1 --output out.vhd"),
    ("instances power", "web1 on", ""),
    ("migrate", "web1 --to {node} --plan", "web1 --to 00000000-0000-0000-0000-000000000001"),
    ("console", "--vm web1 --text --once", "--vm nobody"),
    ("images cache", "--id one --image disk.raw", "--id two --image none"),
    ("images list", "", ""),
    ("images evict", "--keep-mib 0", ""),
    ("instances reconcile", "--older-than 0", ""),
    ("doctor", "--set independent_compute=true --reconcile --older-than 0", "--nova-conf none"),
    ("instances destroy", "web1", "nobody"),
    ("plugins list", "", ""),
    ("plugins install", "--archive archive --ssh ./ssh root@xen1", "--archive none --ssh ./ssh root@xen1"),
    ("plugins remove", "--archive archive --ssh ./ssh root@xen1", "--archive archive --ssh ./none root@xen1"),
    ("pool list", "", ""),
    ("pool show", "{node}", "nowhere"),
    ("pool storage", "{node}", "nowhere"),
    ("pool devices", "{node}", "nowhere"),
    ("pool load", "{node}", "nowhere"),
    ("pool drain", "{node}", "nowhere"),
    ("pool disable", "{node}", "nowhere"),
    ("pool reboot", "{node} --dry-run", "nowhere"),
    ("pool shutdown", "{node} --dry-run", "nowhere"),
    ("pool resume", "{node}", "nowhere"),
    ("pool enable", "{node}", "nowhere"),
    ("pool join", "--simulated", "https://127.0.0.1:1"),
    ("pool eject", "{joined}", "{coordinator}"),
    ("agent", "--check {agent}", "--check 127.0.0.1:1"),
    ("disk convert", "disk.raw base.vhd", "none base.vhd"),
    ("disk info", "base.vhd", "none"),
    ("disk map", "base.vhd", "none"),
    ("disk import", "base.vhd --sr {sr} --name base", "base.vhd --sr nowhere"),
    ("disk export", "base out-of-host.vhd", "nobody out-of-host.vhd"),
    ("disk check", "base.vhd", "none"),
    ("disk repair", "base.vhd", "none"),
    ("disk stream", "disk.raw", "none"),
    ("disk compare", "disk.raw base.vhd", "disk.raw none"),
    ("disk diff", "base.vhd changed.raw child.vhd", "base.vhd none child.vhd"),
    ("disk tree", ".", "none"),
    ("disk apply", "child.vhd copy.vhd", "child.vhd none"),
    ("disk rebase", "child.vhd copy.vhd", "none copy.vhd"),
    ("disk coalesce", "child.vhd", "none"),
];

/// What prints the data itself, and its object on standard error.
const PRINTS_DATA: &str = "disk stream";

/// What may have nothing to tell: of a guest that has just been started nothing may be measured yet.
const MAY_BE_NOTHING: [&str; 3] = ["instances diagnostics", "instances reconcile", "pool devices"];

/// Where a VM is, and where it prefers to be.
const HOMES: [&str; 2] = ["resident_on", "affinity"];

struct Bench {
    simulator: Simulator,
    files: TempDir,
    url: String,
    /// What stands in braces in the rows.
    names: BTreeMap<&'static str, String>,
}

fn example(name: &str) -> PathBuf {
    let mut path = std::env::current_exe().expect("a test has a path");
    path.pop();
    path.pop();
    path.join("examples").join(name)
}

impl Bench {
    fn command(&self, row: &str, args: &str, url: &str) -> Command {
        let (tool, subcommand) = row.split_once(' ').unwrap_or((row, ""));
        let mut command = Command::new(example(tool));
        command.current_dir(self.files.path()).stdin(Stdio::null()).env_remove("RUST_LOG");
        for variable in ["XENAPI_URL", "XENAPI_USER", "XENAPI_PASSWORD"] {
            command.env_remove(variable);
        }
        match tool {
            "disk" if !["import", "export"].contains(&subcommand) => {}
            // It makes a host up that joins.
            "pool" if ["join", "eject"].contains(&subcommand) => {
                command.args(["--simulator-state", "pool"]);
            }
            _ => drop(command.env("XENAPI_URL", url).env("XENAPI_PASSWORD", PASSWORD)),
        }
        command.args((!subcommand.is_empty()).then_some(subcommand));
        for word in args.split_whitespace() {
            let names = self.names.iter();
            command
                .arg(names.fold(word.to_owned(), |word, (name, meant)| {
                    word.replace(&format!("{{{name}}}"), meant)
                }));
        }
        command.arg("--json");
        command
    }

    /// Runs a row, and gives back what it printed for programs.
    fn run(&self, row: &str, args: &str) -> Result<Vec<Value>> {
        match row {
            "console" => self.viewed(row, args),
            "instances watch" => self.watched(row, args),
            // Nothing is evacuated from a host that lives, and it takes a live one to go to: its own has left the pool.
            "instances evacuate" => {
                let (vm, homes) = self.running()?;
                self.put_on(&vm, ["OpaqueRef:NULL"; 2])?;
                let output = self.command(row, args, &self.url).output()?;
                self.put_on(&vm, homes.each_ref().map(String::as_str))?;
                ensure!(output.status.success(), "{row} {args}: {output:?}");
                objects(row, &output)
            }
            _ => {
                let output = self.command(row, args, &self.url).output()?;
                ensure!(output.status.success(), "{row} {args}: {output:?}");
                objects(row, &output)
            }
        }
    }

    /// The guest, with the hosts that it is on and that it prefers.
    fn running(&self) -> Result<(String, [String; 2])> {
        let guest = self.simulator.core().db().read(|view| {
            let vm = view.objects("VM").find(|vm| vm.str("name_label") == "web1")?;
            Some((vm.reference().to_owned(), HOMES.map(|field| vm.str(field).to_owned())))
        });
        guest.context("no VM is called web1")
    }

    fn put_on(&self, vm: &str, hosts: [&str; 2]) -> Result<()> {
        for (field, host) in HOMES.into_iter().zip(hosts) {
            self.simulator.core().db().write(|tx| tx.set("VM", vm, field, host))?;
        }
        Ok(())
    }

    /// With a viewer who comes and goes at once.
    fn viewed(&self, row: &str, args: &str) -> Result<Vec<Value>> {
        let mut child = self.command(row, args, &self.url).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("a pipe")?).read_line(&mut line)?;
        let told: Value = serde_json::from_str(&line)?;
        std::net::TcpStream::connect(told["address"].as_str().context("an address")?)?;
        ensure!(child.wait()?.success(), "{row}");
        Ok(vec![told])
    }

    /// With something to see, as often as it takes.
    fn watched(&self, row: &str, args: &str) -> Result<Vec<Value>> {
        let mut child = self.command(row, args, &self.url).stdout(Stdio::piped()).spawn()?;
        for state in ["pause", "unpause"].iter().cycle().take(100) {
            if child.try_wait()?.is_some() {
                return objects(row, &child.wait_with_output()?);
            }
            self.run("instances power", &format!("web1 {state}"))?;
        }
        child.kill()?;
        bail!("{row} has seen nothing")
    }

    /// Runs what must fail.
    fn fails(&self, row: &str, args: &str, url: &str) -> Result<()> {
        let output = self.command(row, args, url).output()?;
        let told = objects(row, &output).with_context(|| format!("{row} {args}: {output:?}"))?;
        ensure!(!output.status.success(), "{row} {args} succeeds: {told:?}");
        let [told] = &told[..] else { bail!("{row} {args}: {told:?}") };
        let text = told["error"].as_str().with_context(|| format!("{row} {args}: {told}"))?;
        ensure!(text.len() > 10 && !text.contains('\n') && !text.contains(PASSWORD), "{row} {args}: {text}");
        let remedy = told.get("remedy").and_then(Value::as_str);
        ensure!(
            remedy.is_none_or(|remedy| remedy.split("; ").all(|one| text.contains(one))),
            "{row} {args}: {told}"
        );
        // A driver's error says what to do about what was asked for.
        let wanted =
            told.get("verb").is_some() && ["nobody", "nowhere"].iter().any(|name| args.contains(name));
        ensure!(remedy.is_some() || !wanted, "{row} {args} does not say what to do: {told}");
        Ok(())
    }
}

/// The objects, one a line or one over several.
fn objects(row: &str, output: &Output) -> Result<Vec<Value>> {
    let bytes = if row == PRINTS_DATA { &output.stderr } else { &output.stdout };
    let found = serde_json::Deserializer::from_slice(bytes).into_iter().collect::<Result<Vec<Value>, _>>();
    found.with_context(|| format!("{row}: {output:?}"))
}

/// The subcommands that a tool's help lists.
fn subcommands(tool: &str) -> Result<Vec<String>> {
    let help = String::from_utf8(Command::new(example(tool)).arg("--help").output()?.stdout)?;
    let listed = help.split_once("\nCommands:\n").map_or("", |(_, rest)| rest);
    let lines = listed.lines().take_while(|line| !line.is_empty());
    let names = lines.filter_map(|line| line.strip_prefix("  ")?.split(' ').next()).map(str::to_owned);
    Ok(names.filter(|name| !name.is_empty() && name != "help").collect())
}

#[test]
fn every_subcommand_has_its_row() -> Result<()> {
    let manifest = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))?;
    let tools = manifest.split("[[example]]").skip(1).filter_map(|part| part.split('"').nth(1));
    let mut all = BTreeSet::new();
    for tool in tools {
        let subcommands = subcommands(tool)?;
        all.extend(subcommands.iter().map(|name| format!("{tool} {name}")));
        all.extend(subcommands.is_empty().then(|| tool.to_owned()));
    }
    let rows: BTreeSet<String> = ROWS.iter().map(|(row, ..)| (*row).to_owned()).collect();
    assert!(all.len() > 40);
    assert_eq!(all, rows);
    Ok(())
}

/// Images, an archive, and a program in ssh's place.
fn files(folder: &Path) -> Result<()> {
    DemoImage { virtual_bytes: 40 << 20, payload_bytes: 1 << 20 }.write(&folder.join("disk.raw"))?;
    let mut disk = std::fs::read(folder.join("disk.raw"))?;
    disk[9 << 20..][..512].fill(7);
    std::fs::write(folder.join("changed.raw"), disk)?;
    std::fs::write(folder.join("data"), "#cloud-config\n{}\n")?;
    std::fs::write(folder.join("archive"), b"\x1f\x8b stands for an archive")?;
    std::fs::write(folder.join("ssh"), "#!/bin/sh\ncat > /dev/null\necho xapi-plugins 1.0\n")?;
    Ok(std::fs::set_permissions(folder.join("ssh"), std::fs::Permissions::from_mode(0o755))?)
}

/// A disk that is nobody's.
async fn disk(client: &Client) -> Result<(String, String)> {
    let sr = client.by_name_label::<Sr>("Local storage").await?;
    let create = vdi::Create {
        name_label: "data".into(),
        sr: sr.clone(),
        virtual_size: 8 << 20,
        r#type: VdiType::User,
        ..vdi::Create::default()
    };
    let disk = client.call(create).await?;
    let uuid = client.get_field(&disk, vdi::field::UUID).await?;
    Ok((client.get_field(&sr, sr::field::UUID).await?, uuid))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_subcommand_speaks_json_and_so_do_its_errors() -> Result<()> {
    let plugins = tempfile::tempdir()?;
    simulated::plugins::write(plugins.path())?;
    let behaviour = Behaviour { plugins: Some(plugins.path().to_owned()), ..Behaviour::default() };
    let simulator =
        Simulator::builder().world(World::demo()).config(behaviour).password(PASSWORD).build().await?;
    let url = simulator.listen("127.0.0.1:0").await?;
    let client = Client::new(Config::new(&url, "root", PASSWORD)?)?;
    let ((sr, vdi), (_, vdi2)) = (disk(&client).await?, disk(&client).await?);
    let port = "7c9e6679-7425-40de-944b-e07fc1f90ae7".to_owned();
    let names = BTreeMap::from([("sr", sr), ("vdi", vdi), ("vdi2", vdi2), ("port", port)]);
    let bench = Bench { simulator, files: tempfile::tempdir()?, url, names };
    files(bench.files.path())?;
    tokio::task::block_in_place(|| all(bench))
}

fn all(mut bench: Bench) -> Result<()> {
    // Something to ask how it is.
    let mut agent = bench.command("agent", "--listen 127.0.0.1:0 --reconcile-every 0", &bench.url);
    let mut agent = agent.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let mut line = String::new();
    BufReader::new(agent.stdout.take().context("a pipe")?).read_line(&mut line)?;
    let serving: Value = serde_json::from_str(&line)?;
    bench.names.insert("agent", serving["serving"].as_str().context("an address")?.to_owned());

    let done = ROWS.iter().try_for_each(|&(row, good, wrong)| {
        if row == "disk apply" {
            std::fs::copy(bench.files.path().join("base.vhd"), bench.files.path().join("copy.vhd"))?;
        }
        let told = bench.run(row, good)?;
        let some = told.iter().all(Value::is_object) && !told.is_empty();
        ensure!(some || MAY_BE_NOTHING.contains(&row), "{row}: {told:?}");
        let name = |key: &str| told.first().and_then(|told| told[key].as_str()).map(str::to_owned);
        match row {
            "instances list" => drop(bench.names.insert("node", name("node").context("a node")?)),
            "pool join" => {
                bench.names.insert("joined", name("joined").context("a host")?);
                bench.names.insert("coordinator", "aad1fc93-fe91-59fc-8984-bec272d5a9b4".to_owned());
            }
            _ => {}
        }
        match wrong {
            "" => bench.fails(row, good, NOBODY),
            wrong => bench.fails(row, wrong, &bench.url),
        }
    });
    agent.kill()?;
    agent.wait()?;
    done
}
