//! Kernels and ramdisks that are not on a guest's disks: Nova's AKI and ARI images, for guests of mode xen.
//!
//! A host starts such a guest from files of its dom0. They get there as everything does, through XAPI onto a disk; the
//! plugin `dom0_protocol` takes them from it. There they are kept by their digest as long as any guest of the host has
//! them, so that the second guest with the same kernel moves no data.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use dom0_protocol::{CacheKernel, PlaceKernel, RemoveKernels};
use image_store::{FileSource, ImageSource};
use sha2::{Digest, Sha256};
use uuid::Uuid;
use xenapi_client::Client;
use xenapi_storage::ownership::Ownership;
use xenapi_types::{Host, Ref, Vm, VmRecord, vm};

use crate::cancel::Stop;
use crate::compatibility;
use crate::dom0_disk::{self, Target};
use crate::error::Cause;
use crate::job::Job;
use crate::plan::{Conflict, Conflicts, DiskPlan, Plan};
use crate::remove::{self, Dom0};
use crate::spec::InstanceSpec;
use crate::transfer;

/// The key of a VM whose kernel is kept in dom0.
pub(crate) const KEY: &str = "xenapi-rs:kernel";
/// What the plugin is asked for.
const FUNCTIONS: [&str; 3] = ["cache_kernel", "place_kernel", "remove_kernels"];
/// The most that a kernel or ramdisk usually has; they are held in memory.
const MAX_BYTES: u64 = 256 << 20;

/// A kernel for a guest of mode xen, instead of the one that its own boot loader would find.
#[derive(Debug, Clone)]
pub struct Kernel {
    /// The kernel.
    pub image: Arc<dyn ImageSource>,
    /// Its initial ramdisk.
    pub ramdisk: Option<Arc<dyn ImageSource>>,
    /// What it is started with, `PV_args`. The file system of an AMI image is `/dev/xvda1`, as that of most others.
    pub args: String,
    /// The most that either may have, in bytes. Nova's `max_kernel_ramdisk_size`.
    pub max_bytes: u64,
}

impl Kernel {
    /// A kernel without a ramdisk, that finds its root file system on the first partition.
    pub fn new(image: Arc<dyn ImageSource>) -> Self {
        Self { image, ramdisk: None, args: "root=/dev/xvda1 ro".to_owned(), max_bytes: MAX_BYTES }
    }

    /// Files of this machine.
    pub fn files(kernel: impl Into<PathBuf>, ramdisk: Option<PathBuf>) -> Self {
        let source = |path: PathBuf| -> Arc<dyn ImageSource> { Arc::new(FileSource::new(path)) };
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
    bytes: Vec<u8>,
    sha256: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Kernel,
    Ramdisk,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::Kernel { "kernel" } else { "ramdisk" })
    }
}

/// The names of an instance's files in dom0.
fn names(instance: Uuid) -> Vec<String> {
    [Kind::Kernel, Kind::Ramdisk].map(|kind| format!("{instance}-{kind}")).into()
}

/// The name of the disk that one is sent on.
pub(crate) fn disk_name(instance_name: &str) -> String {
    format!("{instance_name}-kernel")
}

/// Reads both, verified with the digests that are known of them.
pub(crate) async fn load(spec: &InstanceSpec) -> Result<Option<Loaded>, Cause> {
    let Some(Kernel { image, ramdisk, args, max_bytes }) = &spec.kernel else { return Ok(None) };
    let mut parts = vec![read(Kind::Kernel, &**image, *max_bytes).await?];
    if let Some(ramdisk) = ramdisk {
        parts.push(read(Kind::Ramdisk, &**ramdisk, *max_bytes).await?);
    }
    Ok(Some(Loaded { parts, args: args.clone() }))
}

async fn read(kind: Kind, source: &dyn ImageSource, max_bytes: u64) -> Result<Part, Cause> {
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
    let sha256 = format!("{:x}", Sha256::digest(&bytes));
    Ok(Part { kind, bytes, sha256 })
}

/// Sees that the host can keep them, before anything is made.
pub(crate) async fn check(job: &Job, plan: &Plan) -> Result<(), Cause> {
    match compatibility::state(job.client(), &plan.node.reference).await.lacks(&FUNCTIONS) {
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
        let doing = || Cause::host(format!("giving VM {:?} its {}", plan.vm.name_label, part.kind));
        match part.kind {
            Kind::Kernel => job.client().set_field(vm, vm::field::PV_KERNEL, path).await.map_err(doing())?,
            Kind::Ramdisk => job.client().set_field(vm, vm::field::PV_RAMDISK, path).await.map_err(doing())?,
        }
    }
    let doing = Cause::host(format!("giving VM {:?} its kernel's arguments", plan.vm.name_label));
    job.client().set_field(vm, vm::field::PV_ARGS, loaded.args).await.map_err(doing)
}

/// The file's path in dom0.
async fn place(job: &Job, plan: &Plan, part: &Part, stop: &Stop) -> Result<String, Cause> {
    let (sha256, name) = (part.sha256.clone(), format!("{}-{}", plan.instance, part.kind));
    let request = PlaceKernel { sha256: sha256.clone(), name: name.clone() };
    if let Some(path) = dom0_disk::ask(job, &plan.node.reference, &request).await? {
        return Ok(path);
    }
    let wanted = DiskPlan {
        name_label: disk_name(&plan.vm.name_label),
        name_description: part.kind.to_string(),
        virtual_bytes: part.bytes.len() as u64,
        ..plan.root.clone()
    };
    let disk = job.create_disk(&wanted, &plan.sr, stop).await?;
    transfer::import_kernel(job, &plan.vm.name_label, &part.bytes, &disk, stop).await?;
    let owner = job.driver.settings().owner.clone();
    let mark = Ownership { owner, instance: plan.instance, operation: job.operation };
    let target = Target { vdi: disk.reference.clone(), host: plan.node.reference.clone(), mark };
    let size_bytes = part.bytes.len() as u64;
    let path = dom0_disk::attached(job, &target, async |dev| {
        dom0_disk::ask(job, &target.host, &CacheKernel { dev, size_bytes, sha256, name }).await
    });
    let path = path.await?;
    let patience = job.driver.settings().detach_timeout;
    let removed = remove::vdi(job.client(), &disk.reference, Dom0::Detach, patience).await;
    removed.map_err(Cause::host(format!("removing the disk that the {} came on", part.kind)))?;
    Ok(path)
}

/// Removes an instance's files from the hosts, if it has any. Where they are is not known for sure: hosts have no say in
/// where a VM goes. A host that cannot be asked keeps them.
pub(crate) async fn forget(client: &Client, record: &VmRecord, instance: Uuid) -> Result<(), Cause> {
    if !record.other_config.contains_key(KEY) {
        return Ok(());
    }
    let hosts = client.all::<Host>().await.map_err(Cause::host("reading the hosts"))?;
    for host in hosts {
        match remove_from(client, &host, instance).await {
            Err(Cause::Host { source, .. }) if source.is("XENAPI_MISSING_PLUGIN") => {}
            Err(Cause::Host { source, .. }) if source.is("HOST_OFFLINE") => {
                tracing::warn!(%instance, %host, "the host is off and may keep the instance's kernel");
            }
            removed => removed?,
        }
    }
    Ok(())
}

async fn remove_from(client: &Client, host: &Ref<Host>, instance: Uuid) -> Result<(), Cause> {
    dom0_disk::request(client, host, &RemoveKernels { names: names(instance) }, None).await.map(drop)
}
