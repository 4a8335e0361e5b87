//! Sources merged: each option's value, where it comes from, and what is wrong.

use std::collections::BTreeMap;
use std::fmt;

use crate::ini::{self, SyntaxError};
use crate::interpolate::interpolate;
use crate::options::{self, Group, Kind, OPTIONS, Opt};

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// Nobody gave one.
    Default,
    /// A file of oslo.config, and the line.
    NovaConf(String, usize),
    /// A TOML file.
    Toml(String),
    /// A variable of the environment.
    Environment(String),
    /// The command line.
    CommandLine,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::NovaConf(file, line) => write!(f, "{file}, line {line}"),
            Self::Toml(file) => f.write_str(file),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::CommandLine => f.write_str("command line"),
        }
    }
}

/// An option's value.
#[derive(Clone, PartialEq)]
pub enum Value {
    /// A text, also one of a choice.
    Text(String),
    /// A text that is not shown. [`Display`](fmt::Display) and [`Debug`] do not.
    Secret(String),
    /// Yes or no.
    Flag(bool),
    /// A whole number.
    Integer(i64),
    /// A number.
    Float(f64),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Secret(_) => f.write_str("***"),
            Self::Flag(flag) => write!(f, "{flag}"),
            Self::Integer(number) => write!(f, "{number}"),
            Self::Float(number) => write!(f, "{number}"),
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Something that is wrong with what was set. The option keeps the value that it had before.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// Where; `None` when it concerns several places.
    pub origin: Option<Origin>,
    /// What, and what to do.
    pub text: String,
    /// Whether nothing may be begun before it is mended, because the option is [vital](Opt::vital); the rest are warnings.
    pub is_error: bool,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Some(origin) => write!(f, "{origin}: {}", self.text),
            None => f.write_str(&self.text),
        }
    }
}

/// Settings of all sources. See the [crate's page](crate).
#[derive(Debug, Clone, Default)]
pub struct Settings {
    values: BTreeMap<&'static str, (Value, Origin)>,
    findings: Vec<Finding>,
    /// What the files of oslo.config say, in their order: they refer to each other.
    written: Vec<Written>,
}

/// A file of oslo.config.
#[derive(Clone)]
struct Written {
    name: String,
    assignments: Vec<ini::Assignment>,
}

impl fmt::Debug for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The values may be secrets.
        write!(f, "{}, {} assignments", self.name, self.assignments.len())
    }
}

impl Settings {
    /// Defaults alone.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the text of a `nova.conf`; `name` is what findings call it. May be called for several files, each of which
    /// outweighs those before and may refer to what any of them says.
    ///
    /// # Errors
    /// When a line is none of oslo.config's format.
    pub fn nova_conf(mut self, name: &str, text: &str) -> Result<Self, SyntaxError> {
        let mut files = std::mem::take(&mut self.written);
        files.push(Written { name: name.to_owned(), assignments: ini::parse(name, text)? });
        let is_of_file = |origin: &Origin| matches!(origin, Origin::NovaConf(..));
        // References in the files before may now lead to something else.
        self.values.retain(|_, (_, origin)| !is_of_file(origin));
        self.findings.retain(|finding| !finding.origin.as_ref().is_some_and(is_of_file));
        // What came between the files has outweighed those before it.
        let between: Vec<&'static str> = self.values.keys().copied().collect();
        for (at, file) in files.iter().enumerate() {
            let kept = if at + 1 == files.len() { &[][..] } else { &between };
            self.add_written(file, &files, kept);
        }
        self.written = files;
        Ok(self)
    }

    /// Takes over what a file says, but for the options that are to stay as they are.
    fn add_written(&mut self, file: &Written, all: &[Written], kept: &[&str]) {
        let lookup = |group: &str, wanted: &str| {
            let at = |a: &&ini::Assignment| a.section == group && a.name == wanted;
            let written = all.iter().rev().find_map(|file| file.assignments.iter().rev().find(at));
            let written = written.map(|a| a.value.as_str());
            written.or_else(|| options::named(wanted).filter(|o| o.group.name() == group).map(|o| o.default))
        };
        for assignment in &file.assignments {
            let origin = Origin::NovaConf(file.name.clone(), assignment.line);
            let section = assignment.section.as_str();
            let Some((option, is_earlier)) = options::written(section, &assignment.name) else {
                self.unknown(&origin, section, &assignment.name);
                continue;
            };
            if is_earlier {
                let new = format!("write it as {} in [xenserver]", option.name);
                self.find(&origin, format!("[DEFAULT] {} is an earlier name: {new}", assignment.name));
            }
            match interpolate(&assignment.value, section, &lookup) {
                Ok(_) if kept.contains(&option.name) => {}
                Ok(text) => self.set(option, &text, origin),
                Err(e) => self.misread(option, &origin, &e.to_string()),
            }
        }
    }

