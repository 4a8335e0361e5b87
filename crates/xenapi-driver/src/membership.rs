//! Hosts that join the pool and leave it: Nova's aggregates of kind `hypervisor_pool`.
//!
//! It is done from outside, with XAPI's own calls and without a plugin, so that nothing has to run on the host that
//! restarts, and no password is written anywhere but into the call that XAPI has for it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use uuid::Uuid;
use xenapi_client::{Client, ErrorKind, Secret};
use xenapi_types::{Host, HostRecord, Pbd, Pool, PoolRecord, Ref, Sr, SrRecord, Vdi, Vm, VmPowerState, pool};

use crate::cancel::Stop;
use crate::driver::Driver;
use crate::error::{Cause, Op};
use crate::inventory::{self, Node};
use crate::job::Job;
use crate::licence;
use crate::operation::Operation;
use crate::progress::{Progress, Stage};

/// How a host joins.
#[derive(Debug, Clone)]
pub struct JoinOptions {
    /// The pool's administrator, as the joining host is to log in.
    pub user: String,
    /// Its password. It goes to the joining host over that host's own connection.
    pub password: Secret,
    /// The coordinator's address, as the joining host reaches it; that of its record when left out.
    pub address: Option<String>,
    /// XAPI overlooks that processors differ. Nova's `use_join_force`.
    pub force: bool,
    /// How long the host may take to be back as a member.
    pub patience: Duration,
    /// Who is told what happens.
    pub progress: Progress,
}

impl JoinOptions {
    /// Without force, and with ten minutes of patience.
    pub fn new(user: impl Into<String>, password: impl Into<Secret>) -> Self {
        Self {
            user: user.into(),
            password: password.into(),
            address: None,
            force: false,
            patience: Duration::from_secs(600),
            progress: Progress::none(),
        }
    }
}

/// How a host leaves.
#[derive(Debug, Clone, Default)]
pub struct EjectOptions {
    /// Disks on repositories that only this host has may be lost: **XAPI wipes them.**
    pub lose_local_disks: bool,
    /// Who is told what happens.
    pub progress: Progress,
}

impl Driver {
    /// Makes the only host of another endpoint a member of this driver's pool, and waits until it takes guests.
    ///
    /// Everything that XAPI would refuse later, and what can be told from here, is checked first and told at once.
    /// When the host is a member already, nothing is done. Its own endpoint sends clients to the coordinator from
    /// then on, and accepts the pool's passwords in place of its own: `newcomer` goes on working where both are
    /// the same, and is else to be closed.
    ///
    /// Cancelled before the host is asked to join, nothing is done; afterwards it waits no longer, and the host is a member:
    /// to undo that would wipe its disks, which only [`Driver::eject_node`] does. Call it again to wait for the host.
    ///
    /// # Errors
    ///
    /// [`Cause::Membership`] with all that is in the way, before anything is done; [`Cause::Host`] with XAPI's
    /// refusal, and when the host is not back in time: call it again to wait for longer.
    pub fn join_pool(&self, newcomer: &Self, options: JoinOptions) -> Operation<Node> {
        let (object, newcomer) = (format!("host {}", newcomer.endpoint()), newcomer.client().clone());
        let progress = options.progress.clone();
        self.verb(Op::JoinPool, object, progress, move |job, stop| {
            Box::pin(async move {
                let member = job.stage(Stage::Find, find_member(job, &newcomer)).await?;
                let uuid = match member {
                    Some(uuid) => {
                        job.would(|| vec![format!("wait until host {uuid} takes guests, if it does not")])?;
                        uuid
                    }
                    None => {
                        let (uuid, address) =
                            job.stage(Stage::Plan, plan_join(job, &newcomer, &options)).await?;
                        job.would(|| {
                            vec![
                                format!("have host {uuid} join the pool at {address}"),
                                "wait until it is back and takes guests".to_owned(),
                            ]
                        })?;
                        let joining = ask_to_join(job, &newcomer, &options, address, &uuid, stop);
                        job.stage(Stage::Membership, joining).await?;
                        uuid
                    }
                };
                job.stage(Stage::Membership, wait_for_member(job, &uuid, options.patience, stop)).await
            })
        })
    }

