//! Work on a disk's partitions and files, done in dom0 by the plugin `dom0_protocol` of `xapi-plugins`,
//! while the disk is attached there. It is what Nova does on disks attached to its own VM; here the driver
//! may be anywhere.

use std::collections::BTreeSet;
use std::time::Duration;

use dom0_protocol::{
    AutoConfigureDisk, Call, CopyDisk, FailureKind, GenerateDisk, Inject, PLUGIN, Reply, Report, ResizeDown,
};
use tokio::sync::OwnedMutexGuard;
use xenapi_client::Client;
use xenapi_storage::ownership::{Claim, Ownership};
use xenapi_types::{
    Host, HostRecord, Pbd, Ref, Sr, Vbd, VbdMode, VbdRecord, VbdType, Vdi, VdiRecord, Vm, VmPowerState,
    VmRecord, vbd,
};

use crate::cancel::Stop;
use crate::compatibility;
use crate::driver::Driver;
use crate::error::{Cause, Op};
use crate::find;
use crate::held::Held;
use crate::inventory;
use crate::job::{Failed, Job};
use crate::operation::Operation;
use crate::plan::{Conflict, Conflicts};
use crate::progress::{Event, Progress, Stage};
use crate::volume::release;

/// A check of a large file system over a slow network takes hours, and the call lasts as long.
const WORK_LIMIT: Duration = Duration::from_secs(5 * 3_600);
/// How long until it is asked how far the work is, and between two times at most.
const FIRST_LOOK: Duration = Duration::from_millis(500);
const LAST_LOOK: Duration = Duration::from_secs(8);
/// Between two times that work is asked to end.
pub(crate) const END_PAUSE: Duration = Duration::from_millis(500);

/// What is to be done to a disk. The plugin checks first, and leaves the disk as it is when that fails.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DiskWork {
    /// Grow the only partition and its file system (ext2, ext3, ext4, xfs, btrfs) to the disk: Nova's
    /// `auto_disk_config`.
    AutoConfigure,
    /// Make the only partition and its file system (ext2, ext3, ext4) fit the first bytes of the disk, a
    /// multiple of 512, so that these can be copied to a smaller disk.
    ResizeDown {
        /// How many bytes.
        len_bytes: u64,
    },
    /// Give an empty disk one partition with a file system or swap space. **What is on it is lost.**
    Generate {
        /// `swap`, `ext2`, `ext3`, `ext4`, `xfs` or `vfat`.
        fs: String,
        /// The file system's label; may be empty.
        label: String,
    },
    /// Write into the root file system on the only partition: Nova's `flat_injected`.
    Inject(Injection),
}

/// What is written into a guest's file system. What is `None` or empty is left as it is.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Injection {
    /// Absolute paths, and contents in base64.
    pub files: Vec<(String, String)>,
    /// A line for root's `authorized_keys`.
    pub ssh_key: Option<String>,
    /// Root's password as `crypt(3)` hashes it; the password itself does not go to the host.
    pub root_password_hash: Option<String>,
    /// The text of `/etc/network/interfaces`.
    pub interfaces: Option<String>,
}

impl std::fmt::Debug for Injection {
    /// Contents, which may be secrets, are not shown.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let paths: Vec<&str> = self.files.iter().map(|(path, _)| path.as_str()).collect();
        f.debug_struct("Injection").field("files", &paths).finish_non_exhaustive()
    }
}

impl DiskWork {
    fn function(&self) -> &'static str {
        match self {
            Self::AutoConfigure => AutoConfigureDisk::FUNCTION,
            Self::ResizeDown { .. } => ResizeDown::FUNCTION,
            Self::Generate { .. } => GenerateDisk::FUNCTION,
            Self::Inject(_) => Inject::FUNCTION,
        }
    }

    /// Has it done to the device that the disk is.
    async fn ask(&self, job: &Job, host: &Ref<Host>, dev: String, until: Until<'_>) -> Result<(), Cause> {
        match self {
            Self::AutoConfigure => ask(job, host, &AutoConfigureDisk { dev }, until).await.map(drop),
            Self::ResizeDown { len_bytes } => {
                ask(job, host, &ResizeDown { dev, size_bytes: *len_bytes }, until).await.map(drop)
            }
            Self::Generate { fs, label } => {
                let request = GenerateDisk { dev, fs_type: fs.clone(), fs_label: label.clone() };
                ask(job, host, &request, until).await
            }
            Self::Inject(injection) => ask(job, host, &injection.request(dev), until).await.map(drop),
        }
    }
}

