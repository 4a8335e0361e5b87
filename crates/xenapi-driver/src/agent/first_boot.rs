//! What the agent of a new instance is asked for after its first start, in Nova's order.

use std::collections::BTreeMap;
use std::fmt;

use guest_agent::{Command, OwnerKey};
use xenapi_client::Secret;
use xenapi_config::Settings as Options;

use super::{Agent, AgentTimeouts, password};
use crate::cancel::Stop;
use crate::compatibility;
use crate::error::Cause;
use crate::job::Job;
use crate::plan::{Conflict, Conflicts, Plan};
use crate::spec::{OsType, Power};

/// Where an agent is given its owner's key.
const AUTHORIZED_KEYS: &str = "/root/.ssh/authorized_keys";

/// What the agent of a new instance is asked for after its first start, while it finds its host name and network in
/// xenstore: version, key, files, password, network and update, in this order. It needs the plugin `agent` in dom0.
///
/// Cloud-init with a config drive does all of this without an agent.
#[derive(Clone, PartialEq, Eq)]
pub struct AgentSetup {
    /// What becomes of the instance if it does not do it.
    pub need: AgentNeed,
    /// How long it is waited for.
    pub timeouts: AgentTimeouts,
    /// The owner's public ssh key, one line. If it is of type `ssh-rsa`, the password is sealed with it.
    pub owner_key: Option<String>,
    /// Whether the key is sent for `/root/.ssh/authorized_keys`; to Windows it never is.
    pub send_key: bool,
    /// Files by their path in the guest.
    pub files: BTreeMap<String, Vec<u8>>,
    /// The administrator's password.
    pub password: Option<AdminPassword>,
    /// Whether it configures the network from what xenstore says.
    pub reset_network: bool,
    /// A version of it that it replaces itself by, if that is newer.
    pub update: Option<AgentBuild>,
}

/// Whether an instance needs its agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AgentNeed {
    /// What it does not do is told ([`AgentReport::faults`]), and the instance stays; if it never answers, that is all.
    #[default]
    IfFound,
    /// Or there is no instance.
    Required,
}

/// A password for the administrator of a new instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AdminPassword {
    /// This one.
    Given(Secret),
    /// One by chance, which nobody knows but the owner of the key: it needs one of type `ssh-rsa`.
    Generated,
}

/// A version of the agent, and where to fetch it from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentBuild {
    /// The version: numbers with dots between them.
    pub version: String,
    /// Where it is.
    pub url: String,
    /// Its MD5 digest in hexadecimal digits.
    pub md5: String,
}

/// What an agent did at the first start.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct AgentReport {
    /// Its version; `None` if it never answered.
    pub version: Option<String>,
    /// What it has done.
    pub done: Vec<AgentStep>,
    /// What it has not done, and why.
    pub faults: Vec<(AgentStep, String)>,
    /// The password as only its owner can read it ([`Driver::sealed_password`](crate::Driver::sealed_password)).
    pub sealed_password: Option<String>,
}

/// One thing that an agent is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum AgentStep {
    /// Its version.
    Version,
    /// To write the owner's key.
    Key,
    /// To write this file.
    File(String),
    /// To set the password.
    Password,
    /// To configure the network.
    Network,
    /// To replace itself.
    Update,
}

impl Default for AgentSetup {
    /// Configures the network, and nothing else.
    fn default() -> Self {
        Self {
            need: AgentNeed::default(),
            timeouts: AgentTimeouts::default(),
            owner_key: None,
            send_key: true,
            files: BTreeMap::new(),
            password: None,
            reset_network: true,
            update: None,
        }
    }
}

impl fmt::Debug for AgentSetup {
    /// Without what is in the files.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentSetup")
            .field("need", &self.need)
            .field("timeouts", &self.timeouts)
            .field("owner_key", &self.owner_key)
            .field("files", &self.files.keys())
            .field("password", &self.password)
            .field("reset_network", &self.reset_network)
            .field("update", &self.update)
            .finish_non_exhaustive()
    }
}

impl AgentSetup {
    /// As Nova's options have it for images that say nothing: none, unless `use_agent_default` is set and `disable_agent`
    /// is not.
    pub fn of(options: &Options) -> Option<Self> {
        Self::of_image(options, &BTreeMap::new())
    }

