//! What stands beside the pool: servers whose storage is reached over the network.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use md5::{Digest, Md5};
use uuid::Uuid;
use xenapi_wire::Failure;

use crate::db::{Object, View};
use crate::dispatch::Ctx;
use crate::sr_types::backend_failure;

/// The storage servers that hosts can reach. Clones are the same servers.
///
/// A pool that was given none reaches every server that an SR names, as long as that is no iSCSI target.
#[derive(Clone, Default)]
pub struct Targets(Arc<Mutex<Vec<Target>>>);

/// A storage server.
#[derive(Clone)]
pub struct Target {
    /// As `device_config` names it: `target` or `server`.
    address: String,
    /// A server that does not answer keeps its clients waiting.
    dead: bool,
    login: Option<(String, String)>,
    what: What,
}

#[derive(Clone)]
enum What {
    Luns { iqn: String, luns: Vec<Lun> },
    Share { path: String, srs: BTreeSet<String> },
}

/// A LUN: its number and its size in bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lun {
    pub(crate) number: u32,
    pub(crate) bytes: u64,
}

/// How long the storage manager waits for a server that does not answer.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks whether a waiting task was cancelled.
const TICK: Duration = Duration::from_millis(20);

impl Target {
    /// An iSCSI target with LUNs, by number and size in bytes.
    pub fn iscsi(
        address: impl Into<String>,
        iqn: impl Into<String>,
        luns: impl IntoIterator<Item = (u32, u64)>,
    ) -> Self {
        let luns = luns.into_iter().map(|(number, bytes)| Lun { number, bytes }).collect();
        Self::new(address, What::Luns { iqn: iqn.into(), luns })
    }

    /// An NFS export or SMB share: `serverpath` of the one, the path behind the server's name of the other.
    pub fn share(address: impl Into<String>, path: impl Into<String>) -> Self {
        Self::new(address, What::Share { path: path.into(), srs: BTreeSet::new() })
    }

    /// The same, for those who know a name and a password only.
    pub fn login(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        self.login = Some((user.into(), password.into()));
        self
    }

    fn new(address: impl Into<String>, what: What) -> Self {
        Self { address: address.into(), dead: false, login: None, what }
    }

    fn fits(&self, config: &Wanted) -> bool {
        self.address == config.address
            && match &self.what {
                What::Luns { iqn, .. } => config.iqn.as_deref() == Some(iqn),
                What::Share { path, .. } => config.path == *path,
            }
    }
}

impl Targets {
    /// Adds a server, which answers in the place of an earlier one of the same address and name.
    pub fn add(&self, target: Target) {
        self.lock().push(target);
    }

    /// Has a server no longer answer, or answer again.
    pub fn set_dead(&self, address: &str, dead: bool) {
        self.lock().iter_mut().filter(|target| target.address == address).for_each(|t| t.dead = dead);
    }

    /// Changes the size of a LUN on all targets that have one of this number.
    pub fn resize_lun(&self, number: u32, bytes: u64) {
        for target in self.lock().iter_mut() {
            let What::Luns { luns, .. } = &mut target.what else { continue };
            luns.iter_mut().filter(|lun| lun.number == number).for_each(|lun| lun.bytes = bytes);
        }
    }

    fn find(&self, wanted: &Wanted) -> Option<Target> {
        self.lock().iter().rev().find(|target| target.fits(wanted)).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Target>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Targets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.lock().iter().map(|target| &target.address)).finish()
    }
}

/// What a `device_config` asks for.
struct Wanted {
    address: String,
    iqn: Option<String>,
    path: String,
    user: String,
    password: String,
}

impl Wanted {
    /// `None` for types that are not reached over the network.
    fn of(view: &View, kind: &str, pbd: Object<'_>) -> Option<Self> {
        let text = |key: &str| pbd.entry("device_config", key).unwrap_or_default().to_owned();
        let secret = |key: &str| {
            let uuid = text(&format!("{key}_secret"));
            let value = view.by_uuid("secret", &uuid).map(|secret| secret.str("value").to_owned());
            value.unwrap_or_else(|_| text(key))
        };
        let (address, path, user, password) = match kind {
            "iscsi" | "lvmoiscsi" => {
                (text("target"), String::new(), text("chapuser"), secret("chappassword"))
            }
            "nfs" => (text("server"), text("serverpath"), String::new(), String::new()),
            "smb" => {
                let server = text("server").replace('\\', "/");
                let (address, path) = server.trim_start_matches('/').split_once('/')?;
                (address.to_owned(), format!("/{path}"), text("username"), secret("password"))
            }
            _ => return None,
        };
        let iqn = matches!(kind, "iscsi" | "lvmoiscsi").then(|| text("targetIQN"));
        Some(Self { address, iqn, path, user, password })
    }
}