    /// Takes a host out of the pool. It reboots as a pool of its own, without guests, its local repositories wiped.
    /// When the pool has no such host (any more), nothing is done.
    ///
    /// # Errors
    ///
    /// [`Cause::Membership`] with all that is in the way, before anything is done: guests that are there, disks that
    /// would be lost, and that it is the coordinator; [`Cause::Host`] with XAPI's refusal.
    pub fn eject_node(&self, node: Uuid, options: EjectOptions) -> Operation<()> {
        let EjectOptions { lose_local_disks, progress } = options;
        self.verb(Op::EjectNode, format!("node {node}"), progress, move |job, stop| {
            Box::pin(async move {
                let found = job.stage(Stage::Plan, plan_eject(job, node, lose_local_disks)).await?;
                let Some((host, name)) = found else { return Ok(()) };
                job.would(|| vec![format!("eject host {name:?}: it reboots, its local repositories wiped")])?;
                let leaving = async {
                    stop.check()?;
                    let done = job.client().call(pool::Eject { host: host.clone() }).await;
                    match done {
                        Err(error) if error.kind() == ErrorKind::OutcomeUnknown => {
                            // The host's last words may be lost; the pool knows whether it is gone.
                            match job.client().record_opt::<Host>(&host).await {
                                Ok(None) => Ok(()),
                                _ => Err(error),
                            }
                        }
                        done => done,
                    }
                    .map_err(Cause::host(format!("ejecting host {name:?}")))
                };
                job.stage(Stage::Membership, leaving).await
            })
        })
    }
}

/// What is looked at of a pool that is to become a host of this one.
struct Endpoint {
    hosts: BTreeMap<Ref<Host>, HostRecord>,
    pool: PoolRecord,
}

impl Endpoint {
    async fn read(client: &Client, whose: &str) -> Result<Self, Cause> {
        let doing = || Cause::host(format!("reading {whose}"));
        let (hosts, pools) =
            tokio::try_join!(client.all_records::<Host>(), client.all_records::<Pool>()).map_err(doing())?;
        let pool = pools.into_values().next().ok_or(Cause::NoHost)?;
        Ok(Self { hosts: hosts.into_iter().collect(), pool })
    }

    fn coordinator(&self) -> Result<&HostRecord, Cause> {
        self.hosts.get(&self.pool.master).ok_or(Cause::NoHost)
    }
}

/// The newcomer's uuid, if it is in this pool already: it shows the same coordinator then.
async fn find_member(job: &Job, newcomer: &Client) -> Result<Option<String>, Cause> {
    let (ours, theirs) = tokio::try_join!(
        Endpoint::read(job.client(), "the pool"),
        Endpoint::read(newcomer, "the joining host")
    )?;
    if ours.pool.uuid != theirs.pool.uuid {
        return Ok(None);
    }
    // Which one was meant is known from where it is called.
    let endpoint = newcomer.endpoint();
    let called = endpoint.host().unwrap_or_default();
    let hosts = ours.hosts.values().filter(|host| host.uuid != ours.coordinator().map_or("", |c| &c.uuid));
    let called = hosts.clone().find(|host| is_called(called, [&host.address, &host.hostname]));
    let only = || hosts.clone().next().filter(|_| hosts.clone().count() == 1);
    match called.or_else(only) {
        Some(host) => Ok(Some(host.uuid.clone())),
        None => Err(Cause::Membership {
            host: newcomer.endpoint().to_string(),
            doing: "join the pool",
            reasons: vec![
                "it is this pool's coordinator, or a member that the address does not tell".to_owned(),
            ],
        }),
    }
}

/// Whether a host with these names is the one at an address or name.
fn is_called(called: &str, names: [&str; 2]) -> bool {
    let ip = |text: &str| text.parse::<IpAddr>().ok();
    let same =
        |name: &str| name.eq_ignore_ascii_case(called) || ip(called).is_some_and(|it| ip(name) == Some(it));
    !called.is_empty() && names.into_iter().any(same)
}

