//! What the agent in the guest is asked for after the first start.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use examples::agent::{self, Build};
use examples::options::Options;
use xenapi_driver::AgentTimeouts;
use xenapi_driver::spec::{AdminPassword, AgentNeed, AgentSetup, ConfigDrive};

/// Whether it is asked, and for what besides key and files.
#[derive(Debug, Args)]
#[command(next_help_heading = "Agent in the guest")]
pub(crate) struct AgentArgs {
    /// Ask the agent in the guest, too, for what the config drive tells: key, files, password and network. With "required"
    /// there is no instance if it does not do it. Left out, the image's property xenapi_use_agent in Glance decides, or
    /// else the option use_agent_default.
    #[arg(long, value_enum, value_name = "HOW")]
    agent: Option<AgentUse>,
    /// Have the agent set a password that only the owner of the first --ssh-key learns: openssl pkeyutl -decrypt -inkey
    /// id_rsa opens what is printed.
    #[arg(long, requires = "agent", requires = "ssh_key", conflicts_with = "admin_password_file")]
    agent_password: bool,
    /// Leave the network to the guest.
    #[arg(long, requires = "agent")]
    agent_keep_network: bool,
    /// Have the agent replace itself by this version, if it is newer.
    #[arg(long, requires = "agent", value_name = agent::BUILD, value_parser = agent::build)]
    agent_update: Option<Build>,
}

/// Whether there must be an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum AgentUse {
    IfFound,
    Required,
}

impl AgentArgs {
    /// What it is asked for: as the command line says, or else the properties of the image, or else Nova's options.
    pub(crate) fn setup(
        &self,
        drive: &ConfigDrive,
        options: &Options,
        image: &BTreeMap<String, String>,
    ) -> Result<Option<AgentSetup>> {
        let options = options.read()?;
        let usual = AgentSetup::of_image(&options, image);
        let send_key = usual.as_ref().is_none_or(|usual| usual.send_key);
        let takes_files = self.agent.is_some() || AgentSetup::takes_files(image);
        let need = match (self.agent, usual) {
            (Some(_), _) if options.flag("disable_agent") => {
                bail!("--agent: the option disable_agent is set")
            }
            (Some(AgentUse::IfFound), _) => AgentNeed::IfFound,
            (Some(AgentUse::Required), _) => AgentNeed::Required,
            (None, Some(usual)) => usual.need,
            (None, None) => return Ok(None),
        };
        let given = drive.admin_pass.clone().map(AdminPassword::Given);
        Ok(Some(AgentSetup {
            need,
            timeouts: AgentTimeouts::of(&options),
            owner_key: drive.ssh_keys.get("key0").cloned(),
            send_key: self.agent.is_some() || send_key,
            files: if takes_files { drive.files.clone() } else { BTreeMap::new() },
            password: given.or(self.agent_password.then_some(AdminPassword::Generated)),
            reset_network: !self.agent_keep_network,
            update: self.agent_update.clone(),
        }))
    }
}
