//! Kernels and ramdisks that are not on a guest's disks: Nova's AKI and ARI images, for guests of mode xen.
//!
//! A host starts such a guest from files of its dom0. Either the plugin `dom0_protocol` fetches them from where they are,
//! or they get there as everything does, through XAPI onto a disk from which the plugin takes them. There they are kept by
//! their digest as long as any guest of the host has them, so that the second guest with the same kernel moves no data.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use dom0_protocol::{CacheKernel, Call, FetchKernel, PlaceKernel, RemoveKernels};
pub use image_store::Remote;
use image_store::{Algorithm, FileSource, ImageSource};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;
use xenapi_client::Client;
use xenapi_storage::ownership::Ownership;
use xenapi_types::{Host, Ref, Vm, VmRecord, vm};

use crate::cancel::Stop;
use crate::compatibility;
use crate::dom0_disk::{self, Target, Until};
use crate::error::Cause;
use crate::inventory::{self, Node};
use crate::job::Job;
use crate::plan::{Conflict, Conflicts, DiskPlan, Plan};
use crate::remove::{self, Dom0};
use crate::spec::InstanceSpec;
use crate::transfer;

/// The key of a VM whose kernel is kept in dom0: what it is, and where another host could fetch it.
pub(crate) const KEY: &str = "xenapi-rs:kernel";
/// The most that a kernel or ramdisk usually has; they are held in memory.
const MAX_BYTES: u64 = 256 << 20;

/// A kernel for a guest of mode xen, instead of the one that its own boot loader would find.
#[derive(Debug, Clone)]
pub struct Kernel {
    /// The kernel.
    pub image: KernelSource,
    /// Its initial ramdisk.
    pub ramdisk: Option<KernelSource>,
    /// What it is started with, `PV_args`. The file system of an AMI image is `/dev/xvda1`, as that of most others.
    pub args: String,
    /// The most that either may have, in bytes. Nova's `max_kernel_ramdisk_size`.
    pub max_bytes: u64,
}

/// Where a kernel or a ramdisk comes from.
#[derive(Debug, Clone)]
pub enum KernelSource {
    /// It is read here, and sent to the host.
    Sent(Arc<dyn ImageSource>),
    /// The host fetches it, from a server that it reaches. Only such a guest, and only if no header is needed, can have
    /// its kernel on another host too, when it is resized or evacuated there.
    Fetched(Remote),
}

impl From<Arc<dyn ImageSource>> for KernelSource {
    fn from(source: Arc<dyn ImageSource>) -> Self {
        Self::Sent(source)
    }
}

impl From<Remote> for KernelSource {
    fn from(remote: Remote) -> Self {
        Self::Fetched(remote)
    }
}

impl Kernel {
    /// A kernel without a ramdisk, that finds its root file system on the first partition.
    pub fn new(image: impl Into<KernelSource>) -> Self {
        let image = image.into();
        Self { image, ramdisk: None, args: "root=/dev/xvda1 ro".to_owned(), max_bytes: MAX_BYTES }
    }

    /// Files of this machine.
    pub fn files(kernel: impl Into<PathBuf>, ramdisk: Option<PathBuf>) -> Self {
        let source = |path: PathBuf| KernelSource::Sent(Arc::new(FileSource::new(path)));
        Self { ramdisk: ramdisk.map(source), ..Self::new(source(kernel.into())) }
    }
}

/// What was read of it.
pub(crate) struct Loaded {
    parts: Vec<Part>,
    args: String,
}

struct Part {
    kind: Kind,
    content: Content,
    /// In hexadecimal: what it is cached by.
    digest: String,
    max_bytes: u64,
}

enum Content {
    Here(Vec<u8>),
    There(Remote),
}

/// What is noted of a part on the VM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Noted {
    kind: Kind,
    digest: String,
    max_bytes: u64,
    /// Where any host fetches it, if any can.
    url: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Kernel,
    Ramdisk,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::Kernel { "kernel" } else { "ramdisk" })
    }
}

