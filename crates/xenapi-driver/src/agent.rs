//! The guest agents that some images carry, reached through the dom0 plugin `agent`. Cloud-init with a
//! config drive is the better way; an agent is used where it is asked for.

mod first_boot;
mod password;

use std::collections::BTreeMap;
use std::pin::Pin;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use guest_agent::{Command, Digest, Offer};
use tokio::time::Instant;
use uuid::Uuid;
use xenapi_client::{Client, Secret};
use xenapi_config::{Settings as Options, Value};
use xenapi_types::{Ref, Vm, vm};

pub use first_boot::{AdminPassword, AgentBuild, AgentNeed, AgentReport, AgentSetup, AgentStep};

use crate::cancel::Stop;
use crate::driver::Driver;
use crate::error::{Cause, Error, Op, Result};
use crate::find::{self, Which};
use crate::job::Job;
use crate::operation::Operation;
use crate::progress::{Progress, Stage};
use crate::xenstore;

/// The name that Nova's clients use, which the installer makes.
const PLUGIN: &str = "agent.py";
/// Between two looks whether a guest is back, or its agent up.
const POLL: Duration = Duration::from_secs(1);
/// A guest that goes down again and again is not waited for.
const MAX_REBOOTS: u32 = 3;

/// How long an agent may take, as Nova's options of the same names have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AgentTimeouts {
    /// For an answer, and for a guest to come back when it reboots meanwhile; whole seconds.
    pub answer: Duration,
    /// For the first answer after a boot.
    pub version: Duration,
    /// For a change of the network.
    pub reset_network: Duration,
}

impl Default for AgentTimeouts {
    fn default() -> Self {
        Self {
            answer: Duration::from_secs(30),
            version: Duration::from_secs(300),
            reset_network: Duration::from_secs(60),
        }
    }
}

impl AgentTimeouts {
    /// As Nova's options have them: `agent_timeout`, `agent_version_timeout`, `agent_resetnetwork_timeout`.
    pub fn of(options: &Options) -> Self {
        let seconds = |name: &str, usual: Duration| match options.get(name) {
            Some(Value::Integer(seconds)) => u64::try_from(seconds).map_or(usual, Duration::from_secs),
            _ => usual,
        };
        let usual = Self::default();
        Self {
            answer: seconds("agent_timeout", usual.answer),
            version: seconds("agent_version_timeout", usual.version),
            reset_network: seconds("agent_resetnetwork_timeout", usual.reset_network),
        }
    }
}

