//! Versions of agents: numbers with dots between them.

/// Whether version `offered` is newer than `running`: compared number by number, so that `1.2.3.10`
/// is newer than `1.2.3.4` and `10.0` than `9.0`. What is no number counts as 0.
pub fn is_newer(offered: &str, running: &str) -> bool {
    numbers(offered) > numbers(running)
}

/// Without trailing zeros: `1.0` and `1` are the same version.
fn numbers(version: &str) -> Vec<u64> {
    let mut all: Vec<u64> = version.trim().split('.').map(|part| part.parse().unwrap_or(0)).collect();
    while all.last() == Some(&0) {
        all.pop();
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_by_number() {
        for (offered, running, newer) in [
            ("1.2.3.10", "1.2.3.4", true),
            ("1.2.3.4", "1.0.1", true),
            ("10.0", "9.0", true),
            ("1.0", "1", false),
            ("1", "1.0.0", false),
            ("1.2", "1.2", false),
            ("1.2.1", "1.2", true),
            ("", "0.1", false),
        ] {
            assert_eq!(is_newer(offered, running), newer, "{offered} {running}");
        }
    }
}
