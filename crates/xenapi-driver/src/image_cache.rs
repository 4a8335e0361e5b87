//! Images kept in a storage repository, for instances to be made from without another fetch.
//!
//! A cached image is a disk with Nova's keys: the label `Glance Image ID`, `image-id` and `cached-time` in
//! `other_config`, so that either driver finds what the other has fetched. Beside them stands the digest, where it is
//! known. Nothing of it is kept anywhere else.
//!
//! XAPI copies these keys into whatever somebody makes of such a disk. What a guest can write to is no cached
//! image, nor is what has another disk's uuid in the key that this driver adds: neither is removed with the
//! cache, and no instance is made of it.

pub(crate) mod lock;
mod policy;
mod root;

use std::collections::BTreeMap;
use std::time::Duration;

use uuid::Uuid;
use xenapi_client::Client;
use xenapi_storage::lineage::{IMAGE_ID, VHD_PARENT};
use xenapi_storage::{Place, Repository};
use xenapi_types::{Ref, Sr, VbdMode, Vdi, VdiRecord, VmRecord, vdi};

pub use self::policy::{CacheImages, CachePolicy};
pub(crate) use self::root::{COPYING, Cloning, root_disk};
use crate::cancel::Stop;
use crate::driver::Driver;
use crate::error::{Cause, Error, Op, Result};
use crate::import::{self, Wanted};
use crate::inventory;
use crate::job::{Disk, Failed, Job};
use crate::operation::Operation;
use crate::plan::{Conflict, Conflicts};
use crate::progress::{Progress, Stage};
use crate::remove::gone_is_fine;
use crate::spec::{Flavor, ImageFormat, InstanceSpec, RootImage, SrChoice};

/// Whether a disk is an image of the cache itself, and no copy of one.
pub(crate) fn is_cached(disk: &VdiRecord) -> bool {
    disk.other_config.get(SELF) == Some(&disk.uuid)
}

/// Nova's key for when it was fetched, in seconds since 1970.
const CACHED_TIME: &str = "cached-time";
/// The digest of the image as it was fetched.
const DIGEST: &str = "xenapi-rs:image-digest";

/// The disk's own uuid: that of another disk is in a copy.
const SELF: &str = "xenapi-rs:image-disk";

/// Says that the image is a disc to install from.
const DISC: &str = "xenapi-rs:disc";

/// An image in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CachedImage {
    /// Uuid of the disk.
    pub uuid: String,
    /// Uuid of the SR it is in.
    pub sr_uuid: String,
    /// Id of the image.
    pub image_id: String,
    /// The digest that it was fetched with, if it had one.
    pub digest: Option<String>,
    /// When it was fetched, in seconds since 1970; `None` where nobody noted it.
    pub cached_time: Option<u64>,
    /// Size of the disk in bytes.
    pub virtual_bytes: u64,
    /// Whether it is a disc to install from.
    pub disc: bool,
    /// What it takes in the SR, in bytes, without what its clones share with it.
    pub physical_bytes: u64,
    /// Whether other disks share its data, so that removing it frees next to nothing, or it is in somebody's drive.
    pub in_use: bool,
}

/// An image to have in the cache.
#[derive(Debug, Clone)]
pub struct CacheRequest {
    /// Its id, which is never given to another content.
    pub image_id: String,
    /// Where it is.
    pub image: RootImage,
    /// What it is, if that is known.
    pub image_format: ImageFormat,
    /// Its digest: one that was fetched with another digest is not taken for it.
    pub digest: Option<String>,
    /// Where to keep it.
    pub sr: SrChoice,
    /// How long whoever fetches it may give no sign of life: after that, the next one begins. A sign is given three
    /// times as often.
    pub patience: Duration,
}

impl CacheRequest {
    /// An image of this id on the pool's default SR.
    pub fn new(image_id: impl Into<String>, image: impl Into<RootImage>) -> Self {
        Self {
            image_id: image_id.into(),
            image: image.into(),
            image_format: ImageFormat::Unknown,
            digest: None,
            sr: SrChoice::PoolDefault,
            patience: Duration::from_secs(600),
        }
    }
}

