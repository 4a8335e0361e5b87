//! A guest whose agent answers what the plugin `agent` in dom0 writes into its xenstore.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use guest_agent::{Command, Digest, Offer, Reply, Request};
use tokio::task::JoinHandle;

use crate::dom0::Dom0;

/// Domains that simulated hosts are likely to give their guests.
const DOMAINS: std::ops::Range<i64> = 1..32;
/// Between two looks; the plugin looks twice a second.
const POLL: Duration = Duration::from_millis(10);

/// What the agent does with a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// What it is asked for.
    Does,
    /// It refuses.
    Refuses,
    /// Nothing.
    Nothing,
}

/// What the agent is like, and what it was told.
#[derive(Debug, Clone)]
pub struct Seen {
    /// How it answers a command by its name; it does the others.
    pub answers: BTreeMap<String, Answer>,
    /// The digest that it knows.
    pub digest: Digest,
    /// The commands in their order, but `keyinit` and `features`, without which there are no others.
    pub commands: Vec<String>,
    /// The files that it was given.
    pub files: BTreeMap<String, Vec<u8>>,
    /// The password that it was given.
    pub password: Option<String>,
    /// Its peer's public number, after `keyinit`.
    peer: String,
}

/// The agent in every guest of a [`Dom0`], as long as it lives.
pub struct Guest {
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

impl Guest {
    /// Starts it. It offers `file_inject`, and derives keys with this digest.
    ///
    /// # Errors
    ///
    /// When its domains cannot be written.
    pub fn start(dom0: Arc<Dom0>, digest: Digest, answers: &[(&str, Answer)]) -> Result<Self> {
        for domid in DOMAINS {
            dom0.write(domid, "name", "guest")?;
        }
        let answers = answers.iter().map(|(name, answer)| ((*name).to_owned(), *answer)).collect();
        let (commands, files) = (Vec::new(), BTreeMap::new());
        let seen = Seen { answers, digest, commands, files, password: None, peer: String::new() };
        let seen = Arc::new(Mutex::new(seen));
        let own = seen.clone();
        let task = tokio::spawn(async move {
            let mut taken = BTreeSet::new();
            loop {
                for domid in DOMAINS {
                    for (id, request) in dom0.below(domid, "data/host") {
                        if !taken.insert(id.clone()) {
                            continue;
                        }
                        let reply = own.lock().unwrap_or_else(PoisonError::into_inner).take(&request);
                        if let Some(reply) = reply.expect("a request that an agent can read") {
                            let path = Command::response_path(&id);
                            dom0.write(domid, &path, &reply.encode()).expect("a store that can be written");
                        }
                    }
                }
                tokio::time::sleep(POLL).await;
            }
        });
        Ok(Self { seen, task })
    }

    /// What it was told until now.
    pub fn seen(&self) -> Seen {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Seen {
    fn take(&mut self, request: &str) -> Result<Option<Reply>> {
        let request: Request = serde_json::from_str(request)?;
        let reply = |code: &str, message: &str| {
            Ok(Some(Reply { returncode: code.to_owned(), message: message.to_owned() }))
        };
        let name = request.name.as_str();
        if !["keyinit", "features"].contains(&name) {
            self.commands.push(name.to_owned());
        }
        match self.answers.get(name) {
            Some(Answer::Nothing) => return Ok(None),
            Some(Answer::Refuses) => return reply("1", "it was told not to"),
            Some(Answer::Does) | None => {}
        }
        let own = Offer::new([9; 10]);
        match name {
            "version" => reply("0", "1.2.0\\r\\n"),
            "features" => reply("0", "password,file_inject"),
            "keyinit" => {
                self.peer = request.value;
                reply("D0", &own.public())
            }
            "password" => match own.agree(&self.peer)?.open(&request.value, self.digest) {
                Ok(password) => {
                    self.password = Some(password.to_string());
                    reply("0", "")
                }
                Err(error) => reply("500", &error.to_string()),
            },
            "file_inject" => {
                let parts: BTreeMap<String, String> = serde_json::from_str(&request.value)?;
                let part =
                    |name: &str| anyhow::Ok(BASE64_STANDARD.decode(parts.get(name).context("a part")?)?);
                self.files.insert(String::from_utf8(part("b64_path")?)?, part("b64_file")?);
                reply("0", "")
            }
            "resetnetwork" | "agentupdate" => reply("0", ""),
            other => reply("1", other),
        }
    }
}
