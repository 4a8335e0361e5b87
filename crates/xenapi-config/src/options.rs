//! The options: names, kinds, defaults, earlier names. Facts of Nova 19 to 21 and, for the earlier names,
//! of the releases that had them in `[DEFAULT]`.

use crate::settings::Value;

/// The section of `nova.conf` that an option is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Group {
    /// `[DEFAULT]`
    Default,
    /// `[xenserver]`
    Xenserver,
}

impl Group {
    /// As it is written in the file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Default => "DEFAULT",
            Self::Xenserver => "xenserver",
        }
    }
}

/// An option.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Opt {
    /// Its section.
    pub group: Group,
    /// Its name, unique among all of these.
    pub name: &'static str,
    /// What its values are.
    pub kind: Kind,
    /// Its value when nobody gives one; empty for none.
    pub default: &'static str,
    /// The name that it had in `[DEFAULT]`; still accepted.
    pub earlier: Option<&'static str>,
    /// What is to be known by who sets it: that it has no effect, or what takes its place.
    pub note: Option<&'static str>,
    /// Whether a value that does not fit is an error, not only told: what else is refused depends on it.
    pub vital: bool,
}

/// What values an option takes.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Kind {
    /// Any text.
    Text,
    /// A text that is not shown.
    Secret,
    /// Yes or no.
    Flag,
    /// A whole number within limits.
    Integer(i64, i64),
    /// A number that is not negative.
    Float,
    /// One of these.
    Choice(&'static [&'static str]),
}

impl Kind {
    /// Reads a value as oslo.config does.
    ///
    /// # Errors
    /// What is wanted, when it is something else.
    pub fn parse(self, text: &str) -> Result<Value, String> {
        match self {
            Self::Text => Ok(Value::Text(text.to_owned())),
            Self::Secret => Ok(Value::Secret(text.to_owned())),
            Self::Flag => match text.to_ascii_lowercase().as_str() {
                "true" | "1" | "yes" | "on" => Ok(Value::Flag(true)),
                "false" | "0" | "no" | "off" => Ok(Value::Flag(false)),
                _ => Err("true or false is wanted".to_owned()),
            },
            Self::Integer(least, most) => {
                let number = text.parse().ok().filter(|n| (least..=most).contains(n));
                let wanted = if most == i64::MAX {
                    format!("a whole number of at least {least} is wanted")
                } else {
                    format!("a whole number from {least} to {most} is wanted")
                };
                number.map(Value::Integer).ok_or(wanted)
            }
            Self::Float => {
                let number = text.parse::<f64>().ok().filter(|n| n.is_finite() && *n >= 0.0);
                number.map(Value::Float).ok_or_else(|| "a number that is not negative is wanted".to_owned())
            }
            Self::Choice(choices) if choices.contains(&text) => Ok(Value::Text(text.to_owned())),
            Self::Choice(choices) => Err(format!("one of {} is wanted", choices.join(", "))),
        }
    }
}

const fn xen(name: &'static str, kind: Kind, default: &'static str, earlier: &'static str) -> Opt {
    let earlier = if earlier.is_empty() { None } else { Some(earlier) };
    Opt { group: Group::Xenserver, name, kind, default, earlier, note: None, vital: false }
}

const fn noted(option: Opt, note: &'static str) -> Opt {
    Opt { note: Some(note), ..option }
}

const fn vital(option: Opt) -> Opt {
    Opt { vital: true, ..option }
}

const fn default(name: &'static str, kind: Kind, default: &'static str) -> Opt {
    Opt { group: Group::Default, name, kind, default, earlier: None, note: None, vital: false }
}

const COUNT: Kind = Kind::Integer(0, i64::MAX);
const POSITIVE: Kind = Kind::Integer(1, i64::MAX);

