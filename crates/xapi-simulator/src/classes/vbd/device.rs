//! The names of drives: `userdevice` is a number or one of the names that guests use.

use xenapi_wire::Failure;

/// The device for a new drive: the one asked for, or with `autodetect` the first free one.
///
/// # Errors
/// `INVALID_DEVICE` for what is none, `DEVICE_ALREADY_EXISTS` when it, or another name for it, is taken.
pub(super) fn choose(requested: &str, kind: &str, taken: &[&str]) -> Result<String, Failure> {
    let used: Vec<Slot> = taken.iter().filter_map(|name| Slot::parse(name)).collect();
    if requested == "autodetect" {
        let (all, name): (_, fn(u32) -> String) = match kind {
            "Floppy" => (0..2, |n| format!("fd{}", letters(n))),
            _ => (0..255, |n| n.to_string()),
        };
        let free = all.map(name).find(|name| !Slot::parse(name).is_some_and(|slot| used.contains(&slot)));
        return free.ok_or_else(|| Failure::new("INVALID_DEVICE", [requested]));
    }
    let slot = Slot::parse(requested).ok_or_else(|| Failure::new("INVALID_DEVICE", [requested]))?;
    if used.contains(&slot) {
        return Err(Failure::new("DEVICE_ALREADY_EXISTS", [requested]));
    }
    Ok(requested.to_owned())
}

/// A place for a drive; `0`, `hda` and `xvda` are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slot {
    Disk(u32),
    Floppy(u32),
}

impl Slot {
    fn parse(name: &str) -> Option<Self> {
        if let Ok(number) = name.parse() {
            return Some(Self::Disk(number));
        }
        let (floppy, rest) = match name.strip_prefix("fd") {
            Some(rest) => (true, rest),
            None => (false, ["xvd", "hd", "sd"].iter().find_map(|prefix| name.strip_prefix(prefix))?),
        };
        // A partition's number may follow.
        let letters = rest.trim_end_matches(|c: char| c.is_ascii_digit());
        let number = (!letters.is_empty() && letters.len() <= 3)
            .then(|| {
                letters.chars().try_fold(0, |sum: u32, c| {
                    c.is_ascii_lowercase().then(|| sum * 26 + (c as u32 - 'a' as u32) + 1)
                })
            })
            .flatten()?
            - 1;
        Some(if floppy { Self::Floppy(number) } else { Self::Disk(number) })
    }
}

fn letters(number: u32) -> char {
    char::from(b'a' + (number % 26) as u8)
}

#[cfg(test)]
mod tests {
    use super::choose;

    #[test]
    fn devices_are_chosen_and_refused() {
        let taken = ["0", "1", "5", "xvdq", "999999", "2"];
        for (requested, kind, expected) in [
            ("0", "Disk", Err("DEVICE_ALREADY_EXISTS")),
            ("hda", "Disk", Err("DEVICE_ALREADY_EXISTS")),
            ("xvdb", "Disk", Err("DEVICE_ALREADY_EXISTS")),
            ("16", "Disk", Err("DEVICE_ALREADY_EXISTS")),
            ("sdaa", "Disk", Ok("sdaa")),
            ("1000", "Disk", Ok("1000")),
            ("banana", "Disk", Err("INVALID_DEVICE")),
            ("xvd", "Disk", Err("INVALID_DEVICE")),
            ("-1", "Disk", Err("INVALID_DEVICE")),
            ("", "Disk", Err("INVALID_DEVICE")),
            ("autodetect", "Disk", Ok("3")),
            ("autodetect", "Floppy", Ok("fda")),
        ] {
            let chosen = choose(requested, kind, &taken);
            let chosen = chosen.as_deref().map_err(|failure| failure.code.as_str());
            assert_eq!(chosen, expected, "{requested}");
        }
        let all: Vec<String> = (0..255).map(|n| n.to_string()).collect();
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        assert!(choose("autodetect", "Disk", &all).is_err());
    }
}
