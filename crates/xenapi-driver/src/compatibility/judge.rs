//! The table, decided from facts alone.

use xenapi_config::{Origin, Settings as Options};

use crate::disk_setup::FORMATS;

use super::{Compatibility, HostPlugins, Mode, Row, Strictness, Verdict};

/// The report without what hosts and repositories are like. `inside`: the VM that this machine is, uuid and
/// name, or why it is none of the endpoint's.
pub(super) fn report(
    options: &Options,
    strictness: Strictness,
    inside: Result<(String, String), String>,
    plugins: Vec<HostPlugins>,
) -> Compatibility {
    let errors = options.findings().into_iter().filter(|finding| finding.is_error);
    let mut conflicts: Vec<String> = errors.map(|finding| finding.to_string()).collect();
    let forced = options.is_set("independent_compute").then(|| options.flag("independent_compute"));
    let mode = match (inside, forced) {
        (_, Some(true)) => Mode::Independent {
            because: format!("independent_compute is set ({})", origin(options, "independent_compute")),
        },
        (Ok((vm_uuid, name)), _) => Mode::Inside { vm_uuid, name },
        (Err(because), None) => Mode::Independent { because },
        (Err(because), Some(false)) => {
            let text = "set it, or leave it out to have it found out";
            conflicts.push(format!("independent_compute is false, and {because}: {text}"));
            Mode::Independent { because }
        }
    };
    let facts = Facts {
        options,
        is_strict: strictness == Strictness::Strict && matches!(mode, Mode::Independent { .. }),
        is_independent: matches!(mode, Mode::Independent { .. }),
        plugins: &plugins,
    };
    let rows = facts.rows();
    conflicts.extend(facts.conflicts());
    let (hosts, repositories) = (Vec::new(), Vec::new());
    Compatibility { mode, strictness, rows, plugins, hosts, repositories, conflicts }
}

struct Facts<'a> {
    options: &'a Options,
    is_strict: bool,
    is_independent: bool,
    plugins: &'a [HostPlugins],
}