/// Which images are removed from the cache. Those that are in use never are, nor those of which nobody noted when they
/// were fetched. A cache grows with each image that is fetched until somebody removes some: what it may take belongs to
/// [`Eviction::keep_bytes`] of a call that is made now and then.
#[derive(Debug, Clone, Default)]
pub struct Eviction {
    /// Only in this SR (its uuid).
    pub sr_uuid: Option<String>,
    /// All that were fetched so long ago.
    pub older_than: Option<Duration>,
    /// The oldest, until the rest takes no more than this.
    pub keep_bytes: Option<u64>,
    /// Only tell which.
    pub dry_run: bool,
}

/// How a disk is made of a cached image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Copying {
    /// A clone in the same SR, which shares its data until it is written to (`use_cow_images`).
    #[default]
    Clone,
    /// A copy of its own, in whatever SR.
    Full,
}

impl Driver {
    /// The images in all caches, the oldest first.
    ///
    /// # Errors
    ///
    /// When the host cannot be asked.
    pub async fn cached_images(&self) -> Result<Vec<CachedImage>> {
        let failed = |cause| Error::new(Op::Images, self.endpoint(), Stage::Find, cause);
        Ok(read(self).await.map_err(failed)?.into_iter().map(|(_, image)| image).collect())
    }

    /// Sees to it that an image is in the cache: fetches it unless it is there. However many ask for it at the same
    /// time, in however many processes, one fetches it and the others wait. Cancelling ends the wait, or the fetch and what
    /// there is of it.
    ///
    /// # Errors
    ///
    /// As those of [`Driver::spawn`] about images and SRs. No disk is left then.
    pub fn cache_image(&self, request: CacheRequest, progress: Progress) -> Operation<CachedImage> {
        let object = format!("image {:?}", request.image_id);
        self.verb(Op::Images, object, progress, |job, stop| {
            Box::pin(async move { cache(job, &request, stop).await })
        })
    }

    /// Removes images from the cache, and tells which.
    ///
    /// Cancelling stops between two: those before are gone.
    ///
    /// # Errors
    ///
    /// When the host cannot be asked or does not remove one; those before it are gone.
    pub fn evict_images(&self, eviction: Eviction, progress: Progress) -> Operation<Vec<CachedImage>> {
        self.verb(Op::Images, self.endpoint(), progress, move |job, stop| {
            Box::pin(async move {
                let going = job.stage(Stage::Find, async {
                    let all = read(&job.driver).await?;
                    let going =
                        choose(all.iter().map(|(_, image)| image), &eviction, job.driver.clock().seconds());
                    Ok(going.into_iter().map(|index| all[index].clone()).collect::<Vec<_>>())
                });
                let going = going.await?;
                let removing = async {
                    let step = |image: &CachedImage| {
                        format!("remove image {:?}, disk {}", image.image_id, image.uuid)
                    };
                    if !eviction.dry_run && !going.is_empty() {
                        job.would(|| going.iter().map(|(_, image)| step(image)).collect())?;
                    }
                    if eviction.dry_run {
                        return Ok(going.into_iter().map(|(_, image)| image).collect());
                    }
                    let mut gone = Vec::new();
                    for (vdi, image) in going {
                        stop.check()?;
                        let removed = remove_unused(job.client(), &vdi).await;
                        if removed.map_err(Cause::host(format!("removing disk {}", image.uuid)))? {
                            gone.push(image);
                        }
                    }
                    Ok(gone)
                };
                job.stage(Stage::Remove, removing).await
            })
        })
    }
}

/// Removes an image, unless somebody has taken or removed it since the images were judged. Says whether it did.
async fn remove_unused(client: &Client, vdi: &Ref<Vdi>) -> xenapi_client::Result<bool> {
    let Some(now) = client.record_opt(vdi).await? else { return Ok(false) };
    let is_cloned = Cloning::read(&now.other_config).is_some();
    if is_cloned || !may_be_image(&now) || !matches!(use_of(client, &now).await?, Use::None) {
        return Ok(false);
    }
    gone_is_fine(client.destroy(vdi).await)?;
    Ok(true)
}

