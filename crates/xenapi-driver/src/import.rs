//! A disk with an image in it, for an instance that is there already.

use uuid::Uuid;
use xenapi_storage::DiskRequest;
use xenapi_types::VmRecord;

use crate::cancel::Stop;
use crate::dom0_write;
use crate::error::Cause;
use crate::image_cache;
use crate::inventory;
use crate::job::{Disk, Failed, Job, heap};
use crate::plan::{self, Conflict, Conflicts, ImageFacts, Plan};
use crate::progress::Stage;
use crate::spawn;
use crate::spec::{Flavor, ImageFormat, InstanceSpec, Power, RootImage, SrChoice};
use crate::transfer::{self, Prepared, Source};
use crate::zeros;

/// What the disk is to be.
pub(crate) struct Wanted {
    /// `name_label`.
    pub(crate) name: String,
    pub(crate) image: RootImage,
    pub(crate) image_format: ImageFormat,
    pub(crate) sr: SrChoice,
    /// Its size; `None` takes the image's.
    pub(crate) bytes: Option<u64>,
    /// Whether a disc is taken too, as the disk that it is.
    pub(crate) discs: bool,
}

/// A disk that can be made, as far as that is known without making it.
pub(crate) struct Ready {
    plan: Plan,
    source: Source,
    prepared: Prepared,
}

/// Opens the image and finds a place for it. Nothing is changed yet.
pub(crate) async fn ready(
    job: &Job,
    vm: &VmRecord,
    instance: Uuid,
    wanted: Wanted,
    stop: &Stop,
) -> Result<Ready, Failed> {
    // An instance that is never made: only its root disk is.
    let sizeless = Flavor::new(1, 1, 0);
    let mut spec = InstanceSpec::new(instance.to_string(), sizeless.clone(), wanted.image);
    // What does not say how large it is has the size that it is to have.
    spec.flavor.root_gib = wanted.bytes.unwrap_or(0) >> 30;
    (spec.image_format, spec.uuid, spec.sr) = (wanted.image_format, instance, wanted.sr);
    spec.power = Power::Off;
    let opening = async {
        match Source::open(&spec, job.driver.settings()).await? {
            Source::Volume(_) => Err(Conflicts::from(Conflict::VolumeAsImage).into()),
            source if source.facts().disc && !wanted.discs => {
                Err(Conflicts::from(Conflict::DiscAsDisk { image: source.facts().name }).into())
            }
            source => Ok(source),
        }
    };
    let source = job.stage(Stage::Image, opening).await?;
    spec.flavor = sizeless;
    let found = source.facts();
    let planning = planned(job, vm, &mut spec, &found, wanted.bytes);
    let mut plan = job.stage(Stage::Plan, planning).await?;
    plan.root.name_label = wanted.name;
    let preparing = async {
        let prepared = transfer::prepare(job, &plan, &source, stop).await?;
        let request =
            DiskRequest { virtual_bytes: plan.root.virtual_bytes, data_bytes: Some(prepared.data_bytes()) };
        plan.sr.check_space(&[request]).map_err(Conflict::from).map_err(Conflicts::from)?;
        Ok(prepared)
    };
    let prepared = job.stage(Stage::Scan, preparing).await?;
    Ok(Ready { plan, source, prepared })
}

impl Ready {
    /// What the disk is to be, for whoever fills it otherwise.
    pub(crate) fn into_plan(self) -> Plan {
        self.plan
    }

    /// Makes the disk, with the keys of this operation. It is not on the undo stack: whoever asks for it finds it by
    /// its operation.
    pub(crate) async fn make(self, job: &Job, stop: &Stop) -> Result<(Disk, ImageFacts), Failed> {
        let Self { plan, source, prepared } = self;
        let importing = async {
            if let Source::Cached(image, copying) = &source {
                let copied = heap(|| image_cache::root_disk(job, &plan, image, *copying, stop));
                let (mut disk, _) = copied.await?;
                let content = disk.virtual_bytes;
                spawn::grow(job, &plan, &mut disk, stop).await?;
                heap(|| zeros::fill(job, &plan.sr, &disk, content, Stage::RootDisk, stop)).await?;
                return Ok(disk);
            }
            let disk = empty(job, &plan, stop).await?;
            heap(|| transfer::import_image(job, &plan, &source, prepared, &disk, stop)).await?;
            Ok::<_, Cause>(disk)
        };
        Ok((job.stage(Stage::RootDisk, importing).await?, source.facts()))
    }
}

/// Makes the disk without what is in the image.
pub(crate) async fn empty(job: &Job, plan: &Plan, stop: &Stop) -> Result<Disk, Cause> {
    let disk = job.make_disk(&plan.root, &plan.sr, stop, |_| {}).await?;
    job.seal(&disk).await?;
    Ok(disk)
}

/// Where the disk goes: the host that the instance has, or the one that it wants, reaches it.
async fn planned(
    job: &Job,
    vm: &VmRecord,
    spec: &mut InstanceSpec,
    found: &ImageFacts,
    bytes: Option<u64>,
) -> Result<Plan, Cause> {
    let inventory = inventory::read(&job.driver, spec).await?;
    let home = [&vm.resident_on, &vm.affinity].into_iter().find(|host| !host.is_null());
    let node = plan::choose_node_of(&inventory.nodes, None, home).map_err(Conflicts::from)?;
    spec.node = node.uuid.parse().ok();
    let facts = ImageFacts { disc: false, ..found.clone() };
    let owner = &job.driver.settings().owner;
    let mut plan = plan::plan(spec, &inventory, &facts, owner, job.operation)?;
    if let Some(root_bytes) = bytes {
        if facts.virtual_bytes > root_bytes {
            let (image, image_bytes) = (facts.name, facts.virtual_bytes);
            return Err(Conflicts::from(Conflict::ImageTooLarge { image, image_bytes, root_bytes }).into());
        }
        plan.root.virtual_bytes = root_bytes;
        plan.import = Some(plan::choose_import(&plan.sr, root_bytes));
    }
    dom0_write::check(job, &plan.sr.reference).await?;
    Ok(plan)
}
