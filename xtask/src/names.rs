//! XAPI's names as Rust spells them.

/// `VM_guest_metrics` -> `VmGuestMetrics`, `restartHVM` -> `RestartHvm`, `balance-slb` -> `BalanceSlb`.
pub(crate) fn camel(name: &str) -> String {
    let mut out = String::new();
    let mut start_word = true;
    let mut previous_lower = false;
    for c in name.chars() {
        if !c.is_ascii_alphanumeric() {
            start_word = true;
            previous_lower = false;
            continue;
        }
        if start_word || (previous_lower && c.is_ascii_uppercase()) {
            out.push(c.to_ascii_uppercase());
        } else {
            out.push(c.to_ascii_lowercase());
        }
        start_word = false;
        previous_lower = c.is_ascii_lowercase();
    }
    if out.starts_with(|c: char| c.is_ascii_digit()) { format!("N{out}") } else { out }
}

/// A value of an enum; `unknown` is taken by what this crate does not know.
pub(crate) fn variant(value: &str) -> String {
    let name = camel(value);
    if name == "Unknown" { "NotKnown".into() } else { name }
}

/// `suspend_VDI` -> `suspend_vdi`; words that Rust reserves become raw.
pub(crate) fn snake(name: &str) -> String {
    let lower = name.to_ascii_lowercase();
    match lower.as_str() {
        "type" | "ref" | "fn" | "move" | "enum" | "use" | "mod" | "match" => format!("r#{lower}"),
        _ => lower,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn camel_case() {
        for (name, want) in [
            ("VDI", "Vdi"),
            ("VM_guest_metrics", "VmGuestMetrics"),
            ("restartHVM", "RestartHvm"),
            ("balance-slb", "BalanceSlb"),
            ("IPv4", "Ipv4"),
            ("pv_in_pvh", "PvInPvh"),
            ("VCPUs_max", "VcpusMax"),
        ] {
            assert_eq!(camel(name), want);
        }
    }

    #[test]
    fn reserved_words_become_raw() {
        assert_eq!(snake("type"), "r#type");
        assert_eq!(snake("SR"), "sr");
    }
}