/// Decides which images go, by their places in the list, which begins with the oldest.
fn choose<'a>(images: impl Iterator<Item = &'a CachedImage>, eviction: &Eviction, now: u64) -> Vec<usize> {
    let wanted = |image: &CachedImage| eviction.sr_uuid.as_ref().is_none_or(|sr| *sr == image.sr_uuid);
    let images: Vec<_> = images.enumerate().filter(|(_, image)| wanted(image)).collect();
    let mut kept: u64 = images.iter().map(|(_, image)| image.physical_bytes).sum();
    let mut going = Vec::new();
    for (index, image) in images {
        let Some(cached_time) = image.cached_time.filter(|_| !image.in_use) else { continue };
        let age = now.saturating_sub(cached_time);
        let old = eviction.older_than.is_some_and(|limit| age >= limit.as_secs());
        if old || eviction.keep_bytes.is_some_and(|limit| kept > limit) {
            kept -= image.physical_bytes;
            going.push(index);
        }
    }
    going
}

async fn read(driver: &Driver) -> Result<Vec<(Ref<Vdi>, CachedImage)>, Cause> {
    let doing = || Cause::host("looking for cached images");
    let disks = driver.client().all_records::<Vdi>().await.map_err(doing())?;
    let srs = driver.client().all_records::<Sr>().await.map_err(doing())?;
    let mut images = Vec::new();
    for (vdi, disk) in disks.iter().filter(|(_, disk)| may_be_image(disk)) {
        let Some(image_id) = disk.other_config.get(IMAGE_ID).cloned() else { continue };
        let in_drive = match use_of(driver.client(), disk).await.map_err(doing())? {
            Use::Written => continue,
            Use::Read => true,
            Use::None => false,
        };
        let parent = disk.sm_config.get(VHD_PARENT);
        // The one disk that shares nothing is the parent's only child.
        let shares = |(other, record): (&Ref<Vdi>, &VdiRecord)| {
            other != vdi && record.sr == disk.sr && record.sm_config.get(VHD_PARENT) == parent
        };
        let bytes = |number: i64| u64::try_from(number).unwrap_or(0);
        let image = CachedImage {
            uuid: disk.uuid.clone(),
            sr_uuid: srs.get(&disk.sr).map(|sr| sr.uuid.clone()).unwrap_or_default(),
            image_id,
            digest: disk.other_config.get(DIGEST).cloned(),
            cached_time: disk.other_config.get(CACHED_TIME).and_then(|time| time.parse().ok()),
            virtual_bytes: bytes(disk.virtual_size),
            disc: disk.other_config.contains_key(DISC),
            physical_bytes: bytes(disk.physical_utilisation),
            in_use: in_drive || parent.is_some() && disks.iter().any(shares),
        };
        images.push((vdi.clone(), image));
    }
    images.sort_by_key(|(_, image)| (image.cached_time, image.uuid.clone()));
    Ok(images)
}

/// Whether its own keys allow that a disk is a cached image: those of a snapshot, a base copy, a clone on its way to be an
/// instance's disk, or a copy that somebody has made of an image do not.
fn may_be_image(disk: &VdiRecord) -> bool {
    let keys = &disk.other_config;
    !disk.is_a_snapshot
        && disk.managed
        && Cloning::read(keys).is_none_or(|cloning| !cloning.is_clone(&disk.uuid))
        && keys.get(SELF).is_none_or(|uuid| *uuid == disk.uuid)
}

/// Whether instances may be made of a disk: it is a cached image of ours, or it has the keys of one of Nova's.
pub(crate) fn serves_instances(disk: &VdiRecord) -> bool {
    is_cached(disk) || (disk.other_config.contains_key(IMAGE_ID) && may_be_image(disk))
}

/// What is done with a disk.
enum Use {
    None,
    /// A guest reads it, or a control domain has it.
    Read,
    /// A guest can write to it, now or when it starts.
    Written,
}

async fn use_of(client: &Client, disk: &VdiRecord) -> xenapi_client::Result<Use> {
    let mut found = Use::None;
    for vbd in &disk.vbds {
        let Some(drive) = client.record_opt(vbd).await? else { continue };
        let user = client.record_opt(&drive.vm).await?;
        if drive.mode == VbdMode::Rw && user.is_none_or(|vm| !vm.is_control_domain) {
            return Ok(Use::Written);
        }
        found = Use::Read;
    }
    Ok(found)
}