impl Facts<'_> {
    fn rows(&self) -> Vec<Row> {
        let row = |function, feature, verdict| Row { function, feature, verdict };
        vec![
            row("get_this_vm_uuid", "which VM this is", Verdict::Works),
            row("get_this_vm_ref", "this VM on the endpoint", Verdict::Works),
            row(
                "vdi_attached_here",
                "disks attached where the driver runs",
                differently(
                    "no disk is attached here, in either mode: data goes through XAPI's import and export, and \
                 partitions are worked on in dom0",
                ),
            ),
            row(
                "pool._create_slave_info",
                "joining hosts to a pool",
                self.pool_membership(),
            ),
            row("vm_utils.ensure_correct_host", "check_host", self.check_host()),
            row(
                "vm_utils.cleanup_attached_vdis",
                "removing disks that a killed service left attached",
                differently("none are attached here; Driver::reconcile removes what was left on the hosts"),
            ),
            row(
                "vm_utils.auto_configure_disk",
                "auto_disk_config",
                self.in_dom0(
                    "auto_configure_disk",
                    "dom0 does it before the first start, where InstanceSpec::disk_setup asks for it",
                ),
            ),
            row(
                "vm_utils._copy_partition, resize_disk, create_copy_vdi_and_resize",
                "resize to a smaller root disk",
                self.resize_down(),
            ),
            row(
                "vm_utils._generate_disk",
                "swap and ephemeral disks",
                self.in_dom0(
                    "generate_disk",
                    "dom0 partitions and formats them before the first start, where InstanceSpec::disk_setup asks for it",
                ),
            ),
            row(
                "vm_utils.generate_configdrive",
                "config drive",
                differently("it is built here and imported as a raw disk, on any SR"),
            ),
            row("vm_utils._fetch_disk_image, _fetch_image", "images other than VHD", self.other_images()),
            row(
                "vm_utils._create_kernel_image",
                "separate kernel and ramdisk",
                self.own_kernel(),
            ),
            row("vm_utils.preconfigure_instance", "flat_injected", self.flat_injected()),
            row(
                "",
                "image_handler",
                differently(
                    "images go through XAPI from here, to any SR, whichever handler is named; dom0 needs no way to them",
                ),
            ),
        ]
    }

    /// Options that ask for what is refused.
    fn conflicts(&self) -> Vec<String> {
        let mut conflicts = Vec::new();
        let mut refuse = |name: &str, text: &str| {
            conflicts.push(format!("{name} ({}) {text}", origin(self.options, name)));
        };
        let is_set = |name| self.options.is_set(name);
        if self.is_independent && self.options.flag("check_host") && (self.is_strict || is_set("check_host"))
        {
            refuse("check_host", "is true, and this is no VM of the endpoint: set it to false");
        }
        if self.options.flag("flat_injected") && matches!(self.flat_injected(), Verdict::Refused { .. }) {
            let text = if self.is_strict {
                "is true, which the specification refuses in independent mode: set it to false"
            } else {
                "is true, and wants the plugin dom0_protocol on every host: install it, or set it to false"
            };
            refuse("flat_injected", text);
        }
        let format = self.options.text("default_ephemeral_format");
        if !format.is_empty() && !FORMATS.contains(&format.as_str()) {
            let formats = FORMATS.join(", ");
            refuse(
                "default_ephemeral_format",
                &format!("is {format:?}, which cannot be made: use one of {formats}"),
            );
        }
        if self.options.text("connection_url").starts_with("unix:") {
            refuse("connection_url", "is a socket in dom0: use the host's https:// address");
        }
        conflicts
    }

    fn check_host(&self) -> Verdict {
        match (self.is_independent, self.is_strict) {
            (false, _) => Verdict::Works,
            (true, true) => refused("there is no VM of the endpoint to check", "set check_host to false"),
            (true, false) => {
                differently("there is no VM to check; the endpoint's certificate says which host it is")
            }
        }
    }

    fn pool_membership(&self) -> Verdict {
        match self.is_strict {
            true => {
                refused("the specification refuses it in independent mode", "call `xe pool-join` in dom0")
            }
            false => differently(
                "Driver::join_pool and Driver::eject_node do it from here, and nothing of the driver restarts",
            ),
        }
    }

    fn resize_down(&self) -> Verdict {
        if self.is_strict {
            return refused(
                "the specification refuses it in independent mode",
                "keep the size, or make a new instance",
            );
        }
        self.in_dom0(
            "copy_disk",
            "dom0 makes a copy of the disk fit, and Driver::resize keeps the old one until it is confirmed",
        )
    }

    fn other_images(&self) -> Verdict {
        if self.is_strict {
            return refused(
                "the specification has VHD alone in independent mode",
                "convert the image to VHD",
            );
        }
        differently(
            "they are read here and sent in a form that the SR takes: raw, VHD and qcow2 as disks, a file system as the \
             first partition, an ISO as a disc beside a blank root disk",
        )
    }

    fn own_kernel(&self) -> Verdict {
        if self.is_strict {
            return refused(
                "the specification refuses it in independent mode",
                "use an image whose own boot loader finds its kernel",
            );
        }
        self.in_dom0(
            "cache_kernel",
            "they go through XAPI from here, and the plugin keeps them on the guest's host (InstanceSpec::kernel); recent \
             hypervisors run no such guests",
        )
    }

    fn flat_injected(&self) -> Verdict {
        if self.is_strict {
            return refused("the specification refuses it in independent mode", "use a config drive");
        }
        self.in_dom0(
            "inject",
            "dom0 writes the files before the first start, where InstanceSpec::disk_setup asks for it",
        )
    }

    /// What the plugin `dom0_protocol` does, where every host has it.
    fn in_dom0(&self, function: &str, how: &str) -> Verdict {
        let lacking: Vec<&str> = self
            .plugins
            .iter()
            .filter(|host| !host.state.has(function))
            .map(|host| host.host.as_str())
            .collect();
        if lacking.is_empty() {
            return differently(how);
        }
        let why = format!("the plugin dom0_protocol of xapi-plugins is not on {}", lacking.join(", "));
        refused(&why, "install it (`examples/plugins install`)")
    }
}

fn differently(how: &str) -> Verdict {
    Verdict::Differently { how: how.to_owned() }
}

fn refused(why: &str, remedy: &str) -> Verdict {
    Verdict::Refused { why: why.to_owned(), remedy: remedy.to_owned() }
}

