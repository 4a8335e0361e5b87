//! Volumes: attached and detached, on storage the pool has and on storage it has never heard of; and nothing
//! left of what did not work.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use e2e::bench::{Bench, Running};
use e2e::pool::{EXT, LVM};
use uuid::Uuid;
use xapi_simulator::World;
use xapi_simulator::fault::Fault;
use xapi_simulator::targets::Target;
use xenapi_client::Secret;
use xenapi_driver::reconcile::{Finding, Kind, ReconcileOptions};
use xenapi_driver::rescue::RescueOptions;
use xenapi_driver::resize::ResizeOptions;
use xenapi_driver::spec::{ConfigDrive, Flavor, InstanceSpec, Power, SrChoice};
use xenapi_driver::volume::{
    AttachOptions, AttachedVolume, Iscsi, Mount, Nfs, Smb, Storage, Volume, VolumeDisk,
};
use xenapi_driver::{Cause, Instance, PowerChange, Progress, Settings, Shutdown, SpawnOptions, Which};
use xenapi_types::{
    Host, Pbd, Ref, Sr, Vbd, VbdMode, VbdType, Vdi, VdiType, Vm, host, pbd, secret, sr, vbd, vdi, vm,
};
use xenapi_wire::Failure;

const PORTAL: &str = "192.0.2.1";
const IQN: &str = "iqn.2010-10.org.openstack:volume-00000001";
const PASSWORD: &str = "correct-horse";
const MIB: u64 = 1 << 20;

async fn bench() -> Result<Running> {
    let own = Bench::of(World::demo().with_all_drivers()).await?;
    let targets = own.simulator.targets();
    targets.add(Target::iscsi(PORTAL, IQN, [(0, 32 * MIB), (1, 16 * MIB)]).login("user", PASSWORD));
    targets.add(Target::share("192.0.2.2", "/srv/volumes"));
    targets.add(Target::share("192.0.2.3", "/volumes").login("user", PASSWORD));
    let spec = own.spec();
    own.start(spec).await
}

async fn attach(bench: &Running, volume: Volume) -> xenapi_driver::Result<AttachedVolume> {
    bench.pool.driver.attach_volume(bench.which.clone(), volume, AttachOptions::default()).await
}

async fn detach(bench: &Running, name: &str) -> xenapi_driver::Result<AttachedVolume> {
    bench.pool.driver.detach_volume(bench.which.clone(), name, Progress::none()).await
}

/// What was made since the instance was complete, but for the files of disks, which are the LUNs' content.
async fn made_since(bench: &Running) -> Result<Vec<String>> {
    let mut changes = bench.pool.census().await?.changes_since(&bench.before);
    changes.retain(|change| !change.contains("/disks/"));
    Ok(changes)
}

/// A disk in a repository of the pool.
async fn new_disk(bench: &Running, sr: &Ref<Sr>, bytes: u64) -> Result<(Ref<Vdi>, Uuid)> {
    let call = vdi::Create {
        name_label: "volume".into(),
        sr: sr.clone(),
        virtual_size: bytes as i64,
        r#type: VdiType::User,
        ..vdi::Create::default()
    };
    let vdi = bench.pool.client().call(call).await?;
    let uuid = bench.pool.client().get_field(&vdi, vdi::field::UUID).await?.parse()?;
    Ok((vdi, uuid))
}

/// Puts a repository with one disk on a share, and takes it out of the pool again.
async fn share(bench: &Running, sr_type: &str, config: &[(&str, &str)]) -> Result<(Uuid, Uuid)> {
    let client = bench.client();
    let sr = bench.make_sr("share", sr_type, config, 1 << 30, true).await?;
    let sr_uuid = client.get_field(&sr, sr::field::UUID).await?.parse()?;
    let (_, vdi_uuid) = new_disk(bench, &sr, 8 * MIB).await?;
    for pbd in client.get_field(&sr, sr::field::PBDS).await? {
        client.call(pbd::Unplug { pbd: pbd.clone() }).await?;
        client.call(pbd::Plug { pbd: pbd.clone() }).await?;
        client.call(pbd::Unplug { pbd }).await?;
    }
    client.call(sr::Forget { sr }).await?;
    assert_eq!(made_since(bench).await?, [""; 0]);
    Ok((sr_uuid, vdi_uuid))
}

fn iscsi(disk: VolumeDisk, password: &str) -> Volume {
    let chap = Some(("user".to_owned(), Secret::new(password)));
    let storage = Storage::Iscsi(Iscsi { portal: PORTAL.parse().expect("a portal"), iqn: IQN.into(), chap });
    Volume { id: Some("vol-1".into()), ..Volume::new(storage, disk) }
}

