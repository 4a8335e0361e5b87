//! A verb that failed, and which one it was.

use std::fmt;

use xenapi_types::Failure;

use super::Cause;
use crate::progress::Stage;
use crate::rollback::Leftover;

/// A verb that failed.
///
/// Whatever it had made is gone again, except for the [leftovers](Error::leftovers).
pub struct Error(Box<Inner>);

struct Inner {
    op: Op,
    object: String,
    stage: Stage,
    cause: Cause,
    leftovers: Vec<Leftover>,
}

/// A verb of the driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Op {
    /// `Driver::connect`.
    Connect,
    /// `Driver::nodes`.
    Nodes,
    /// `Driver::spawn`.
    Spawn,
    /// `Driver::snapshot`.
    Snapshot,
    /// `Driver::destroy`.
    Destroy,
    /// `Driver::power`.
    Power,
    /// `Driver::instances`.
    Instances,
    /// `Driver::adopt`.
    Adopt,
    /// `Driver::soft_delete`.
    SoftDelete,
    /// `Driver::restore`.
    Restore,
    /// `Driver::agent`, and what the agent is asked for.
    Agent,
    /// `Driver::work_on_disk`.
    WorkOnDisk,
    /// `Driver::compatibility`.
    Compatibility,
    /// `Driver::resize`.
    Resize,
    /// `Driver::confirm_resize`.
    ConfirmResize,
    /// `Driver::revert_resize`.
    RevertResize,
    /// `Driver::live_migrate`, `Driver::plan_live_migration`.
    LiveMigrate,
    /// `Driver::migrate_to_pool`, `Driver::plan_pool_migration`.
    MigrateToPool,
    /// `Driver::move_to_pool`.
    MoveToPool,
    /// `Driver::confirm_move`.
    ConfirmMove,
    /// `Driver::revert_move`.
    RevertMove,
    /// `Driver::reconcile`.
    Reconcile,
    /// `Driver::rescue`.
    Rescue,
    /// `Driver::unrescue`.
    Unrescue,
    /// `Driver::rebuild`.
    Rebuild,
    /// `Driver::evacuate`.
    Evacuate,
    /// `Driver::node`, `Driver::set_node_enabled`, `Driver::drain_node`, `Driver::reboot_node`,
    /// `Driver::shutdown_node`.
    Node,
    /// `Driver::join_pool`.
    JoinPool,
    /// `Driver::eject_node`.
    EjectNode,
    /// `Driver::attach_volume`.
    AttachVolume,
    /// `Driver::detach_volume`.
    DetachVolume,
    /// `Driver::extend_volume`.
    ExtendVolume,
    /// `Driver::swap_volume`.
    SwapVolume,
    /// `Driver::volumes`, `Driver::check_volumes`, `Driver::connector`.
    Volumes,
    /// `Driver::attach_interface`, `Driver::plug_port`.
    AttachInterface,
    /// `Driver::detach_interface`, `Driver::unplug_port`.
    DetachInterface,
    /// `Driver::interfaces`, `Driver::lock_interface`.
    Interfaces,
    /// `Driver::ensure_network`, `Driver::remove_network`.
    Network,
    /// `Driver::cached_images`, `Driver::cache_image`, `Driver::evict_images`.
    Images,
    /// `Driver::import_disk`.
    ImportDisk,
    /// `Driver::export_disk`.
    ExportDisk,
    /// `Driver::check_config_drive`.
    ConfigDrive,
    /// `Driver::change_metadata`, `Driver::tell_network`.
    Metadata,
    /// `Driver::console_log`, `Driver::console`, `Driver::diagnostics`, `Driver::traffic`, `Driver::events`.
    Observe,
    /// `Driver::close`.
    Close,
}

impl Error {
    pub(crate) fn new(op: Op, object: impl Into<String>, stage: Stage, cause: impl Into<Cause>) -> Self {
        Self(Box::new(Inner { op, object: object.into(), stage, cause: cause.into(), leftovers: Vec::new() }))
    }