impl Injection {
    fn request(&self, dev: String) -> Inject {
        let Self { files, ssh_key, root_password_hash, interfaces } = self.clone();
        Inject { dev, files, ssh_key, root_password_hash, interfaces, agent_path: None }
    }
}

impl Driver {
    /// Attaches a disk of this driver to the control domain of a host that sees it, has the plugin work on
    /// it, and detaches it, whatever happens. The guests that have it are off, and no operation of this driver brings one up
    /// meanwhile; XAPI would not keep anybody from it, so that other programs have to be kept from starting them.
    ///
    /// It can be repeated: the plugin goes on where a call that was killed has stopped. Cancelled during the
    /// work, it ends at once while the disk is only looked at, copied or formatted; a program that is
    /// changing a file system is waited for, so that it is not left half way, and nothing is begun after it.
    /// A plugin before version 1.1 is waited for in any case.
    ///
    /// # Errors
    ///
    /// [`Cause::DiskNotOurs`] for a disk that is not marked as this driver's; [`Cause::DiskInUse`] for one that is plugged
    /// into a VM, in whatever mode, or that of a guest which is suspended; [`Cause::NoHostSees`] when no live
    /// and enabled host has its repository; [`Conflict::NoPlugin`] when the plugin of none of these can do
    /// it; [`Cause::Dom0`] with the plugin's words when it refuses.
    pub fn work_on_disk(&self, vdi_uuid: &str, work: DiskWork, progress: Progress) -> Operation<()> {
        let uuid = vdi_uuid.to_owned();
        self.verb(Op::WorkOnDisk, format!("disk {uuid}"), progress, move |job, stop| {
            Box::pin(async move {
                let _gates = turns(job, &uuid, stop).await?;
                let target = job.stage(Stage::Find, target(job, &uuid, work.function())).await?;
                job.would(|| {
                    let what = work.function();
                    vec![format!("attach disk {uuid} to dom0, have the plugin do {what}, and detach it")]
                })?;
                job.stage(Stage::DiskSetup, work_alone(job, &target, &work, Until::whole(stop))).await
            })
        })
    }
}

/// How long work in dom0 goes on when it is to stop.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Until<'a> {
    stop: &'a Stop,
    at_once: bool,
}

impl<'a> Until<'a> {
    /// Until what is on the disk is whole: it stays.
    pub(crate) fn whole(stop: &'a Stop) -> Self {
        Self { stop, at_once: false }
    }

    /// It ends at once: the disk is thrown away.
    pub(crate) fn at_once(stop: &'a Stop) -> Self {
        Self { stop, at_once: true }
    }
}

/// A disk, an enabled host that has its SR connected, and whose work it is.
pub(crate) struct Target {
    pub(crate) vdi: Ref<Vdi>,
    pub(crate) host: Ref<Host>,
    pub(crate) mark: Ownership,
}

/// Attaches the disk to the control domain, has the work done, and detaches it. What is attached is on the undo stack
/// too.
pub(crate) async fn work(job: &Job, target: &Target, work: &DiskWork, until: Until<'_>) -> Result<(), Cause> {
    until.stop.check()?;
    attached(job, target, async |device| work.ask(job, &target.host, device, until).await).await
}

/// Does something while the disk is attached to the control domain, as the device that it is told.
pub(crate) async fn attached<T>(
    job: &Job,
    target: &Target,
    work: impl AsyncFnOnce(String) -> Result<T, Cause>,
) -> Result<T, Cause> {
    let attached = attach(job, target).await?;
    let done = match device(job, &attached).await {
        Ok(device) => work(device).await,
        Err(cause) => Err(cause),
    };
    let released = let_go(job, &attached).await;
    done.and_then(|value| released.map(|()| value))
}

/// Copies the first bytes of a disk to another one in the same dom0, and compares them.
pub(crate) async fn copy(
    job: &Job,
    from: &Target,
    to: &Target,
    len_bytes: u64,
    stop: &Stop,
) -> Result<(), Cause> {
    stop.check()?;
    let source = attach(job, from).await?;
    let done = async {
        let target = attach(job, to).await?;
        let copied = async {
            let (source, dev) = (device(job, &source).await?, device(job, &target).await?);
            let call = CopyDisk { source, dev, size_bytes: len_bytes };
            ask(job, &to.host, &call, Until::at_once(stop)).await.map(drop)
        };
        let done = copied.await;
        done.and(let_go(job, &target).await)
    };
    let done = done.await;
    done.and(let_go(job, &source).await)
}

