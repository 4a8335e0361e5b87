//! The documents on a drive: which versions there are, and which keys each has.

pub(crate) mod device;
pub(crate) mod ec2;
pub(crate) mod link;
pub(crate) mod network;
pub(crate) mod openstack;

use crate::Error;

/// The versions of OpenStack's metadata, oldest first. A guest reads the newest one it knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Version {
    Folsom,
    Grizzly,
    Havana,
    Liberty,
    NewtonOne,
    NewtonTwo,
    Ocata,
    Rocky,
    Latest,
}

impl Version {
    pub(crate) const ALL: [(Self, &'static str); 9] = [
        (Self::Folsom, "2012-08-10"),
        (Self::Grizzly, "2013-04-04"),
        (Self::Havana, "2013-10-17"),
        (Self::Liberty, "2015-10-15"),
        (Self::NewtonOne, "2016-06-30"),
        (Self::NewtonTwo, "2016-10-06"),
        (Self::Ocata, "2017-02-22"),
        (Self::Rocky, "2018-08-27"),
        (Self::Latest, "latest"),
    ];
}

/// Checks a host name as guests will set it: RFC 1123 labels, at most 253 characters.
fn check_hostname(file: &'static str, field: &str, name: &str) -> Result<(), Error> {
    let label_is_valid = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if name.len() > 253 || !name.split('.').all(label_is_valid) {
        return Err(Error::InvalidField {
            file,
            field: field.to_owned(),
            value: name.to_owned(),
            reason: "is not a host name: letters, digits and dashes in labels of 1 to 63 characters, 253 in all",
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostnames() {
        let long = ["a".repeat(63).as_str(); 4].join(".");
        for (name, valid) in [
            ("web-1", true),
            ("web-1.example.org", true),
            ("1", true),
            ("", false),
            ("web_1", false),
            ("-web", false),
            ("web-", false),
            ("web..org", false),
            ("web.", false),
            ("wéb", false),
            ("a b", false),
            ("a\nb", false),
            (&"a".repeat(63), true),
            (&"a".repeat(64), false),
            (&long[2..], true),
            (&long, false),
        ] {
            assert_eq!(check_hostname("meta_data.json", "hostname", name).is_ok(), valid, "{name:?}");
        }
    }
}