    pub(crate) fn with_leftovers(mut self, leftovers: Vec<Leftover>) -> Self {
        self.0.leftovers = leftovers;
        self
    }

    /// The verb.
    pub fn op(&self) -> Op {
        self.0.op
    }

    /// What it was done to: `instance web1`.
    pub fn object(&self) -> &str {
        &self.0.object
    }

    /// The stage at which it failed.
    pub fn stage(&self) -> Stage {
        self.0.stage
    }

    /// Why.
    pub fn cause(&self) -> &Cause {
        &self.0.cause
    }

    /// What XAPI answered, when that is the reason.
    pub fn failure(&self) -> Option<&Failure> {
        match &self.0.cause {
            Cause::Host { source, .. } => source.failure(),
            _ => None,
        }
    }

    /// What would have been done, of a driver that only tells it ([`Driver::rehearsing`](crate::Driver::rehearsing)).
    pub fn planned(&self) -> Option<&[String]> {
        match &self.0.cause {
            Cause::DryRun(steps) => Some(steps),
            _ => None,
        }
    }

    /// What could not be undone and is still there.
    pub fn leftovers(&self) -> &[Leftover] {
        &self.0.leftovers
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "connect to",
            Self::Nodes => "list the nodes of",
            Self::Spawn => "spawn",
            Self::Snapshot => "snapshot",
            Self::Destroy => "destroy",
            Self::Images => "cache",
            Self::ImportDisk => "import",
            Self::ExportDisk => "export",
            Self::Power => "change the power state of",
            Self::Instances => "look up",
            Self::SoftDelete => "soft-delete",
            Self::Restore => "restore",
            Self::Agent => "ask the guest agent of",
            Self::WorkOnDisk => "work on",
            Self::Compatibility => "report on what works at",
            Self::Resize => "resize",
            Self::ConfirmResize => "confirm the resize of",
            Self::RevertResize => "revert the resize of",
            Self::LiveMigrate => "migrate",
            Self::Adopt => "take over",
            Self::MigrateToPool => "move to another pool",
            Self::MoveToPool => "move to another pool, with a way back,",
            Self::ConfirmMove => "confirm the move of",
            Self::RevertMove => "revert the move of",
            Self::Reconcile => "reconcile",
            Self::Rescue => "rescue",
            Self::Unrescue => "end the rescue of",
            Self::Rebuild => "rebuild",
            Self::Evacuate => "evacuate",
            Self::Node => "look after",
            Self::JoinPool => "join the pool with",
            Self::EjectNode => "eject",
            Self::AttachVolume => "attach a volume to",
            Self::DetachVolume => "detach a volume from",
            Self::ExtendVolume => "extend a volume of",
            Self::SwapVolume => "swap a volume of",
            Self::Volumes => "look at the volumes of",
            Self::AttachInterface => "attach an interface to",
            Self::DetachInterface => "detach an interface from",
            Self::Interfaces => "look at the interfaces of",
            Self::Network => "change",
            Self::ConfigDrive => "check the config drive of",
            Self::Metadata => "change the guest's data of",
            Self::Observe => "observe",
            Self::Close => "log out from",
        })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { op, object, stage, cause, leftovers } = &*self.0;
        match op {
            // Nothing is gained by saying at which stage of connecting one could not connect.
            Op::Connect | Op::Close => write!(f, "cannot {op} {object}: {cause}")?,
            _ => write!(f, "cannot {op} {object} (at {stage}): {cause}")?,
        }
        if !leftovers.is_empty() {
            write!(f, "; remove by hand what could not be undone: ")?;
            for (i, leftover) in leftovers.iter().enumerate() {
                write!(f, "{}{leftover}", if i == 0 { "" } else { ", " })?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { op, object, stage, cause, leftovers } = &*self.0;
        f.debug_struct("Error")
            .field("op", op)
            .field("object", object)
            .field("stage", stage)
            .field("cause", cause)
            .field("leftovers", leftovers)
            .finish()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        // The cause's own text is in ours.
        self.0.cause.source()
    }
}
