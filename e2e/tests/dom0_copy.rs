//! Instances go to another host as Nova had them go: by the real plugin `migration.py`, file by file. What plays ssh and
//! rsync here copies folders, and `vhd-util` is a stand-in; both hosts have the same dom0, so that `/images` is one folder.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use e2e::dom0::Dom0;
use e2e::pool::{EXT, LVM, Pool};
use tempfile::TempDir;
use xapi_simulator::World;
use xapi_simulator::core::Config;
use xapi_simulator::fault::Fault;
use xenapi_client::Timeouts;
use xenapi_driver::resize::{CopyVia, ResizeOptions};
use xenapi_driver::spec::{ConfigDrive, Flavor, InstanceSpec, SrChoice};
use xenapi_driver::{
    Cause, Driver, Instance, PowerChange, Progress, Settings, Shutdown, SpawnOptions, Which,
};
use xenapi_types::{Vbd, Vdi, Vm, VmPowerState, vdi};
use xenapi_wire::Failure;

const MIB: u64 = 1 << 20;
/// Copies a folder to what stands behind `root@host:`; fails at the call that the file `fails-at` names.
const RSYNC: &str = r#"
echo "$*" >> "$STORE/rsync"
[ "$(cat "$STORE/fails-at" 2>/dev/null)" = "$(wc -l < "$STORE/rsync")" ] && { echo "connection lost" >&2; exit 12; }
[ "$(cat "$STORE/hangs-at" 2>/dev/null)" = "$(wc -l < "$STORE/rsync")" ] && exec sleep 3600
from="${@: -2:1}"; to="${@: -1}"
mkdir -p "${to#*:}" && cp -a "$from". "${to#*:}""#;

struct Bench {
    pool: Pool,
    driver: Driver,
    dom0: Dom0,
    mounts: PathBuf,
    instance: Instance,
    _files: TempDir,
}

/// What must be as it was.
#[derive(Debug, PartialEq, Eq)]
struct State {
    disks: BTreeMap<String, String>,
    all: BTreeMap<String, BTreeMap<String, String>>,
    power: VmPowerState,
    keys: BTreeMap<String, String>,
}

impl Bench {
    async fn new() -> Result<Self> {
        let dom0 =
            Dom0::new(env!("CARGO_BIN_EXE_dom0-plugins"), &["migration.py", "dom0_plugin_version.py"])?;
        dom0.tool("rsync", RSYNC)?;
        dom0.tool("ip", "echo inet 192.0.2.250/24")?;
        dom0.tool("vhd-util", &format!("exec '{}' \"$@\"", env!("CARGO_BIN_EXE_vhd-util")))?;
        let mounts = dom0.path("/run/sr-mount");
        std::fs::create_dir_all(&mounts)?;
        let (plugins, sr_mounts) = (Some(dom0.plugins()), Some(mounts.clone()));
        let behaviour = Config { plugins, sr_mounts, ..Config::default() };
        let pool = Pool::behaving(World::demo().with_hosts(2), Timeouts::default(), behaviour).await?;
        let settings = Settings {
            copy_via: CopyVia::Dom0,
            sr_base_path: mounts.display().to_string(),
            ..pool.driver.settings().clone()
        };
        let driver = Driver::over(pool.driver.client().clone(), settings);

        let files = tempfile::tempdir()?;
        let image = files.path().join("disk.raw");
        let bytes: Vec<u8> = (0..(5 * MIB) as usize).map(|at| (at / 512 % 251) as u8).collect();
        std::fs::write(&image, bytes)?;
        let mut spec = InstanceSpec::new("web1", Flavor::new(1, 512, 0), &image);
        spec.flavor.ephemeral_gib = 1;
        spec.node = Some(driver.nodes().await?.first().context("a host")?.uuid.parse()?);
        spec.sr = SrChoice::NameLabel(EXT.into());
        spec.config_drive = Some(ConfigDrive::default());
        let instance = driver.spawn(spec, SpawnOptions::default()).await?;
        let bench = Self { pool, driver, dom0, mounts, instance, _files: files };
        bench.write_and_snapshot().await?;
        Ok(bench)
    }