    /// Adds a TOML file with tables of the sections' names.
    ///
    /// # Errors
    /// When it is not TOML.
    pub fn toml(mut self, name: &str, text: &str) -> Result<Self, SyntaxError> {
        let table: toml::Table = text.parse().map_err(|e: toml::de::Error| {
            let before = e.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            SyntaxError {
                source_name: name.to_owned(),
                line: before.matches('\n').count() + 1,
                reason: e.message().to_owned(),
            }
        })?;
        let origin = Origin::Toml(name.to_owned());
        for (section, values) in table {
            let Some(group) = [Group::Default, Group::Xenserver].into_iter().find(|g| g.name() == section)
            else {
                self.find(&origin, format!("[{section}] is not a table; [xenserver] and [DEFAULT] are"));
                continue;
            };
            for (key, value) in values.as_table().into_iter().flatten() {
                let option = options::named(key).filter(|option| option.group == group);
                let text = match value {
                    toml::Value::String(text) => text.clone(),
                    toml::Value::Integer(number) => number.to_string(),
                    toml::Value::Float(number) => number.to_string(),
                    toml::Value::Boolean(flag) => flag.to_string(),
                    _ => {
                        let wanted = "a text, a number, true or false is wanted";
                        match option {
                            Some(option) => self.misread(option, &origin, wanted),
                            None => self.find(&origin, format!("{key}: {wanted}")),
                        }
                        continue;
                    }
                };
                match option {
                    Some(option) => self.set(option, &text, origin.clone()),
                    None => self.unknown(&origin, group.name(), key),
                }
            }
        }
        Ok(self)
    }

    /// Adds variables of the environment, named as oslo.config has them: `OS_XENSERVER__CHECK_HOST`,
    /// `OS_DEFAULT__HOST`. Others are not looked at.
    pub fn environment<N, V>(mut self, variables: impl IntoIterator<Item = (N, V)>) -> Self
    where
        N: AsRef<str>,
        V: AsRef<str>,
    {
        for (name, value) in variables {
            let (name, value) = (name.as_ref(), value.as_ref());
            let origin = Origin::Environment(name.to_owned());
            for group in [Group::Default, Group::Xenserver] {
                let prefix = format!("OS_{}__", group.name().to_ascii_uppercase());
                let Some(rest) = name.strip_prefix(&prefix) else { continue };
                let key = rest.to_ascii_lowercase();
                match options::named(&key).filter(|option| option.group == group) {
                    Some(option) => self.set(option, value, origin.clone()),
                    // Other services have options in [DEFAULT]; `unknown` knows.
                    None => self.unknown(&origin, group.name(), &key),
                }
            }
        }
        self
    }

    /// Adds what the command line says: names, with their section and a dot before or not, and values.
    pub fn command_line<N, V>(mut self, options: impl IntoIterator<Item = (N, V)>) -> Self
    where
        N: AsRef<str>,
        V: AsRef<str>,
    {
        for (name, value) in options {
            let full = name.as_ref();
            let name =
                full.strip_prefix("xenserver.").or_else(|| full.strip_prefix("DEFAULT.")).unwrap_or(full);
            match options::named(name) {
                Some(option) => self.set(option, value.as_ref(), Origin::CommandLine),
                None => self.unknown(&Origin::CommandLine, Group::Xenserver.name(), name),
            }
        }
        self
    }

    /// The value of an option, its default when it has one; `None` also for a name that is no option.
    pub fn get(&self, name: &str) -> Option<Value> {
        let set = self.values.get(name).map(|(value, _)| value.clone());
        set.or_else(|| {
            let option = options::named(name).filter(|option| !option.default.is_empty())?;
            option.kind.parse(option.default).ok()
        })
    }

    /// A flag's value; `false` for what is no flag.
    pub fn flag(&self, name: &str) -> bool {
        self.get(name) == Some(Value::Flag(true))
    }

