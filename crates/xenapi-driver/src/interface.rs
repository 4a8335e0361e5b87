//! Network interfaces of instances that are there already.

use std::collections::BTreeMap;

use config_drive::MacAddr;
use uuid::Uuid;
use xenapi_client::ErrorKind;
use xenapi_storage::ownership::{self, Ownership};
use xenapi_types::{Network, Ref, Vif, VifLockingMode, VifRecord, Vm, VmRecord, vif, vm};

use crate::cancel::Stop;
use crate::drive::PORT;
use crate::driver::Driver;
use crate::error::{Cause, Error, Op};
use crate::find::{self, Which, plugs};
use crate::half::{self, Device};
use crate::held::{Held, tolerated};
use crate::inventory;
use crate::job::{self, Job};
use crate::licence::{self, Feature};
use crate::mac;
use crate::operation::Operation;
use crate::plan::{self, Conflict, Conflicts, NicPlan};
use crate::ports::{self, Ports};
use crate::progress::{Progress, Stage};
use crate::record;
use crate::remove::{gone_is_fine, went_down};
use crate::spec::{Locking, MacChoice, Nic};

/// An interface of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Interface {
    /// Uuid of the VIF.
    pub uuid: String,
    /// Its number in the VM; guests see interfaces in this order.
    pub device: u32,
    /// Its address.
    pub mac: String,
    /// Uuid of the network.
    pub network_uuid: String,
    /// Its MTU in bytes.
    pub mtu: i64,
    /// What the virtual switch lets through.
    pub locking_mode: VifLockingMode,
    /// The IPv4 addresses that it may use when it is locked.
    pub ipv4_allowed: Vec<String>,
    /// The IPv6 addresses that it may use when it is locked.
    pub ipv6_allowed: Vec<String>,
    /// Whether the guest has it now.
    pub plugged: bool,
    /// `other_config`, with what its creator wrote there.
    pub other_config: BTreeMap<String, String>,
}

impl Driver {
    /// Gives an instance, running or halted, an interface, at the first free number. When it fails or is
    /// cancelled, the interface is removed again.
    ///
    /// # Errors
    ///
    /// [`Cause::Conflicts`] for a network that is unknown and an address that is taken;
    /// [`Cause::WrongState`] for an instance that is paused or suspended; [`Cause::DeviceInUse`] when it has
    /// no room for another interface; [`Cause::NoAnswer`] when it is not plugged within
    /// [`Settings::detach_timeout`](crate::Settings::detach_timeout); [`Cause::NoSuchInstance`],
    /// [`Cause::NotOurs`], [`Cause::Host`].
    pub fn attach_interface(&self, which: Which, nic: Nic, progress: Progress) -> Operation<Interface> {
        let object = format!("instance {which}");
        self.verb(Op::AttachInterface, object, progress, move |job, stop| {
            Box::pin(async move {
                let (_gate, vm, record) = find::ours_in_turn(job, &which, stop).await?;
                let plan = job.stage(Stage::Plan, decide(job, &vm, &record, &nic)).await?;
                job.would(|| {
                    let NicPlan { device, mac, network, .. } = &plan;
                    vec![format!(
                        "attach interface {device}, {mac}, on network {:?} to VM {}",
                        network.name, record.uuid
                    )]
                })?;
                job.stage(Stage::Devices, attach(job, &vm, &record, &plan, stop)).await
            })
        })
    }

    /// Takes an interface from an instance. `interface` is its address, its number, its VIF's uuid, or the
    /// port it was made for (`other_config:neutron-port-id`). It can be cancelled before the guest is asked
    /// to let go of it; from then on it goes on to its end. One that has found the interface succeeds
    /// although somebody else takes it away at the same time.
    ///
    /// # Errors
    ///
    /// [`Cause::NoSuchInterface`]; [`Cause::NoAnswer`] when the guest or the host does not let go of it in
    /// time: it may do so later, and the same call can be made again; else as [`Driver::attach_interface`].
    pub fn detach_interface(
        &self,
        which: Which,
        interface: impl Into<String>,
        progress: Progress,
    ) -> Operation<Interface> {
        let (object, interface) = (format!("instance {which}"), interface.into());
        self.verb(Op::DetachInterface, object, progress, move |job, stop| {
            Box::pin(async move {
                let (reference, found, vm) = job.stage(Stage::Find, named(job, &which, &interface)).await?;
                job.would(|| vec![format!("detach interface {} from VM {}", found.mac, vm.uuid)])?;
                let detaching = async {
                    let plugs = plugs(&vm)?;
                    stop.check()?;
                    let doing = format!("detaching interface {} from VM {}", found.mac, vm.uuid);
                    remove(job, (&reference, &vm), plugs && found.plugged, doing).await
                };
                job.stage(Stage::Devices, detaching).await?;
                Ok(Interface { plugged: false, ..found })
            })
        })
    }