/// Whether the plugin looked at the disk and left it as it was.
pub(crate) fn refusal(cause: &Cause) -> Option<String> {
    match cause {
        Cause::Dom0 { failure, .. } if failure.kind == FailureKind::Refused => Some(failure.message.clone()),
        _ => None,
    }
}

/// The gate behind which a VM that is off is brought up, or a disk of it is worked on. Changes of power pass
/// by the VM's own gate: a guest can be switched off whatever is done to it.
pub(crate) fn gate(vm_uuid: &str) -> String {
    format!("work on disks of {vm_uuid}")
}

/// Closes the gates of all VMs that have a drive with the disk, and that of the disk, so that no operation of
/// this driver brings one of them up or works on it as well.
async fn turns(job: &Job, uuid: &str, stop: &Stop) -> Result<Vec<OwnedMutexGuard<()>>, Failed> {
    let names = async {
        let (_, record, _) = ours(job, uuid).await?;
        let users = users(job.client(), &record).await?;
        let names = users.into_iter().filter(|(_, vm)| !vm.is_control_domain).map(|(_, vm)| vm.uuid);
        let names = names.flat_map(|uuid| [gate(&uuid), uuid]);
        Ok(names.chain([record.uuid]).collect::<BTreeSet<_>>())
    };
    let names = names.await.map_err(|cause| Failed { stage: Stage::Find, cause })?;
    let mut gates = Vec::new();
    // In the order of their names, so that no two wait for each other.
    for name in names {
        gates.push(job.turn(&name, stop).await?);
    }
    Ok(gates)
}

async fn target(job: &Job, uuid: &str, function: &str) -> Result<Target, Cause> {
    let (vdi, record, mark) = ours(job, uuid).await?;
    unused(job, &record, None).await?;
    let host = able_host(job, &record.sr, function).await?;
    Ok(Target { vdi, host, mark })
}

/// [`work`], unless a guest has come to have the disk until it was attached.
async fn work_alone(job: &Job, target: &Target, work: &DiskWork, until: Until<'_>) -> Result<(), Cause> {
    until.stop.check()?;
    let attached = attach(job, target).await?;
    let done = async {
        let record = job.client().record(&target.vdi).await;
        unused(job, &record.map_err(Cause::host("looking at the disk once more"))?, Some(&attached)).await?;
        work.ask(job, &target.host, device(job, &attached).await?, until).await
    };
    let done = done.await;
    let released = let_go(job, &attached).await;
    done.and(released)
}

/// Makes sure that nobody has the disk. XAPI does not: drives of control domains are exempt from its rules of
/// sharing. What an operation of this owner has left in one is in nobody's way.
async fn unused(job: &Job, disk: &VdiRecord, but_for: Option<&Ref<Vbd>>) -> Result<(), Cause> {
    let owner = &job.driver.settings().owner;
    for (vbd, vm) in users(job.client(), disk).await? {
        let is_left =
            || vm.is_control_domain && find::made_for(&vbd.1.other_config, &vbd.1.uuid, owner).is_some();
        let has_it = vbd.1.currently_attached || vm.power_state == VmPowerState::Suspended;
        if has_it && but_for != Some(&vbd.0) && !is_left() {
            return Err(Cause::DiskInUse { disk: disk.uuid.clone(), vm: vm.uuid });
        }
    }
    Ok(())
}

/// The drives that have a disk, with their VMs.
async fn users(client: &Client, disk: &VdiRecord) -> Result<Vec<((Ref<Vbd>, VbdRecord), VmRecord)>, Cause> {
    let doing = || Cause::host(format!("looking for who has disk {}", disk.uuid));
    let mut found = Vec::new();
    for reference in &disk.vbds {
        let Some(vbd) = client.record_opt(reference).await.map_err(doing())? else { continue };
        if let Some(vm) = client.record_opt(&vbd.vm).await.map_err(doing())? {
            found.push(((reference.clone(), vbd), vm));
        }
    }
    Ok(found)
}

