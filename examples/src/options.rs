//! Nova's options and ours, from where an operator has them.

use std::path::{Path, PathBuf};

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use xenapi_client::{Config, Limits};
use xenapi_config::{Settings, Value};
use xenapi_driver::spec::{ConfigDriveFormat, SrChoice};
use xenapi_driver::volume::Portal;
use xenapi_driver::{Otherwise, Shutdown};

use crate::ui::Ui;

/// Options come from --nova-conf, then --config, then the environment (OS_XENSERVER__CHECK_HOST), then --set; the last one
/// counts.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Options of Nova")]
pub struct Options {
    /// A nova.conf; may be given several times, the last one counts.
    #[arg(long, global = true, value_name = "FILE")]
    nova_conf: Vec<PathBuf>,
    /// A TOML file with a table [xenserver].
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One option: independent_compute=true.
    #[arg(long, global = true, value_name = "NAME=VALUE")]
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
        // What is no Unicode is none of these.
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        settings = settings.environment(variables);
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
        // What is an error is refused with all that does not fit.
        for finding in settings.findings().iter().filter(|found| found.origin.is_some() && !found.is_error) {
            ui.warn(&format!("warning: {finding}"));
        }
        Ok(settings)
    }

    /// Reads them aloud, for how a program works with hosts.
    ///
    /// # Errors
    ///
    /// Those of [`Options::read`].
    pub fn way(&self, ui: &Ui) -> Result<Way> {
        Ok(Way::of(&self.read_aloud(ui)?))
    }

    /// The repository that is named, or else the one that `sr_matching_filter` says.
    ///
    /// # Errors
    ///
    /// Those of [`Options::read`], and for a filter that is none.
    pub fn repository(&self, named: Option<&str>) -> Result<SrChoice> {
        match named {
            Some(name) => Ok(SrChoice::Named(name.to_owned())),
            None => Ok(self.read()?.text("sr_matching_filter").parse()?),
        }
    }

    /// Where an iSCSI target is, as somebody says, or else `target_host`, and `target_port` where there is no port.
    ///
    /// # Errors
    ///
    /// Those of [`Options::read`], and when nobody says it.
    pub fn portal(&self, named: Option<&str>) -> Result<Portal> {
        let options = self.read()?;
        let host = named.map_or_else(|| options.text("target_host"), str::to_owned);
        if host.is_empty() {
            bail!("where is the target? Name --iscsi, or set the option target_host");
        }
        let number = numbers(&options);
        let port = number("target_port").and_then(|port| port.try_into().ok());
        Ok(Portal::with_port(&host, port.unwrap_or(Portal::PORT))?)
    }

    /// How a guest is brought down to reboot: it has as long as `reboot_timeout` says, if it does, and then no choice.
    ///
    /// # Errors
    ///
    /// Those of [`Options::read`].
    pub fn reboot(&self) -> Result<Shutdown> {
        let options = self.read()?;
        let number = numbers(&options);
        let timeout = number("reboot_timeout").map(Duration::from_secs);
        let otherwise = Otherwise::Hard;
        Ok(timeout.map_or(Shutdown::NOVA, |timeout| Shutdown::Clean { timeout, otherwise }))
    }

    /// Whether somebody wants hosts to join by force: `use_join_force`. Nova does that unasked.
    ///
    /// # Errors
    ///
    /// Those of [`Options::read`].
    pub fn joins_by_force(&self) -> Result<bool> {
        let options = self.read()?;
        Ok(options.is_set("use_join_force") && options.flag("use_join_force"))
    }

    /// The properties of an image: these, and the `os_type` that `default_os_type` says, if it does and they do not.
    ///
    /// # Errors
    ///
    /// Those of [`Options::read`].
    pub fn properties(&self, given: &[(String, String)]) -> Result<BTreeMap<String, String>> {
        let options = self.read()?;
        let said = options.is_set("default_os_type").then(|| options.text("default_os_type"));
        let said = said.map(|os_type| ("os_type".to_owned(), os_type));
        Ok(said.into_iter().chain(given.iter().cloned()).collect())
    }

    /// The file system of config drives: `config_drive_format`.
    ///
    /// # Errors
    ///
    /// Those of [`Options::read`].
    pub fn config_drive_format(&self) -> Result<ConfigDriveFormat> {
        self.read()?.text("config_drive_format").parse().map_err(anyhow::Error::msg)
    }
}

/// How a program works with hosts.
#[derive(Debug, Clone, Default)]
pub struct Way {
    /// How its driver behaves.
    pub settings: xenapi_driver::Settings,
    /// How long the first log-in may take, where that is said.
    pub login_timeout: Option<Duration>,
    /// How many calls may be under way at once, where that is said.
    pub concurrent_calls: Option<usize>,
    /// What has to fit where the program runs before it does anything.
    pub options: Settings,
}