/// All options that are known, those of `[xenserver]` first. `import_via`, `copy_via` and `strictness` are
/// our own; Nova ignores what it does not know.
#[rustfmt::skip]
pub const OPTIONS: &[Opt] = &[
    xen("agent_timeout", COUNT, "30", "agent_timeout"),
    xen("agent_version_timeout", COUNT, "300", "agent_version_timeout"),
    xen("agent_resetnetwork_timeout", COUNT, "60", "agent_resetnetwork_timeout"),
    noted(xen("agent_path", Kind::Text, "usr/sbin/xe-update-networking", "xenapi_agent_path"), "it has no effect here: nothing is called inside of guests but the agent itself"),
    xen("disable_agent", Kind::Flag, "false", "xenapi_disable_agent"),
    xen("use_agent_default", Kind::Flag, "false", "xenapi_use_agent_default"),
    xen("login_timeout", COUNT, "10", "xenapi_login_timeout"),
    xen("connection_concurrent", POSITIVE, "5", "xenapi_connection_concurrent"),
    xen("cache_images", Kind::Choice(&["all", "some", "none"]), "all", "cache_images"),
    xen("image_compression_level", Kind::Integer(1, 9), "", "xenapi_image_compression_level"),
    xen("default_os_type", Kind::Text, "linux", "default_os_type"),
    noted(xen("block_device_creation_timeout", POSITIVE, "10", "block_device_creation_timeout"), "it has no effect here: no device is waited for on this side"),
    noted(xen("max_kernel_ramdisk_size", COUNT, "16777216", "max_kernel_ramdisk_size"), "it has no effect here: each kernel is asked for with its own limit"),
    xen("sr_matching_filter", Kind::Text, "default-sr:true", "sr_matching_filter"),
    noted(xen("sparse_copy", Kind::Flag, "true", "xenapi_sparse_copy"), "it has no effect here: zeros are never sent"),
    noted(xen("num_vbd_unplug_retries", COUNT, "10", "xenapi_num_vbd_unplug_retries"), "it has no effect here: an unplug is tried again for as long as the driver's time to detach allows"),
    noted(xen("ipxe_network_name", Kind::Text, "", "xenapi_ipxe_network_name"), "it has no effect here: there is no iPXE disc; boot from an ISO of one's own"),
    noted(xen("ipxe_boot_menu_url", Kind::Text, "", "xenapi_ipxe_boot_menu_url"), "it has no effect here: there is no iPXE disc; boot from an ISO of one's own"),
    noted(xen("ipxe_mkisofs_cmd", Kind::Text, "mkisofs", "xenapi_ipxe_mkisofs_cmd"), "it has no effect here: there is no iPXE disc; boot from an ISO of one's own"),
    xen("connection_url", Kind::Text, "", "xenapi_connection_url"),
    xen("connection_username", Kind::Text, "root", "xenapi_connection_username"),
    xen("connection_password", Kind::Secret, "", "xenapi_connection_password"),
    xen("vhd_coalesce_poll_interval", Kind::Float, "5.0", "xenapi_vhd_coalesce_poll_interval"),
    xen("check_host", Kind::Flag, "true", "xenapi_check_host"),
    xen("vhd_coalesce_max_attempts", COUNT, "20", "xenapi_vhd_coalesce_max_attempts"),
    xen("sr_base_path", Kind::Text, "/var/run/sr-mount", "xenapi_sr_base_path"),
    xen("target_host", Kind::Text, "", "target_host"),
    xen("target_port", Kind::Integer(1, 65_535), "3260", "target_port"),
    xen("independent_compute", Kind::Flag, "false", ""),
    xen("running_timeout", COUNT, "60", "xenapi_running_timeout"),
    noted(xen("image_upload_handler", Kind::Text, "", "xenapi_image_upload_handler"),
        "it was given up in Nova 18: set image_handler"),
    noted(xen("image_handler", Kind::Choice(&["direct_vhd", "vdi_local_dev", "vdi_remote_stream"]), "direct_vhd", ""), "it has no effect here: images go through XAPI to any repository; import_via chooses the way"),
    noted(xen("introduce_vdi_retry_wait", COUNT, "20", ""), "it has no effect here: a repository is scanned, and what it has is known then"),
    xen("ovs_integration_bridge", Kind::Text, "", "xenapi_ovs_integration_bridge"),
    xen("use_join_force", Kind::Flag, "true", "use_join_force"),
    noted(xen("console_public_hostname", Kind::Text, "", "console_public_hostname"), "it has no effect since Nova 21"),
    xen("import_via", Kind::Choice(&["handler", "dom0"]), "handler", ""),
    xen("copy_via", Kind::Choice(&["xapi", "dom0"]), "xapi", ""),
    vital(xen("strictness", Kind::Choice(&["able", "strict"]), "able", "")),
    noted(default("host", Kind::Text, ""), "it has no effect here: nodes are known by their uuids"),
    noted(default("my_ip", Kind::Text, ""), "it has no effect here: no address of this side is told to anybody"),
    noted(default("my_block_storage_ip", Kind::Text, ""), "it has no effect here: no address of this side is told to anybody"),
    default("use_cow_images", Kind::Flag, "true"),
    default("default_ephemeral_format", Kind::Text, ""),
    default("flat_injected", Kind::Flag, "false"),
    noted(default("injected_network_template", Kind::Text, ""), "it has no effect here: networks are told as data, not by a template"),
    default("force_config_drive", Kind::Flag, "false"),
    default("config_drive_format", Kind::Choice(&["iso9660", "vfat"]), "iso9660"),
    noted(default("mkisofs_cmd", Kind::Text, "genisoimage"), "it has no effect here: discs are made without a program"),
    noted(default("config_drive_skip_versions", Kind::Text, ""), "it has no effect here: a config drive has all versions"),
    noted(default("vif_plugging_timeout", COUNT, "300"), "it has no effect here: who calls the driver knows its network service"),
    noted(default("vif_plugging_is_fatal", Kind::Flag, "true"), "it has no effect here: who calls the driver knows its network service"),
    default("reboot_timeout", COUNT, "0"),
];