    fn which(&self) -> Which {
        Which::Instance(self.instance.uuid)
    }

    async fn power(&self, change: PowerChange) -> Result<()> {
        self.driver.power(self.which(), change, Progress::none()).await?;
        Ok(())
    }

    /// Three layers below the root disk, each with something of its own, and something in the disk itself.
    async fn write_and_snapshot(&self) -> Result<()> {
        self.power(PowerChange::Off(Shutdown::Hard)).await?;
        let disks = self.state().await?.disks;
        for layer in 0..4 {
            for (place, at) in [("0", layer * MIB), ("4", 3 * layer * MIB)] {
                let uuid = disks.get(place).with_context(|| format!("disk {place} of {disks:?}"))?;
                self.pool.write(uuid, at, &[0x10 + layer as u8; 8192]).await?;
                if layer < 3 && place == "0" {
                    let vdi = self.pool.client().by_uuid::<Vdi>(uuid).await?;
                    self.pool.client().call(vdi::Snapshot { vdi, driver_params: None }).await?;
                }
            }
        }
        self.power(PowerChange::On).await
    }

    async fn state(&self) -> Result<State> {
        let client = self.pool.client();
        let vm = client.by_uuid::<Vm>(&self.instance.vm_uuid).await?;
        let record = client.record(&vm).await?;
        let mut disks = BTreeMap::new();
        for vbd in &record.vbds {
            let vbd = client.record::<Vbd>(vbd).await?;
            disks.insert(vbd.userdevice, client.get_field(&vbd.vdi, vdi::field::UUID).await?);
        }
        let mut keys = record.other_config;
        keys.remove("last_dom_id");
        let all = client.all_records::<Vdi>().await?.into_values().filter(|vdi| vdi.managed);
        let all = all.map(|vdi| (vdi.uuid, vdi.other_config)).collect();
        Ok(State { disks, all, power: record.power_state, keys })
    }

    /// What is on the disks, by place. The guest must not run.
    async fn contents(&self) -> Result<BTreeMap<String, Vec<u8>>> {
        let mut contents = BTreeMap::new();
        for (place, uuid) in self.state().await?.disks {
            let mut bytes = self.pool.content(&uuid).await?;
            bytes.truncate((16 * MIB) as usize);
            contents.insert(place, bytes);
        }
        Ok(contents)
    }

    async fn there(&self) -> Result<ResizeOptions> {
        let vm = self.pool.client().by_uuid::<Vm>(&self.instance.vm_uuid).await?;
        let home = self.pool.client().record(&vm).await?.affinity;
        let nodes = self.driver.nodes().await?;
        let other = nodes.iter().find(|node| node.reference != home).context("another host")?;
        Ok(ResizeOptions {
            node: Some(other.uuid.parse()?),
            sr: Some(SrChoice::NameLabel(EXT.into())),
            shutdown: Shutdown::Hard,
            ..ResizeOptions::default()
        })
    }

