//! What happens when a call is made twice.

/// Whether a call may be made again when nobody knows whether it has been carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Safety {
    /// It changes nothing.
    Reads,
    /// It changes something, and made twice it leaves the same as made once: `set_<field>`,
    /// `remove_from_<field>`, `PBD.plug`.
    Idempotent,
    /// Made twice it does its work twice, or fails the second time.
    Once,
}

impl Safety {
    /// What is known of a method by its name, which XAPI gives systematically. Whatever is not known to be
    /// safe is [`Safety::Once`]; so is every `Async.` form, for each makes a task of its own.
    pub fn of(method: &str) -> Self {
        let Some((class, name)) = method.rsplit_once('.') else { return Self::Once };
        if class.starts_with("Async.") {
            return Self::Once;
        }
        if class == "system" || READS.contains(&method) || starts_with_any(name, &READING) {
            return Self::Reads;
        }
        if IDEMPOTENT.contains(&method) {
            return Self::Idempotent;
        }
        // Adding to a map fails when the key is there.
        if name.starts_with("add_to_") || ONCE.contains(&method) {
            return Self::Once;
        }
        if starts_with_any(name, &["set_", "add_", "remove_"]) { Self::Idempotent } else { Self::Once }
    }

    /// Whether it may be made again.
    pub fn is_repeatable(self) -> bool {
        self != Self::Once
    }
}

fn starts_with_any(name: &str, beginnings: &[&str]) -> bool {
    beginnings.iter().any(|beginning| name.starts_with(beginning))
}

/// Beginnings of names of calls that only look or compute.
const READING: [&str; 7] = ["get_", "assert_", "query_", "retrieve_", "compute_", "has_", "ha_compute_"];

/// Others that only look.
const READS: [&str; 16] = [
    "Diagnostics.db_stats",
    "Diagnostics.gc_stats",
    "Diagnostics.network_stats",
    "VDI.checksum",
    "VDI.list_changed_blocks",
    "VM.maximise_memory",
    "event.from",
    "host.certificate_list",
    "host.crl_list",
    "host.dmesg",
    "host.is_in_emergency_mode",
    "host.list_methods",
    "host.list_timezones",
    "pool.crl_list",
    "pool.ha_failover_plan_exists",
    "pool.is_slave",
];

/// Calls of which XAPI says nothing when what they ask for is so already. A second log-in leaves a session
/// that ends by itself, a second injected event is one more of a pool that has not changed.
const IDEMPOTENT: [&str; 9] = [
    "PBD.plug",
    "PBD.unplug",
    "SR.scan",
    "SR.update",
    "VDI.update",
    "event.inject",
    "host.disable",
    "host.enable",
    "session.login_with_password",
];

/// Calls that look like those of a field and are not: the second time they fail.
const ONCE: [&str; 10] = [
    "Caller.add_group",
    "Caller.remove_group",
    "Rate_limit.add_caller",
    "Rate_limit.remove_caller",
    // VM_BIOS_STRINGS_ALREADY_SET.
    "VM.set_bios_strings",
    "network.add_purpose",
    "network.remove_purpose",
    "pool.add_repository",
    "pool.remove_repository",
    "subject.remove_from_roles",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell() {
        for (method, safety) in [
            ("VM.get_record", Safety::Reads),
            ("VM.get_all_records_where", Safety::Reads),
            ("VM.assert_can_boot_here", Safety::Reads),
            ("system.listMethods", Safety::Reads),
            ("VM.set_name_label", Safety::Idempotent),
            ("VM.remove_from_other_config", Safety::Idempotent),
            ("VM.add_tags", Safety::Idempotent),
            ("session.login_with_password", Safety::Idempotent),
            ("VM.add_to_other_config", Safety::Once),
            ("VM.set_bios_strings", Safety::Once),
            ("VM.start", Safety::Once),
            ("VDI.create", Safety::Once),
            ("host.call_plugin", Safety::Once),
            ("Async.VM.get_record", Safety::Once),
            ("session.logout", Safety::Once),
            ("nonsense", Safety::Once),
        ] {
            assert_eq!(Safety::of(method), safety, "{method}");
        }
    }

    #[cfg(feature = "meta")]
    #[test]
    fn the_datamodel_agrees() {
        use crate::meta::{self, MessageKind as Kind};
        for message in meta::messages() {
            let safety = Safety::of(&message.method);
            match message.kind {
                Kind::Explicit(explicit) if safety == Safety::Reads => {
                    assert!(explicit.result != meta::Ty::Void || explicit.name.starts_with("assert_"));
                }
                Kind::Explicit(_) => {}
                Kind::Set(_) | Kind::Add(_) | Kind::Remove(_) | Kind::RemoveFrom(_) => {
                    assert_eq!(safety, Safety::Idempotent, "{}", message.method);
                }
                Kind::AddTo(_) | Kind::Create | Kind::Destroy => {
                    assert_eq!(safety, Safety::Once, "{}", message.method);
                }
                _ => assert_eq!(safety, Safety::Reads, "{}", message.method),
            }
        }
        for method in READS.iter().chain(&IDEMPOTENT).chain(&ONCE) {
            assert!(meta::message(method).is_some(), "there is no {method}");
        }
    }
}