    /// Says anew what an interface may send and receive. At no moment is more allowed than either before or
    /// after; when it fails, it is as before. It can be cancelled before it begins.
    ///
    /// # Errors
    ///
    /// As [`Driver::detach_interface`].
    pub fn lock_interface(
        &self,
        which: Which,
        interface: impl Into<String>,
        locking: Locking,
        progress: Progress,
    ) -> Operation<Interface> {
        let (object, interface) = (format!("instance {which}"), interface.into());
        self.verb(Op::Interfaces, object, progress, move |job, stop| {
            Box::pin(async move {
                let (reference, found, _) = job.stage(Stage::Find, named(job, &which, &interface)).await?;
                job.stage(Stage::Plan, check_locking(job, &locking)).await?;
                job.would(|| {
                    let (mode, v4, v6) = record::locking(&locking);
                    let addresses = v4.into_iter().chain(v6).collect::<Vec<_>>().join(", ");
                    vec![format!("set interface {} to {mode}, with the addresses: {addresses}", found.mac)]
                })?;
                job.stage(Stage::Devices, lock(job, &reference, &found, &locking, stop)).await
            })
        })
    }

    /// The interfaces of an instance, in the order of their numbers.
    ///
    /// # Errors
    ///
    /// [`Cause::NoSuchInstance`], [`Cause::NotOurs`], [`Cause::Host`].
    pub async fn interfaces(&self, which: &Which) -> crate::Result<Vec<Interface>> {
        let job = Job::new(self.clone(), Progress::none());
        let listed = async {
            let record = find::known(&job, which).await?;
            let found = all(&job, &record).await?;
            Ok(found.into_iter().map(|(_, interface)| interface).collect())
        };
        listed.await.map_err(|cause: Cause| {
            Error::new(Op::Interfaces, format!("instance {which}"), Stage::Find, cause)
        })
    }
}

/// Editions may lack it; what is open needs none.
async fn check_locking(job: &Job, locking: &Locking) -> Result<(), Cause> {
    match record::locking(locking).0 {
        VifLockingMode::NetworkDefault | VifLockingMode::Unlocked => Ok(()),
        _ => licence::check(job, &[Feature::VifLocking]).await,
    }
}

/// What is to be made, or why it cannot be.
async fn decide(job: &Job, vm: &Ref<Vm>, record: &VmRecord, nic: &Nic) -> Result<NicPlan, Cause> {
    plugs(record)?;
    plan::check_nic(nic)?;
    check_locking(job, &nic.locking).await?;
    if nic.limit_kbytes.is_some() {
        licence::check(job, &[Feature::Qos]).await?;
    }
    let client = job.client();
    let doing = || Cause::host(format!("looking for a place for an interface in VM {}", record.uuid));
    let network = plan::choose_network(&inventory::read_networks(client).await?, &nic.network)
        .map_err(Conflicts::from)?
        .clone();
    ports::free(job, nic.other_config.get(PORT)).await?;
    let functions = inventory::devices::functions(client).await;
    let functions = functions.map_err(Cause::host("reading which networks are parts of network cards"))?;
    if functions.keys().any(|(divided, _)| *divided == network.reference) {
        licence::check(job, &[Feature::NetworkSriov]).await?;
    }
    if let Some(node) =
        inventory::read_nodes(&job.driver).await?.iter().find(|n| n.reference == record.resident_on)
    {
        ports::able(job, node).await?;
        let mut found = Vec::new();
        plan::devices::functions_free([&network].into_iter(), &functions, node, &mut found);
        if !found.is_empty() {
            return Err(Conflicts::new(found).into());
        }
    }
    let taken = inventory::macs_taken(client, std::slice::from_ref(nic)).await.map_err(doing())?;
    if let (MacChoice::Given(mac), Some((_, vm))) = (nic.mac, taken.into_iter().next()) {
        return Err(Conflicts::from(Conflict::MacInUse { mac, vm }).into());
    }
    let allowed = client.call(vm::GetAllowedVifDevices { vm: vm.clone() }).await.map_err(doing())?;
    let present = all(job, record).await?;
    let device = allowed
        .iter()
        .filter_map(|device| device.parse::<u32>().ok())
        .filter(|device| present.iter().all(|(_, interface)| interface.device != *device))
        .min()
        .ok_or_else(|| Cause::DeviceInUse { device: "every".to_owned(), vm: record.uuid.clone() })?
        as usize;
    let owner = job.driver.settings().owner.clone();
    let instance = find::made_for(&record.other_config, &record.uuid, &owner).unwrap_or_default();
    let mut other_config = nic.other_config.clone();
    other_config.extend(Ownership { owner, instance, operation: job.operation }.keys());
    let macs: Vec<MacAddr> = present.iter().filter_map(|(_, i)| i.mac.parse().ok()).collect();
    Ok(NicPlan {
        device,
        mac: mac::choose(nic.mac, instance, device, &macs),
        locking: nic.locking.clone(),
        mtu: nic.mtu.map_or(network.mtu, i64::from),
        limit_kbytes: nic.limit_kbytes,
        other_config,
        network,
    })
}