    /// What was sent, and how.
    fn transfers(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.dom0.store().join("rsync")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn fail_at(&self, transfer: Option<usize>) -> Result<()> {
        let store = self.dom0.store();
        let _ = std::fs::remove_file(store.join("rsync"));
        let number = transfer.map_or(String::new(), |number| number.to_string());
        Ok(std::fs::write(store.join("fails-at"), number)?)
    }

    /// Nothing is on the way, and no folder of an SR is left.
    #[track_caller]
    fn nothing_is_left(&self, when: &str) {
        let list = |path: PathBuf| {
            let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
            entries.map(|entry| entry.path()).collect::<Vec<_>>()
        };
        assert_eq!(list(self.dom0.path("/images")), [] as [PathBuf; 0], "{when}");
        assert_eq!(list(self.mounts.clone()), [] as [PathBuf; 0], "{when}");
    }
}

#[tokio::test]
async fn there_and_back_and_confirmed_with_all_that_is_on_the_disks() -> Result<()> {
    let bench = Bench::new().await?;
    bench.power(PowerChange::Off(Shutdown::Hard)).await?;
    let contents = bench.contents().await?;
    bench.power(PowerChange::On).await?;
    let (before, there) = (bench.state().await?, bench.there().await?);

    let faults = bench.pool.simulator.faults();
    faults.on_every("VDI.copy", Fault::Failure(Failure::new("INTERNAL_ERROR", ["it does not work here"])));
    let moved = bench.driver.resize(bench.which(), there.clone()).await?;
    assert_eq!(faults.clear(), 1, "XAPI copied a disk");
    assert_eq!((moved.replaced_disks, moved.power_state), (3, VmPowerState::Running));
    // The root disk is four files and the others, of which snapshots were taken for this, two.
    let transfers = bench.transfers();
    assert_eq!(transfers.len(), 5 + 2 + 2, "{transfers:#?}");
    let address = bench.driver.nodes().await?.into_iter().find(|node| node.uuid == moved.node_uuid);
    let target = format!(" root@{}:", address.context("the host")?.address);
    let safe = |line: &String| line.contains("StrictHostKeyChecking=yes") && line.contains(&target);
    assert!(transfers.iter().all(safe), "{transfers:#?}");
    bench.nothing_is_left("there");
    bench.power(PowerChange::Off(Shutdown::Hard)).await?;
    assert!(bench.contents().await? == contents, "the content differs");
    assert!(bench.state().await?.disks.values().all(|uuid| !before.all.contains_key(uuid)));
    let checked = bench.driver.check_config_drive(bench.which(), Progress::none()).await;
    checked.context("the config drive")?;

    bench.driver.revert_resize(bench.which(), Progress::none()).await?;
    assert_eq!(bench.state().await?, before);
    bench.nothing_is_left("back");

    let larger = ResizeOptions { flavor: Some(Flavor::new(1, 512, 1)), ..there };
    bench.driver.resize(bench.which(), larger).await?;
    bench.driver.confirm_resize(bench.which(), Progress::none()).await?;
    let after = bench.state().await?;
    assert_eq!((&after.keys, after.all.len()), (&before.keys, before.all.len()));
    let root = bench.pool.client().by_uuid::<Vdi>(&after.disks["0"]).await?;
    assert_eq!(bench.pool.client().get_field(&root, vdi::field::VIRTUAL_SIZE).await?, 1 << 30);
    bench.power(PowerChange::Off(Shutdown::Hard)).await?;
    let now = bench.contents().await?;
    let starts = |place: &str| now[place].starts_with(&contents[place]);
    assert!(["0", "3", "4"].into_iter().all(starts), "the content differs");
    // All of it is the driver's.
    let destroyed = bench.driver.destroy(bench.which(), Progress::none()).await?;
    assert_eq!((destroyed.disk_uuids.len(), destroyed.kept_disk_uuids.len()), (3, 0));
    Ok(())
}

#[tokio::test]
async fn whatever_fails_all_is_as_it_was() -> Result<()> {
    let bench = Bench::new().await?;
    let (before, there) = (bench.state().await?, bench.there().await?);
    for transfer in 1..=9 {
        bench.fail_at(Some(transfer))?;
        let error = bench.driver.resize(bench.which(), there.clone()).await.unwrap_err();
        assert!(error.to_string().contains("connection lost"), "{error}");
        assert!(error.leftovers().is_empty(), "{error}");
        assert_eq!(bench.transfers().len(), transfer);
        assert_eq!(bench.state().await?, before, "transfer {transfer}");
        bench.nothing_is_left(&format!("transfer {transfer}"));
    }
    bench.fail_at(None)?;
    let faults = bench.pool.simulator.faults();
    let refusal = Fault::Failure(Failure::new("INTERNAL_ERROR", ["a fault of the test"]));
    // The last of the plugin's calls is made, and its answer is lost; the disk is in the other repository then.
    for (method, nth, fault) in [
        ("host.call_plugin", 14, Fault::DropAfterExecution),
        ("SR.scan", 1, refusal.clone()),
        ("SR.scan", 3, refusal.clone()),
        ("VDI.set_name_label", 1, refusal.clone()),
        ("VDI.set_other_config", 2, refusal.clone()),
        ("VBD.create", 3, refusal.clone()),
        ("VM.start_on", 1, refusal),
    ] {
        faults.on_nth(method, nth, fault);
        let error = bench.driver.resize(bench.which(), there.clone()).await.unwrap_err();
        assert_eq!(faults.clear(), 0, "{method} {nth}: {error}");
        assert!(error.leftovers().is_empty(), "{method} {nth}: {error}");
        assert_eq!(bench.state().await?, before, "{method} {nth}");
        bench.nothing_is_left(method);
    }
    Ok(())
}

/// What is being sent is given up at once, whether the guest still runs or not, and so is whatever was sent.
#[tokio::test]
async fn a_disk_that_is_being_sent_when_it_is_cancelled() -> Result<()> {
    let bench = Bench::new().await?;
    let (before, there) = (bench.state().await?, bench.there().await?);
    let host = bench.dom0.root();
    let disks = tempfile::tempdir()?;
    let at_rest = bench.dom0.census(disks.path())?;
    for transfer in [1, 3, 9] {
        bench.fail_at(None)?;
        std::fs::write(bench.dom0.store().join("hangs-at"), transfer.to_string())?;
        let operation = bench.driver.resize(bench.which(), there.clone());
        while bench.transfers().len() < transfer {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        operation.cancel();
        let ended = tokio::time::timeout(Duration::from_secs(60), operation).await;
        let error = ended.with_context(|| format!("transfer {transfer} is waited for"))?.unwrap_err();
        assert!(matches!(error.cause(), Cause::Cancelled) && error.leftovers().is_empty(), "{error}");
        assert_eq!(bench.transfers().len(), transfer, "nothing was sent after it");
        assert_eq!(bench.state().await?, before, "transfer {transfer}");
        bench.nothing_is_left(&format!("transfer {transfer}"));
        assert_eq!(bench.dom0.census(disks.path())?, at_rest, "{}: transfer {transfer}", host.display());
    }
    Ok(())
}

/// The way back fails too, as when the program is killed: what was sent is in the journal, for any other driver.
#[tokio::test]
async fn what_was_left_on_the_way_is_removed_later() -> Result<()> {
    let bench = Bench::new().await?;
    let (before, there) = (bench.state().await?, bench.there().await?);
    for transfer in [2, 5, 9] {
        bench.fail_at(Some(transfer))?;
        let faults = bench.pool.simulator.faults();
        let refusal = Fault::Failure(Failure::new("INTERNAL_ERROR", ["a fault of the test"]));
        faults.on_nth("VM.add_to_other_config", 2, refusal);
        let error = bench.driver.resize(bench.which(), there.clone()).await.unwrap_err();
        assert_eq!((error.leftovers().len(), faults.clear()), (1, 0), "{error}");
        assert!(bench.dom0.path("/images").read_dir()?.next().is_some());
        // One that would not send anything so itself.
        bench.pool.driver.revert_resize(bench.which(), Progress::none()).await?;
        assert_eq!(bench.state().await?, before, "transfer {transfer}");
        bench.nothing_is_left(&format!("transfer {transfer}"));
    }
    Ok(())
}

#[tokio::test]
async fn what_cannot_go_this_way_is_said_beforehand() -> Result<()> {
    let bench = Bench::new().await?;
    let (before, there) = (bench.state().await?, bench.there().await?);
    let lvm = ResizeOptions { sr: Some(SrChoice::NameLabel(LVM.into())), ..there.clone() };
    let error = bench.driver.resize(bench.which(), lvm).await.unwrap_err();
    assert!(matches!(error.cause(), Cause::Conflicts(_)) && error.to_string().contains("no VHDs"), "{error}");
    std::fs::remove_file(bench.dom0.plugins().join("dom0_plugin_version.py"))?;
    let error = bench.driver.resize(bench.which(), there).await.unwrap_err();
    assert!(error.to_string().contains("it has no migration.py"), "{error}");
    assert_eq!(bench.state().await?, before);
    assert!(bench.transfers().is_empty());
    Ok(())
}