#[tokio::test]
async fn iscsi_with_chap_comes_and_goes_without_a_trace() -> Result<()> {
    let bench = bench().await?;
    let client = bench.pool.client();
    let attached = attach(&bench, iscsi(VolumeDisk::Lun(0), PASSWORD)).await?;
    assert_eq!((&*attached.id, attached.virtual_bytes, attached.plugged), ("vol-1", 32 * MIB, true));
    assert_eq!(attached.device, "4", "behind the instance's own disks");
    let wanted = xenapi_storage_uuid();
    assert_eq!(attached.sr_uuid, wanted);
    let sr = client.record(&client.by_uuid::<Sr>(&wanted).await?).await?;
    assert!(sr.shared && sr.r#type == "iscsi");
    let pbd = client.record(&sr.pbds[0]).await?;
    let everywhere = format!("{:?} {:?} {:?}", sr.sm_config, sr.other_config, pbd.device_config);
    assert!(!everywhere.contains(PASSWORD), "the password is in a secret and nowhere else");
    assert!(pbd.device_config.contains_key("chappassword_secret"), "{:?}", pbd.device_config.keys());

    // Once more changes nothing, and a second LUN uses the same repository.
    let state = made_since(&bench).await?;
    assert_eq!(attach(&bench, iscsi(VolumeDisk::Lun(0), PASSWORD)).await?, attached);
    assert_eq!(made_since(&bench).await?, state);
    let second = attach(&bench, Volume { id: None, ..iscsi(VolumeDisk::Lun(1), PASSWORD) }).await?;
    assert_eq!((&*second.device, &second.id), ("5", &second.vdi_uuid));
    let listed = bench.pool.driver.volumes(&bench.which).await?;
    assert_eq!(listed, [attached.clone(), second.clone()]);

    detach(&bench, "vol-1").await?;
    assert!(client.by_uuid_opt::<Sr>(&wanted).await?.is_some(), "the other LUN is in use");
    detach(&bench, "xvdf").await?;
    assert_eq!(made_since(&bench).await?, [""; 0]);
    Ok(())
}

fn xenapi_storage_uuid() -> String {
    // uuid5 of Nova's namespace and "192.0.2.1/3260/iqn.2010-10.org.openstack:volume-00000001".
    let namespace = Uuid::new_v5(&Uuid::nil(), b"volume_utils-SR_UUID");
    Uuid::new_v5(&namespace, format!("{PORTAL}/3260/{IQN}").as_bytes()).to_string()
}

#[tokio::test]
async fn a_wrong_password_and_a_missing_lun_leave_nothing() -> Result<()> {
    let bench = bench().await?;
    let error = attach(&bench, iscsi(VolumeDisk::Lun(0), "hunter2")).await.unwrap_err();
    assert_eq!(error.failure().map(|failure| &*failure.code), Some("SR_BACKEND_FAILURE_68"), "{error}");
    assert!(error.to_string().contains("check the name and the password"), "{error}");
    assert!(!format!("{error} {error:?}").contains("hunter2"));
    assert_eq!(made_since(&bench).await?, [""; 0]);
    let error = attach(&bench, iscsi(VolumeDisk::Lun(7), PASSWORD)).await.unwrap_err();
    assert!(matches!(error.cause(), Cause::NoSuchVolume { .. }), "{error}");
    assert!(error.leftovers().is_empty(), "{error}");
    assert_eq!(made_since(&bench).await?, [""; 0]);
    Ok(())
}

/// The hosts themselves would wait for two minutes.
#[tokio::test]
async fn a_dead_target_is_given_up_soon_and_leaves_nothing() -> Result<()> {
    let bench = bench().await?;
    let settings = Settings { storage_timeout: Duration::from_millis(200), ..Settings::default() };
    let hasty = bench.pool.driver_with(settings)?;
    let attach = || {
        hasty.attach_volume(
            bench.which.clone(),
            iscsi(VolumeDisk::Lun(0), PASSWORD),
            AttachOptions::default(),
        )
    };
    bench.pool.simulator.targets().set_dead(PORTAL, true);
    let error = attach().await.unwrap_err();
    assert!(matches!(error.cause(), Cause::NoAnswer { .. }), "{error}");
    assert!(error.leftovers().is_empty(), "{error}");
    assert_eq!(made_since(&bench).await?, [""; 0]);

    bench.pool.simulator.targets().set_dead(PORTAL, false);
    let volume = attach().await?;
    bench.pool.simulator.targets().set_dead(PORTAL, true);
    let health = hasty.check_volumes(bench.which.clone(), Progress::none()).await?;
    assert_eq!(health.iter().map(|h| &h.volume.id).collect::<Vec<_>>(), [&volume.id]);
    assert!(health[0].fault.as_deref().is_some_and(|fault| fault.contains("no answer")), "{health:?}");
    bench.pool.simulator.targets().set_dead(PORTAL, false);
    assert_eq!(hasty.check_volumes(bench.which.clone(), Progress::none()).await?[0].fault, None);
    Ok(())
}

/// A guest's drive, the connection, and a drive to be plugged: each is given up, says which device it is, and can be done once
/// more when the server is back.
#[tokio::test]
async fn a_target_that_dies_while_it_is_in_use_is_given_up_too() -> Result<()> {
    let bench = bench().await?;
    let short = Duration::from_millis(200);
    let settings = Settings { storage_timeout: short, detach_timeout: short, ..Settings::default() };
    let hasty = bench.pool.driver_with(settings)?;
    let dead = |dead| bench.pool.simulator.targets().set_dead(PORTAL, dead);
    let attach = |lun| {
        let volume = Volume { id: Some(format!("vol-{lun}")), ..iscsi(VolumeDisk::Lun(lun), PASSWORD) };
        hasty.attach_volume(bench.which.clone(), volume, AttachOptions::default())
    };
    let first = attach(0).await?;
    dead(true);
    let says = |error: &xenapi_driver::Error, device: &str| {
        let text = error.to_string();
        assert!(matches!(error.cause(), Cause::NoAnswer { .. }), "{text}");
        for part in [device, "no answer within", "see whether the host and the server of its storage are up"]
        {
            assert!(text.contains(part), "{part:?} is missing in {text}");
        }
    };
    let detach = || hasty.detach_volume(bench.which.clone(), &*first.vdi_uuid, Progress::none());
    says(&detach().await.unwrap_err(), &format!("unplugging device {} (VBD ", first.device));
    assert_eq!(hasty.volumes(&bench.which).await?, std::slice::from_ref(&first), "it is as it was");

    // The repository is there, and connected: what waits is the drive.
    let second = attach(1).await.unwrap_err();
    says(&second, "plugging device ");
    assert!(second.leftovers().is_empty(), "{second}");
    assert_eq!(hasty.volumes(&bench.which).await?, std::slice::from_ref(&first));

    // The drive comes off with the guest, the connection does not.
    hasty.power(bench.which.clone(), PowerChange::Off(Shutdown::Hard), Progress::none()).await?;
    says(&detach().await.unwrap_err(), "disconnecting storage repository ");
    says(&hasty.destroy(bench.which.clone(), Progress::none()).await.unwrap_err(), "(PBD ");
    dead(false);
    hasty.reconcile(ReconcileOptions { older_than: Duration::ZERO, ..ReconcileOptions::default() }).await?;
    assert_eq!(bench.client().all_records::<Sr>().await?.len(), bench.before.objects["SR"].len());
    Ok(())
}

#[tokio::test]
async fn shares_are_found_by_their_only_repository() -> Result<()> {
    let bench = bench().await?;
    let nfs = |sr_uuid| {
        Storage::Nfs(Nfs { server: "192.0.2.2".into(), path: "/srv/volumes".into(), options: None, sr_uuid })
    };
    let error = attach(&bench, Volume::new(nfs(None), VolumeDisk::Only)).await.unwrap_err();
    assert!(matches!(error.cause(), Cause::NoSuchVolume { .. }), "{error}");

    let config = [("server", "192.0.2.2"), ("serverpath", "/srv/volumes")];
    let (sr_uuid, vdi_uuid) = share(&bench, "nfs", &config).await?;
    let attached = attach(&bench, Volume::new(nfs(None), VolumeDisk::Only)).await?;
    assert_eq!((&attached.sr_uuid, &attached.vdi_uuid), (&sr_uuid.to_string(), &vdi_uuid.to_string()));
    detach(&bench, &vdi_uuid.to_string()).await?;
    assert_eq!(made_since(&bench).await?, [""; 0]);

    let config = [("server", "//192.0.2.3/volumes"), ("username", "user"), ("password", PASSWORD)];
    let (sr_uuid, vdi_uuid) = share(&bench, "smb", &config).await?;
    let login = Some(("user".to_owned(), Secret::new(PASSWORD)));
    let smb = Smb { server: "//192.0.2.3/volumes".into(), login, sr_uuid: Some(sr_uuid) };
    attach(&bench, Volume::new(Storage::Smb(smb), VolumeDisk::Uuid(vdi_uuid))).await?;
    let client = bench.client();
    let sr = client.record(&client.by_uuid::<Sr>(&sr_uuid.to_string()).await?).await?;
    let config = client.record(&sr.pbds[0]).await?.device_config;
    assert!(!format!("{config:?} {:?} {:?}", sr.sm_config, sr.other_config).contains(PASSWORD));
    let secret = client.by_uuid::<xenapi_types::Secret>(&config["password_secret"]).await?;
    assert_eq!(client.get_field(&secret, secret::field::VALUE).await?, PASSWORD);
    detach(&bench, &vdi_uuid.to_string()).await?;
    assert_eq!(client.all::<xenapi_types::Secret>().await?.len(), 0, "it went with the connection");
    assert_eq!(made_since(&bench).await?, [""; 0]);
    Ok(())
}

#[tokio::test]
async fn a_disk_of_the_pool_in_every_state_of_the_guest() -> Result<()> {
    let bench = bench().await?;
    let client = bench.pool.client();
    let lvm = client.by_name_label::<Sr>(LVM).await?;
    let (_, disk) = new_disk(&bench, &lvm, 8 * MIB).await?;
    let sr = client.get_field(&lvm, sr::field::UUID).await?.parse()?;
    let volume = || Volume::new(Storage::Repository(sr), VolumeDisk::Uuid(disk));
    let name = disk.to_string();

    // Hot.
    assert!(attach(&bench, volume()).await?.plugged);
    let extend =
        |bytes| bench.pool.driver.extend_volume(bench.which.clone(), &*name, bytes, Progress::none());
    let error = extend(Some(16 * MIB)).await.unwrap_err();
    assert!(matches!(error.cause(), Cause::WrongState { .. }), "{error}");
    bench.power(PowerChange::Pause).await?;
    let error = detach(&bench, &name).await.unwrap_err();
    assert!(matches!(error.cause(), Cause::WrongState { .. }), "{error}");
    bench.power(PowerChange::On).await?;
    bench.power(PowerChange::Off(Shutdown::Hard)).await?;
    assert_eq!(extend(Some(16 * MIB)).await?.virtual_bytes, 16 * MIB);
    let error = extend(Some(8 * MIB)).await.unwrap_err();
    assert!(matches!(error.cause(), Cause::Shrink { .. }), "{error}");
    bench.power(PowerChange::On).await?;
    assert_eq!(detach(&bench, &name).await?.virtual_bytes, 16 * MIB);

    // Cold, at a place of one's own, read-only.
    bench.power(PowerChange::Off(Shutdown::Hard)).await?;
    let options = AttachOptions { device: "xvdk".parse().ok(), read_only: true, ..AttachOptions::default() };
    let attached = bench.pool.driver.attach_volume(bench.which.clone(), volume(), options).await?;
    assert_eq!((&*attached.device, attached.read_only, attached.plugged), ("10", true, false));
    let options = AttachOptions { device: "10".parse().ok(), ..AttachOptions::default() };
    let (_, other) = new_disk(&bench, &lvm, 8 * MIB).await?;
    let taken = Volume::new(Storage::Repository(sr), VolumeDisk::Uuid(other));
    let error = bench.pool.driver.attach_volume(bench.which.clone(), taken, options).await.unwrap_err();
    assert!(matches!(error.cause(), Cause::DeviceInUse { .. }), "{error}");
    detach(&bench, "xvdk").await?;
    assert!(client.by_uuid_opt::<Sr>(&sr.to_string()).await?.is_some(), "the pool's own repository stays");

    let error = detach(&bench, "0").await.unwrap_err();
    assert!(matches!(error.cause(), Cause::OwnDisk { .. }), "{error}");
    let error = detach(&bench, "7").await.unwrap_err();
    assert!(matches!(error.cause(), Cause::NoSuchVolume { .. }), "{error}");
    Ok(())
}

/// An instance that boots from a LUN and has another one, with its undo at every call, and its end.
/// Nobody loses the wrong disk: what could be meant twice is not touched.
#[tokio::test]
async fn a_name_that_means_two_volumes() -> Result<()> {
    let bench = bench().await?;
    let sr = bench.client().by_name_label::<Sr>(EXT).await?;
    let repository = Storage::Repository(bench.client().get_field(&sr, sr::field::UUID).await?.parse()?);
    let [(_, first), (_, second), (_, third)] = [
        new_disk(&bench, &sr, MIB).await?,
        new_disk(&bench, &sr, MIB).await?,
        new_disk(&bench, &sr, MIB).await?,
    ];
    let volume = |disk: Uuid, id: &str| {
        let mut volume = Volume::new(repository.clone(), VolumeDisk::Uuid(disk));
        volume.id = Some(id.to_owned());
        volume
    };
    let placed = attach(&bench, volume(first, "data")).await?;
    let error = attach(&bench, volume(second, "data")).await.unwrap_err();
    assert!(matches!(error.cause(), Cause::AmbiguousVolume { .. }), "{error}");
    assert!(error.to_string().contains(&first.to_string()) && error.leftovers().is_empty(), "{error}");
    // Its id is the place of the first.
    attach(&bench, volume(third, &placed.device)).await?;
    let error = detach(&bench, &placed.device).await.unwrap_err().to_string();
    assert!(error.contains(&first.to_string()) && error.contains(&third.to_string()), "{error}");
    assert_eq!(bench.pool.driver.volumes(&bench.which).await?.len(), 2);
    detach(&bench, &third.to_string()).await?;
    detach(&bench, &placed.device).await?;
    assert_eq!(bench.pool.driver.volumes(&bench.which).await?, []);
    Ok(())
}

#[tokio::test]
async fn booted_from_a_volume() -> Result<()> {
    let bench = bench().await?;
    let client = bench.pool.client();
    let spec = || {
        let mut spec =
            InstanceSpec::new("web2", Flavor::new(1, 512, 20), iscsi(VolumeDisk::Lun(0), PASSWORD));
        let second = Volume { id: Some("vol-2".into()), ..iscsi(VolumeDisk::Lun(1), PASSWORD) };
        spec.volumes = vec![Mount { read_only: true, ..second.into() }];
        spec.config_drive = Some(ConfigDrive::default());
        spec
    };
    let spawn = |spec| bench.pool.spawn(spec);
    let instance = spawn(spec()).await?;
    assert_eq!(instance.root_bytes, 32 * MIB, "a volume keeps its size, whatever the flavor says");
    let which = Which::Instance(instance.uuid);
    let listed = bench.pool.driver.volumes(&which).await?;
    let shown: Vec<_> = listed.iter().map(|v| (&*v.device, v.read_only, v.plugged)).collect();
    assert_eq!(shown, [("0", false, true), ("4", true, true)]);
    assert_eq!(listed[0].vdi_uuid, instance.root_uuid);
    let vm = client.by_uuid::<Vm>(&instance.vm_uuid).await?;
    for vbd in client.get_field(&vm, vm::field::VBDS).await? {
        let vbd = client.record(&vbd).await?;
        assert_eq!(vbd.bootable, vbd.userdevice == "0");
    }
    let error = bench.pool.driver.extend_volume(which.clone(), "0", Some(MIB), Progress::none()).await;
    assert!(matches!(error.unwrap_err().cause(), Cause::Shrink { .. }));
    let destroyed = bench.pool.driver.destroy(which, Progress::none()).await?;
    assert_eq!(destroyed.kept_disk_uuids.len(), 2);
    assert_eq!(made_since(&bench).await?, [""; 0]);

    let refusal = Fault::Failure(Failure::new("INTERNAL_ERROR", ["a fault of the test"]));
    for (method, count) in
        [("SR.introduce", 1), ("PBD.create", 1), ("VDI.introduce", 2), ("VBD.create", 3), ("VM.start_on", 1)]
    {
        for k in 1..=count {
            bench.pool.simulator.faults().on_nth(method, k, refusal.clone());
            let error = spawn(spec()).await.unwrap_err();
            assert_eq!(bench.pool.simulator.faults().clear(), 0, "{method} {k}");
            assert!(error.leftovers().is_empty(), "{method} {k}: {error}");
            assert_eq!(made_since(&bench).await?, [""; 0], "{method} {k}");
        }
    }
    let mut twice = spec();
    twice.volumes[0].device = "0".parse().ok();
    let error = spawn(twice).await.unwrap_err().to_string();
    assert!(error.contains("two disks of the instance are to be device 0"), "{error}");
    let rescue = RescueOptions::with(iscsi(VolumeDisk::Lun(0), PASSWORD));
    let error = bench.pool.driver.rescue(bench.which.clone(), rescue).await.unwrap_err().to_string();
    assert!(error.contains("the image is a volume"), "{error}");
    assert_eq!(made_since(&bench).await?, [""; 0]);
    Ok(())
}

/// Running and halted; and back in its place whatever fails.
#[tokio::test]
async fn another_volume_in_the_place_of_one() -> Result<()> {
    let bench = bench().await?;
    let client = bench.pool.client();
    let ext = client.by_name_label::<Sr>(EXT).await?;
    let sr: Uuid = client.get_field(&ext, sr::field::UUID).await?.parse()?;
    let (_, first) = new_disk(&bench, &ext, 8 * MIB).await?;
    let content: Vec<u8> = (0..8 * MIB).map(|at| (at % 251) as u8).collect();
    bench.pool.write(&first.to_string(), 0, &content).await?;
    let volume = |id: &str, disk: Uuid| Volume {
        id: Some(id.to_owned()),
        ..Volume::new(Storage::Repository(sr), VolumeDisk::Uuid(disk))
    };
    attach(&bench, volume("old", first)).await?;
    let before = made_since(&bench).await?;
    let swap = |name: &str, new: Volume| {
        bench.pool.driver.swap_volume(bench.which.clone(), name, new, Progress::none())
    };
    let new = || Volume { id: Some("new".into()), ..iscsi(VolumeDisk::Lun(0), PASSWORD) };
    let refusal = Fault::Failure(Failure::new("INTERNAL_ERROR", ["a fault of the test"]));
    for (method, k) in
        [("PBD.plug", 1), ("VBD.unplug", 1), ("VDI.copy", 1), ("VBD.create", 1), ("VBD.plug", 1)]
    {
        bench.pool.simulator.faults().on_nth(method, k, refusal.clone());
        let error = swap("old", new()).await.unwrap_err();
        assert_eq!(bench.pool.simulator.faults().clear(), 0, "{method}");
        assert!(error.leftovers().is_empty(), "{method}: {error}");
        assert_eq!(made_since(&bench).await?, before, "{method}");
        let listed = bench.pool.driver.volumes(&bench.which).await?;
        assert!(
            matches!(&listed[..], [v] if v.id == "old" && v.device == "4" && v.plugged),
            "{method}: {listed:?}"
        );
    }
    let swapped = swap("old", new()).await?;
    assert_eq!((&*swapped.id, &*swapped.device, swapped.plugged), ("new", "4", true));
    assert_eq!(bench.pool.driver.volumes(&bench.which).await?, [swapped]);
    let (_, small) = new_disk(&bench, &ext, 8 * MIB).await?;
    let error = swap("new", volume("small", small)).await.unwrap_err();
    assert!(matches!(error.cause(), Cause::Shrink { .. }), "{error}");
    let error = swap("new", iscsi(VolumeDisk::Lun(0), PASSWORD)).await.unwrap_err();
    assert!(matches!(error.cause(), Cause::DiskInUse { .. }), "{error}");

    // Another program is busy with it: what that has set aside stays aside.
    let vdi = client.by_uuid::<Vdi>(&bench.pool.driver.volumes(&bench.which).await?[0].vdi_uuid).await?;
    let drive = client.get_field(&vdi, vdi::field::VBDS).await?.remove(0);
    let note = format!("{}/4", Uuid::now_v7());
    client.add_to(&drive, vbd::field::OTHER_CONFIG, "xenapi-rs:swapped", &note).await?;
    client.call(vbd::Unplug { vbd: drive.clone() }).await?;
    let error = swap("new", volume("small", small)).await.unwrap_err();
    assert!(error.to_string().contains("exchanged already") && error.leftovers().is_empty(), "{error}");
    let kept = client.record(&drive).await?;
    assert!(!kept.currently_attached && kept.other_config["xenapi-rs:swapped"] == note, "{kept:?}");
    client.remove_from(&drive, vbd::field::OTHER_CONFIG, "xenapi-rs:swapped").await?;
    client.call(vbd::Plug { vbd: drive }).await?;

    bench.power(PowerChange::Off(Shutdown::Hard)).await?;
    let (_, last) = new_disk(&bench, &ext, 32 * MIB).await?;
    // As block storage services do it: the volume keeps its id.
    assert!(!swap("new", volume("new", last)).await?.plugged);
    // Nobody uses the target any more.
    assert!(client.by_uuid_opt::<Sr>(&xenapi_storage_uuid()).await?.is_none());
    detach(&bench, "new").await?;
    // From volume to volume, what was on the first is on the last.
    assert!(bench.pool.content(&last.to_string()).await?.starts_with(&content));
    Ok(())
}

#[tokio::test]
async fn a_lun_that_has_grown() -> Result<()> {
    let bench = bench().await?;
    attach(&bench, iscsi(VolumeDisk::Lun(0), PASSWORD)).await?;
    bench.pool.simulator.targets().resize_lun(0, 64 * MIB);
    let extended =
        bench.pool.driver.extend_volume(bench.which.clone(), "vol-1", None, Progress::none()).await?;
    assert_eq!(extended.virtual_bytes, 64 * MIB);
    Ok(())
}

/// What is there already is what is asked for, or the difference is told; and what serves others is no volume.
#[tokio::test]
async fn what_cannot_be_had_so_is_told() -> Result<()> {
    let bench = bench().await?;
    let client = bench.pool.client();
    let attach_as = async |volume: Volume, options: AttachOptions| {
        bench.pool.driver.attach_volume(bench.which.clone(), volume, options).await
    };
    let ext = client.by_name_label::<Sr>(EXT).await?;
    let sr: Uuid = client.get_field(&ext, sr::field::UUID).await?.parse()?;
    let of_the_pool = |disk| Volume::new(Storage::Repository(sr), VolumeDisk::Uuid(disk));
    let (_, uuid) = new_disk(&bench, &ext, MIB).await?;
    attach(&bench, of_the_pool(uuid)).await?;
    let before = made_since(&bench).await?;
    for options in [
        AttachOptions { read_only: true, ..AttachOptions::default() },
        AttachOptions { device: Some("9".parse()?), ..AttachOptions::default() },
    ] {
        let error = attach_as(of_the_pool(uuid), options).await.unwrap_err();
        assert!(matches!(error.cause(), Cause::AttachedOtherwise { .. }), "{error}");
    }
    let root = client.by_name_label::<Vdi>("web1").await?;
    let root: Uuid = client.get_field(&root, vdi::field::UUID).await?.parse()?;
    let error = attach(&bench, of_the_pool(root)).await.unwrap_err();
    assert!(matches!(error.cause(), Cause::OwnDisk { .. }), "{error}");
    // What Nova's driver has cached: of it instances are made, and a copy of it is served as the image, too.
    let (image, uuid) = new_disk(&bench, &ext, 8 * MIB).await?;
    client.add_to(&image, vdi::field::OTHER_CONFIG, "image-id", "cirros").await?;
    let error = attach(&bench, of_the_pool(uuid)).await.unwrap_err();
    assert!(matches!(error.cause(), Cause::NoVolume { .. }), "{error}");
    client.call(vdi::Destroy { vdi: image }).await?;
    assert_eq!(made_since(&bench).await?, before);
    Ok(())
}

/// A detachment that broke off leaves a connection with the password of that time.
#[tokio::test]
async fn the_password_of_today_is_used() -> Result<()> {
    let bench = bench().await?;
    attach(&bench, iscsi(VolumeDisk::Lun(0), PASSWORD)).await?;
    let refusal = Failure::new("INTERNAL_ERROR", ["a fault of the test"]);
    bench.pool.simulator.faults().on("SR.forget", Fault::Failure(refusal));
    detach(&bench, "vol-1").await.unwrap_err();
    let targets = bench.pool.simulator.targets();
    targets.add(Target::iscsi(PORTAL, IQN, [(0, 32 * MIB), (1, 16 * MIB)]).login("user", "battery-staple"));
    assert!(attach(&bench, iscsi(VolumeDisk::Lun(0), "battery-staple")).await?.plugged);
    detach(&bench, "vol-1").await?;
    assert_eq!(made_since(&bench).await?, [""; 0]);
    Ok(())
}

/// A host that is dead keeps nobody from detaching, and takes no connection from another one.
#[tokio::test]
async fn a_connection_of_a_dead_host() -> Result<()> {
    let own = Bench::of(World::demo().with_all_drivers().with_hosts(2)).await?;
    own.simulator.targets().add(Target::iscsi(PORTAL, IQN, [(0, 32 * MIB)]).login("user", PASSWORD));
    let spec = InstanceSpec { node: Some(own.nodes().await?[0].uuid.parse()?), ..own.spec() };
    let bench = own.start(spec).await?;
    let client = bench.pool.client();
    let attached = attach(&bench, iscsi(VolumeDisk::Lun(0), PASSWORD)).await?;
    let sr = client.by_uuid::<Sr>(&attached.sr_uuid).await?;
    let record = client.record(&sr).await?;
    let connection = client.record(&record.pbds[0]).await?;
    let other = client.all_records::<Host>().await?.into_keys().find(|host| *host != connection.host);
    let other = other.expect("two hosts");
    let device_config = connection.device_config.clone();
    let call =
        pbd::Create { host: other.clone(), sr: sr.clone(), device_config, other_config: BTreeMap::new() };
    let second = client.call(call).await?;
    client.call(pbd::Plug { pbd: second.clone() }).await?;
    let metrics = client.get_field(&other, host::field::METRICS).await?;
    let core = bench.pool.simulator.core();
    core.db().write(|tx| tx.set("host_metrics", &metrics.to_string(), "live", false)).expect("its metrics");
    let offline = Failure::new("HOST_OFFLINE", ["OpaqueRef:host"]);
    bench.pool.simulator.faults().on_nth("PBD.unplug", 2, Fault::Failure(offline));
    detach(&bench, "vol-1").await?;
    assert_eq!(bench.pool.simulator.faults().clear(), 0);
    assert_eq!(bench.pool.driver.volumes(&bench.which).await?, []);
    for pbd in client.record(&sr).await?.pbds {
        assert!(client.record(&pbd).await?.currently_attached, "both are as they were");
    }
    // As long as the host is dead the repository stays, and that is told.
    let reconcile = || {
        let options = ReconcileOptions { older_than: Duration::ZERO, ..ReconcileOptions::default() };
        bench.pool.driver.reconcile(options)
    };
    let offline = Failure::new("HOST_OFFLINE", ["OpaqueRef:host"]);
    bench.pool.simulator.faults().on_nth("PBD.unplug", 2, Fault::Failure(offline));
    let result = reconcile().await?;
    assert_eq!((result.done, result.leftovers.len()), (vec![], 1));
    let (told, name) = (result.leftovers[0].to_string(), client.record(&other).await?.name_label);
    let told_of = |what: &str| assert!(told.contains(what), "{told}");
    [&attached.sr_uuid, &format!("host {name:?}"), "bring it back"].into_iter().for_each(told_of);
    // Somebody takes the disk at the last moment: there is nothing to be told.
    bench.pool.simulator.faults().on("PBD.unplug", Fault::Stuck);
    let mut struck = bench.pool.simulator.faults().struck();
    struck.mark_unchanged();
    let vdi = client.record(&sr).await?.vdis[0].clone();
    let somebody = async {
        struck.changed().await?;
        let call = vbd::Create {
            vm: bench.vm.clone(),
            vdi,
            userdevice: "7".to_owned(),
            mode: VbdMode::Rw,
            r#type: VbdType::Disk,
            ..vbd::Create::default()
        };
        let drive = client.call(call).await?;
        bench.pool.simulator.faults().clear();
        anyhow::Ok(drive)
    };
    let (result, drive) = tokio::join!(reconcile(), somebody);
    let result = result?;
    assert_eq!((result.done, result.leftovers.len()), (vec![], 0));
    client.destroy(&drive?).await?;
    assert_eq!(reconcile().await?.done.len(), 1);
    assert!(client.by_uuid_opt::<Sr>(&attached.sr_uuid).await?.is_none(), "nobody needs it");
    Ok(())
}

#[tokio::test]
async fn an_unplugged_connection_is_plugged_again() -> Result<()> {
    let bench = bench().await?;
    let client = bench.pool.client();
    let lvm = client.by_name_label::<Sr>(LVM).await?;
    let (_, disk) = new_disk(&bench, &lvm, 8 * MIB).await?;
    let sr = client.record(&lvm).await?;
    client.call(pbd::Unplug { pbd: sr.pbds[0].clone() }).await?;
    let volume = Volume::new(Storage::Repository(sr.uuid.parse()?), VolumeDisk::Uuid(disk));
    assert!(attach(&bench, volume).await?.plugged);
    assert!(client.record::<Pbd>(&sr.pbds[0]).await?.currently_attached);
    Ok(())
}

/// What attaching a volume asks of the host.
const CALLS: &[(&str, usize)] = &[
    ("SR.get_by_uuid", 1),
    ("SR.introduce", 1),
    ("secret.create", 1),
    ("secret.get_uuid", 1),
    ("PBD.create", 1),
    ("PBD.plug", 1),
    ("SR.get_record", 2),
    ("VDI.get_all_records_where", 1),
    ("VDI.introduce", 1),
    ("VM.get_allowed_VBD_devices", 1),
    ("VBD.create", 1),
    ("VBD.plug", 1),
];

#[tokio::test]
async fn a_fault_at_every_call_of_an_attachment_leaves_nothing() -> Result<()> {
    let bench = bench().await?;
    let refusal = Fault::Failure(Failure::new("INTERNAL_ERROR", ["a fault of the test"]));
    for &(method, count) in CALLS {
        for k in 1..=count {
            for fault in [&refusal, &Fault::DropAfterExecution] {
                let faults = bench.pool.simulator.faults();
                faults.on_nth(method, k, fault.clone());
                let result = attach(&bench, iscsi(VolumeDisk::Lun(0), PASSWORD)).await;
                assert_eq!(faults.clear(), 0, "{method} was called less than {k} times");
                match result {
                    Ok(_) if *fault == Fault::DropAfterExecution => drop(detach(&bench, "vol-1").await?),
                    Ok(_) => panic!("{method} {k} does not matter"),
                    Err(error) => assert!(error.leftovers().is_empty(), "{method} {k} {fault:?}: {error}"),
                }
                if *fault == Fault::DropAfterExecution {
                    bench.pool.remove_forgotten_tasks().await?;
                }
                assert_eq!(made_since(&bench).await?, [""; 0], "{method} {k} {fault:?}");
            }
        }
    }
    Ok(())
}

/// What fails with one LUN of a target leaves the others, however the target is reached.
#[tokio::test]
async fn a_lun_that_fails_leaves_the_others() -> Result<()> {
    let bench = bench().await?;
    let six = "2001:db8::1";
    bench.pool.simulator.targets().add(Target::iscsi(six, IQN, [(0, 32 * MIB), (1, 16 * MIB)]));
    let lun = |portal: &str, number: u32| -> Result<Volume> {
        let storage = Storage::Iscsi(Iscsi { portal: portal.parse()?, iqn: IQN.into(), chap: None });
        Ok(Volume { id: Some(format!("lun-{number}")), ..Volume::new(storage, VolumeDisk::Lun(number)) })
    };
    let first = attach(&bench, lun("[2001:db8::1]:3260", 0)?).await?;
    let made = made_since(&bench).await?;
    let refusal = Fault::Failure(Failure::new("INTERNAL_ERROR", ["a fault of the test"]));
    for method in ["SR.get_record", "VDI.introduce", "VBD.create", "VBD.plug"] {
        bench.pool.simulator.faults().on(method, refusal.clone());
        let error = attach(&bench, lun(six, 1)?).await.expect_err(method);
        assert_eq!(bench.pool.simulator.faults().clear(), 0, "{method}");
        assert!(error.leftovers().is_empty(), "{method}: {error}");
        assert_eq!(made_since(&bench).await?, made, "{method}");
        assert_eq!(bench.pool.driver.volumes(&bench.which).await?, std::slice::from_ref(&first), "{method}");
    }
    let second = attach(&bench, lun(six, 1)?).await?;
    assert_eq!(second.sr_uuid, first.sr_uuid, "one target, however it is written");
    detach(&bench, "lun-0").await?;
    detach(&bench, "lun-1").await?;
    assert_eq!(made_since(&bench).await?, [""; 0]);
    Ok(())
}

/// Uuids of disks by their places.
async fn places(bench: &Running, instance: &Instance) -> Result<BTreeMap<String, String>> {
    let client = bench.pool.client();
    let vm = client.by_uuid::<Vm>(&instance.vm_uuid).await?;
    let mut places = BTreeMap::new();
    for vbd in client.record(&vm).await?.vbds {
        let vbd = client.record::<Vbd>(&vbd).await?;
        places.insert(vbd.userdevice, client.get_field(&vbd.vdi, vdi::field::UUID).await?);
    }
    Ok(places)
}

/// Disks of all kinds, with gaps between their places, of which some have two digits: through a rescue, and through a
/// resize and back, each stays what it is and where it is.
#[tokio::test]
async fn every_disk_stays_in_its_place() -> Result<()> {
    let bench = bench().await?;
    let (client, driver) = (bench.pool.client(), &bench.pool.driver);
    let ext = client.by_name_label::<Sr>(EXT).await?;
    let sr: Uuid = client.get_field(&ext, sr::field::UUID).await?.parse()?;
    let flavor = Flavor { swap_mib: 8, ephemeral_gib: 1, ..Flavor::new(1, 512, 0) };
    let root = Volume { id: Some("cinder-vol-1".into()), ..iscsi(VolumeDisk::Lun(0), PASSWORD) };
    let mut spec = InstanceSpec::new("web2", flavor, root);
    (spec.config_drive, spec.power) = (Some(ConfigDrive::default()), Power::Off);
    let mut wanted = Vec::new();
    for device in ["", "/dev/xvdh", "sdk", "xvdaa"] {
        let (_, disk) = new_disk(&bench, &ext, 8 * MIB).await?;
        let volume = Volume::new(Storage::Repository(sr), VolumeDisk::Uuid(disk));
        let device = Some(device).filter(|device| !device.is_empty()).map(str::parse).transpose()?;
        spec.volumes.push(Mount { device, ..volume.into() });
        wanted.push(disk.to_string());
    }
    let before = bench.pool.census().await?;
    let instance = driver.spawn(spec, SpawnOptions::default()).await?;
    let which = || Which::Instance(instance.uuid);
    let at = places(&bench, &instance).await?;
    // Of two digits after those of one, as texts are sorted.
    assert_eq!(at.keys().collect::<Vec<_>>(), ["0", "10", "2", "26", "3", "4", "5", "7"]);
    assert_eq!(["5", "7", "10", "26"].map(|place| at[place].clone()), wanted[..]);
    let ephemeral = vec![0x5a; 4096];
    bench.pool.write(&at["4"], 1 << 20, &ephemeral).await?;
    let volumes = driver.volumes(&which()).await?;
    assert_eq!(volumes[0].id, "cinder-vol-1");

    driver.rescue(which(), RescueOptions::with(&bench.image)).await?;
    let mut rescued = places(&bench, &instance).await?;
    assert_eq!(
        rescued.remove("1").as_ref(),
        Some(&at["0"]),
        "its own root disk, a volume, is beside the other"
    );
    assert_ne!(rescued.insert("0".to_owned(), at["0"].clone()).as_ref(), Some(&at["0"]));
    assert_eq!(rescued, at);
    let named = |volumes: &[AttachedVolume]| volumes.iter().map(|it| it.id.clone()).collect::<Vec<_>>();
    assert_eq!(named(&driver.volumes(&which()).await?), named(&volumes), "beside the rescue disk, too");
    driver.unrescue(which(), Progress::none()).await?;
    assert_eq!(places(&bench, &instance).await?, at);
    assert_eq!(driver.volumes(&which()).await?, volumes);

    let elsewhere = || ResizeOptions {
        flavor: Some(Flavor { swap_mib: 8, ephemeral_gib: 1, ..Flavor::new(2, 512, 0) }),
        sr: Some(SrChoice::NameLabel(LVM.into())),
        ..ResizeOptions::default()
    };
    assert_eq!(driver.resize(which(), elsewhere()).await?.replaced_disks, 3, "swap, config drive, ephemeral");
    driver.revert_resize(which(), Progress::none()).await?;
    assert_eq!(places(&bench, &instance).await?, at);
    driver.resize(which(), elsewhere()).await?;
    driver.confirm_resize(which(), Progress::none()).await?;
    let now = places(&bench, &instance).await?;
    assert_eq!(now.keys().collect::<Vec<_>>(), at.keys().collect::<Vec<_>>());
    let kept = now.iter().filter(|(place, uuid)| at[*place] == **uuid).map(|(place, _)| &**place);
    assert_eq!(kept.collect::<Vec<_>>(), ["0", "10", "26", "5", "7"], "the volumes");
    assert_eq!(bench.pool.content(&now["4"]).await?[1 << 20..][..4096], ephemeral);
    driver.destroy(which(), Progress::none()).await?;
    let mut changes = bench.pool.census().await?.changes_since(&before);
    changes.retain(|change| !change.contains("/disks/"));
    assert_eq!(changes, [""; 0], "but for what the LUN holds");
    Ok(())
}

/// Two at the same time on one target: the repository goes with the last.
#[tokio::test]
async fn attached_and_detached_at_the_same_time() -> Result<()> {
    let bench = bench().await?;
    for _ in 0..5 {
        let (first, second) = tokio::join!(
            attach(&bench, iscsi(VolumeDisk::Lun(0), PASSWORD)),
            attach(&bench, Volume { id: Some("vol-2".into()), ..iscsi(VolumeDisk::Lun(1), PASSWORD) }),
        );
        let (first, second) = (first?, second?);
        assert_ne!(first.device, second.device);
        let (first, second) = tokio::join!(detach(&bench, "vol-1"), detach(&bench, "vol-2"));
        first?;
        second?;
        assert_eq!(made_since(&bench).await?, [""; 0]);
    }
    Ok(())
}

/// A shared LUN, and a disk of the pool that may be shared: several have it, each lets go of it alone, and the repository
/// goes with the last of them.
#[tokio::test]
async fn several_instances_on_one_volume() -> Result<()> {
    let bench = bench().await?;
    let client = bench.pool.client();
    let second = InstanceSpec::new("web2", Flavor::new(1, 512, 0), &bench.image);
    let second = bench.pool.spawn(second).await?;
    let both = [bench.which.clone(), Which::Instance(second.uuid)];
    let before = bench.pool.census().await?;
    let attach = async |which: &Which, volume: Volume| {
        bench.pool.driver.attach_volume(which.clone(), volume, AttachOptions::default()).await
    };
    let detach = async |which: &Which, id: &str| {
        bench.pool.driver.detach_volume(which.clone(), id, Progress::none()).await
    };
    let all_made = async || {
        let mut made = bench.pool.census().await?.changes_since(&before);
        made.retain(|change| !change.contains("/disks/"));
        anyhow::Ok(made)
    };
    let local = client.by_name_label::<Sr>(EXT).await?;
    let sr: Uuid = client.get_field(&local, sr::field::UUID).await?.parse()?;
    let (alone, uuid) = new_disk(&bench, &local, MIB).await?;
    let call = vdi::Create {
        sr: local.clone(),
        virtual_size: MIB as i64,
        r#type: VdiType::User,
        sharable: true,
        ..vdi::Create::default()
    };
    let open = client.call(call).await?;
    let open_uuid = client.get_field(&open, vdi::field::UUID).await?.parse()?;
    let of_the_pool = |uuid| Volume {
        id: Some("vol-1".into()),
        ..Volume::new(Storage::Repository(sr), VolumeDisk::Uuid(uuid))
    };
    for (volume, may_be_shared) in [
        (Volume { shared: true, ..iscsi(VolumeDisk::Lun(0), PASSWORD) }, true),
        (iscsi(VolumeDisk::Lun(1), PASSWORD), false),
        (of_the_pool(uuid), false),
        (of_the_pool(open_uuid), true),
    ] {
        let first = attach(&both[0], volume.clone()).await?;
        let with_one = all_made().await?;
        let again = attach(&both[1], volume.clone()).await;
        if !may_be_shared {
            let error = again.unwrap_err();
            assert!(matches!(error.cause(), Cause::DiskInUse { .. }), "{error}");
            assert!(error.to_string().contains(&first.vdi_uuid), "{error}");
            assert_eq!(all_made().await?, with_one);
            detach(&both[0], "vol-1").await?;
            // Then it is the other's.
            attach(&both[1], volume).await?;
            detach(&both[1], "vol-1").await?;
            continue;
        }
        let other = again?;
        assert_eq!((&other.vdi_uuid, other.plugged, first.plugged), (&first.vdi_uuid, true, true));
        detach(&both[0], "vol-1").await?;
        assert_eq!(bench.pool.driver.volumes(&both[0]).await?, []);
        assert_eq!(bench.pool.driver.volumes(&both[1]).await?, std::slice::from_ref(&other));
        assert!(client.by_uuid_opt::<Sr>(&first.sr_uuid).await?.is_some(), "the other one needs it");
        detach(&both[1], "vol-1").await?;
        let is_left = client.by_uuid_opt::<Sr>(&first.sr_uuid).await?.is_some();
        assert_eq!(is_left, matches!(volume.storage, Storage::Repository(_)));
    }
    client.destroy(&alone).await?;
    client.destroy(&open).await?;
    assert_eq!(all_made().await?, [""; 0]);
    // One that is destroyed leaves it to the other.
    let shared = || Volume { shared: true, ..iscsi(VolumeDisk::Lun(0), PASSWORD) };
    attach(&both[0], shared()).await?;
    let kept = attach(&both[1], shared()).await?;
    bench.pool.driver.destroy(both[0].clone(), Progress::none()).await?;
    assert_eq!(bench.pool.driver.volumes(&both[1]).await?, std::slice::from_ref(&kept));
    bench.pool.driver.destroy(both[1].clone(), Progress::none()).await?;
    assert!(client.by_uuid_opt::<Sr>(&kept.sr_uuid).await?.is_none());
    assert_eq!(client.all::<xenapi_types::Secret>().await?, []);
    Ok(())
}

#[tokio::test]
async fn the_end_of_an_instance_frees_its_volumes() -> Result<()> {
    let bench = bench().await?;
    let attached = attach(&bench, iscsi(VolumeDisk::Lun(0), PASSWORD)).await?;
    let destroyed = bench.pool.driver.destroy(bench.which.clone(), Progress::none()).await?;
    assert_eq!(destroyed.kept_disk_uuids, std::slice::from_ref(&attached.vdi_uuid));
    let client = bench.pool.client();
    assert!(client.by_uuid_opt::<Sr>(&attached.sr_uuid).await?.is_none());
    assert_eq!(client.all::<xenapi_types::Secret>().await?, []);
    assert!(client.record_opt(&bench.vm).await?.is_none());
    assert!(client.all::<Vbd>().await?.is_empty());
    Ok(())
}

/// Whoever destroys an instance without its VM does not know of its volumes any more: reconciling does.
#[tokio::test]
async fn the_volumes_of_a_vm_that_somebody_removed() -> Result<()> {
    let bench = bench().await?;
    let (client, driver) = (bench.pool.client(), &bench.pool.driver);
    let attached = attach(&bench, iscsi(VolumeDisk::Lun(0), PASSWORD)).await?;
    bench.off().await?;
    client.call(vm::Destroy { vm: bench.vm.clone() }).await?;
    let destroyed = driver.destroy(bench.which.clone(), Progress::none()).await?;
    assert_eq!((destroyed.vm_uuid, destroyed.disk_uuids), (None, vec![bench.instance.root_uuid.clone()]));
    assert!(client.by_uuid_opt::<Sr>(&attached.sr_uuid).await?.is_some(), "else there is nothing to find");

    let now = || ReconcileOptions { older_than: Duration::ZERO, ..ReconcileOptions::default() };
    let found = driver.reconcile(now()).await?;
    assert!(found.leftovers.is_empty(), "{found:?}");
    let forgotten =
        |finding: &Finding| finding.kind == Kind::UnusedRepository && finding.uuid == attached.sr_uuid;
    assert!(found.done.iter().any(forgotten), "{found:?}");
    assert!(client.by_uuid_opt::<Sr>(&attached.sr_uuid).await?.is_none());
    let count = |class: &str| bench.before.objects[class].len();
    assert_eq!(client.all::<Pbd>().await?.len(), count("PBD"));
    assert_eq!(client.all::<xenapi_types::Secret>().await?, []);
    assert_eq!(driver.reconcile(now()).await?.done, []);
    Ok(())
}

#[tokio::test]
async fn what_a_block_storage_service_asks_for() -> Result<()> {
    let bench = bench().await?;
    let node = bench.pool.driver.nodes().await?.remove(0);
    let connector = bench.pool.driver.connector(node.uuid.parse()?).await?;
    assert_eq!(connector.ip, node.address);
    assert!(!connector.host.is_empty());
    assert!(connector.initiator.is_some_and(|iqn| iqn.starts_with("iqn.")));
    Ok(())
}