async fn attach(
    job: &Job,
    vm: &Ref<Vm>,
    record: &VmRecord,
    plan: &NicPlan,
    stop: &Stop,
) -> Result<Interface, Cause> {
    let client = job.client();
    let attaching = || format!("attaching interface {} to network {:?}", plan.mac, plan.network.name);
    let doing = || Cause::host(attaching());
    stop.check()?;
    let (undo, of, operation) = (job.driver.clone(), vm.clone(), job.operation);
    job.rollback.push_sweep(format!("interface {} of VM {}", plan.mac, record.uuid), async move {
        sweep(&undo, &of, operation).await
    });
    let mut call = record::vif(plan, vm);
    half::mark(&mut call.other_config, job.operation);
    let reference = client.call(call).await.map_err(doing())?;
    // Two at the same moment both give way: the last one has seen the other.
    if let Some(vm) = inventory::mac_taken(client, plan.mac, Some(&reference)).await.map_err(doing())? {
        return Err(Conflicts::from(Conflict::MacInUse { mac: plan.mac, vm }).into());
    }
    plug(job, vm, &reference, plan, stop).await.map_err(Held::while_doing(attaching()))?;
    let made = client.record(&reference).await.map_err(doing())?;
    if made.currently_attached {
        let ports = Ports::for_one(&job.driver, &made, &record.resident_on).await?;
        ports.remember(job);
        ports.up(stop).await?;
    }
    Device::Interface(&reference).complete(client).await.map_err(doing())?;
    Ok(shown(made, plan.network.uuid.clone()))
}

/// Plugs an interface if its guest runs, which is asked now that it is there: a guest that starts later has
/// it from its start.
async fn plug(job: &Job, vm: &Ref<Vm>, vif: &Ref<Vif>, plan: &NicPlan, stop: &Stop) -> Result<(), Held> {
    if !plugs(&job.client().record(vm).await?)? {
        return Ok(());
    }
    stop.check().map_err(Cause::from)?;
    let plugging = format!("plugging interface {} (VIF {vif})", plan.mac);
    let patience = job.driver.settings().detach_timeout;
    let plugged = job.within(vif::Plug { vif: vif.clone() }, plugging, patience, stop).await;
    went_down(job.client(), vm, tolerated(plugged.map_err(Held::from), &["DEVICE_ALREADY_ATTACHED"])).await
}

/// Removes the interfaces of a VM that an operation made.
async fn sweep(driver: &Driver, vm: &Ref<Vm>, operation: Uuid) -> Result<(), Held> {
    let client = driver.client();
    let Some(vm) = client.record_opt(vm).await? else { return Ok(()) };
    for reference in &vm.vifs {
        let Some(vif) = client.record_opt(reference).await? else { continue };
        if vif.other_config.get(ownership::OPERATION).is_some_and(|made| *made == operation.to_string()) {
            // What is given up may end well later: its mark tells what it is.
            let_go(driver, reference).await?;
        }
    }
    Ok(())
}

/// Unplugs an interface, if its guest has it, and removes it.
pub(crate) async fn let_go(driver: &Driver, vif: &Ref<Vif>) -> Result<(), Held> {
    unplug(driver, vif, &Stop::new()).await?;
    let gone = gone_is_fine(driver.client().destroy(vif).await);
    if !gone.as_ref().is_err_and(|error| error.is("OPERATION_NOT_ALLOWED")) {
        return Ok(gone?);
    }
    // Its guest was started in between, and has it.
    unplug(driver, vif, &Stop::new()).await?;
    Ok(gone_is_fine(driver.client().destroy(vif).await)?)
}

/// Unplugs an interface, for no longer than a host may take to let go of a disk.
async fn unplug(driver: &Driver, vif: &Ref<Vif>, stop: &Stop) -> Result<(), Held> {
    let Some(record) = driver.client().record_opt(vif).await? else { return Ok(()) };
    if !record.currently_attached {
        return Ok(());
    }
    let doing = format!("unplugging interface {} (VIF {})", record.mac, record.uuid);
    let patience = driver.settings().detach_timeout;
    let call = vif::Unplug { vif: vif.clone() };
    let unplugged = job::within(driver.client(), call, doing, patience, stop).await;
    tolerated(unplugged.map_err(Held::from), &["DEVICE_ALREADY_DETACHED", "VM_BAD_POWER_STATE"])
}

