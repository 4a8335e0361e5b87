//! What works from where this driver runs, and what does not: the table of the independent-compute
//! specification, row by row, for the options that are set, the hosts' plugins, and this machine.

mod health;
mod judge;
mod machine;
mod plugins;

use std::fmt;

use serde::Serialize;
use xenapi_config::Settings as Options;
use xenapi_types::Vm;

pub use health::{HostHealth, RepositoryHealth};
pub use machine::Machine;
pub(crate) use plugins::state;
pub use plugins::{HostPlugins, PluginState};

use crate::driver::Driver;
use crate::error::{Cause, Error, Op, Result};
use crate::progress::Stage;

/// Where the driver runs, seen from the endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Outside of the endpoint's VMs.
    Independent {
        /// Why it is taken for that.
        because: String,
    },
    /// In a VM of the endpoint.
    Inside {
        /// The VM's uuid.
        vm_uuid: String,
        /// Its name.
        name: String,
    },
}

/// How much is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Strictness {
    /// What cannot be done. What the specification refuses and can be done is.
    #[default]
    Able,
    /// What the specification refuses in independent mode, and nothing else.
    Strict,
}

impl Strictness {
    /// As the option `strictness` says.
    pub fn of(options: &Options) -> Self {
        // A value that is neither was found when the options were read.
        if options.text("strictness") == "strict" { Self::Strict } else { Self::Able }
    }
}

/// A row of the table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Row {
    /// The function in the specification's table; empty for what it does not have.
    pub function: &'static str,
    /// What it is about.
    pub feature: &'static str,
    /// What becomes of it.
    pub verdict: Verdict,
}

/// What becomes of a feature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "verdict")]
#[non_exhaustive]
pub enum Verdict {
    /// As one expects.
    Works,
    /// In another way.
    Differently {
        /// Which.
        how: String,
    },
    /// Not.
    Refused {
        /// For what reason.
        why: String,
        /// What can be done instead.
        remedy: String,
    },
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Works => f.write_str("works"),
            Self::Differently { how } => write!(f, "works differently: {how}"),
            Self::Refused { why, remedy } => write!(f, "refused: {why}; {remedy}"),
        }
    }
}

/// The report. It serializes to JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Compatibility {
    /// Where the driver runs.
    pub mode: Mode,
    /// How much is refused.
    pub strictness: Strictness,
    /// The table.
    pub rows: Vec<Row>,
    /// What each host has.
    pub plugins: Vec<HostPlugins>,
    /// What each host is like.
    pub hosts: Vec<HostHealth>,
    /// The storage repositories, the default one first.
    pub repositories: Vec<RepositoryHealth>,
    /// Options that ask for what is refused, or contradict where the driver runs.
    pub conflicts: Vec<String>,
}

/// Options cannot be had as they are set. All conflicts are here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the options do not fit where this driver runs: {}", .0.join("; "))]
pub struct Incompatible(pub Vec<String>);

impl Compatibility {
    /// Whether a service with these options may start.
    ///
    /// # Errors
    /// All conflicts in one.
    pub fn check(&self) -> std::result::Result<(), Incompatible> {
        if self.conflicts.is_empty() { Ok(()) } else { Err(Incompatible(self.conflicts.clone())) }
    }
}

impl Driver {
    /// Finds out where the driver runs and what works from there. Nothing is changed.
    ///
    /// `independent_compute` among the options decides when it is set; otherwise the driver is taken for
    /// independent unless this machine is a VM of the endpoint.
    ///
    /// # Errors
    ///
    /// [`Cause::Host`] when the endpoint cannot be asked. A host whose plugins cannot be asked is part of
    /// the report.
    pub async fn compatibility(
        &self,
        options: &Options,
        strictness: Strictness,
        machine: &Machine,
    ) -> Result<Compatibility> {
        let report = async {
            let inside = self.own_vm(machine).await?;
            let nodes = crate::inventory::read_nodes(self).await?;
            let plugins = plugins::ask(self.client(), &nodes).await;
            let doing = "reading the pool's storage repositories";
            let repositories = health::repositories(self.client()).await.map_err(Cause::host(doing))?;
            let hosts = health::hosts(self.client(), &nodes).await;
            let report = judge::report(options, strictness, inside, plugins);
            Ok(Compatibility { hosts, repositories, ..report })
        };
        report
            .await
            .map_err(|cause: Cause| Error::new(Op::Compatibility, self.endpoint(), Stage::Find, cause))
    }

    /// Whether a service with these options may start, as strictly as `strictness` among them says. It is what
    /// [`Driver::compatibility`] finds in its conflicts, and only what they depend on is asked of the endpoint. Nothing
    /// is changed.
    ///
    /// What single requests ask for, such as a smaller root disk, is not looked at.
    ///
    /// # Errors
    ///
    /// [`Cause::Incompatible`] with all conflicts; [`Cause::Host`] when the endpoint cannot be asked.
    pub async fn check_options(&self, options: &Options, machine: &Machine) -> Result<()> {
        let checked = async {
            let inside = self.own_vm(machine).await?;
            // Of the options, it alone wants a plugin.
            let plugins = match options.flag("flat_injected") {
                true => plugins::ask(self.client(), &crate::inventory::read_nodes(self).await?).await,
                false => Vec::new(),
            };
            let report = judge::report(options, Strictness::of(options), inside, plugins);
            Ok(report.check()?)
        };
        checked
            .await
            .map_err(|cause: Cause| Error::new(Op::Compatibility, self.endpoint(), Stage::Find, cause))
    }

    /// The VM of the endpoint that this machine is: uuid and name; otherwise why it is none.
    async fn own_vm(
        &self,
        machine: &Machine,
    ) -> Result<std::result::Result<(String, String), String>, Cause> {
        let Some(uuid) = machine.vm_uuid().await else {
            return Ok(Err("this machine has no Xen uuid, so it is no VM of a XenServer host".to_owned()));
        };
        let doing = "looking for the VM that this machine is";
        let Some(vm) = self.client().by_uuid_opt::<Vm>(&uuid).await.map_err(Cause::host(doing))? else {
            return Ok(Err(format!("this machine is VM {uuid}, which is none of the endpoint's")));
        };
        let record = self.client().record(&vm).await.map_err(Cause::host(doing))?;
        Ok(Ok((uuid, record.name_label)))
    }
}
