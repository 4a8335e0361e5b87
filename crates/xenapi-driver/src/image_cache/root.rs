//! Root disks of cached images.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use uuid::Uuid;
use xenapi_client::{Client, ErrorKind};
use xenapi_storage::ownership;
use xenapi_types::{Ref, Vdi, VdiRecord, vdi};

use super::{CachedImage, Copying};
use crate::cancel::Stop;
use crate::driver::Driver;
use crate::error::Cause;
use crate::job::{Disk, Job};
use crate::marks::{self, Marked};
use crate::plan::Plan;
use crate::progress::{Stage, Transfer};
use crate::remove::{self, Dom0};

/// Makes a root disk of a cached image.
pub(crate) async fn root_disk(
    job: &Job,
    plan: &Plan,
    image: &CachedImage,
    copying: Copying,
    stop: &Stop,
) -> Result<(Disk, Transfer), Cause> {
    let doing = || format!("making the root disk of cached image {:?} ({})", image.image_id, image.uuid);
    let client = job.client();
    let cached = client.by_uuid::<Vdi>(&image.uuid).await.map_err(Cause::host(doing()))?;
    stop.check()?;
    let made = if copying == Copying::Clone && plan.sr.uuid == image.sr_uuid {
        Box::pin(clone(job, image, &cached, plan.root.other_config.clone(), stop)).await?
    } else {
        Box::pin(copy(job, plan, image, &cached, stop)).await?
    };
    let (vdi, wanted) = (made.reference.clone(), &plan.root);
    let call = vdi::SetNameLabel { vdi: vdi.clone(), value: wanted.name_label.clone() };
    client.call(call).await.map_err(Cause::host(doing()))?;
    let call = vdi::SetNameDescription { vdi, value: wanted.name_description.clone() };
    client.call(call).await.map_err(Cause::host(doing()))?;
    let moved = Transfer { wire_bytes: 0, wire_total_bytes: Some(0), virtual_bytes: made.virtual_bytes };
    Ok((made, moved))
}

/// The mark of a clone that is there only to be copied. Its copy has it too, until it gets keys of its own.
pub(crate) const COPYING: &str = "xenapi-rs:copying:";

/// Copies a cached image in full. What is copied is a clone with our keys, so that a copy that nobody heard of can be
/// told from a cached image.
async fn copy(
    job: &Job,
    plan: &Plan,
    image: &CachedImage,
    cached: &Ref<Vdi>,
    stop: &Stop,
) -> Result<Disk, Cause> {
    let doing = || format!("copying cached image {:?} ({})", image.image_id, image.uuid);
    let (client, mark) = (job.client(), format!("{COPYING}{}", job.operation));
    let (undo, key, patience) = (client.clone(), mark.clone(), job.driver.settings().detach_timeout);
    job.rollback
        .push(format!("disks with key {mark}"), async move { remove_marked(&undo, &key, patience).await });
    let mut keys = plan.root.other_config.clone();
    keys.insert(mark.clone(), "true".to_owned());
    let passing = Box::pin(clone(job, image, cached, keys, stop)).await?;
    let sr = Some(plan.sr.reference.clone());
    let call = vdi::Copy { vdi: passing.reference.clone(), sr, base_vdi: None, into_vdi: None };
    let vdi = job.run(call, doing(), Stage::RootDisk, stop).await?;
    job.remember_disk(&vdi, &plan.root.name_label);
    let made = adopt(job, &vdi, plan.root.other_config.clone()).await.map_err(Cause::host(doing()))?;
    remove::vdi(client, &passing.reference, Dom0::Detach, patience).await.map_err(Cause::host(doing()))?;
    Ok(made)
}

/// Gives a disk keys of its own.
async fn adopt(job: &Job, vdi: &Ref<Vdi>, mut keys: BTreeMap<String, String>) -> xenapi_client::Result<Disk> {
    let made = job.client().record(vdi).await?;
    keys.insert(ownership::SELF.to_owned(), made.uuid.clone());
    job.client().set_field(vdi, vdi::field::OTHER_CONFIG, keys).await?;
    let virtual_bytes = u64::try_from(made.virtual_size).unwrap_or(0);
    Ok(Disk { reference: vdi.clone(), sr: made.sr, uuid: made.uuid, virtual_bytes })
}

