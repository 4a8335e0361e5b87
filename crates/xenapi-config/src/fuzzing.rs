//! What the fuzz target and the property test run.

use crate::{OPTIONS, Settings};

/// Reads any text as `nova.conf`: what is accepted has a value of the right kind for every option.
///
/// # Panics
/// If an option's value is not of its kind.
pub fn nova_conf(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let Ok(settings) = Settings::new().nova_conf("nova.conf", &text) else { return };
    for option in OPTIONS {
        if let Some(value) = settings.get(option.name) {
            assert!(option.kind.parse(&value.to_string()).is_ok(), "{}: {value}", option.name);
        }
    }
    for finding in settings.findings() {
        assert!(!finding.to_string().is_empty());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_file(text in r#"(\[(DEFAULT|xenserver)\]\n)((check_host|agent_timeout|target_host|my_ip|x)( ?[=:] ?)(\$\{?(my_ip|x|agent_timeout)\}?|[0-9]{1,3}|yes|"\PC{0,3}"?)\n( [a-z$]{1,3}\n)?){0,6}"#) {
            nova_conf(text.as_bytes());
        }
    }
}