/// The newcomer's uuid, and the address that it is to join at.
async fn plan_join(job: &Job, newcomer: &Client, options: &JoinOptions) -> Result<(String, String), Cause> {
    let (ours, theirs) = tokio::try_join!(
        Endpoint::read(job.client(), "the pool"),
        Endpoint::read(newcomer, "the joining host")
    )?;
    let (coordinator, host) = (ours.coordinator()?, theirs.coordinator()?);
    let mut reasons = differences(coordinator, host, options.force);
    if theirs.hosts.len() > 1 {
        reasons.push(format!("its pool has {} hosts; eject the others first", theirs.hosts.len()));
    }
    for (whose, pool) in [("the pool's", &ours.pool), ("its", &theirs.pool)] {
        reasons.extend(licence::against_pooling(pool).map(|why| format!("{whose} {why}")));
    }
    if theirs.pool.ha_enabled {
        reasons.push("its pool has high availability; disable it first".to_owned());
    }
    reasons.extend(in_the_way(newcomer).await?);
    if !reasons.is_empty() {
        let host = host.name_label.clone();
        return Err(Cause::Membership { host, doing: "join the pool", reasons });
    }
    let address = options.address.clone().unwrap_or_else(|| coordinator.address.clone());
    Ok((host.uuid.clone(), address))
}

/// What hosts of a pool must have in common.
fn differences(coordinator: &HostRecord, host: &HostRecord, force: bool) -> Vec<String> {
    let mut reasons = Vec::new();
    let mut compare = |what: &str, ours: Option<&String>, theirs: Option<&String>, remedy: &str| {
        let (ours, theirs) = (ours.map_or("", |text| text), theirs.map_or("", |text| text));
        if ours != theirs {
            reasons.push(format!("its {what} is {theirs:?} and the pool's is {ours:?}; {remedy}"));
        }
    };
    let version = |host: &HostRecord| format!("{}.{}", host.api_version_major, host.api_version_minor);
    for key in ["product_version", "platform_version"] {
        let of = |host: &HostRecord| host.software_version.get(key).cloned();
        compare(key, of(coordinator).as_ref(), of(host).as_ref(), "update the older one");
    }
    compare("API version", Some(&version(coordinator)), Some(&version(host)), "update the older one");
    if !force {
        let of = |host: &HostRecord| host.cpu_info.get("vendor").cloned();
        let remedy = "use a host of the same make, or force it";
        compare("processor's vendor", of(coordinator).as_ref(), of(host).as_ref(), remedy);
    }
    reasons
}

/// Guests and repositories that a joining host must not have.
async fn in_the_way(newcomer: &Client) -> Result<Vec<String>, Cause> {
    let (vms, srs) = tokio::try_join!(newcomer.all_records::<Vm>(), newcomer.all_records::<Sr>())
        .map_err(Cause::host("reading the joining host's guests and repositories"))?;
    let mut reasons = Vec::new();
    for vm in vms.values().filter(|vm| !vm.is_control_domain && !vm.is_a_template) {
        if matches!(vm.power_state, VmPowerState::Running | VmPowerState::Paused) {
            reasons.push(format!("VM {:?} runs there; shut it down", vm.name_label));
        } else if !vm.current_operations.is_empty() {
            reasons.push(format!("something is being done to VM {:?}; wait for its end", vm.name_label));
        }
    }
    // The repository of the guest tools is everybody's.
    let shared = srs.values().filter(|sr| sr.shared && !sr.is_tools_sr && sr.content_type != "iso");
    reasons.extend(shared.map(|sr| format!("it has the shared SR {:?}; forget it there", sr.name_label)));
    reasons.sort();
    Ok(reasons)
}

async fn ask_to_join(
    job: &Job,
    newcomer: &Client,
    options: &JoinOptions,
    master_address: String,
    uuid: &str,
    stop: &Stop,
) -> Result<(), Cause> {
    stop.check()?;
    let (master_username, master_password) = (options.user.clone(), options.password.expose().to_owned());
    let asked = match options.force {
        true => newcomer.call(pool::JoinForce { master_address, master_username, master_password }).await,
        false => newcomer.call(pool::Join { master_address, master_username, master_password }).await,
    };
    match asked {
        // The host restarts, so that its answer may be lost; the pool knows whether it has joined.
        Err(error) if error.kind() == ErrorKind::OutcomeUnknown => {
            match job.client().by_uuid_opt::<Host>(uuid).await {
                Ok(Some(_)) => Ok(()),
                _ => Err(error),
            }
        }
        // XAPI logs in to the coordinator before it touches anything.
        Err(error) if error.kind() == ErrorKind::Credentials => {
            let user = &options.user;
            let reason = format!("the coordinator does not accept the password of {user:?}; give the pool's");
            let host = newcomer.endpoint().to_string();
            return Err(Cause::Membership { host, doing: "join the pool", reasons: vec![reason] });
        }
        asked => asked,
    }
    .map_err(Cause::host("having the host join the pool"))
}

