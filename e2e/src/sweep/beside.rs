//! What is not an instance's own life: disks alone, ports of Nova's, the host that it is on, and VMs of other people's.

use std::collections::BTreeMap;

use anyhow::Context;
use xenapi_driver::bridges::{Port, interim_network};
use xenapi_driver::disks::{DiskFormat, DiskImport, DiskTarget};
use xenapi_driver::node::DrainOptions;
use xenapi_driver::spec::{Flavor, ImageFormat, InstanceSpec, Nic, RootImage, SrChoice};
use xenapi_driver::{Existing, Progress, Result, Which};
use xenapi_types::{Host, Ref, Vdi, Vm, VmPowerState, vdi, vm};

use crate::ports;
use crate::sweep::outcome::{Found, again, changes, files, state};
use crate::sweep::scene::Scene;
use crate::sweep::site::Site;
use crate::sweep::verb::{Step, Verb};

/// What the disk that is imported is called.
const DISK: &str = "data";
/// What the VM is called that nobody's driver made.
const THEIRS: &str = "theirs";
/// … and its disk.
const THEIR_DISK: &str = "their disk";
/// The integration bridge.
pub(super) const BRIDGE: &str = "xapi1";
/// Files that a port's chain of bridges is.
const CHAIN: usize = 9;

pub(super) async fn import_disk(site: &Site) -> Result<()> {
    let request = DiskImport {
        name: DISK.into(),
        image: RootImage::File(site.image()),
        image_format: ImageFormat::default(),
        virtual_bytes: None,
        sr: SrChoice::default(),
        journal: None,
    };
    let disk = site.run(site.driver.import_disk(request, site.progress())).await?;
    std::fs::write(site.disk_note(), disk.uuid).expect("the note is written");
    Ok(())
}

pub(super) async fn export_disk(site: &Site) -> Result<()> {
    let uuid = std::fs::read_to_string(site.disk_note()).expect("a disk was imported");
    let (uuid, target) = (uuid.parse().expect("a uuid"), DiskTarget::File(site.output(), Existing::Refuse));
    site.run(site.driver.export_disk(uuid, DiskFormat::Vhd, target, site.progress())).await.map(drop)
}

/// The disk is there with what is in the image, or nothing of it is.
pub(super) async fn disk_imported(
    scene: &Scene,
    verb: &Verb,
    outcome: &Result<()>,
    found: &mut Found,
) -> anyhow::Result<()> {
    let disks = scene.pool.client().all_records::<Vdi>().await?;
    let made: Vec<_> = disks.values().filter(|vdi| vdi.name_label == DISK).collect();
    match (outcome, &made[..]) {
        (Err(_), []) => {}
        (Ok(()), [disk]) => {
            if scene.pool.content(&disk.uuid).await? != std::fs::read(scene.image())? {
                found.wrong.push("the disk is not the image".into());
            }
            // The disk is its maker's.
            remove_disks(scene).await?;
        }
        (outcome, made) => found.wrong.push(format!("{} disks after {outcome:?}", made.len())),
    }
    let now = scene.pool.census().await?;
    found.leaks.extend(changes(verb, &now, &scene.bare));
    Ok(())
}

/// The file is there and whole, or nothing of it is; the disk is as it was.
pub(super) async fn disk_exported(
    scene: &Scene,
    verb: &Verb,
    outcome: &Result<()>,
    found: &mut Found,
) -> anyhow::Result<()> {
    files(scene, verb, outcome, found)?;
    found.leaks.extend(changes(verb, &scene.pool.census().await?, &scene.before));
    remove_disks(scene).await
}

/// Removes the disks that were imported, as their maker does.
pub(crate) async fn remove_disks(scene: &Scene) -> anyhow::Result<()> {
    let client = scene.pool.client();
    let disks = client.all_records::<Vdi>().await?;
    for (disk, _) in disks.into_iter().filter(|(_, vdi)| vdi.name_label == DISK) {
        client.wait_until_detached(&disk, std::time::Duration::from_secs(60)).await?;
        client.call(vdi::Destroy { vdi: disk }).await?;
    }
    Ok(())
}

fn port() -> Port {
    Port { id: ports::PORT.parse().expect("a uuid"), integration_bridge: BRIDGE.to_owned() }
}

/// With an interface for a port; whether its bridges are made with it is the scene's driver's to say.
pub(super) async fn spawn_for_port(site: &Site) -> Result<()> {
    let mut spec = InstanceSpec::new("web1", Flavor::new(1, 512, 0), site.image());
    (spec.uuid, spec.node) = (site.instance(), Some(site.home()));
    spec.nics = vec![nic()];
    site.spawn(spec).await
}

fn nic() -> Nic {
    let mut nic = Nic::on(interim_network(port().id));
    nic.other_config.insert("neutron-port-id".into(), ports::PORT.into());
    nic
}

pub(super) async fn attach_port(site: &Site) -> Result<()> {
    site.run(site.driver.attach_interface(site.which(), nic(), site.progress())).await.map(drop)
}

pub(super) async fn detach_port(site: &Site) -> Result<()> {
    site.run(site.driver.detach_interface(site.which(), ports::PORT, site.progress())).await.map(drop)
}