    /// As Nova's options and an image's properties have it: `xenapi_use_agent` says whether the image has an agent, before
    /// `use_agent_default`, which also counts where the property's value is neither true nor false (a warning says so);
    /// `disable_agent` before both. With `xenapi_skip_agent_inject_ssh`, the agent is not sent the key. Files are the
    /// caller's, who asks [`AgentSetup::takes_files`].
    pub fn of_image(options: &Options, properties: &BTreeMap<String, String>) -> Option<Self> {
        let said = properties.get("xenapi_use_agent").and_then(|text| {
            let said = truth(text);
            if said.is_none() {
                tracing::warn!(
                    value = text,
                    "the image's property xenapi_use_agent is neither true nor false"
                );
            }
            said
        });
        let used =
            said.unwrap_or_else(|| options.flag("use_agent_default")) && !options.flag("disable_agent");
        let send_key = !is_true(properties, "xenapi_skip_agent_inject_ssh");
        used.then(|| Self { timeouts: AgentTimeouts::of(options), send_key, ..Self::default() })
    }

    /// Whether the agent of an image with these properties is to be sent files: not with
    /// `xenapi_skip_agent_inject_files_at_boot`, as cloud-init takes them from the config drive.
    pub fn takes_files(properties: &BTreeMap<String, String>) -> bool {
        !is_true(properties, "xenapi_skip_agent_inject_files_at_boot")
    }

    /// What stands in the way, as far as it is known without the guest.
    pub(crate) fn conflicts(&self, power: Power) -> Vec<Conflict> {
        let mut found = Vec::new();
        if power != Power::On {
            found.push(Conflict::AgentOfNoGuest);
        }
        let key = self.owner_key.as_deref().map(OwnerKey::parse).transpose();
        match (key.map(Option::flatten), &self.password) {
            (Err(error), _) => found.push(error.into()),
            (Ok(None), Some(AdminPassword::Generated)) => found.push(Conflict::PasswordForNobody),
            (Ok(Some(key)), Some(AdminPassword::Given(given))) => {
                // What cannot be sealed must not be found out when the guest runs.
                found.extend(password::seal(&key, given).err().map(Conflict::from));
            }
            (Ok(_), _) => {}
        }
        let is_odd = |path: &&String| path.is_empty() || path.contains(|c: char| c.is_control() || c == ',');
        found.extend(self.files.keys().find(is_odd).map(|path| Conflict::AgentFile(path.clone())));
        found
    }

    /// Sees that dom0 can ask, before anything is made.
    pub(crate) async fn check(&self, job: &Job, plan: &Plan) -> Result<(), Cause> {
        if self.need == AgentNeed::Required
            && compatibility::state(job.client(), &plan.node.reference).await.has_agent() == Some(false)
        {
            return Err(Conflicts::from(Conflict::NoAgentPlugin { node: plan.node.name.clone() }).into());
        }
        Ok(())
    }

    /// What will be asked for, besides the version.
    fn steps(&self, os_type: Option<OsType>) -> Vec<AgentStep> {
        let has_key = self.send_key && self.owner_key.is_some() && os_type != Some(OsType::Windows);
        let key = has_key.then_some(AgentStep::Key);
        let password = self.password.as_ref().map(|_| AgentStep::Password);
        let network = self.reset_network.then_some(AgentStep::Network);
        let update = self.update.as_ref().map(|_| AgentStep::Update);
        let files = self.files.keys().map(|path| AgentStep::File(path.clone()));
        key.into_iter().chain(files).chain(password).chain(network).chain(update).collect()
    }

    /// The same in words.
    pub(crate) fn would(&self, plan: &Plan, os_type: Option<OsType>) -> String {
        let steps: Vec<_> = self.steps(os_type).iter().map(AgentStep::to_string).collect();
        format!(
            "ask the agent in {:?} for its version, and then to: {}",
            plan.vm.name_label,
            steps.join(", ")
        )
    }
}

impl fmt::Display for AgentStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Version => "tell its version",
            Self::Key => "write the owner's ssh key",
            Self::File(path) => return write!(f, "write {path}"),
            Self::Password => "set the password",
            Self::Network => "configure the network",
            Self::Update => "replace itself by a newer version",
        })
    }
}

impl Agent {
    /// Asks for all that is wanted. What is refused is noted, unless the agent is needed.
    pub(crate) async fn first_boot(
        &self,
        setup: &AgentSetup,
        os_type: Option<OsType>,
        stop: &Stop,
    ) -> Result<AgentReport, Cause> {
        let mut report = AgentReport::default();
        let required = setup.need == AgentNeed::Required;
        match self.ask_version(stop).await {
            Ok(version) => report.version = Some(version),
            Err(cause @ Cause::Agent { .. }) if !required => {
                report.faults.push((AgentStep::Version, cause.to_string()));
                return Ok(report);
            }
            Err(cause) => return Err(cause),
        }
        for step in setup.steps(os_type) {
            match self.take(setup, &step, &mut report, stop).await {
                Ok(()) => report.done.push(step),
                Err(cause @ Cause::Agent { .. }) if !required => {
                    report.faults.push((step, cause.to_string()));
                }
                Err(cause) => return Err(cause),
            }
        }
        Ok(report)
    }