/// The name of an instance's file in dom0.
fn name(instance: Uuid, kind: Kind) -> String {
    format!("{instance}-{kind}")
}

fn names(instance: Uuid) -> Vec<String> {
    [Kind::Kernel, Kind::Ramdisk].map(|kind| name(instance, kind)).into()
}

/// The name of the disk that one is sent on.
pub(crate) fn disk_name(instance_name: &str) -> String {
    format!("{instance_name}-kernel")
}

/// Reads what is to be read here, verified with the digests that are known of it.
pub(crate) async fn load(spec: &InstanceSpec) -> Result<Option<Loaded>, Cause> {
    let Some(Kernel { image, ramdisk, args, max_bytes }) = &spec.kernel else { return Ok(None) };
    let mut parts = vec![part(Kind::Kernel, image, *max_bytes).await?];
    if let Some(ramdisk) = ramdisk {
        parts.push(part(Kind::Ramdisk, ramdisk, *max_bytes).await?);
    }
    Ok(Some(Loaded { parts, args: args.clone() }))
}

async fn part(kind: Kind, source: &KernelSource, max_bytes: u64) -> Result<Part, Cause> {
    let (content, digest) = match source {
        KernelSource::Sent(source) => {
            let bytes = read(&**source, max_bytes).await?;
            let digest = format!("{:x}", Sha256::digest(&bytes));
            (Content::Here(bytes), digest)
        }
        KernelSource::Fetched(remote) if remote.digest.algorithm() == Algorithm::Md5 => {
            return Err(Conflicts::from(Conflict::KernelDigest(remote.digest.clone())).into());
        }
        KernelSource::Fetched(remote) => (Content::There(remote.clone()), remote.digest.hex()),
    };
    Ok(Part { kind, content, digest, max_bytes })
}

async fn read(source: &dyn ImageSource, max_bytes: u64) -> Result<Vec<u8>, Cause> {
    let mut content = source.open().await.map_err(Cause::Source)?.content;
    let name = content.what().to_owned();
    let mut bytes = Vec::new();
    while let Some(chunk) = content.chunk().await.map_err(Cause::Source)? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() as u64 > max_bytes {
            return Err(Conflicts::from(Conflict::KernelTooLarge { name, max_bytes }).into());
        }
    }
    if bytes.is_empty() {
        return Err(Conflicts::from(Conflict::KernelEmpty(name)).into());
    }
    Ok(bytes)
}

impl Loaded {
    /// What is noted on the VM.
    pub(crate) fn noted(&self) -> String {
        let parts: Vec<Noted> = self.parts.iter().map(Part::noted).collect();
        serde_json::to_string(&parts).expect("texts and numbers")
    }

    /// The functions of the plugin that it needs.
    fn functions(&self) -> Vec<&'static str> {
        let is_sent = |part: &Part| matches!(part.content, Content::Here(_));
        let sent = self.parts.iter().any(is_sent).then_some(CacheKernel::FUNCTION);
        let fetched = !self.parts.iter().all(is_sent);
        let fetched = fetched.then_some(FetchKernel::FUNCTION);
        let always = [PlaceKernel::FUNCTION, RemoveKernels::FUNCTION];
        sent.into_iter().chain(fetched).chain(always).collect()
    }
}

impl Part {
    fn noted(&self) -> Noted {
        let url = match &self.content {
            // Tokens are not for keeping, and soon no good.
            Content::There(remote) if remote.headers.is_empty() => Some(remote.url.clone()),
            _ => None,
        };
        Noted { kind: self.kind, digest: self.digest.clone(), max_bytes: self.max_bytes, url }
    }
}

