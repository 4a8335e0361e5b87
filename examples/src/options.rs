//! Nova's options and ours, from where an operator has them.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use xenapi_config::Settings;

use crate::ui::Ui;

/// Options come from --nova-conf, then --config, then the environment (OS_XENSERVER__CHECK_HOST), then --set; the last one
/// counts.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Options of Nova")]
pub struct Options {
    /// A nova.conf; may be given several times, the last one counts.
    #[arg(long, value_name = "FILE")]
    nova_conf: Vec<PathBuf>,
    /// A TOML file with a table [xenserver].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One option: independent_compute=true.
    #[arg(long, value_name = "NAME=VALUE")]
    set: Vec<String>,
}

impl Options {
    /// Reads them. What is wrong with single ones is among their findings.
    ///
    /// # Errors
    ///
    /// When a file cannot be read or is not of its format, and for a `--set` without a value.
    pub fn read(&self) -> Result<Settings> {
        let read = |path: &Path| {
            let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
            Ok::<_, anyhow::Error>((path.display().to_string(), text))
        };
        let mut settings = Settings::new();
        for path in &self.nova_conf {
            let (name, text) = read(path)?;
            settings = settings.nova_conf(&name, &text)?;
        }
        if let Some(path) = &self.config {
            let (name, text) = read(path)?;
            settings = settings.toml(&name, &text)?;
        }
        settings = settings.environment(std::env::vars());
        let mut pairs = Vec::new();
        for option in &self.set {
            let Some(pair) = option.split_once('=') else { bail!("--set {option}: NAME=VALUE is wanted") };
            pairs.push(pair);
        }
        Ok(settings.command_line(pairs))
    }

    /// Reads them, and says what is wrong with single ones. Where the host is and who logs in is said elsewhere.
    ///
    /// # Errors
    ///
    /// Those of [`Options::read`].
    pub fn read_aloud(&self, ui: &Ui) -> Result<Settings> {
        let settings = self.read()?;
        for finding in settings.findings().iter().filter(|finding| finding.origin.is_some()) {
            ui.say(&format!("warning: {finding}"));
        }
        Ok(settings)
    }
}