    async fn take(
        &self,
        setup: &AgentSetup,
        step: &AgentStep,
        report: &mut AgentReport,
        stop: &Stop,
    ) -> Result<(), Cause> {
        match step {
            AgentStep::Version => {}
            AgentStep::Key => {
                let key = setup.owner_key.as_deref().unwrap_or_default().trim();
                let line = format!("\n# The key of this instance's owner, sent when it was made\n{key}\n");
                self.send_file(AUTHORIZED_KEYS, line.as_bytes(), stop).await?;
            }
            AgentStep::File(path) => self.send_file(path, &setup.files[path], stop).await?,
            AgentStep::Password => {
                let password = match &setup.password {
                    Some(AdminPassword::Given(password)) => password.clone(),
                    _ => password::generate(),
                };
                self.try_password(password.expose(), stop).await?;
                let key = setup.owner_key.as_deref().map(OwnerKey::parse).transpose();
                if let Some(key) = key.map_err(|error| self.problem(error.into()))?.flatten() {
                    report.sealed_password = Some(self.keep_password(&key, &password).await?);
                }
            }
            AgentStep::Network => {
                let patience = self.timeouts.reset_network;
                self.ask("resetnetwork", &Command::ResetNetwork, [], patience, stop).await?;
            }
            AgentStep::Update => {
                if let (Some(build), Some(running)) = (&setup.update, &report.version) {
                    self.try_update(running, &build.version, &build.url, &build.md5, stop).await?;
                }
            }
        }
        Ok(())
    }
}

/// As OpenStack reads the properties of images; `None` for what is neither.
fn truth(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "1" | "t" | "true" | "on" | "y" | "yes" => Some(true),
        "0" | "f" | "false" | "off" | "n" | "no" => Some(false),
        _ => None,
    }
}

fn is_true(properties: &BTreeMap<String, String>, name: &str) -> bool {
    properties.get(name).and_then(|text| truth(text)) == Some(true)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_novas_options_say() {
        let of = |text: &str| AgentSetup::of(&Options::new().nova_conf("nova.conf", text).unwrap());
        assert_eq!(of(""), None);
        assert_eq!(of("[xenserver]\nuse_agent_default = yes\n"), Some(AgentSetup::default()));
        assert_eq!(of("[xenserver]\nuse_agent_default = yes\ndisable_agent = yes\n"), None);
        let text = "[xenserver]\nuse_agent_default = yes\nagent_timeout = 1\nagent_version_timeout = 2\n\
            agent_resetnetwork_timeout = 3\n";
        let [answer, version, reset_network] = [1, 2, 3].map(Duration::from_secs);
        let timeouts = AgentTimeouts { answer, version, reset_network };
        assert_eq!(of(text), Some(AgentSetup { timeouts, ..AgentSetup::default() }));
    }

    #[test]
    fn what_an_image_says_goes_before_the_default() {
        let usual = |used: &str| format!("[xenserver]\nuse_agent_default = {used}\n");
        for (options, said, wanted) in [
            (usual("no"), "True", true),
            (usual("no"), " on", true),
            (usual("yes"), "0", false),
            (usual("yes"), "perhaps", true),
            (usual("no"), "perhaps", false),
            (usual("no") + "disable_agent = yes\n", "true", false),
        ] {
            let options = Options::new().nova_conf("nova.conf", &options).unwrap();
            let properties = [("xenapi_use_agent".to_owned(), said.to_owned())].into();
            assert_eq!(AgentSetup::of_image(&options, &properties).is_some(), wanted, "{said:?}");
        }
        let skipped =
            ["xenapi_use_agent", "xenapi_skip_agent_inject_ssh", "xenapi_skip_agent_inject_files_at_boot"];
        let properties = skipped.map(|name| (name.to_owned(), "yes".to_owned())).into();
        let setup = AgentSetup::of_image(&Options::new(), &properties).unwrap();
        assert_eq!((setup.send_key, AgentSetup::takes_files(&properties)), (false, false));
        assert!(AgentSetup::of(&Options::new()).is_none() && AgentSetup::takes_files(&BTreeMap::new()));
    }
}
