//! What the tools ask for alike: where the host is, or the simulator's state; how results are printed; completions.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use clap::error::ErrorKind;
use clap::{Arg, Args, Command, Parser, ValueEnum};
use clap_complete::Shell;
use xapi_simulator::{Acceleration, Qemu};
use xenapi_client::{Config, Fingerprint, Trust};
use xenapi_driver::spec::SrChoice;

/// The most GiB of a disk or of memory: XAPI counts bytes in 63 bits.
pub const MOST_GIB: u64 = i64::MAX as u64 >> 30;
/// The same in MiB.
pub const MOST_MIB: u64 = i64::MAX as u64 >> 20;

/// What every tool that works on a pool takes.
#[derive(Debug, Clone, Args)]
pub struct Common {
    /// Print results as JSON, one object a line, and no progress.
    #[arg(long, global = true)]
    pub json: bool,
    /// Only tell what would be done, step by step, and change nothing.
    #[arg(long, global = true)]
    pub dry_run: bool,
    /// The host.
    #[command(flatten)]
    pub target: Target,
}

/// Reads the command line. `--completions SHELL` in the first place prints what a shell wants to know instead, and
/// ends the program.
pub fn parse<C: Parser>() -> C {
    let hint = "Completions for a shell (bash, elvish, fish, powershell, zsh): --completions SHELL";
    let mut command = with_words(C::command()).after_help(hint);
    let mut args = std::env::args_os().skip(1);
    if args.next().is_some_and(|first| first == "--completions") {
        let shell = args.next().unwrap_or_default();
        let Ok(shell) = shell.to_string_lossy().parse::<Shell>() else {
            let text = format!("--completions: {shell:?} is no shell that is known\n\n{hint}");
            command.error(ErrorKind::InvalidValue, text).exit()
        };
        let (name, mut script) = (command.get_name().to_owned(), Vec::new());
        clap_complete::generate(shell, &mut command, name, &mut script);
        let written = std::io::stdout().write_all(&script);
        std::process::exit(if written.is_ok() { 0 } else { 1 })
    }
    let matches = command.get_matches();
    C::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
}

/// What many subcommands ask for, and what to say there.
const WORDS: [(&str, &str); 5] = [
    ("instance", "Name or uuid of the instance"),
    ("host", "Name or uuid of the host"),
    ("volume", "The volume: its name, its disk's uuid or its device"),
    ("interface", "The interface: its MAC address, its number, its uuid or its port"),
    ("port", "Uuid of the port"),
];

/// Gives arguments that say nothing of themselves the [`WORDS`].
fn with_words(command: Command) -> Command {
    let said = |arg: Arg| {
        let words = WORDS.iter().find(|(id, _)| arg.get_help().is_none() && arg.get_id() == id);
        match words {
            Some((_, help)) => arg.help(*help),
            None => arg,
        }
    };
    command.mut_subcommands(move |subcommand| subcommand.mut_args(said))
}

/// Where to work. Without a URL, a simulator in this process takes the place of a host.
#[derive(Clone, Args)]
#[command(next_help_heading = "Host")]
pub struct Target {
    /// A host, or the coordinator of a pool: https://HOST. Without it, an embedded simulator is used, but by `agent`.
    #[arg(long, env = "XENAPI_URL", value_name = "URL")]
    pub url: Option<String>,
    /// Who logs in; root if left out.
    #[arg(long, env = "XENAPI_USER")]
    pub user: Option<String>,
    /// A file whose first line is the password; otherwise it is read from XENAPI_PASSWORD.
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// Trust the certificates that this PEM file vouches for.
    #[arg(long, value_name = "FILE", group = "trust")]
    pub ca_file: Option<PathBuf>,
    /// Trust the certificate with this SHA-256 fingerprint; may be given once for each host.
    #[arg(long, value_name = "HEX", group = "trust")]
    pub fingerprint: Vec<Fingerprint>,
    /// Trust the certificate that a host shows first, and remember it in this file, like ssh.
    #[arg(long, value_name = "FILE", group = "trust")]
    pub known_hosts: Option<PathBuf>,
    /// Trust any certificate: whoever is between this machine and the host can read the password.
    #[arg(long, group = "trust")]
    pub insecure: bool,
    /// Keep the simulator's objects and disks in this directory, for the next run.
    #[arg(long, value_name = "DIR")]
    pub simulator_state: Option<PathBuf>,
    /// Work on the simulator, whatever the environment names.
    #[arg(long)]
    pub simulated: bool,
    /// Really run the guests of the simulator, in QEMU: with KVM where that works, or without.
    #[arg(long, value_enum, value_name = "HOW")]
    pub boot: Option<Boot>,
    /// The password, where a tool has it from elsewhere.
    #[arg(skip)]
    pub known_password: Option<String>,
}

/// What runs the guests of the simulator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Boot {
    /// QEMU, with KVM where that works.
    Qemu,
    /// QEMU without KVM.
    QemuTcg,
}