/// A host that sees the SR and whose plugin can do this.
pub(crate) async fn able_host(job: &Job, sr: &Ref<Sr>, function: &str) -> Result<Ref<Host>, Cause> {
    let mut found = Vec::new();
    for (reference, host) in hosts(job, sr).await? {
        match compatibility::state(job.client(), &reference).await.lacks(&[function]) {
            None => return Ok(reference),
            Some(why) => found.push(Conflict::NoPlugin { node: host.name_label, why }),
        }
    }
    Err(Conflicts::new(found).into())
}

/// A disk of this driver's, with the mark of this operation.
pub(crate) async fn ours(job: &Job, uuid: &str) -> Result<(Ref<Vdi>, VdiRecord, Ownership), Cause> {
    let client = job.client();
    let doing = || format!("looking for disk {uuid}");
    let vdi: Ref<Vdi> = client.by_uuid(uuid).await.map_err(Cause::host(doing()))?;
    let record: VdiRecord = client.record(&vdi).await.map_err(Cause::host(doing()))?;
    let owner = &job.driver.settings().owner;
    match Claim::read(&record.other_config, uuid) {
        Claim::Original(claim) | Claim::Unsealed(claim) if claim.owner == *owner => {
            Ok((vdi, record, Ownership { operation: job.operation, ..claim }))
        }
        _ => Err(Cause::DiskNotOurs { disk: uuid.to_owned(), owner: owner.clone() }),
    }
}

/// The live and enabled hosts that have an SR connected, at least one.
async fn hosts(job: &Job, sr: &Ref<Sr>) -> Result<Vec<(Ref<Host>, HostRecord)>, Cause> {
    let client = job.client();
    let doing = || Cause::host("looking for hosts that see a storage repository");
    let sr = client.record(sr).await.map_err(doing())?;
    let mut hosts = Vec::new();
    for reference in &sr.pbds {
        let Some(pbd) = client.record_opt::<Pbd>(reference).await.map_err(doing())? else { continue };
        if !pbd.currently_attached {
            continue;
        }
        let host: HostRecord = client.record(&pbd.host).await.map_err(doing())?;
        // A dead host stays enabled, and its connections stay attached.
        if host.enabled && !inventory::is_dead(client, &host.metrics).await.map_err(doing())? {
            hosts.push((pbd.host, host));
        }
    }
    if hosts.is_empty() { Err(Cause::NoHostSees { sr: sr.name_label }) } else { Ok(hosts) }
}

async fn attach(job: &Job, target: &Target) -> Result<Ref<Vbd>, Cause> {
    let client = job.client();
    let doing = "attaching the disk to the control domain";
    let dom0 = control_domain(client, &target.host).await.map_err(Cause::host(doing))?;
    let call = vbd::Create {
        vm: dom0,
        vdi: target.vdi.clone(),
        userdevice: "autodetect".to_owned(),
        bootable: false,
        mode: VbdMode::Rw,
        r#type: VbdType::Disk,
        unpluggable: true,
        empty: false,
        other_config: target.mark.keys(),
        ..vbd::Create::default()
    };
    let vbd = client.call(call).await.map_err(Cause::host(doing))?;
    let (driver, undo) = (job.driver.clone(), vbd.clone());
    job.rollback.push("the disk's VBD in the control domain", async move {
        release::drive_of(&driver, &undo, true).await
    });
    release::plug(&job.driver, &vbd, &Stop::new()).await.map_err(Held::while_doing(doing))?;
    Ok(vbd)
}

/// The control domain of a host. Hosts before XenServer 7.1 do not name it.
async fn control_domain(client: &Client, host: &Ref<Host>) -> xenapi_client::Result<Ref<Vm>> {
    let named = client.record(host).await?.control_domain;
    if !named.is_null() {
        return Ok(named);
    }
    let vms = client.all_records::<Vm>().await?;
    let found = vms.into_iter().find(|(_, vm)| vm.is_control_domain && vm.resident_on == *host);
    Ok(found.map_or(named, |(vm, _)| vm))
}

async fn device(job: &Job, vbd: &Ref<Vbd>) -> Result<String, Cause> {
    let doing = "looking for the disk in the control domain";
    Ok(job.client().record(vbd).await.map_err(Cause::host(doing))?.device)
}