async fn remove_marked(client: &Client, key: &str, patience: Duration) -> xenapi_client::Result<()> {
    for (reference, disk) in client.all_records::<Vdi>().await? {
        if disk.managed && disk.other_config.contains_key(key) {
            remove::vdi(client, &reference, Dom0::Detach, patience).await?;
        }
    }
    Ok(())
}

/// A clone has the keys of its original until it gets its own. So that one that nobody heard of is told from a cached
/// image, the original says who clones it meanwhile: one at a time.
async fn clone(
    job: &Job,
    image: &CachedImage,
    cached: &Ref<Vdi>,
    keys: BTreeMap<String, String>,
    stop: &Stop,
) -> Result<Disk, Cause> {
    let doing = || Cause::host(format!("cloning cached image {:?} ({})", image.image_id, image.uuid));
    let client = job.client();
    let mine = Cloning {
        operation: job.operation,
        original: image.uuid.clone(),
        until: job.driver.clock().seconds() + CLONE_PATIENCE,
        owner: Some(job.driver.settings().owner.clone()),
    };
    let mut keys = keys;
    keys.insert(CLONED_FROM.to_owned(), image.uuid.clone());
    let (undo, original, operation) = (client.clone(), cached.clone(), job.operation);
    let patience = job.driver.settings().detach_timeout;
    let left = mine.clone();
    job.rollback.push(format!("clones of cached image {}", image.uuid), async move {
        remove_clones(&undo, &left, patience).await?;
        end_cloning(&undo, &original, operation).await
    });
    loop {
        let marked = client.add_to(cached, vdi::field::OTHER_CONFIG, Cloning::KEY, mine.to_string()).await;
        match marked {
            Ok(()) => break,
            Err(error) if error.is("MAP_DUPLICATE_KEY") => {}
            Err(error) => return Err(doing()(error)),
        }
        wait_for_turn(&job.driver, cached, stop).await?.map_err(doing())?;
    }
    let call = vdi::Clone { vdi: cached.clone(), driver_params: None };
    let vdi = client.call(call).await.map_err(doing())?;
    job.remember_disk(&vdi, &image.image_id);
    let made = adopt(job, &vdi, keys).await.map_err(doing())?;
    end_cloning(client, cached, job.operation).await.map_err(doing())?;
    Ok(made)
}

/// How long a clone may take, in seconds: after that, whoever makes it is taken for dead.
const CLONE_PATIENCE: u64 = 300;

/// The key of a clone that has got its own, with the uuid of the cached image. XAPI has no field for that.
const CLONED_FROM: &str = "xenapi-rs:cloned-from";

/// Who clones a cached image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cloning {
    pub(crate) operation: Uuid,
    /// Uuid of the cached image: a disk with another one is the clone.
    original: String,
    /// In seconds since 1970.
    until: u64,
    /// For whom. Earlier builds do not say.
    owner: Option<String>,
}

impl Cloning {
    /// Its place in the `other_config` of the image.
    pub(crate) const KEY: &str = "xenapi-rs:cloning";

    pub(crate) fn read(keys: &BTreeMap<String, String>) -> Option<Self> {
        let mut parts = keys.get(Self::KEY)?.splitn(4, ' ');
        let (operation, original, until) = (parts.next()?, parts.next()?, parts.next()?);
        let (operation, until) = (operation.parse().ok()?, until.parse().ok()?);
        let owner = parts.next().map(str::to_owned);
        Some(Self { operation, original: original.to_owned(), until, owner })
    }

    /// Whether it may be this owner's.
    pub(crate) fn is_for(&self, owner: &str) -> bool {
        self.owner.as_deref().is_none_or(|known| known == owner)
    }