async fn remove(
    job: &Job,
    (vif, vm): (&Ref<Vif>, &VmRecord),
    plugged: bool,
    doing: String,
) -> Result<(), Cause> {
    let client = job.client();
    // Somebody else may have taken it away in between, or stopped the VM, which is what is wanted.
    let Some(record) = client.record_opt(vif).await.map_err(Cause::host(&*doing))? else { return Ok(()) };
    let half = Device::Interface(vif);
    gone_is_fine(half.begin(client, job.operation).await).map_err(Cause::host(&*doing))?;
    if plugged {
        let unplugged = unplug(&job.driver, vif, &Stop::new()).await;
        if let Err(why) = &unplugged {
            half.withdraw(client, job.operation, why).await;
        }
        unplugged.map_err(Held::while_doing(&*doing))?;
    }
    // As long as the interface is there, this can be tried again.
    Ports::for_one(&job.driver, &record, ports::home(vm)).await?.down().await?;
    gone_is_fine(client.destroy(vif).await).map_err(Cause::host(doing))
}

async fn lock(
    job: &Job,
    reference: &Ref<Vif>,
    found: &Interface,
    locking: &Locking,
    stop: &Stop,
) -> Result<Interface, Cause> {
    let (mode, ipv4, ipv6) = record::locking(locking);
    let doing = || Cause::host(format!("locking interface {}", found.mac));
    stop.check()?;
    let (client, undo, before) = (job.client().clone(), reference.clone(), found.clone());
    job.rollback.push(format!("locking of interface {}", found.mac), async move {
        set_locking(&client, &undo, &before.locking_mode, &before.ipv4_allowed, &before.ipv6_allowed).await
    });
    set_locking(job.client(), reference, &mode, &ipv4, &ipv6).await.map_err(doing())?;
    let record = job.client().record(reference).await.map_err(doing())?;
    Ok(shown(record, found.network_uuid.clone()))
}

/// Nothing is let through while addresses and mode do not fit each other.
async fn set_locking(
    client: &xenapi_client::Client,
    vif: &Ref<Vif>,
    mode: &VifLockingMode,
    ipv4: &[String],
    ipv6: &[String],
) -> xenapi_client::Result<()> {
    let set = |value: VifLockingMode| client.call(vif::SetLockingMode { vif: vif.clone(), value });
    set(VifLockingMode::Disabled).await?;
    client.call(vif::SetIpv4Allowed { vif: vif.clone(), value: ipv4.to_vec() }).await?;
    client.call(vif::SetIpv6Allowed { vif: vif.clone(), value: ipv6.to_vec() }).await?;
    if *mode == VifLockingMode::Disabled { Ok(()) } else { set(mode.clone()).await }
}

async fn named(job: &Job, which: &Which, name: &str) -> Result<(Ref<Vif>, Interface, VmRecord), Cause> {
    let (_, record) = find::ours(job, which).await?;
    let mut found = all(job, &record).await?;
    let fits = |(_, interface): &(Ref<Vif>, Interface)| {
        interface.mac.eq_ignore_ascii_case(name)
            || interface.uuid == name
            || interface.device.to_string() == name
            || interface.other_config.get("neutron-port-id").is_some_and(|port| port == name)
    };
    match found.iter().position(fits) {
        Some(at) => {
            let (reference, interface) = found.swap_remove(at);
            Ok((reference, interface, record))
        }
        None => Err(Cause::NoSuchInterface {
            wanted: name.to_owned(),
            vm: record.uuid,
            have: found.into_iter().map(|(_, interface)| interface.mac).collect(),
        }),
    }
}

async fn all(job: &Job, vm: &VmRecord) -> Result<Vec<(Ref<Vif>, Interface)>, Cause> {
    let read = async {
        let vifs =
            job.client().get_field(&job.client().by_uuid::<Vm>(&vm.uuid).await?, vm::field::VIFS).await?;
        let mut found = Vec::new();
        for reference in vifs {
            let Some(record) = job.client().record_opt(&reference).await? else { continue };
            let network: &Ref<Network> = &record.network;
            let network = match job.client().get_field(network, xenapi_types::network::field::UUID).await {
                Ok(uuid) => uuid,
                Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
                Err(error) => return Err(error),
            };
            found.push((reference, shown(record, network)));
        }
        found.sort_by_key(|(_, interface)| interface.device);
        Ok(found)
    };
    read.await.map_err(Cause::host(format!("reading the interfaces of VM {}", vm.uuid)))
}

fn shown(vif: VifRecord, network_uuid: String) -> Interface {
    Interface {
        uuid: vif.uuid,
        device: vif.device.parse().unwrap_or(u32::MAX),
        mac: vif.mac,
        network_uuid,
        mtu: vif.mtu,
        locking_mode: vif.locking_mode,
        ipv4_allowed: vif.ipv4_allowed,
        ipv6_allowed: vif.ipv6_allowed,
        plugged: vif.currently_attached,
        other_config: half::without(vif.other_config),
    }
}