/// Options of `[xenserver]`, or with `xenapi_` of `[DEFAULT]`, that are no more.
pub(crate) const REMOVED: &[&str] = &[
    "driver_path",
    "iqn_prefix",
    "remap_vbd_dev",
    "remap_vbd_dev_prefix",
    "vif_driver",
    "torrent_base_url",
    "torrent_seed_chance",
    "torrent_seed_duration",
    "torrent_max_last_accessed",
    "torrent_listen_port_start",
    "torrent_listen_port_end",
    "torrent_download_stall_cutoff",
    "torrent_max_seeder_processes_per_host",
    "torrent_images",
];

/// Finds an option by its name.
pub(crate) fn named(name: &str) -> Option<&'static Opt> {
    OPTIONS.iter().find(|option| option.name == name)
}

/// Finds an option by where it is written, by its earlier name too; whether that is it.
pub(crate) fn written(section: &str, name: &str) -> Option<(&'static Opt, bool)> {
    let now = |option: &&Opt| option.group.name() == section && option.name == name;
    let earlier = |option: &&Opt| section == "DEFAULT" && option.earlier == Some(name);
    let now = OPTIONS.iter().find(now).map(|option| (option, false));
    now.or_else(|| OPTIONS.iter().find(earlier).map(|option| (option, true)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_whole() {
        let xenserver: Vec<_> = OPTIONS.iter().filter(|o| o.group == Group::Xenserver).collect();
        assert_eq!(xenserver.len(), 36 + 3, "Nova's, and ours");
        let mut names: Vec<_> = OPTIONS.iter().map(|o| o.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), OPTIONS.len(), "a name is there twice");
        for option in OPTIONS.iter().filter(|o| !o.default.is_empty()) {
            assert!(option.kind.parse(option.default).is_ok(), "{}", option.name);
        }
    }

    #[test]
    fn values_by_kind() {
        let parse = |name: &str, text: &str| named(name).unwrap().kind.parse(text);
        assert_eq!(parse("check_host", "Off"), Ok(Value::Flag(false)));
        assert_eq!(parse("check_host", "maybe"), Err("true or false is wanted".to_owned()));
        assert_eq!(parse("agent_timeout", "-1"), Err("a whole number of at least 0 is wanted".to_owned()));
        assert_eq!(parse("target_port", "70000"), Err("a whole number from 1 to 65535 is wanted".to_owned()));
        assert_eq!(parse("vhd_coalesce_poll_interval", "2.5"), Ok(Value::Float(2.5)));
        assert!(parse("vhd_coalesce_poll_interval", "inf").is_err());
        assert_eq!(parse("cache_images", "ALL"), Err("one of all, some, none is wanted".to_owned()));
    }
}