/// Sees that the host can keep them, before anything is made.
pub(crate) async fn check(job: &Job, plan: &Plan, loaded: &Loaded) -> Result<(), Cause> {
    match compatibility::state(job.client(), &plan.node.reference).await.lacks(&loaded.functions()) {
        None => Ok(()),
        Some(why) => Err(Conflicts::from(Conflict::NoPlugin { node: plan.node.name.clone(), why }).into()),
    }
}

/// Gives the VM its kernel and ramdisk, on the host that it is to start on.
pub(crate) async fn install(
    job: &Job,
    plan: &Plan,
    vm: &Ref<Vm>,
    loaded: Loaded,
    stop: &Stop,
) -> Result<(), Cause> {
    let (client, host, instance) = (job.client().clone(), plan.node.reference.clone(), plan.instance);
    job.rollback.push(format!("kernel of instance {instance} on host {:?}", plan.node.name), async move {
        remove_from(&client, &host, instance).await
    });
    for part in loaded.parts {
        stop.check()?;
        let path = place(job, plan, &part, stop).await?;
        set_path(job.client(), vm, part.kind, path).await?;
    }
    let doing = Cause::host(format!("giving VM {:?} its kernel's arguments", plan.vm.name_label));
    job.client().set_field(vm, vm::field::PV_ARGS, loaded.args).await.map_err(doing)
}

/// The file's path in dom0.
async fn place(job: &Job, plan: &Plan, part: &Part, stop: &Stop) -> Result<String, Cause> {
    let (digest, name) = (part.digest.clone(), name(plan.instance, part.kind));
    let until = Until::at_once(stop);
    let bytes = match &part.content {
        Content::Here(bytes) => bytes,
        Content::There(remote) => {
            let headers = remote.headers.iter().map(|(name, text)| (name.clone(), text.expose().to_owned()));
            let (url, max_bytes) = (remote.url.clone(), part.max_bytes);
            let request = FetchKernel { url, headers: headers.collect(), digest, max_bytes, name };
            return dom0_disk::ask(job, &plan.node.reference, &request, until).await;
        }
    };
    let request = PlaceKernel { sha256: digest.clone(), name: name.clone() };
    if let Some(path) = dom0_disk::ask(job, &plan.node.reference, &request, until).await? {
        return Ok(path);
    }
    let size_bytes = bytes.len() as u64;
    let wanted = DiskPlan {
        name_label: disk_name(&plan.vm.name_label),
        name_description: part.kind.to_string(),
        virtual_bytes: size_bytes,
        ..plan.root.clone()
    };
    let disk = job.create_disk(&wanted, &plan.sr, stop).await?;
    transfer::import_kernel(job, &plan.vm.name_label, bytes, &disk, stop).await?;
    let owner = job.driver.settings().owner.clone();
    let mark = Ownership { owner, instance: plan.instance, operation: job.operation };
    let target = Target { vdi: disk.reference.clone(), host: plan.node.reference.clone(), mark };
    let path = dom0_disk::attached(job, &target, async |dev| {
        let call = CacheKernel { dev, size_bytes, sha256: digest, name };
        dom0_disk::ask(job, &target.host, &call, until).await
    });
    let path = path.await?;
    let patience = job.driver.settings().detach_timeout;
    let removed = remove::vdi(job.client(), &disk.reference, Dom0::Detach, patience).await;
    removed.map_err(Cause::host(format!("removing the disk that the {} came on", part.kind)))?;
    Ok(path)
}

/// What has to come along when a guest is to start on another host.
pub(crate) struct Along(Vec<Noted>);

