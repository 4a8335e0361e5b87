//! References in values: `$name`, `${name}`, `$group.name`; `$$` and `\$` are a dollar sign.

use std::cell::Cell;

/// Longest chain of references; a longer one goes in a circle.
const MAX_DEPTH: usize = 16;
/// References that are followed for one value: each may lead to several.
const MAX_REFERENCES: usize = 1_000;

/// Why a reference cannot be followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReferenceError {
    #[error("it refers to {0}, which is not set here")]
    Unknown(String),
    #[error("it refers to itself through {0}")]
    Circle(String),
}

/// Replaces references. `lookup` is given a group and a name, and answers with what is written there.
pub(crate) fn interpolate<'a>(
    value: &str,
    group: &str,
    lookup: &dyn Fn(&str, &str) -> Option<&'a str>,
) -> Result<String, ReferenceError> {
    expand(value, group, lookup, 0, &Cell::new(MAX_REFERENCES))
}

fn expand<'a>(
    value: &str,
    group: &str,
    lookup: &dyn Fn(&str, &str) -> Option<&'a str>,
    depth: usize,
    left: &Cell<usize>,
) -> Result<String, ReferenceError> {
    let value = value.replace("\\$", "$$");
    let (mut out, mut rest) = (String::new(), value.as_str());
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
            continue;
        }
        let Some((key, after)) = reference(rest) else {
            // A lone dollar sign stands for itself.
            out.push('$');
            continue;
        };
        let (at_group, name) = key.split_once('.').unwrap_or((group, key));
        // A name that the group does not have is looked for in [DEFAULT], as oslo.config does.
        let found = lookup(at_group, name).map(|text| (at_group, text));
        let found = found.or_else(|| lookup("DEFAULT", key).map(|text| ("DEFAULT", text)));
        let (at_group, text) = found.ok_or_else(|| ReferenceError::Unknown(format!("${key}")))?;
        let circle = || ReferenceError::Circle(format!("${key}"));
        left.set(left.get().checked_sub(1).filter(|_| depth < MAX_DEPTH).ok_or_else(circle)?);
        out.push_str(&expand(text, at_group, lookup, depth + 1, left)?);
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

/// The name at the start of a text, in braces or not, and what follows.
fn reference(text: &str) -> Option<(&str, &str)> {
    let braced = text.strip_prefix('{');
    let inner = braced.unwrap_or(text);
    let is_first = |c: char| c == '_' || c.is_ascii_alphabetic();
    inner.starts_with(is_first).then_some(())?;
    let end = inner.find(|c: char| !is_first(c) && c != '.' && !c.is_ascii_digit()).unwrap_or(inner.len());
    match braced {
        Some(_) => inner[end..].strip_prefix('}').map(|after| (&inner[..end], after)),
        None => Some((&inner[..end], &inner[end..])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(group: &str, name: &str) -> Option<&'static str> {
        Some(match (group, name) {
            ("DEFAULT", "host") => "xen1",
            ("xenserver", "host") => "xen2",
            ("xenserver", "url") => "https://$my_ip",
            ("DEFAULT", "my_ip") => "192.0.2.1",
            ("xenserver", "a") => "$b",
            ("xenserver", "b") => "x$a",
            _ => return None,
        })
    }

    #[test]
    fn references() {
        for (value, expanded) in [
            ("plain", "plain"),
            ("$host", "xen2"),
            ("${host}s", "xen2s"),
            ("$my_ip/x", "192.0.2.1/x"),
            ("${DEFAULT.host}", "xen1"),
            ("$DEFAULT.host", "xen1"),
            ("$url", "https://192.0.2.1"),
            ("$$host \\$host 5$ ${ $1 ${host", "$host $host 5$ ${ $1 ${host"),
        ] {
            assert_eq!(interpolate(value, "xenserver", &lookup).as_deref(), Ok(expanded), "{value}");
        }
    }

    #[test]
    fn references_to_nothing_and_in_a_circle() {
        let error = |value| interpolate(value, "xenserver", &lookup).unwrap_err();
        assert_eq!(error("$none"), ReferenceError::Unknown("$none".to_owned()));
        assert!(matches!(error("$a"), ReferenceError::Circle(_)));
    }

    /// Each refers to the next one twice: 2^15 of the last, were there no limit.
    #[test]
    fn references_that_multiply() {
        let names: Vec<String> = (0..16).map(|n| format!("$n{n}$n{n}")).collect();
        let multiplied = |_: &str, name: &str| {
            let n: usize = name.strip_prefix('n')?.parse().ok()?;
            Some(names.get(n + 1).map_or("x", String::as_str))
        };
        let error = interpolate("$n0", "xenserver", &multiplied).unwrap_err();
        assert!(matches!(error, ReferenceError::Circle(_)), "{error}");
        // As many as are allowed, one after another.
        let most = "$my_ip ".repeat(MAX_REFERENCES);
        assert!(interpolate(&most, "xenserver", &lookup).is_ok());
        assert!(interpolate(&format!("{most}$my_ip"), "xenserver", &lookup).is_err());
    }
}
