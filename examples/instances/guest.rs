//! What the agent in a guest is asked for.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Subcommand;
use examples::agent::{self, Build};
use examples::drive;
use examples::options::Options;
use examples::report;
use examples::table::Table;
use examples::ui::Ui;
use examples::volume::secret;
use examples::world::World;
use guest_agent::OwnerKey;
use serde_json::json;
use xenapi_client::Secret;
use xenapi_driver::{AgentTimeouts, Which};

#[derive(Debug, Subcommand)]
pub(crate) enum Guest {
    /// The version of the agent in the guest.
    AgentVersion { instance: String },
    /// Have the agent replace itself by a version that is newer.
    UpdateAgent {
        instance: String,
        /// The version, and where it is.
        #[arg(value_name = agent::BUILD, value_parser = agent::build)]
        build: Build,
    },
    /// Have the agent set the administrator's password.
    SetPassword {
        instance: String,
        /// A file whose first line is the password.
        #[arg(long, value_name = "FILE")]
        admin_password_file: PathBuf,
        /// Keep it with the instance, so that only the owner of this public RSA key can read it: `sealed-password`.
        #[arg(long, value_name = "KEY|FILE")]
        seal_for: Option<String>,
    },
    /// The administrator's password, as only the owner of the key can read it: openssl pkeyutl -decrypt opens it.
    SealedPassword { instance: String },
    /// Have the agent write a file.
    InjectFile {
        instance: String,
        /// Its path in the guest.
        path: String,
        /// The file of this machine.
        file: PathBuf,
    },
    /// Have the agent configure the network anew, as xenstore has it.
    ResetNetwork {
        instance: String,
        /// The host name; the name of the instance otherwise.
        #[arg(long, value_name = "NAME")]
        hostname: Option<String>,
    },
}

impl Guest {
    pub(crate) fn instance(&self) -> &str {
        match self {
            Self::AgentVersion { instance }
            | Self::UpdateAgent { instance, .. }
            | Self::SetPassword { instance, .. }
            | Self::SealedPassword { instance }
            | Self::InjectFile { instance, .. }
            | Self::ResetNetwork { instance, .. } => instance,
        }
    }

    pub(crate) async fn run(&self, options: &Options, world: &World, ui: &Ui) -> Result<Table> {
        let (driver, which) = (world.driver(), Which::parse(self.instance()));
        if let Self::SealedPassword { .. } = self {
            let sealed = driver.sealed_password(&which).await?;
            return Ok(Table::of([("instance", json!(self.instance())), ("sealed_password", json!(sealed))]));
        }
        let agent = driver.agent(&which, AgentTimeouts::of(&options.read()?)).await?.telling(ui.progress());
        let state = match self {
            Self::AgentVersion { .. } | Self::SealedPassword { .. } => {
                let version = ui.until_interrupted(agent.version()).await?;
                return Ok(Table::of([("instance", json!(self.instance())), ("version", json!(version))]));
            }
            Self::UpdateAgent { build, .. } => {
                let running = ui.until_interrupted(agent.version()).await?;
                let updating = agent.update(&running, &build.version, &build.url, &build.md5);
                match ui.until_interrupted(updating).await? {
                    true => format!("the agent replaces {running} by {}", build.version),
                    false => format!("the agent stays: {} is not newer than {running}", build.version),
                }
            }
            Self::SetPassword { admin_password_file, seal_for, .. } => {
                let password = secret(admin_password_file)?;
                let key = seal_for.as_deref().map(drive::ssh_key).transpose()?;
                // A password that nobody can read any more helps nobody: the key is looked at before it is set.
                let is_sealed = key.as_deref().map_or(Ok(false), |key| sealable(key, &password))?;
                let setting = ui.until_interrupted(agent.set_password(password.expose())).await;
                setting.map_err(|error| match is_sealed {
                    true => report::and_then(error, "keep the password with the instance, sealed".to_owned()),
                    false => error.into(),
                })?;
                match key {
                    Some(key) => match agent.seal_password(&key, &password).await? {
                        Some(_) => "the password is set, and kept for the owner of the key".to_owned(),
                        None => {
                            "the password is set, and not kept: nothing is sealed with a key of this kind"
                                .to_owned()
                        }
                    },
                    None => "the password is set".to_owned(),
                }
            }
            Self::InjectFile { path, file, .. } => {
                let content = std::fs::read(file)
                    .with_context(|| format!("the file {} cannot be read", file.display()))?;
                ui.until_interrupted(agent.inject_file(path, &content)).await?;
                format!("{path} is written")
            }
            Self::ResetNetwork { hostname, .. } => {
                let name = match hostname {
                    Some(name) => name.clone(),
                    None => driver.instance(&which).await?.name,
                };
                ui.until_interrupted(agent.reset_network(&name)).await?;
                format!("{name} has its network as it is told")
            }
        };
        Ok(crate::state(self.instance(), &state))
    }
}

/// Whether a password is sealed with a key: nothing is with one that is not RSA's.
fn sealable(key: &str, password: &Secret) -> Result<bool> {
    let Some(key) = OwnerKey::parse(key)? else { return Ok(false) };
    // What is random has no part in whether it fits.
    key.seal(password.expose(), std::iter::repeat(1))?;
    Ok(true)
}