fn origin<'a>(options: &'a Options, name: &str) -> &'a Origin {
    options.origin(name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::PluginState;
    use super::*;

    fn hosts(with_plugin: bool) -> Vec<HostPlugins> {
        let functions = ["auto_configure_disk", "cache_kernel", "copy_disk", "generate_disk", "inject"]
            .map(str::to_owned);
        let functions = BTreeMap::from([("dom0_protocol".to_owned(), functions.to_vec())]);
        let state = match with_plugin {
            true => PluginState::Installed { version: "1".to_owned(), functions },
            false => PluginState::Foreign { version: "2.1".to_owned() },
        };
        vec![HostPlugins { host: "xen1".to_owned(), state }]
    }

    fn judge(
        options: &[(&str, &str)],
        strictness: Strictness,
        is_inside: bool,
        plugin: bool,
    ) -> Compatibility {
        let options = Options::new().command_line(options.iter().copied());
        let inside = match is_inside {
            true => Ok(("u".to_owned(), "compute".to_owned())),
            false => Err("this machine is elsewhere".to_owned()),
        };
        report(&options, strictness, inside, hosts(plugin))
    }

    fn refused_features(report: &Compatibility) -> Vec<&str> {
        let refused = |row: &&Row| matches!(row.verdict, Verdict::Refused { .. });
        report.rows.iter().filter(refused).map(|row| row.feature).collect()
    }

    #[test]
    fn the_mode_is_found_or_forced() {
        let mode =
            |options: &[(&str, &str)], is_inside| judge(options, Strictness::Able, is_inside, true).mode;
        assert!(matches!(mode(&[], true), Mode::Inside { .. }));
        assert!(matches!(mode(&[], false), Mode::Independent { .. }));
        assert!(matches!(mode(&[("independent_compute", "true")], true), Mode::Independent { .. }));
        let forced = judge(&[("independent_compute", "false")], Strictness::Able, false, true);
        assert_eq!(forced.conflicts.len(), 1);
        assert!(forced.conflicts[0].contains("this machine is elsewhere"), "{:?}", forced.conflicts);
    }

    #[test]
    fn what_can_be_done_is_not_refused() {
        let report = judge(&[], Strictness::Able, false, true);
        assert_eq!(refused_features(&report), [""; 0]);
        assert_eq!(report.check(), Ok(()));
    }

    #[test]
    fn without_the_plugin_the_hosts_are_named() {
        let report = judge(&[("flat_injected", "true")], Strictness::Able, false, false);
        let row = report.rows.iter().find(|row| row.feature == "auto_disk_config").unwrap();
        assert!(row.verdict.to_string().contains("is not on xen1"), "{}", row.verdict);
        assert_eq!(report.check().unwrap_err().0.len(), 1);
    }

    #[test]
    fn strict_is_the_specification() {
        let report = judge(&[], Strictness::Strict, false, true);
        assert_eq!(
            refused_features(&report),
            [
                "joining hosts to a pool",
                "check_host",
                "resize to a smaller root disk",
                "images other than VHD",
                "separate kernel and ramdisk",
                "flat_injected",
            ]
        );
        // check_host is true unless somebody says otherwise, as in Nova.
        assert_eq!(report.conflicts.len(), 1);
        assert_eq!(judge(&[("check_host", "no")], Strictness::Strict, false, true).check(), Ok(()));
        assert_eq!(judge(&[], Strictness::Strict, true, true).check(), Ok(()));
    }

    #[test]
    fn all_conflicts_in_one_error() {
        let options = [
            ("check_host", "true"),
            ("flat_injected", "true"),
            ("default_ephemeral_format", "reiserfs"),
            ("connection_url", "unix://local"),
        ];
        let error = judge(&options, Strictness::Strict, false, true).check().unwrap_err();
        assert_eq!(error.0.len(), 4, "{error}");
        let text = error.to_string();
        for (name, _) in options {
            assert!(text.contains(name), "{text}");
        }
    }

    #[test]
    fn how_much_is_refused_has_to_be_known() {
        let error = judge(&[("strictness", "strickt")], Strictness::Able, false, true).check().unwrap_err();
        assert_eq!(error.0, ["command line: strictness: one of able, strict is wanted, not \"strickt\""]);
    }

    /// The specification's rows, whether it refuses them in independent mode, and whether we do.
    const SPECIFICATION: &[(&str, bool, bool)] = &[
        ("get_this_vm_uuid", false, false),
        ("get_this_vm_ref", false, false),
        ("vdi_attached_here", false, false),
        ("pool._create_slave_info", true, false),
        ("vm_utils.ensure_correct_host", true, false),
        ("vm_utils.cleanup_attached_vdis", false, false),
        ("vm_utils.auto_configure_disk", false, false),
        ("vm_utils._copy_partition, resize_disk, create_copy_vdi_and_resize", true, false),
        ("vm_utils._generate_disk", false, false),
        ("vm_utils.generate_configdrive", false, false),
        ("vm_utils._fetch_disk_image, _fetch_image", true, false),
        ("vm_utils._create_kernel_image", true, false),
        ("vm_utils.preconfigure_instance", true, false),
        // Of no row there, but of its hole: a handler that wants a device of this machine.
        ("", false, false),
    ];

    #[test]
    fn row_by_row_as_the_specification_has_it() {
        let refused = |strictness, is_inside| -> Vec<(&'static str, bool)> {
            let report = judge(&[], strictness, is_inside, true);
            let rows = report.rows.iter();
            rows.map(|row| (row.function, matches!(row.verdict, Verdict::Refused { .. }))).collect()
        };
        let strictly: Vec<_> = SPECIFICATION.iter().map(|(name, strict, _)| (*name, *strict)).collect();
        let ably: Vec<_> = SPECIFICATION.iter().map(|(name, _, able)| (*name, *able)).collect();
        assert_eq!(refused(Strictness::Strict, false), strictly);
        assert_eq!(refused(Strictness::Able, false), ably);
        // In a VM of the endpoint nothing is refused, strict or not.
        assert_eq!(refused(Strictness::Strict, true), ably);
        // Who refuses says why, and what to do.
        for row in judge(&[], Strictness::Strict, false, false).rows {
            if let Verdict::Refused { why, remedy } = row.verdict {
                assert!(!why.is_empty() && !remedy.is_empty(), "{}", row.feature);
            }
        }
    }
}