/// Has whoever plugs a drive, or takes one or a PBD away, wait for the server of the repository when it is dead: the storage
/// manager flushes and logs out there.
///
/// # Errors
/// What the storage manager says of a server it cannot reach; `TASK_CANCELLED`.
pub(crate) async fn touch(ctx: &Ctx, pbd: Option<String>) -> Result<(), Failure> {
    let wanted = pbd.and_then(|pbd| {
        ctx.read(|view| {
            let pbd = view.object("PBD", &pbd).ok()?;
            let kind = view.object("SR", pbd.str("SR")).ok()?.str("type").to_owned();
            Some((Wanted::of(view, &kind, pbd)?, kind))
        })
    });
    let targets = &ctx.core.config().targets;
    match wanted {
        Some((wanted, kind)) if targets.find(&wanted).is_some_and(|target| target.dead) => {
            wait_in_vain(ctx).await?;
            Err(unreachable_server(&kind))
        }
        _ => Ok(()),
    }
}

/// The PBD by which the host of a drive's VM reaches its disk.
pub(crate) fn pbd_of(ctx: &Ctx, vbd: &str) -> Option<String> {
    ctx.read(|view| {
        let vbd = view.object("VBD", vbd).ok()?;
        let host = view.object("VM", vbd.str("VM")).ok()?.str("resident_on").to_owned();
        let sr = view.object("SR", view.object("VDI", vbd.str("VDI")).ok()?.str("SR")).ok()?;
        let here = view.follow(sr, "PBDs", "PBD").find(|pbd| pbd.str("host") == host);
        here.map(|pbd| pbd.reference().to_owned())
    })
}

/// Makes sure that the server of a PBD answers and lets the host in; one that is dead takes its time.
///
/// # Errors
/// What the storage manager says of a server it cannot reach or that does not know the password; `TASK_CANCELLED`.
pub(crate) async fn reach(ctx: &Ctx, pbd: &str) -> Result<(), Failure> {
    let Some((kind, uuid, wanted)) = ctx.read(|view| {
        let pbd = view.object("PBD", pbd).ok()?;
        let sr = view.object("SR", pbd.str("SR")).ok()?;
        let wanted = Wanted::of(view, sr.str("type"), pbd)?;
        Some((sr.str("type").to_owned(), sr.str("uuid").to_owned(), wanted))
    }) else {
        return Ok(());
    };
    let targets = &ctx.core.config().targets;
    if targets.lock().is_empty() && kind != "iscsi" {
        return Ok(());
    }
    let Some(target) = targets.find(&wanted).filter(|target| !target.dead) else {
        wait_in_vain(ctx).await?;
        return Err(unreachable_server(&kind));
    };
    if let Some((user, password)) = &target.login
        && (wanted.user != *user || wanted.password != *password)
    {
        return Err(match kind.as_str() {
            "smb" => backend_failure(111, "SMB mount error [opterr=Permission denied]"),
            _ => backend_failure(68, "ISCSI login failed, verify CHAP credentials"),
        });
    }
    for target in targets.lock().iter_mut().filter(|target| target.fits(&wanted)) {
        if let What::Share { srs, .. } = &mut target.what {
            srs.insert(uuid.clone());
        }
    }
    Ok(())
}

async fn wait_in_vain(ctx: &Ctx) -> Result<(), Failure> {
    let until = ctx.core.clock().now().checked_add(PATIENCE).unwrap_or(jiff::Timestamp::MAX);
    while ctx.core.clock().now() < until {
        if ctx.is_cancelled() {
            return Err(Failure::new("TASK_CANCELLED", [ctx.task.as_str()]));
        }
        tokio::time::sleep(TICK).await;
    }
    Ok(())
}

fn unreachable_server(kind: &str) -> Failure {
    match kind {
        "nfs" => backend_failure(73, "NFS mount error [opterr=mount failed with return code 32]"),
        "smb" => backend_failure(111, "SMB mount error [opterr=mount failed with return code 32]"),
        _ => backend_failure(141, "Unable to connect to iSCSI service on target"),
    }
}

/// The LUNs behind an SR, with the uuids under which they are always found again.
pub(crate) fn luns(targets: &Targets, view: &View, sr: Object<'_>) -> Vec<(Lun, Uuid)> {
    let plugged = view.follow(sr, "PBDs", "PBD").find(|pbd| pbd.bool("currently_attached"));
    let Some(wanted) = plugged.and_then(|pbd| Wanted::of(view, sr.str("type"), pbd)) else {
        return Vec::new();
    };
    let Some(Target { what: What::Luns { iqn, luns }, .. }) = targets.find(&wanted) else {
        return Vec::new();
    };
    let uuid = |lun: Lun| {
        let digest = Md5::digest(format!("{iqn} {}", lun.number));
        uuid::Builder::from_md5_bytes(digest.into()).into_uuid()
    };
    luns.into_iter().map(|lun| (lun, uuid(lun))).collect()
}

/// What `SR.probe` prints of a share: the SRs on it.
pub(crate) fn srs_on(targets: &Targets, address: &str, path: &str) -> Vec<String> {
    let all = targets.lock();
    let found = all.iter().find_map(|target| match &target.what {
        What::Share { path: own, srs } if target.address == address && own == path => Some(srs),
        _ => None,
    });
    found.into_iter().flatten().cloned().collect()
}