/// What an agent did not do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AgentProblem {
    /// It does not answer.
    #[error("did not answer; is it installed, and does the guest run?")]
    Silent,
    /// The guest went down during the call, and did not come back or went down again.
    #[error("was lost: the guest rebooted and did not come back in time")]
    Rebooted,
    /// It cannot do that.
    #[error("cannot do it: {0}")]
    NotImplemented(String),
    /// Nobody can ask it.
    #[error(
        "cannot be asked: the host has no plugin agent.py; install the plugins there (example `plugins`)"
    )]
    NoPlugin,
    /// It refused, or wrote what is no answer.
    #[error("{0}")]
    Answer(#[from] guest_agent::Error),
    /// It has set the password, which cannot be sealed for its owner.
    #[error("has set a password that cannot be sealed for its owner: {0}")]
    OwnerKey(#[from] guest_agent::OwnerKeyError),
}

/// The agent of one instance. What it is asked for is an [`Operation`], which ends with [`Cause::Agent`] when
/// the agent does not do it, and with [`Cause::Host`] when the plugin cannot be called. Each wait is bounded
/// by [`AgentTimeouts`].
///
/// Cancelling ends the wait, and asks for nothing more. What the guest has been asked for goes on there.
#[derive(Debug, Clone)]
pub struct Agent {
    driver: Driver,
    vm: Ref<Vm>,
    uuid: String,
    timeouts: AgentTimeouts,
    progress: Progress,
}

/// What the agent is asked for.
type Asking<'a, T> = Pin<Box<dyn Future<Output = std::result::Result<T, Cause>> + Send + 'a>>;

impl Driver {
    /// The agent of an instance; it is not asked anything yet.
    ///
    /// # Errors
    ///
    /// [`Cause::NoSuchInstance`], [`Cause::AmbiguousInstance`], [`Cause::NotOurs`], [`Cause::Host`].
    pub async fn agent(&self, which: &Which, timeouts: AgentTimeouts) -> Result<Agent> {
        let job = Job::new(self.clone(), Progress::none());
        let failed = |cause| Error::new(Op::Agent, format!("instance {which}"), Stage::Find, cause);
        let (vm, record) = find::ours(&job, which).await.map_err(failed)?;
        Ok(Agent::of(self, vm, record.uuid, timeouts))
    }
}

impl Driver {
    /// Has the agent in a guest set the administrator's password: [`Agent::set_password`] with the usual [`AgentTimeouts`].
    ///
    /// Cancelling ends the wait for the guest.
    ///
    /// # Errors
    ///
    /// Those of [`Driver::agent`] and [`Agent::set_password`].
    pub fn set_admin_password(&self, which: Which, password: Secret, progress: Progress) -> Operation<()> {
        self.ask_agent(which, progress, move |agent, stop| {
            Box::pin(async move { agent.try_password(password.expose(), stop).await.map(drop) })
        })
    }

    /// Has the agent in a guest write a file: [`Agent::inject_file`] with the usual [`AgentTimeouts`].
    ///
    /// Cancelling ends the wait for the guest.
    ///
    /// # Errors
    ///
    /// Those of [`Driver::agent`] and [`Agent::inject_file`].
    pub fn inject_file(
        &self,
        which: Which,
        path: impl Into<String>,
        contents: Vec<u8>,
        progress: Progress,
    ) -> Operation<()> {
        let path = path.into();
        self.ask_agent(which, progress, move |agent, stop| {
            Box::pin(async move { agent.send_file(&path, &contents, stop).await })
        })
    }

    /// Has the agent in a guest configure the network anew: [`Agent::reset_network`] with the usual [`AgentTimeouts`].
    ///
    /// Cancelling ends the wait for the guest; the host name is not kept for its next boot.
    ///
    /// # Errors
    ///
    /// Those of [`Driver::agent`] and [`Agent::reset_network`].
    pub fn reset_network(
        &self,
        which: Which,
        hostname: impl Into<String>,
        progress: Progress,
    ) -> Operation<()> {
        let hostname = hostname.into();
        self.ask_agent(which, progress, move |agent, stop| {
            Box::pin(async move { agent.try_reset(&hostname, stop).await })
        })
    }

    fn ask_agent<T: Send + 'static>(
        &self,
        which: Which,
        progress: Progress,
        asking: impl for<'a> FnOnce(&'a Agent, &'a Stop) -> Asking<'a, T> + Send + 'static,
    ) -> Operation<T> {
        self.verb(Op::Agent, format!("instance {which}"), progress, move |job, stop| {
            Box::pin(async move {
                let (vm, record) = job.stage(Stage::Find, find::ours(job, &which)).await?;
                let agent = Agent::of(&job.driver, vm, record.uuid, AgentTimeouts::default());
                job.stage(Stage::Agent, async { asking(&agent, stop).await }).await
            })
        })
    }
}

impl Agent {
    /// The agent of this VM.
    pub(crate) fn of(driver: &Driver, vm: Ref<Vm>, uuid: String, timeouts: AgentTimeouts) -> Self {
        Self { driver: driver.clone(), vm, uuid, timeouts, progress: Progress::none() }
    }

    /// This agent, with somebody who is told what happens.
    #[must_use]
    pub fn telling(self, progress: Progress) -> Self {
        Self { progress, ..self }
    }