pub(super) async fn plug_port(site: &Site) -> Result<()> {
    site.run(site.driver.plug_port(site.which(), port(), site.progress())).await
}

pub(super) async fn unplug_port(site: &Site) -> Result<()> {
    site.run(site.driver.unplug_port(site.home(), port(), site.progress())).await
}

/// All of the port's bridges are there, or none, as the outcome says; and they can be taken down.
pub(super) async fn bridged(
    scene: &Scene,
    verb: &Verb,
    outcome: &Result<()>,
    found: &mut Found,
) -> anyhow::Result<()> {
    match (&verb.act, outcome) {
        (Step::UnplugPort, Err(_)) => again(scene, verb, found).await?,
        (Step::SpawnOnBridge, Err(_)) => {
            found.leaks.extend(changes(verb, &scene.pool.census().await?, &scene.bare));
        }
        _ => {}
    }
    let is_up = verb.act != Step::UnplugPort && outcome.is_ok();
    expect_files(scene, if is_up { CHAIN } else { 0 }, found)?;
    if is_up {
        state(scene, &[VmPowerState::Running], found).await?;
    }
    if is_up && verb.act == Step::PlugPort {
        unplug_port(&scene.site()).await.context("unplugging")?;
        expect_files(scene, 0, found)?;
    }
    Ok(())
}

pub(super) fn expect_files(scene: &Scene, count: usize, found: &mut Found) -> anyhow::Result<()> {
    if scene.ports.is_none() {
        return Ok(());
    }
    let there = scene.port_files()?;
    if there.len() != count {
        found.leaks.push(format!("{there:?} instead of {count} of the port"));
    }
    Ok(())
}

/// The port's bridges are on the host that the instance has moved to, and nowhere else.
pub(super) fn bridged_elsewhere(scene: &Scene, found: &mut Found) -> anyhow::Result<()> {
    expect_files(scene, CHAIN, found)?;
    let here: Vec<_> = scene.port_files()?.into_iter().filter(|file| !file.contains("elsewhere")).collect();
    found.leaks.extend(here.into_iter().map(|file| format!("{file}, which the instance has left")));
    Ok(())
}

pub(super) async fn drain(site: &Site) -> Result<()> {
    let options = DrainOptions { progress: site.progress(), ..DrainOptions::default() };
    let drained = site.run(site.driver.drain_node(site.home(), options)).await?;
    // Somebody else's instance stays in any case.
    site.note_leftovers(usize::from(drained.moved.is_empty()));
    Ok(())
}

/// The instance runs on the other host, and its own takes no new ones; where that failed, it runs, it is told that it is
/// stuck, and it can be done once more.
pub(super) async fn drained(
    scene: &Scene,
    verb: &Verb,
    outcome: &Result<()>,
    found: &mut Found,
) -> anyhow::Result<()> {
    state(scene, &[VmPowerState::Running], found).await?;
    if outcome.is_err() || scene.leftovers() > 0 {
        again(scene, verb, found).await?;
    }
    let client = scene.pool.client();
    let host = client.by_uuid::<Host>(&scene.home.to_string()).await?;
    if client.record(&host).await?.enabled {
        found.wrong.push("the host takes guests".into());
    }
    let vms = client.all_records::<Vm>().await?;
    if vms.values().any(|vm| vm.name_label == "web1" && vm.resident_on == host) {
        found.wrong.push("the instance is still there".into());
    }
    state(scene, &[VmPowerState::Running], found).await?;
    scene.pool.driver.set_node_enabled(scene.home, true, Progress::none()).await.context("enabling it again")
}

/// A VM with a disk, as somebody's own tools make it.
pub(super) async fn make_theirs(scene: &Scene) -> anyhow::Result<()> {
    // The one that it is to be known by afterwards.
    let keys = BTreeMap::from([("nova_uuid".to_owned(), scene.instance.to_string())]);
    scene.pool.make_foreign(THEIRS, THEIR_DISK, keys).await.map(drop)
}

pub(super) async fn adopt(site: &Site) -> Result<()> {
    site.run(site.driver.adopt(Which::Named(THEIRS.into()), site.progress())).await.map(drop)
}

/// It is an instance with its disk, or as it was.
pub(super) async fn adopted(
    scene: &Scene,
    verb: &Verb,
    outcome: &Result<()>,
    found: &mut Found,
) -> anyhow::Result<()> {
    let keys = keys(scene).await?;
    if outcome.is_err() && keys != 0 {
        found.leaks.push(format!("{keys} keys of ours"));
    }
    if outcome.is_err() {
        again(scene, verb, found).await?;
    }
    state(scene, &[VmPowerState::Halted], found).await
}

/// How many keys of ours the VM and its disk have.
async fn keys(scene: &Scene) -> anyhow::Result<usize> {
    let client = scene.pool.client();
    let vm: Ref<Vm> = client.by_name_label(THEIRS).await?;
    let disk: Ref<Vdi> = client.by_name_label(THEIR_DISK).await?;
    let of_vm = client.get_field(&vm, vm::field::OTHER_CONFIG).await?;
    let of_disk = client.get_field(&disk, vdi::field::OTHER_CONFIG).await?;
    Ok(of_vm.keys().chain(of_disk.keys()).filter(|key| key.starts_with("xenapi-rs:")).count())
}