impl Boot {
    fn qemu(self) -> Qemu {
        let acceleration = match self {
            Self::Qemu => Acceleration::BestAvailable,
            Self::QemuTcg => Acceleration::Software,
        };
        Qemu { acceleration, ..Qemu::default() }
    }
}

impl std::fmt::Debug for Target {
    /// Without the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Target").field("url", &self.url).field("user", &self.user).finish_non_exhaustive()
    }
}

impl Target {
    /// The host that is worked on, unless that is the simulator.
    pub fn host(&self) -> Option<&str> {
        self.url.as_deref().filter(|_| !self.simulated)
    }

    /// Who logs in.
    pub fn user(&self) -> &str {
        self.user.as_deref().unwrap_or("root")
    }

    /// Whether somebody said where to work: a host, or the simulator by name.
    pub fn is_meant(&self) -> bool {
        self.url.is_some() || self.simulated || self.simulator_state.is_some()
    }

    /// The configuration for a real host, or `None` for the simulator.
    pub fn config(&self) -> Result<Option<Config>> {
        let Some(url) = self.host() else { return Ok(None) };
        ensure!(
            self.boot.is_none(),
            "--boot is for the simulator's guests: {url} runs its own; add --simulated"
        );
        ensure!(
            self.simulator_state.is_none(),
            "--simulator-state is for the simulator's pool: {url} keeps its own; add --simulated"
        );
        let trust = match (&self.ca_file, &self.known_hosts, self.insecure) {
            (Some(file), _, _) => Trust::CaFile(file.clone()),
            (None, Some(file), _) => Trust::KnownHosts(file.clone()),
            (None, None, true) => Trust::DangerAcceptAny,
            (None, None, false) if self.fingerprint.is_empty() => Trust::SystemRoots,
            (None, None, false) => Trust::Fingerprints(self.fingerprint.clone()),
        };
        Ok(Some(Config::new(url, self.user(), self.password()?)?.trust(trust)))
    }

    /// What runs the guests of the simulator, if anything does.
    pub fn qemu(&self) -> Option<Qemu> {
        self.boot.map(Boot::qemu)
    }

    /// Why this machine believes that the host is the one that is meant, and who can read along.
    pub fn trusts(&self) -> String {
        let Some(url) = self.host() else {
            return "the simulator in this process".to_owned();
        };
        if !url.starts_with("https://") {
            return format!("{url} has no TLS: whoever is in between can read the password; use https://");
        }
        let how = match (&self.ca_file, &self.known_hosts, self.insecure) {
            (Some(file), ..) => format!("certificates that {} vouches for", file.display()),
            (_, Some(file), _) => format!("the certificate first seen, in {}", file.display()),
            (_, _, true) => "any certificate: whoever is in between can read the password".to_owned(),
            _ if self.fingerprint.is_empty() => "certificates of the operating system's roots".to_owned(),
            _ => format!("{} fingerprints of certificates", self.fingerprint.len()),
        };
        format!("TLS, {how}")
    }

    /// The password, from wherever it is to be read.
    pub(crate) fn password(&self) -> Result<String> {
        if let Some(password) = &self.known_password {
            return Ok(password.clone());
        }
        if let Some(path) = &self.password_file {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("the password file {} cannot be read", path.display()))?;
            return Ok(text.lines().next().unwrap_or_default().to_owned());
        }
        match std::env::var("XENAPI_PASSWORD") {
            Ok(password) => Ok(password),
            Err(_) => {
                bail!("no password: set XENAPI_PASSWORD, or name a file that holds it with --password-file")
            }
        }
    }
}

/// Where disks go, by their uuids.
pub fn disks(named: &[(String, String)]) -> BTreeMap<String, SrChoice> {
    named.iter().map(|(disk, sr)| (disk.clone(), SrChoice::Named(sr.clone()))).collect()
}

/// An option of the form `KEY=VALUE`.
///
/// # Errors
///
/// For text without a `=`.
pub fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("{text:?} has no '='"))?;
    Ok((key.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        target: Target,
    }

    #[test]
    fn the_simulator_beside_a_url() -> Result<()> {
        let url = ["test", "--url", "https://xen1", "--password-file", "/dev/null"];
        for (args, host, refused) in [
            (&[][..], Some("https://xen1"), None),
            (&["--simulated"], None, None),
            (&["--simulated", "--simulator-state", "pool"], None, None),
            (&["--simulator-state", "pool"], Some("https://xen1"), Some("add --simulated")),
        ] {
            let target = Cli::try_parse_from([&url, args].concat())?.target;
            assert_eq!(target.host(), host, "{args:?}");
            let error = target.config().err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.contains(refused.unwrap_or_default()), "{args:?}: {error}");
            assert_eq!(error.is_empty(), refused.is_none(), "{args:?}: {error}");
        }
        Ok(())
    }
}