    /// Asks in a task of its own.
    fn operation<T: Send + 'static>(
        &self,
        asking: impl for<'a> FnOnce(&'a Self, &'a Stop) -> Asking<'a, T> + Send + 'static,
    ) -> Operation<T> {
        let (agent, object) = (self.clone(), format!("VM {} at {}", self.uuid, self.driver.endpoint()));
        self.driver.verb(Op::Agent, object, self.progress.clone(), move |job, stop| {
            Box::pin(async move { job.stage(Stage::Agent, async { asking(&agent, stop).await }).await })
        })
    }

    /// Its version. A guest that has just been started is waited for.
    ///
    /// # Errors
    ///
    /// [`AgentProblem::Silent`] after the time for it.
    pub fn version(&self) -> Operation<String> {
        self.operation(|agent, stop| Box::pin(agent.ask_version(stop)))
    }

    async fn ask_version(&self, stop: &Stop) -> std::result::Result<String, Cause> {
        let deadline = Instant::now() + self.timeouts.version;
        loop {
            match self.ask("version", &Command::Version, [], self.timeouts.answer, stop).await {
                Err(Cause::Agent { problem: AgentProblem::Silent, .. })
                    if Instant::now() + POLL < deadline =>
                {
                    stop.guard(tokio::time::sleep(POLL)).await?;
                }
                done => return done,
            }
        }
    }

    /// Sets the administrator's password, and tells with which digest the agent understood it: agents differ,
    /// and do not say. Each try has an exchange of keys of its own.
    ///
    /// # Errors
    ///
    /// [`AgentProblem::Answer`] with the last refusal when neither is understood.
    pub fn set_password(&self, password: &str) -> Operation<Digest> {
        let password = Secret::new(password);
        self.operation(move |agent, stop| {
            Box::pin(async move { agent.try_password(password.expose(), stop).await })
        })
    }

    async fn try_password(&self, password: &str, stop: &Stop) -> std::result::Result<Digest, Cause> {
        let mut refusal = None;
        for digest in [Digest::Md5, Digest::Sha256] {
            match self.password_with(password, digest, stop).await {
                Ok(_) => return Ok(digest),
                Err(
                    cause @ Cause::Agent {
                        problem: AgentProblem::Answer(guest_agent::Error::Refused { .. }),
                        ..
                    },
                ) => {
                    refusal = Some(cause);
                }
                Err(cause) => return Err(cause),
            }
        }
        Err(refusal.expect("both were refused"))
    }

    async fn password_with(
        &self,
        password: &str,
        digest: Digest,
        stop: &Stop,
    ) -> std::result::Result<String, Cause> {
        let mut secret = [0; 10];
        // 80 bits of the 122 that are random; the others are at known places.
        let random = Uuid::new_v4().into_bytes();
        secret.copy_from_slice(&[&random[..6], &random[10..14]].concat());
        let offer = Offer::new(secret);
        let public = offer.public();
        let command = Command::KeyInit { public: public.clone() };
        let theirs = self.ask("key_init", &command, [("pub", public)], self.timeouts.answer, stop).await?;
        let channel = offer.agree(&theirs).map_err(|e| self.problem(e.into()))?;
        let sealed = channel.seal(password, digest);
        let command = Command::Password { sealed: sealed.clone() };
        self.ask("password", &command, [("enc_pass", sealed)], self.timeouts.answer, stop).await
    }

    /// Writes a file in the guest. Whether it replaces or extends one is the agent's choice.
    ///
    /// # Errors
    ///
    /// [`AgentProblem::NotImplemented`] when the agent offers no way to write files.
    pub fn inject_file(&self, path: &str, contents: &[u8]) -> Operation<()> {
        let (path, contents) = (path.to_owned(), contents.to_vec());
        self.operation(move |agent, stop| {
            Box::pin(async move { agent.send_file(&path, &contents, stop).await })
        })
    }

    async fn send_file(&self, path: &str, contents: &[u8], stop: &Stop) -> std::result::Result<(), Cause> {
        let extra =
            [("b64_path", BASE64_STANDARD.encode(path)), ("b64_contents", BASE64_STANDARD.encode(contents))];
        let file = guest_agent::File { path: path.to_owned(), contents: Vec::new() };
        self.ask("inject_file", &Command::FileInject(file), extra, self.timeouts.answer, stop).await.map(drop)
    }

    /// Has the guest configure its network from `vm-data/networking`, and take this host name, which
    /// `vm-data/hostname` has as long as this lasts.
    ///
    /// # Errors
    ///
    /// As those of the [agent](Agent).
    pub fn reset_network(&self, hostname: &str) -> Operation<()> {
        let hostname = hostname.to_owned();
        self.operation(move |agent, stop| Box::pin(async move { agent.try_reset(&hostname, stop).await }))
    }

    async fn try_reset(&self, hostname: &str, stop: &Stop) -> std::result::Result<(), Cause> {
        stop.check()?;
        let patience = self.timeouts.reset_network;
        let written = stop.guard(self.write_hostname(Some(hostname))).await;
        let done = match written.map_err(Cause::from).and_then(|written| written) {
            Ok(()) => self.ask("resetnetwork", &Command::ResetNetwork, [], patience, stop).await,
            Err(cause) => Err(cause),
        };
        // Whatever came of it: the name is not for the next boot.
        let removed = self.write_hostname(None).await;
        done.and(removed)
    }

    async fn write_hostname(&self, hostname: Option<&str>) -> std::result::Result<(), Cause> {
        if self.driver.0.rehearses {
            return Ok(());
        }
        let record = self.client().record(&self.vm).await;
        let record = record.map_err(Cause::host(format!("reading VM {}", self.uuid)))?;
        let name = hostname.map(|name| xenstore::host_name(name, xenstore::is_windows(&record)));
        let change = BTreeMap::from([(xenstore::HOSTNAME.to_owned(), name)]);
        xenstore::write(self.client(), &self.vm, &self.uuid, &change).await.map(drop)
    }

    /// Has the agent replace itself by a version that is newer than the one that runs; whether it is.
    ///
    /// # Errors
    ///
    /// As those of the [agent](Agent).
    pub fn update(&self, running: &str, offered: &str, url: &str, md5: &str) -> Operation<bool> {
        let [running, offered, url, md5] = [running, offered, url, md5].map(str::to_owned);
        self.operation(move |agent, stop| {
            Box::pin(async move { agent.try_update(&running, &offered, &url, &md5, stop).await })
        })
    }

    async fn try_update(
        &self,
        running: &str,
        offered: &str,
        url: &str,
        md5: &str,
        stop: &Stop,
    ) -> std::result::Result<bool, Cause> {
        if !guest_agent::is_newer(offered, running) {
            return Ok(false);
        }
        let command = Command::Update { url: url.to_owned(), md5: md5.to_owned() };
        let extra = [("url", url.to_owned()), ("md5sum", md5.to_owned())];
        self.ask("agentupdate", &command, extra, self.timeouts.answer, stop).await.map(|_| true)
    }

    /// Calls the plugin, again with the new domain when the guest reboots meanwhile.
    async fn ask<const N: usize>(
        &self,
        function: &str,
        command: &Command,
        extra: [(&str, String); N],
        patience: Duration,
        stop: &Stop,
    ) -> std::result::Result<String, Cause> {
        let doing = || format!("asking the agent of VM {} for {function}", self.uuid);
        if self.driver.0.rehearses {
            return Err(Cause::DryRun(vec![format!("ask the agent of VM {} for {function}", self.uuid)]));
        }
        for _ in 0..=MAX_REBOOTS {
            stop.check()?;
            let record = self.client().record(&self.vm).await.map_err(Cause::host(doing()))?;
            if record.domid < 0 {
                return Err(self.problem(AgentProblem::Silent));
            }
            let mut args = BTreeMap::from([
                ("id".to_owned(), Uuid::new_v4().to_string()),
                ("dom_id".to_owned(), record.domid.to_string()),
                ("timeout".to_owned(), patience.as_secs().to_string()),
            ]);
            args.extend(extra.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
            // The plugin answers in time; the rest is for the way.
            let client = self.client().with_deadline(patience + Duration::from_secs(60));
            let asked = client.call_plugin(&record.resident_on, PLUGIN, function, &args);
            let error = match stop.guard(asked).await? {
                Ok(answer) => return command.accept(&answer).map_err(|e| self.problem(e.into())),
                Err(error) if error.is("XENAPI_MISSING_PLUGIN") => {
                    return Err(self.problem(AgentProblem::NoPlugin));
                }
                Err(error) => error,
            };
            let said = error.plugin_failure().map(|failure| failure.stderr.clone()).unwrap_or_default();
            if said.contains("REBOOT:") {
                self.back(record.domid, stop).await?;
            } else if said.contains("TIMEOUT:") {
                return Err(self.problem(AgentProblem::Silent));
            } else if let Some((_, why)) = said.split_once("NOT IMPLEMENTED:") {
                return Err(self.problem(AgentProblem::NotImplemented(why.trim().to_owned())));
            } else {
                return Err(Cause::host(doing())(error));
            }
        }
        Err(self.problem(AgentProblem::Rebooted))
    }

    /// Waits until the guest has another domain than this one.
    async fn back(&self, old: i64, stop: &Stop) -> std::result::Result<(), Cause> {
        let deadline = Instant::now() + self.timeouts.answer;
        let doing = || format!("waiting for VM {} to come back", self.uuid);
        loop {
            let now =
                self.client().get_field(&self.vm, vm::field::DOMID).await.map_err(Cause::host(doing()))?;
            if now >= 0 && now != old {
                return Ok(());
            }
            if Instant::now() + POLL > deadline {
                return Err(self.problem(AgentProblem::Rebooted));
            }
            stop.guard(tokio::time::sleep(POLL)).await?;
        }
    }

    fn client(&self) -> &Client {
        self.driver.client()
    }

    fn problem(&self, problem: AgentProblem) -> Cause {
        Cause::Agent { vm: self.uuid.clone(), problem }
    }

    fn told<T>(&self, done: std::result::Result<T, Cause>) -> Result<T> {
        let object = format!("VM {} at {}", self.uuid, self.driver.endpoint());
        done.map_err(|cause| Error::new(Op::Agent, object, Stage::Vm, cause))
    }
}
