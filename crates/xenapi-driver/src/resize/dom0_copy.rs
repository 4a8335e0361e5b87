//! Nova's way for a disk to another host: the plugin `migration.py` of the one sends the VHDs of its chain with rsync over
//! ssh, that of the other takes them into its repository. For hosts that cannot copy disks by XAPI, or slower.
//!
//! What was built up by snapshots is sent while the guest runs, the rest when it does not. Each disk has a folder of its own
//! on the way, and uuids that are in the journal before anything is sent, so that whatever breaks off can be removed.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;
use uuid::Uuid;
use xenapi_client::{Client, ErrorKind};
use xenapi_storage::{Allocation, Format, Repository, lineage};
use xenapi_types::{Host, Pbd, Ref, Sr, Vdi, VdiRecord, sr};

use crate::cancel::Stop;
use crate::compatibility::{self, PluginState};
use crate::dom0_disk::END_PAUSE;
use crate::error::Cause;
use crate::inventory::Node;
use crate::job::Job;
use crate::nova_plugin::{Arg, params};
use crate::plan::{Conflict, Conflicts};
use crate::progress::{Event, Stage};
use crate::remove::{self, Dom0};

const PLUGIN: &str = "migration.py";
/// A chain has 30 disks at most; then XAPI refuses further snapshots.
const MAX_CHAIN: usize = 32;
/// How long a disk may take to get to the other host.
const TRANSFER_LIMIT: Duration = Duration::from_secs(24 * 3_600);

/// How disks get to another host's repository when an instance is resized or moved cold in its pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum CopyVia {
    /// XAPI copies them: between repositories of all types, and nothing in dom0 need trust anything.
    #[default]
    Xapi,
    /// Nova's way, the plugin `migration.py`: between repositories of files (ext, nfs), as the VHDs that they are. Each
    /// host must have the plugin and the folder `/images`, and the root of the one must be let in to the other by ssh.
    ///
    /// When the operation is cancelled, a disk that is being sent is given up at once; with Nova's own
    /// plugin, which cannot do that, it is waited for.
    Dom0,
}

impl fmt::Display for CopyVia {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::Dom0 { "dom0" } else { "xapi" })
    }
}

impl FromStr for CopyVia {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "xapi" => Ok(Self::Xapi),
            "dom0" => Ok(Self::Dom0),
            _ => Err(format!("unknown way {text:?}: use xapi or dom0")),
        }
    }
}

/// What is in the journal of a disk that is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sent {
    /// The host that it is sent to.
    host: Ref<Host>,
    /// Its repository there.
    sr: Ref<Sr>,
    /// What its folder is called on the way.
    label: String,
    /// What it is to be called.
    pub(super) uuid: Uuid,
}

/// The way of a disk.
#[derive(Debug, Clone)]
pub(super) struct Way {
    from: Ref<Host>,
    from_path: String,
    to_path: String,
    address: String,
    pub(super) sent: Sent,
    /// How many disks it is built on, once these are there.
    below: Option<usize>,
}

impl Way {
    /// From a host that reaches the old repository to one that reaches the new one, before anything is touched.
    pub(super) async fn plan(
        job: &Job,
        nodes: &[Node],
        to: &Node,
        (disk, old): (&VdiRecord, Option<&Repository>),
        new: &Repository,
    ) -> Result<Self, Cause> {
        let sees =
            |node: &&Node| node.is_usable() && old.is_some_and(|sr| sr.is_attached_to(&node.reference));
        let Some((old, from)) = old.and_then(|sr| Some((sr, nodes.iter().find(sees)?))) else {
            return Err(Cause::NoHostSees { sr: disk.sr.to_string() });
        };
        let is_vhd = |disk: &VdiRecord| {
            let says = |key: &str| disk.sm_config.get(key).map(String::as_str);
            says("type") != Some("raw") && says("image-format").is_none_or(|format| format == "vhd")
        };
        for (sr, fits) in [(old, is_vhd(disk)), (new, true)] {
            let facts = sr.facts();
            if !fits || (facts.format, facts.allocation) != (Format::Vhd, Allocation::Thin) {
                return Err(Conflicts::from(Conflict::NotOfFiles { sr: sr.name_label.clone() }).into());
            }
        }
        for node in [from, to] {
            able(job.client(), node).await?;
        }
        let sent = Sent {
            host: to.reference.clone(),
            sr: new.reference.clone(),
            label: format!("{}_{}", job.operation, disk.uuid),
            uuid: Uuid::new_v4(),
        };
        Ok(Self {
            from: from.reference.clone(),
            from_path: path(job, from, old).await?,
            to_path: path(job, to, new).await?,
            address: to.address.clone(),
            sent,
            below: None,
        })
    }

    /// Sends what the disk is built on. That does not change any more while a snapshot of it stays.
    pub(super) async fn ahead(&mut self, job: &Job, disk: &Ref<Vdi>, stop: &Stop) -> Result<(), Cause> {
        let doing = || Cause::host("reading what the disk is built on");
        let record = job.client().record(disk).await.map_err(doing())?;
        let disks = job.client().all_records::<Vdi>().await.map_err(doing())?;
        let chain = lineage::ancestors(&disks, &record);
        for (number, uuid) in (1..).zip(&chain) {
            self.transfer(job, uuid, number, stop).await?;
            job.progress.send(Event::Percent(Stage::Storage, (number * 100 / chain.len()) as u8));
        }
        self.below = Some(chain.len());
        Ok(())
    }