/// Sees that a host can have a guest's kernel, if it has one of its own, before anything is changed.
///
/// # Errors
///
/// [`Cause::KernelStays`] where nobody knows where to fetch it; [`Conflict::NoPlugin`].
pub(crate) async fn along(client: &Client, record: &VmRecord, node: &Node) -> Result<Along, Cause> {
    let known = record.other_config.get(KEY);
    let parts: Option<Vec<Noted>> = known.map(|noted| serde_json::from_str(noted).unwrap_or_default());
    let parts = match parts {
        None => return Ok(Along(Vec::new())),
        Some(_) if record.affinity == node.reference || record.resident_on == node.reference => {
            return Ok(Along(Vec::new()));
        }
        Some(parts) => parts,
    };
    if parts.is_empty() || parts.iter().any(|part| part.url.is_none()) {
        return Err(Cause::KernelStays { vm: record.uuid.clone() });
    }
    let functions = [FetchKernel::FUNCTION, RemoveKernels::FUNCTION];
    match compatibility::state(client, &node.reference).await.lacks(&functions) {
        None => Ok(Along(parts)),
        Some(why) => Err(Conflicts::from(Conflict::NoPlugin { node: node.name.clone(), why }).into()),
    }
}

impl Along {
    /// What is to be done, in words.
    pub(crate) fn steps(&self, node: &Node) -> Vec<String> {
        let step = |part: &Noted| format!("have host {:?} fetch the {}", node.name, part.kind);
        self.0.iter().map(step).collect()
    }

    /// Has the host fetch it. What a host has that the guest never starts on goes when the instance goes.
    pub(crate) async fn bring(
        self,
        job: &Job,
        vm: &Ref<Vm>,
        instance: Uuid,
        host: &Ref<Host>,
        stop: &Stop,
    ) -> Result<(), Cause> {
        for Noted { kind, digest, max_bytes, url } in self.0 {
            stop.check()?;
            let (name, url) = (name(instance, kind), url.unwrap_or_default());
            let request = FetchKernel { url, headers: BTreeMap::new(), digest, max_bytes, name };
            let path = dom0_disk::ask(job, host, &request, Until::at_once(stop)).await?;
            set_path(job.client(), vm, kind, path).await?;
        }
        Ok(())
    }
}

async fn set_path(client: &Client, vm: &Ref<Vm>, kind: Kind, path: String) -> Result<(), Cause> {
    let doing = Cause::host(format!("giving a VM its {kind}"));
    match kind {
        Kind::Kernel => client.set_field(vm, vm::field::PV_KERNEL, path).await.map_err(doing),
        Kind::Ramdisk => client.set_field(vm, vm::field::PV_RAMDISK, path).await.map_err(doing),
    }
}

/// Removes an instance's files from the hosts, if it has any. Where they are is not known for sure: hosts have no say in
/// where a VM goes. A host that is off or dead keeps them; for one that only cannot be reached it fails,
/// until the pool has given it up.
pub(crate) async fn forget(client: &Client, record: &VmRecord, instance: Uuid) -> Result<(), Cause> {
    if !record.other_config.contains_key(KEY) {
        return Ok(());
    }
    let hosts = client.all::<Host>().await.map_err(Cause::host("reading the hosts"))?;
    for host in hosts {
        match remove_from(client, &host, instance).await {
            Err(Cause::Host { source, .. }) if source.is("XENAPI_MISSING_PLUGIN") => {}
            Err(Cause::Host { source, .. }) if source.is("UNKNOWN_XENAPI_PLUGIN_FUNCTION") => {
                tracing::warn!(%instance, %host, "the host's plugin is too old to have the instance's kernel, or to remove it");
            }
            Err(Cause::Host { source, .. })
                if ["HOST_OFFLINE", "HOST_NOT_LIVE"].iter().any(|code| source.is(code)) =>
            {
                tracing::warn!(%instance, %host, "the host is off and may keep the instance's kernel");
            }
            Err(cause) if inventory::is_cut_off(client, &host, &cause).await => {
                tracing::warn!(%instance, %host, "the host is dead and may keep the instance's kernel");
            }
            removed => removed?,
        }
    }
    Ok(())
}

async fn remove_from(client: &Client, host: &Ref<Host>, instance: Uuid) -> Result<(), Cause> {
    dom0_disk::request(client, host, &RemoveKernels { names: names(instance) }, None).await.map(drop)
}