/// Asks the plugin of a host for something, tells meanwhile how far it is, and has it ended when it is to
/// stop. Its answer is awaited in any case: until then the disk cannot be detached.
pub(crate) async fn ask<C: Call>(
    job: &Job,
    host: &Ref<Host>,
    request: &C,
    until: Until<'_>,
) -> Result<C::Answer, Cause> {
    let operation = job.operation.to_string();
    let client = job.client().with_deadline(WORK_LIMIT);
    let asking = self::request(&client, host, request, Some(&operation));
    let answer = tokio::select! {
        answer = asking => answer,
        never = tell_how_far(job, host) => match never {},
        never = end(job, host, until) => match never {},
    };
    match answer {
        Err(Cause::Dom0 { failure, .. }) if failure.kind == FailureKind::Cancelled => Err(Cause::Cancelled),
        answer => answer,
    }
}

/// Once it is to stop: has the plugin end the job, again and again, as it may be between two calls.
async fn end(job: &Job, host: &Ref<Host>, until: Until<'_>) -> std::convert::Infallible {
    let _ = until.stop.guard(std::future::pending::<()>()).await;
    let call = dom0_protocol::Cancel { of: job.operation.to_string(), at_once: until.at_once };
    loop {
        match request(job.client(), host, &call, None).await {
            Err(Cause::Host { source, .. }) if source.is("UNKNOWN_XENAPI_PLUGIN_FUNCTION") => {
                tracing::warn!("the host's plugin cannot end what it does, so that it is waited for");
                return std::future::pending().await;
            }
            Err(error) => tracing::debug!(%error, "asked once more"),
            Ok(_) => {}
        }
        tokio::time::sleep(END_PAUSE).await;
    }
}

/// The same, as a job of this name or of none.
pub(crate) async fn request<C: Call>(
    client: &Client,
    host: &Ref<Host>,
    request: &C,
    job: Option<&str>,
) -> Result<C::Answer, Cause> {
    let doing = || format!("having the plugin {PLUGIN} do {}", C::FUNCTION);
    let args = dom0_protocol::encode(request, job);
    let answer = client.call_plugin(host, PLUGIN, C::FUNCTION, &args).await;
    let reply = Reply::decode(&answer.map_err(Cause::host(doing()))?)
        .map_err(|source| Cause::Protocol { doing: doing(), source })?;
    reply.into_result().map_err(|failure| Cause::Dom0 { doing: doing(), failure: Box::new(failure) })
}

/// Asks again and again how far it is.
async fn tell_how_far(job: &Job, host: &Ref<Host>) -> std::convert::Infallible {
    let request = dom0_protocol::Progress { of: job.operation.to_string() };
    let args = dom0_protocol::encode(&request, None);
    let mut pause = FIRST_LOOK;
    loop {
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LAST_LOOK);
        let answer = job.client().call_plugin(host, PLUGIN, dom0_protocol::Progress::FUNCTION, &args).await;
        // Nothing depends on it: the work's own answer tells what is wrong.
        let report = answer.ok().and_then(|text| Reply::<Option<Report>>::decode(&text).ok());
        if let Some(Reply::Answer(Some(Report { step, done, total }))) = report {
            let percent =
                (total > 0).then(|| u8::try_from(u128::from(done) * 100 / u128::from(total)).unwrap_or(100));
            job.progress.send(Event::Step { stage: Stage::DiskSetup, step, percent });
        }
    }
}

async fn let_go(job: &Job, vbd: &Ref<Vbd>) -> Result<(), Cause> {
    let doing = "detaching the disk from the control domain";
    release::drive_of(&job.driver, vbd, true).await.map_err(Held::while_doing(doing))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_not_sent() {
        let injection = Injection {
            files: vec![("/a".to_owned(), "aGk=".to_owned())],
            ssh_key: Some("ssh-ed25519 AAAA".to_owned()),
            ..Injection::default()
        };
        let args = dom0_protocol::encode(&injection.request("xvdb".to_owned()), None);
        let wanted = r#"{"dev":"xvdb","files":[["/a","aGk="]],"ssh_key":"ssh-ed25519 AAAA"}"#;
        assert!(args[dom0_protocol::ARGUMENT].contains(wanted), "{args:?}");
    }

    #[test]
    fn secrets_are_not_shown() {
        let injection = Injection {
            files: vec![("/etc/key".to_owned(), "c2VjcmV0".to_owned())],
            root_password_hash: Some("$6$secret".to_owned()),
            ..Injection::default()
        };
        assert_eq!(format!("{injection:?}"), r#"Injection { files: ["/etc/key"], .. }"#);
    }
}