    /// What has the key beside the image, and is nobody's: the clone of which the operation has not heard, as
    /// long as the image has the key, too, and the operation has none that it knows. It makes one: of
    /// several, all but one are copies that somebody else has made in that moment, and nothing tells which.
    pub(crate) fn lost<'a>(&self, disks: &'a BTreeMap<Ref<Vdi>, VdiRecord>) -> Vec<(&'a Ref<Vdi>, Marked)> {
        let is_ours = |disk: &VdiRecord| {
            Self::read(&disk.other_config).is_some_and(|cloning| cloning.operation == self.operation)
        };
        let has_made = |disk: &VdiRecord| {
            marks::made_by(&disk.other_config, &disk.uuid, self.operation)
                && disk.other_config.get(CLONED_FROM) == Some(&self.original)
        };
        let image = disks.values().find(|disk| disk.uuid == self.original);
        let Some(image) = image.filter(|image| is_ours(image)) else { return Vec::new() };
        if disks.values().any(has_made) {
            return Vec::new();
        }
        let is_lost = |disk: &VdiRecord| {
            disk.managed
                && disk.vbds.is_empty()
                && !disk.is_a_snapshot
                && self.is_clone(&disk.uuid)
                && is_ours(disk)
        };
        let lost: Vec<_> = disks.iter().filter(|(_, disk)| is_lost(disk)).collect();
        let is_sure = lost.len() == 1 && lost.iter().all(|(_, disk)| disk.name_label == image.name_label);
        let what = if is_sure { Marked::Made } else { Marked::Unknown };
        lost.into_iter().map(|(reference, _)| (reference, what)).collect()
    }

    /// Whether a disk is a clone that has not got its own keys.
    pub(crate) fn is_clone(&self, uuid: &str) -> bool {
        self.original != uuid
    }
}

impl fmt::Display for Cloning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.operation, self.original, self.until)?;
        self.owner.iter().try_for_each(|owner| write!(f, " {owner}"))
    }
}

/// Waits until the image is not being cloned, or whoever does it must be dead.
async fn wait_for_turn(
    driver: &Driver,
    image: &Ref<Vdi>,
    stop: &Stop,
) -> Result<xenapi_client::Result<()>, Cause> {
    let (client, patience) = (driver.client(), driver.settings().detach_timeout);
    let waiting = async {
        let keys = client.get_field(image, vdi::field::OTHER_CONFIG).await?;
        let Some(theirs) = Cloning::read(&keys) else {
            return match keys.contains_key(Cloning::KEY) {
                // Not as anybody writes it.
                true => client.remove_from(image, vdi::field::OTHER_CONFIG, Cloning::KEY).await,
                false => Ok(()),
            };
        };
        let left =
            Duration::from_secs(theirs.until.saturating_sub(driver.clock().seconds()).min(CLONE_PATIENCE));
        let gone = |vdi: &VdiRecord| Cloning::read(&vdi.other_config).as_ref() != Some(&theirs);
        match client.wait_until(image, left, gone).await {
            Err(error) if error.kind() == ErrorKind::Timeout => {
                // As long as the image has the key, what was left is known by it.
                remove_clones(client, &theirs, patience).await?;
                end_cloning(client, image, theirs.operation).await
            }
            result => result.map(drop),
        }
    };
    Ok(stop.guard(waiting).await?)
}

/// Removes the mark, if it is this operation's.
pub(crate) async fn end_cloning(
    client: &Client,
    image: &Ref<Vdi>,
    operation: Uuid,
) -> xenapi_client::Result<()> {
    let Some(record) = client.record_opt(image).await? else { return Ok(()) };
    if Cloning::read(&record.other_config).is_some_and(|cloning| cloning.operation == operation) {
        client.remove_from(image, vdi::field::OTHER_CONFIG, Cloning::KEY).await?;
    }
    Ok(())
}

/// Removes the clone that an operation made and that never got keys of its own.
async fn remove_clones(client: &Client, cloning: &Cloning, patience: Duration) -> xenapi_client::Result<()> {
    let disks = client.all_records::<Vdi>().await?;
    for (reference, what) in cloning.lost(&disks) {
        if what == Marked::Made {
            remove::vdi(client, reference, Dom0::Detach, patience).await?;
        }
    }
    Ok(())
}
