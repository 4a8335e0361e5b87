//! A disk as the layers that it has grown by.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use disk_stream::{Identified, Identity};
use http_body::{Body, Frame};
use uuid::Uuid;
use xenapi_client::{Client, ExportFormat};
use xenapi_storage::lineage::{self, Disks};
use xenapi_types::{Ref, Vdi, VdiRecord};

use crate::cancel::Stop;
use crate::error::Cause;
use crate::job::{Disk, Job};
use crate::progress::{Progress, Stage};
use crate::transfer::Download;

/// Most layers of an image: Nova's plugin has no names for more. What is older is in the last one.
const MOST: usize = 16;

/// What a disk is built on before it is snapshotted, to see afterwards whether there is something to wait for.
pub(crate) async fn before(job: &Job, disk: &VdiRecord) -> Result<Vec<String>, Cause> {
    Ok(lineage::ancestors(&all(job).await?, disk))
}

async fn all(job: &Job) -> Result<Disks, Cause> {
    job.client().all_records::<Vdi>().await.map_err(Cause::host("reading how disks are built on each other"))
}

/// Waits until the SR has merged what a snapshot of the disk has split, if it is going to.
pub(crate) async fn coalesced(
    job: &Job,
    vdi: &Ref<Vdi>,
    disk: &VdiRecord,
    before: &[String],
    patience: Duration,
    stop: &Stop,
) -> Result<(), Cause> {
    let doing = || Cause::host(format!("waiting until the chain of disk {} is coalesced", disk.uuid));
    let sr = job.client().record(&disk.sr).await.map_err(doing())?;
    if !lineage::will_coalesce(&all(job).await?, &sr, before) {
        return Ok(());
    }
    let merged = job.client().wait_until(vdi, patience, |now| lineage::has_coalesced(now, before));
    match stop.guard(merged).await? {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == xenapi_client::ErrorKind::Timeout => {
            let (disk, seconds) = (disk.uuid.clone(), patience.as_secs());
            Err(Cause::NotCoalesced { disk, sr: sr.name_label, seconds })
        }
        Err(error) => Err(doing()(error)),
    }
}

/// The snapshot and what it was earlier, as far as the SR still has it, the newest first.
pub(crate) async fn find(job: &Job, snapshot: &Disk) -> Result<Vec<Disk>, Cause> {
    let disks = all(job).await?;
    let mut found = vec![snapshot.clone()];
    let Some(record) = disks.get(&snapshot.reference) else { return Ok(found) };
    for reference in lineage::versions(&disks, record).into_iter().take(MOST - 1) {
        let record = &disks[&reference];
        let virtual_bytes = u64::try_from(record.virtual_size).unwrap_or(0);
        found.push(Disk { reference, sr: record.sr.clone(), uuid: record.uuid.clone(), virtual_bytes });
    }
    Ok(found)
}

/// The VHDs of layers, one right after the other: each what differs from the next one, the last a whole disk.
///
/// The export of a layer is begun when the one before has ended.
pub(crate) struct Exports {
    client: Client,
    progress: Progress,
    waiting: VecDeque<Layer>,
    current: Current,
}

struct Layer {
    disk: Disk,
    base: Option<Ref<Vdi>>,
    identity: Identity,
}

type Opening = Pin<Box<dyn Future<Output = xenapi_client::Result<Identified<Download>>> + Send>>;

enum Current {
    None,
    Opening(Opening),
    Open(Box<Identified<Download>>),
}

impl Exports {
    /// The layers of a disk, the newest first, named as in an archive: `0.vhd` to `n.vhd`.
    pub(crate) fn new(job: &Job, layers: &[Disk]) -> Self {
        let name = |disk: &Disk| disk.uuid.parse().unwrap_or_else(|_| Uuid::new_v4());
        let uuids: Vec<Uuid> = layers.iter().map(name).collect();
        let layer = |(number, disk): (usize, &Disk)| {
            let base = layers.get(number + 1);
            let identity = match base {
                Some(_) => Identity::child(uuids[number], uuids[number + 1], format!("{}.vhd", number + 1)),
                None => Identity::whole(uuids[number]),
            };
            Layer { disk: disk.clone(), base: base.map(|base| base.reference.clone()), identity }
        };
        let waiting = layers.iter().enumerate().map(layer).collect();
        let (client, progress) = (job.client().clone(), job.progress.clone());
        Self { client, progress, waiting, current: Current::None }
    }

    fn open(&self, layer: Layer) -> Opening {
        let (client, progress) = (self.client.clone(), self.progress.clone());
        Box::pin(async move {
            let Layer { disk, base, identity } = layer;
            let export = client.export_vdi(&disk.reference, ExportFormat::Vhd, base.as_ref()).await?;
            Ok(Identified::new(Download::new(export, Stage::Export, progress, disk.virtual_bytes), identity))
        })
    }
}

impl Body for Exports {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        loop {
            match &mut self.current {
                Current::None => {
                    let Some(layer) = self.waiting.pop_front() else { return Poll::Ready(None) };
                    self.current = Current::Opening(self.open(layer));
                }
                Current::Opening(opening) => match ready!(opening.as_mut().poll(context)) {
                    Ok(export) => self.current = Current::Open(Box::new(export)),
                    Err(error) => {
                        (self.current, self.waiting) = (Current::None, VecDeque::new());
                        return Poll::Ready(Some(Err(error.into())));
                    }
                },
                Current::Open(export) => match ready!(Pin::new(export).poll_frame(context)) {
                    Some(frame) => return Poll::Ready(Some(frame)),
                    None => self.current = Current::None,
                },
            }
        }
    }
}

impl fmt::Debug for Exports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exports").field("waiting", &self.waiting.len()).finish_non_exhaustive()
    }
}