async fn cache(job: &Job, request: &CacheRequest, stop: &Stop) -> Result<CachedImage, Failed> {
    let repository = job.stage(Stage::Plan, choose_sr(job, &request.image, &request.sr)).await?;
    loop {
        if let Some(image) = job.stage(Stage::Find, find(job, request, &repository)).await? {
            return Ok(image);
        }
        job.would(|| {
            let (image, sr) = (&request.image_id, &repository.name_label);
            vec![format!("fetch image {image:?} into the cache of storage repository {sr:?}")]
        })?;
        if job.stage(Stage::Storage, lock::lock(job, request, &repository, stop)).await? {
            break;
        }
    }
    // Somebody may have been done between the look and the lock.
    let image = match job.stage(Stage::Find, find(job, request, &repository)).await? {
        Some(image) => image,
        None => fetch_renewed(job, request, &repository, stop).await?,
    };
    // The image is there, whatever becomes of the key: that expires.
    if let Err(error) = lock::unlock(job, request, &repository).await {
        tracing::warn!(%error, "the key of a fetch that has ended stays until it expires");
    }
    Ok(image)
}

/// Fetches it, and says all the while that it goes on. On the heap: a fetch has all stages of an import in it.
async fn fetch_renewed(
    job: &Job,
    request: &CacheRequest,
    sr: &Repository,
    stop: &Stop,
) -> Result<CachedImage, Failed> {
    let (fetching, renewing) =
        (Box::pin(fetch(job, request, sr, stop)), Box::pin(lock::renew(job, request, sr)));
    tokio::select! {
        fetched = fetching => fetched,
        never = renewing => match never {},
    }
}

/// A repository that some host reaches.
pub(crate) async fn choose_sr(job: &Job, image: &RootImage, choice: &SrChoice) -> Result<Repository, Cause> {
    let mut spec = InstanceSpec::new("image cache", Flavor::new(1, 1, 0), image.clone());
    spec.sr = choice.clone();
    let inventory = inventory::read(&job.driver, &spec).await?;
    let mut problem = Cause::NoHost;
    for node in &inventory.nodes {
        let place = Place { host: &node.reference, host_name: &node.name, default_sr: &inventory.default_sr };
        match choice.select(&inventory.srs, place) {
            Ok(sr) => return Ok(sr.clone()),
            Err(error) => problem = Conflicts::from(Conflict::from(error)).into(),
        }
    }
    Err(problem)
}

async fn find(job: &Job, request: &CacheRequest, sr: &Repository) -> Result<Option<CachedImage>, Cause> {
    let fits = |image: &CachedImage| {
        let digest = request.digest.is_none() || image.digest == request.digest;
        image.sr_uuid == sr.uuid && image.image_id == request.image_id && digest
    };
    Ok(read(&job.driver).await?.into_iter().map(|(_, image)| image).find(fits))
}

async fn fetch(
    job: &Job,
    request: &CacheRequest,
    sr: &Repository,
    stop: &Stop,
) -> Result<CachedImage, Failed> {
    let name = format!("Glance Image {}", request.image_id);
    job.remember_lost_answers(&name, vec![name.clone()]);
    let wanted = Wanted {
        name: name.clone(),
        image: request.image.clone(),
        image_format: request.image_format,
        sr: SrChoice::Named(sr.uuid.clone()),
        bytes: None,
        discs: true,
    };
    let nobody = nobody(sr);
    let (disk, found) = Box::pin(async {
        import::ready(job, &nobody, Uuid::new_v4(), wanted, stop).await?.make(job, stop).await
    })
    .await?;
    job.stage(Stage::RootDisk, label(job, request, sr, &disk, found.disc)).await
}

/// Whoever a disk is made for that is for no instance: any host that sees the SR will do.
pub(crate) fn nobody(sr: &Repository) -> VmRecord {
    let home = sr.connections.iter().find(|connection| connection.attached);
    let mut nobody = VmRecord::default();
    nobody.affinity = home.map(|connection| connection.host.clone()).unwrap_or_default();
    nobody
}