    /// A text's value, secrets included; empty when there is none.
    pub fn text(&self, name: &str) -> String {
        match self.get(name) {
            Some(Value::Text(text) | Value::Secret(text)) => text,
            _ => String::new(),
        }
    }

    /// Where an option's value comes from.
    pub fn origin(&self, name: &str) -> &Origin {
        self.values.get(name).map_or(&Origin::Default, |(_, origin)| origin)
    }

    /// Whether anybody gave a value.
    pub fn is_set(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// What is wrong, in the order of the sources; then what is set in vain, in that of the names; then what contradicts
    /// itself.
    pub fn findings(&self) -> Vec<Finding> {
        let mut findings = self.findings.clone();
        findings.extend(self.values.iter().filter_map(|(name, (_, origin))| {
            let text = format!("{name}: {}", options::named(name)?.note?);
            Some(Finding { origin: Some(origin.clone()), text, is_error: false })
        }));
        let contradictions = self.contradictions().into_iter();
        findings.extend(contradictions.map(|text| Finding { origin: None, text, is_error: false }));
        findings
    }

    fn contradictions(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut when = |is: bool, text: &str| found.extend(is.then(|| text.to_owned()));
        let (has, text) = (|name: &str| self.is_set(name), |name: &str| self.text(name));
        when(!has("connection_url"), "connection_url is not set: it says which host to drive");
        when(!has("connection_password"), "connection_password is not set");
        let is_local = text("connection_url").starts_with("unix://");
        when(
            is_local && self.flag("independent_compute"),
            "independent_compute is set, and connection_url is a socket in dom0: use the host's https:// address",
        );
        when(
            is_local && !self.flag("independent_compute"),
            "connection_url is a socket in dom0, which is not supported: use the host's https:// address",
        );
        when(
            self.flag("disable_agent") && self.flag("use_agent_default"),
            "disable_agent and use_agent_default are both set: the agent is never used",
        );
        when(
            has("image_upload_handler") && has("image_handler"),
            "image_upload_handler and image_handler are both set: remove image_upload_handler",
        );
        when(
            has("ipxe_boot_menu_url") != has("ipxe_network_name"),
            "of ipxe_boot_menu_url and ipxe_network_name only one is set: iPXE wants both",
        );
        when(
            has("image_compression_level") && text("image_handler") == "vdi_local_dev",
            "image_compression_level has no effect with image_handler vdi_local_dev",
        );
        found
    }

    fn set(&mut self, option: &'static Opt, text: &str, origin: Origin) {
        match option.kind.parse(text) {
            Ok(value) => {
                self.values.insert(option.name, (value, origin));
            }
            Err(wanted) => {
                let shown = if option.kind == Kind::Secret { "***" } else { text };
                self.misread(option, &origin, &format!("{wanted}, not {shown:?}"));
            }
        }
    }

    /// Tells of a value that does not fit.
    fn misread(&mut self, option: &Opt, origin: &Origin, why: &str) {
        let text = format!("{}: {why}", option.name);
        self.findings.push(Finding { origin: Some(origin.clone()), text, is_error: option.vital });
    }

    /// Tells of a name that is no option, where it can be known that it is none.
    fn unknown(&mut self, origin: &Origin, section: &str, name: &str) {
        let plain = name.strip_prefix("xenapi_");
        let is_ours = section == Group::Xenserver.name() || (section == "DEFAULT" && plain.is_some());
        if !is_ours {
            return;
        }
        if options::REMOVED.contains(&plain.unwrap_or(name)) {
            self.find(origin, format!("[{section}] {name} was removed from Nova and has no effect"));
            return;
        }
        let similar = OPTIONS
            .iter()
            .filter(|option| option.group == Group::Xenserver)
            .map(|option| (distance(name, option.name), option.name))
            .min()
            .filter(|(distance, _)| *distance <= 3);
        let hint = similar.map(|(_, name)| format!("; {name} is one")).unwrap_or_default();
        self.find(origin, format!("[{section}] {name} is not an option{hint}"));
    }

    fn find(&mut self, origin: &Origin, text: String) {
        self.findings.push(Finding { origin: Some(origin.clone()), text, is_error: false });
    }
}

/// How many letters have to be changed, added or left out to make one of the other.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut before = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let change = before + usize::from(x != y);
            before = row[j + 1];
            row[j + 1] = change.min(before + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGIN: &str = "[xenserver]\nconnection_url = https://xen1\nconnection_password = se$$cret\n";

    fn nova(text: &str) -> Settings {
        Settings::new().nova_conf("nova.conf", &format!("{LOGIN}{text}")).unwrap()
    }

    #[track_caller]
    fn finds(settings: &Settings, wanted: &[&str]) {
        let found: Vec<String> = settings.findings().iter().map(ToString::to_string).collect();
        assert_eq!(found, wanted);
    }

    #[test]
    fn each_source_outweighs_those_before() {
        let settings =
            nova("agent_timeout = 1\nagent_version_timeout = 1\nrunning_timeout = 1\nlogin_timeout = 1\n")
                .toml(
                    "x.toml",
                    "[xenserver]\nagent_version_timeout = 2\nrunning_timeout = 2\nlogin_timeout = 2\n",
                )
                .unwrap()
                .environment([("OS_XENSERVER__RUNNING_TIMEOUT", "3"), ("OS_XENSERVER__LOGIN_TIMEOUT", "3")])
                .command_line([("xenserver.login_timeout", "4")]);
        finds(&settings, &[]);
        for (name, value, origin) in [
            ("agent_resetnetwork_timeout", 60, "default"),
            ("agent_timeout", 1, "nova.conf, line 4"),
            ("agent_version_timeout", 2, "x.toml"),
            ("running_timeout", 3, "environment OS_XENSERVER__RUNNING_TIMEOUT"),
            ("login_timeout", 4, "command line"),
        ] {
            assert_eq!(settings.get(name), Some(Value::Integer(value)), "{name}");
            assert_eq!(settings.origin(name).to_string(), origin);
        }
    }

    #[test]
    fn earlier_names_references_and_foreign_sections() {
        let settings = nova(
            "target_host = $my_ip\n[DEFAULT]\nmy_ip = 192.0.2.7\nxenapi_check_host = 0\nlog_dir = /x\n\
             [libvirt]\nvirt_type = kvm\n",
        );
        assert_eq!(settings.text("target_host"), "192.0.2.7");
        assert!(!settings.flag("check_host"));
        assert_eq!(settings.text("connection_password"), "se$cret");
        finds(
            &settings,
            &[
                "nova.conf, line 7: [DEFAULT] xenapi_check_host is an earlier name: write it as check_host in [xenserver]",
                "nova.conf, line 6: my_ip: it has no effect here: no address of this side is told to anybody",
            ],
        );
    }

    /// `--config-file nova.conf --config-file nova-compute.conf`.
    #[test]
    fn files_refer_to_each_other() {
        let (base, compute) = (
            "[DEFAULT]\nmy_ip = 192.0.2.7\nname = a\n[xenserver]\ntarget_host = $name\nagent_path = /$late\n\
             login_timeout = 1\nconnection_password = se$$cret\n",
            "[DEFAULT]\nname = b\nlate = x\n[xenserver]\nconnection_url = https://$my_ip\nlogin_timeout = 2\n\
             check_hots = 1\n",
        );
        let settings = Settings::new().nova_conf("nova.conf", base).unwrap();
        assert_eq!(settings.text("target_host"), "a");
        let settings =
            settings.toml("x.toml", "[xenserver]\nagent_timeout = 3\nlogin_timeout = 3\n").unwrap();
        let settings = settings.nova_conf("nova-compute.conf", compute).unwrap();
        for (name, text) in [
            ("connection_url", "https://192.0.2.7"),
            ("target_host", "b"),
            ("agent_path", "/x"),
            ("connection_password", "se$cret"),
        ] {
            assert_eq!(settings.text(name), text, "{name}");
        }
        assert_eq!(settings.origin("target_host").to_string(), "nova.conf, line 5");
        assert_eq!(settings.get("login_timeout"), Some(Value::Integer(2)), "the last file");
        assert_eq!(settings.get("agent_timeout"), Some(Value::Integer(3)));
        let found: Vec<String> = settings.findings().iter().map(ToString::to_string).collect();
        assert_eq!(found.iter().filter(|text| text.contains("check_hots")).count(), 1, "{found:?}");
        assert!(!found.iter().any(|text| text.contains("refers to")), "{found:?}");
        assert!(!format!("{settings:?}").contains("cret"), "{settings:?}");
    }

    /// What another source said before a file is outweighed by that file alone.
    #[test]
    fn what_stands_between_files_outweighs_those_before() {
        let file =
            |timeout: u32| format!("[xenserver]\nlogin_timeout = {timeout}\nagent_timeout = {timeout}\n");
        let settings = Settings::new().nova_conf("a.conf", &file(1)).unwrap();
        let settings = settings.command_line([("agent_timeout", "2"), ("login_timeout", "2")]);
        let settings = settings.nova_conf("b.conf", "[xenserver]\nlogin_timeout = 3\n").unwrap();
        assert_eq!(settings.get("agent_timeout"), Some(Value::Integer(2)));
        assert_eq!(settings.get("login_timeout"), Some(Value::Integer(3)));
    }

    #[test]
    fn what_is_wrong_is_told_and_the_rest_used() {
        let settings = nova(
            "check_hots = no\nfrobnicate = 1\nvif_driver = x\ncheck_host = maybe\ntarget_host = $nobody\n\
             console_public_hostname = x\n",
        );
        finds(
            &settings,
            &[
                "nova.conf, line 4: [xenserver] check_hots is not an option; check_host is one",
                "nova.conf, line 5: [xenserver] frobnicate is not an option",
                "nova.conf, line 6: [xenserver] vif_driver was removed from Nova and has no effect",
                "nova.conf, line 7: check_host: true or false is wanted, not \"maybe\"",
                "nova.conf, line 8: target_host: it refers to $nobody, which is not set here",
                "nova.conf, line 9: console_public_hostname: it has no effect since Nova 21",
            ],
        );
        assert!(settings.flag("check_host"));
    }

    #[test]
    fn how_much_is_refused_is_not_guessed() -> Result<(), SyntaxError> {
        let errors = |settings: Settings| -> Vec<String> {
            let errors = settings.findings().into_iter().filter(|finding| finding.is_error);
            errors.map(|finding| finding.to_string()).collect()
        };
        let wanted = "strictness: one of able, strict is wanted, not \"Strict\"";
        let conf = "[xenserver]\nstrictness = Strict\ncheck_host = maybe\n";
        let fine = [("strictness", "strict"), ("check_host", "maybe"), ("strictnes", "strict")];
        let listed = "[xenserver]\nstrictness = ['strict']\n";
        for (settings, told) in [
            (Settings::new().nova_conf("nova.conf", conf)?, format!("nova.conf, line 2: {wanted}")),
            (Settings::new().command_line([("strictness", "Strict")]), format!("command line: {wanted}")),
            (
                Settings::new().toml("x.toml", listed)?,
                "x.toml: strictness: a text, a number, true or false is wanted".to_owned(),
            ),
        ] {
            assert_eq!(errors(settings), [told]);
        }
        assert!(errors(Settings::new().command_line(fine)).is_empty());
        Ok(())
    }

    #[test]
    fn contradictions() {
        let settings = Settings::new().command_line([
            ("connection_url", "unix://local"),
            ("independent_compute", "true"),
            ("disable_agent", "1"),
            ("use_agent_default", "1"),
            ("ipxe_network_name", "net"),
        ]);
        let found: Vec<String> = settings.findings().iter().map(ToString::to_string).collect();
        let begins = [
            "command line: ipxe_network_name",
            "connection_password is",
            "independent_compute is",
            "disable_agent and",
            "of ipxe_boot",
        ];
        assert_eq!(found.len(), begins.len(), "{found:?}");
        assert!(found.iter().zip(begins).all(|(text, begin)| text.starts_with(begin)), "{found:?}");
    }

    #[test]
    fn secrets_are_not_shown() {
        let settings = nova("");
        assert_eq!(settings.get("connection_password").unwrap().to_string(), "***");
        assert!(!format!("{settings:?}").contains("cret"), "{settings:?}");
    }

    #[test]
    fn toml_that_is_wrong() {
        let error = Settings::new().toml("x.toml", "[xenserver]\ncheck_host = \n").unwrap_err();
        assert!(error.to_string().starts_with("x.toml, line 2: "), "{error}");
        let settings =
            nova("").toml("x.toml", "[nova]\na = 1\n[xenserver]\ncheck_host = [1]\nx = 1\n").unwrap();
        assert_eq!(settings.findings().len(), 3, "{:?}", settings.findings());
    }
}