impl Way {
    /// As the options say: those of the driver's settings, `login_timeout` and `connection_concurrent`. All of them have
    /// to fit.
    pub fn of(options: &Settings) -> Self {
        let number = numbers(options);
        Self {
            settings: xenapi_driver::Settings::of(options),
            login_timeout: number("login_timeout").map(Duration::from_secs),
            concurrent_calls: number("connection_concurrent").and_then(|n| n.try_into().ok()),
            options: options.clone(),
        }
    }

    /// A configuration with these limits.
    pub fn limited(&self, config: Config) -> Config {
        match self.concurrent_calls {
            Some(concurrent_calls) => config.limits(Limits { concurrent_calls, ..Limits::default() }),
            None => config,
        }
    }
}

impl From<xenapi_driver::Settings> for Way {
    fn from(settings: xenapi_driver::Settings) -> Self {
        Self { settings, ..Self::default() }
    }
}

/// Options that are numbers above 0, where somebody gives them one.
fn numbers(options: &Settings) -> impl Fn(&str) -> Option<u64> {
    |name| match options.get(name).filter(|_| options.is_set(name)) {
        Some(Value::Integer(number)) => u64::try_from(number).ok().filter(|number| *number > 0),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(pairs: &[(&str, &str)]) -> Settings {
        Settings::new().command_line(pairs.iter().copied())
    }

    #[test]
    fn calls_at_once() {
        let config = || Config::new("https://xen1", "root", "x").expect("a URL");
        for (pairs, wanted) in
            [(&[][..], "concurrent_calls: 32"), (&[("connection_concurrent", "5")], "concurrent_calls: 5")]
        {
            let config = Way::of(&given(pairs)).limited(config());
            assert!(format!("{config:?}").contains(wanted), "{config:?}");
        }
    }

    fn options(set: &[&str]) -> Options {
        let set = set.iter().map(|text| (*text).to_owned()).collect();
        Options { nova_conf: Vec::new(), config: None, set }
    }

    #[test]
    fn the_kind_of_guest_in_an_image() -> Result<()> {
        let given = [("os_type".to_owned(), "windows".to_owned())];
        for (set, given, wanted) in [
            (&[][..], &[][..], None),
            (&["default_os_type=linux"], &[], Some("linux")),
            (&["default_os_type=linux"], &given, Some("windows")),
        ] {
            let properties = options(set).properties(given)?;
            assert_eq!(properties.get("os_type").map(String::as_str), wanted, "{set:?}");
        }
        Ok(())
    }

    #[test]
    fn targets() -> Result<()> {
        let both = ["target_host=192.0.2.9", "target_port=3261"];
        for (set, named, wanted) in [
            (&both[..], None, ("192.0.2.9", 3261)),
            (&both[..1], None, ("192.0.2.9", 3260)),
            (&both, Some("192.0.2.1"), ("192.0.2.1", 3261)),
            (&both, Some("192.0.2.1:3262"), ("192.0.2.1", 3262)),
            (&[], Some("[2001:db8::1]"), ("2001:db8::1", 3260)),
        ] {
            let portal = options(set).portal(named)?;
            assert_eq!((portal.host.as_str(), portal.port), wanted, "{set:?} {named:?}");
        }
        let error = options(&both[1..]).portal(None).unwrap_err().to_string();
        assert!(error.contains("target_host"), "{error}");
        Ok(())
    }

    #[test]
    fn reboots_joins_and_config_drives() -> Result<()> {
        let seven = Shutdown::Clean { timeout: Duration::from_secs(7), otherwise: Otherwise::Hard };
        for (set, wanted) in [
            (&[][..], Shutdown::NOVA),
            (&["reboot_timeout=0"], Shutdown::NOVA),
            (&["reboot_timeout=7"], seven),
        ] {
            assert_eq!(options(set).reboot()?, wanted, "{set:?}");
        }
        for (set, wanted) in
            [(&[][..], false), (&["use_join_force=true"], true), (&["use_join_force=false"], false)]
        {
            assert_eq!(options(set).joins_by_force()?, wanted, "{set:?}");
        }
        for (set, wanted) in
            [(&[][..], ConfigDriveFormat::Iso9660), (&["config_drive_format=vfat"], ConfigDriveFormat::Vfat)]
        {
            assert_eq!(options(set).config_drive_format()?, wanted, "{set:?}");
        }
        Ok(())
    }

    #[test]
    fn the_repository_that_is_meant() -> Result<()> {
        let filter = "sr_matching_filter=other-config:i18n-key=local-storage";
        let local = SrChoice::OtherConfig { key: "i18n-key".to_owned(), value: "local-storage".to_owned() };
        assert_eq!(options(&[]).repository(None)?, SrChoice::PoolDefault);
        assert_eq!(options(&[filter]).repository(None)?, local);
        assert_eq!(options(&[filter]).repository(Some("fast"))?, SrChoice::Named("fast".to_owned()));
        let error = options(&["sr_matching_filter=other-config:x"]).repository(None).unwrap_err().to_string();
        assert!(error.contains("has no \"=\""), "{error}");
        Ok(())
    }
}