/// From here on it is nobody's but the cache's: nothing that undoes an operation takes it for its own.
///
/// That is the last thing that can fail.
async fn label(
    job: &Job,
    request: &CacheRequest,
    sr: &Repository,
    disk: &Disk,
    disc: bool,
) -> Result<CachedImage, Cause> {
    let doing = || Cause::host(format!("marking disk {} as image {:?}", disk.uuid, request.image_id));
    let client = job.client();
    let call = vdi::SetNameDescription { vdi: disk.reference.clone(), value: "root".to_owned() };
    client.call(call).await.map_err(doing())?;
    let physical_bytes = job.physical_bytes(&disk.reference).await.unwrap_or(0);
    let cached_time = job.driver.clock().seconds();
    let mut keys = BTreeMap::from([
        (IMAGE_ID.to_owned(), request.image_id.clone()),
        (CACHED_TIME.to_owned(), cached_time.to_string()),
        (SELF.to_owned(), disk.uuid.clone()),
    ]);
    keys.extend(disc.then(|| (DISC.to_owned(), "true".to_owned())));
    keys.extend(request.digest.clone().map(|digest| (DIGEST.to_owned(), digest)));
    client.set_field(&disk.reference, vdi::field::OTHER_CONFIG, keys).await.map_err(doing())?;
    Ok(CachedImage {
        uuid: disk.uuid.clone(),
        sr_uuid: sr.uuid.clone(),
        image_id: request.image_id.clone(),
        digest: request.digest.clone(),
        cached_time: Some(cached_time),
        virtual_bytes: disk.virtual_bytes,
        disc,
        physical_bytes,
        in_use: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cached(time: Option<u64>, bytes: u64, in_use: bool) -> CachedImage {
        CachedImage {
            uuid: String::new(),
            sr_uuid: "sr".to_owned(),
            image_id: String::new(),
            digest: None,
            cached_time: time,
            virtual_bytes: 0,
            disc: false,
            physical_bytes: bytes,
            in_use,
        }
    }

    /// Whatever is in the cache: what may be removed and stays takes no more than allowed, and none goes without need.
    #[test]
    fn what_stays_is_bounded() {
        const KINDS: [(bool, bool); 3] = [(true, false), (true, true), (false, false)];
        let sizes = [7, 1, 4, 0, 2, 9];
        for kinds in 0..3_usize.pow(6) {
            let of = |n: usize| KINDS[kinds / 3_usize.pow(n as u32) % 3];
            let mut images: Vec<_> =
                (0..6).map(|n| cached(of(n).0.then_some(n as u64), sizes[n], of(n).1)).collect();
            images.sort_by_key(|image| image.cached_time);
            for limit in 0..=23 {
                let keep = Eviction { keep_bytes: Some(limit), ..Eviction::default() };
                let going = choose(images.iter(), &keep, 100);
                let fixed = |image: &CachedImage| image.in_use || image.cached_time.is_none();
                let stays: Vec<_> = images
                    .iter()
                    .enumerate()
                    .filter(|(n, _)| !going.contains(n))
                    .map(|(_, image)| image)
                    .collect();
                let kept: u64 = stays.iter().map(|image| image.physical_bytes).sum();
                assert!(
                    kept <= limit || stays.iter().all(|image| fixed(image)),
                    "{kept} of {limit}: {stays:?}"
                );
                assert!(going.iter().all(|n| !fixed(&images[*n])), "{going:?} of {images:?}");
                if let Some(last) = going.last() {
                    assert!(kept + images[*last].physical_bytes > limit, "{last} went without need");
                }
            }
        }
    }

    #[test]
    fn the_oldest_go_first_and_chains_stay() {
        let images = [
            cached(None, 5, false),
            cached(Some(10), 5, true),
            cached(Some(20), 5, false),
            cached(Some(30), 5, false),
        ];
        let age =
            |seconds| Eviction { older_than: Some(Duration::from_secs(seconds)), ..Eviction::default() };
        let keep = |bytes| Eviction { keep_bytes: Some(bytes), ..Eviction::default() };
        let elsewhere = Eviction { sr_uuid: Some("other".to_owned()), ..age(0) };
        for (eviction, going) in [
            (Eviction::default(), &[][..]),
            (age(0), &[2, 3]),
            (age(75), &[2]),
            (age(1000), &[]),
            (keep(20), &[]),
            (keep(19), &[2]),
            (keep(0), &[2, 3]),
            (elsewhere, &[]),
        ] {
            assert_eq!(choose(images.iter(), &eviction, 100), going, "{eviction:?}");
        }
    }
}