    /// Sends the rest of a disk that nobody uses, and has the other host take it in.
    pub(super) async fn complete(
        &mut self,
        job: &Job,
        disk: &Ref<Vdi>,
        record: &VdiRecord,
        stop: &Stop,
    ) -> Result<Ref<Vdi>, Cause> {
        if self.below.is_none() {
            self.ahead(job, disk, stop).await?;
        }
        self.transfer(job, &record.uuid, 0, stop).await?;
        stop.check()?;
        // They are taken from the end.
        let below = (0..self.below.unwrap_or(MAX_CHAIN)).map(|_| Uuid::new_v4().to_string());
        let uuids: Vec<String> = below.chain([self.sent.uuid.to_string()]).collect();
        let (label, path) = (Arg::Text(&self.sent.label), Arg::Text(&self.to_path));
        let args = [("instance_uuid", label), ("sr_path", path), ("uuid_stack", Arg::Texts(&uuids))];
        let doing = || Cause::host(format!("taking disk {} into its repository in dom0", record.uuid));
        let client = job.client().with_deadline(TRANSFER_LIMIT);
        let taken = client.call_plugin(&self.sent.host, PLUGIN, "move_vhds_into_sr", &params(&args)).await;
        taken.map_err(doing())?;
        client.call(sr::Scan { sr: self.sent.sr.clone() }).await.map_err(doing())?;
        client.by_uuid::<Vdi>(&self.sent.uuid.to_string()).await.map_err(doing())
    }

    async fn transfer(&self, job: &Job, uuid: &str, number: usize, stop: &Stop) -> Result<(), Cause> {
        stop.check()?;
        let args = [
            ("instance_uuid", Arg::Text(&self.sent.label)),
            ("host", Arg::Text(&self.address)),
            ("vdi_uuid", Arg::Text(uuid)),
            ("sr_path", Arg::Text(&self.from_path)),
            ("seq_num", Arg::Number(number)),
        ];
        let (client, args) = (job.client().with_deadline(TRANSFER_LIMIT), params(&args));
        let sent = tokio::select! {
            sent = client.call_plugin(&self.from, PLUGIN, "transfer_vhd", &args) => sent,
            never = self.give_up(job.client(), stop) => match never {},
        };
        // What became of one that was to be given up does not matter: it is discarded.
        stop.check()?;
        sent.map(drop).map_err(Cause::host(format!("sending disk {uuid} to host {}", self.address)))
    }

    /// Once it is to stop: has the host give up what it is sending. Its answer is awaited all the same: until
    /// then it writes to what is to be discarded.
    async fn give_up(&self, client: &Client, stop: &Stop) -> std::convert::Infallible {
        let _ = stop.guard(std::future::pending::<()>()).await;
        let args = params(&[("instance_uuid", Arg::Text(&self.sent.label))]);
        loop {
            match client.call_plugin(&self.from, PLUGIN, "cancel_transfer", &args).await {
                Err(error)
                    if error.is("UNKNOWN_XENAPI_PLUGIN_FUNCTION") || error.plugin_failure().is_some() =>
                {
                    tracing::warn!(%error, "the host's plugin cannot give a disk up, so that it is waited for");
                    return std::future::pending().await;
                }
                Err(error) => tracing::debug!(%error, "asked once more"),
                Ok(_) => {}
            }
            tokio::time::sleep(END_PAUSE).await;
        }
    }
}

impl Sent {
    /// Removes what was sent: what has not been taken in, and what has, unless it has come to have keys of somebody.
    pub(super) async fn discard(&self, client: &Client, patience: Duration) -> xenapi_client::Result<()> {
        let args = params(&[("instance_uuid", Arg::Text(&self.label))]);
        match client.call_plugin(&self.host, PLUGIN, "discard_vhds", &args).await {
            Err(error) if error.plugin_failure().is_some() || error.is("UNKNOWN_XENAPI_PLUGIN_FUNCTION") => {
                // Nova's own plugin has no such function.
                tracing::warn!(%error, "/images/instance{} may be left on the host", self.label);
            }
            Err(error) if error.is("XENAPI_MISSING_PLUGIN") => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            other => drop(other?),
        }
        // It may have been taken in without a scan.
        let scanned = client.call(sr::Scan { sr: self.sr.clone() }).await;
        remove::gone_is_fine(scanned)?;
        match client.by_uuid_opt::<Vdi>(&self.uuid.to_string()).await? {
            Some(vdi) => match client.record_opt(&vdi).await? {
                Some(record) if remove::has_user(client, &record, None).await? => Ok(()),
                _ => remove::vdi(client, &vdi, Dom0::Detach, patience).await,
            },
            None => Ok(()),
        }
    }
}

/// Sees that a host has the plugin, ours or Nova's.
async fn able(client: &Client, node: &Node) -> Result<(), Cause> {
    let why = match compatibility::state(client, &node.reference).await {
        PluginState::Installed { functions, .. } if functions.contains_key("migration") => return Ok(()),
        PluginState::Foreign { .. } => return Ok(()),
        PluginState::Unknown { why } => why,
        PluginState::Installed { .. } | PluginState::Missing => format!("it has no {PLUGIN}"),
    };
    Err(Conflicts::from(Conflict::NoPlugin { node: node.name.clone(), why }).into())
}

/// Where a repository is in a host's dom0: where its PBD says, or below the common folder.
async fn path(job: &Job, node: &Node, sr: &Repository) -> Result<String, Cause> {
    let pbds = job.client().all_records::<Pbd>().await.map_err(Cause::host("reading the hosts' PBDs"))?;
    let here = pbds.into_values().find(|pbd| pbd.host == node.reference && pbd.sr == sr.reference);
    let said = here.and_then(|pbd| pbd.device_config.get("path").cloned());
    let base = job.driver.settings().sr_base_path.trim_end_matches('/').to_owned();
    Ok(said.unwrap_or_else(|| format!("{base}/{}", sr.uuid)))
}