async fn wait_for_member(job: &Job, uuid: &str, patience: Duration, stop: &Stop) -> Result<Node, Cause> {
    let doing = || Cause::host("waiting until the host is back as a member of the pool");
    let host = job.client().by_uuid::<Host>(uuid).await.map_err(doing())?;
    let enabled = job.client().wait_until(&host, patience, |host| host.enabled);
    stop.guard(enabled).await?.map_err(doing())?;
    let nodes = inventory::read_nodes(&job.driver).await?;
    nodes.into_iter().find(|node| node.reference == host).ok_or(Cause::NoHost)
}

/// The host and its name, unless it is not there.
async fn plan_eject(
    job: &Job,
    node: Uuid,
    lose_local_disks: bool,
) -> Result<Option<(Ref<Host>, String)>, Cause> {
    let client = job.client();
    let ours = Endpoint::read(client, "the pool").await?;
    let uuid = node.to_string();
    let Some((reference, host)) = ours.hosts.iter().find(|(_, host)| host.uuid == uuid) else {
        return Ok(None);
    };
    let mut reasons = Vec::new();
    if ours.pool.master == *reference {
        reasons.push(
            "it is the coordinator; have another host be that first (pool.designate_new_master)".into(),
        );
    }
    if ours.pool.ha_enabled {
        reasons.push("the pool has high availability; disable it first".to_owned());
    }
    let (vms, vdis) = tokio::try_join!(client.all_records::<Vm>(), client.all_records::<Vdi>())
        .map_err(Cause::host("reading the pool's guests and disks"))?;
    let here = vms.values().filter(|vm| vm.resident_on == *reference && !vm.is_control_domain);
    let mut guests: Vec<_> =
        here.map(|vm| format!("VM {:?} is there; drain the host", vm.name_label)).collect();
    guests.sort();
    reasons.extend(guests);
    let local = local_repositories(client, reference).await?;
    for (sr, record) in local.iter().filter(|_| !lose_local_disks) {
        let disks = vdis.values().filter(|vdi| vdi.sr == *sr && vdi.managed).count();
        if disks > 0 {
            let name = &record.name_label;
            reasons.push(format!(
                "{disks} disks of its SR {name:?} would be lost; move them, or say that they may"
            ));
        }
    }
    match reasons.is_empty() {
        true => Ok(Some((reference.clone(), host.name_label.clone()))),
        false => Err(Cause::Membership { host: host.name_label.clone(), doing: "leave the pool", reasons }),
    }
}

/// The repositories that no other host has.
async fn local_repositories(client: &Client, host: &Ref<Host>) -> Result<Vec<(Ref<Sr>, SrRecord)>, Cause> {
    let (srs, pbds) = tokio::try_join!(client.all_records::<Sr>(), client.all_records::<Pbd>())
        .map_err(Cause::host("reading the pool's repositories"))?;
    let of = |is_own: bool| -> BTreeSet<Ref<Sr>> {
        pbds.values().filter(|pbd| (pbd.host == *host) == is_own).map(|pbd| pbd.sr.clone()).collect()
    };
    let (own, others) = (of(true), of(false));
    let mut local: Vec<_> =
        srs.into_iter().filter(|(sr, _)| own.contains(sr) && !others.contains(sr)).collect();
    local.sort_by(|(_, a), (_, b)| (&a.name_label, &a.uuid).cmp(&(&b.name_label, &b.uuid)));
    Ok(local)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_called_by_its_whole_address_or_name() {
        for (called, address, hostname, expected) in [
            ("10.0.0.1", "10.0.0.1", "xen1", true),
            ("10.0.0.11", "10.0.0.1", "xen1", false),
            ("10.0.0.1", "10.0.0.11", "xen1", false),
            ("2001:db8::1", "2001:db8:0::0:1", "xen1", true),
            ("Xen1", "10.0.0.1", "xen1", true),
            ("xen11", "10.0.0.1", "xen1", false),
            ("", "", "", false),
        ] {
            assert_eq!(is_called(called, [address, hostname]), expected, "{called} {address} {hostname}");
        }
    }
}
