//! `xenstore`: a guest's part of xenstore, below `/local/domain/<domid>`.

use std::time::Duration;

use serde_json::Value;

use super::{Error, Outcome};
use crate::convention::{Args, Function};
use crate::dom0::{CommandError, Dom0};
use crate::pickle::Pickle;

const LIMIT: Duration = Duration::from_secs(20);

/// What Nova's clients take for "there is no such key": the text `None`, as JSON.
const MISSING: &str = "\"None\"";

pub(super) const FUNCTIONS: &[Function] = &[
    Function::plain("read_record", read_record),
    Function::plain("write_record", write_record),
    Function::plain("list_records", list_records),
    Function::plain("delete_record", delete_record),
];

/// `read_record(dom_id, path, ignore_missing_path)`: the value, as JSON.
fn read_record(dom0: &dyn Dom0, args: &Args) -> Outcome {
    let key = Domain::of(args)?.key(path(args)?);
    // Nova passes Python's `str(True)`; anything but the words for false used to count as true.
    let ignore = !matches!(args.optional("ignore_missing_path").unwrap_or(""), "" | "False" | "false" | "0");
    match read(dom0, &key)? {
        Some(value) => Ok(Pickle::Str(as_json(&value))),
        None if ignore => Ok(Pickle::Str(MISSING.to_owned())),
        None => Err(Error::Other(format!("xenstore has no {key}"))),
    }
}

/// `write_record(dom_id, path, value)`: the value again, as JSON.
fn write_record(dom0: &dyn Dom0, args: &Args) -> Outcome {
    let value = args.required("value")?;
    write(dom0, &Domain::of(args)?.key(path_below(args)?), value)?;
    Ok(Pickle::Str(as_json(value)))
}

/// `list_records(dom_id, path)`: every key below, relative to it, with its value.
fn list_records(dom0: &dyn Dom0, args: &Args) -> Outcome {
    let base = Domain::of(args)?.key(path(args)?);
    let mut records = serde_json::Map::new();
    let listed = dom0.execute("xenstore-ls", &["-f", &base], "", LIMIT)?;
    if listed.code == 0 {
        for line in listed.stdout.lines() {
            // The value in the list is escaped; the key's own value is read instead.
            let Some((key, _)) = line.split_once(" = \"") else { continue };
            let Some(name) = key.strip_prefix(&base).map(|name| name.trim_start_matches('/')) else {
                continue;
            };
            if name.is_empty() {
                continue;
            }
            if let Some(value) = read(dom0, key)? {
                let value = serde_json::from_str(&value).unwrap_or(Value::String(value));
                records.insert(name.to_owned(), value);
            }
        }
    } else if exists(dom0, &base)? {
        return Err(failed("xenstore-ls", listed.stderr));
    }
    Ok(Pickle::Str(Value::Object(records).to_string()))
}

/// `delete_record(dom_id, path)`: nothing, also when there was nothing.
fn delete_record(dom0: &dyn Dom0, args: &Args) -> Outcome {
    delete(dom0, &Domain::of(args)?.key(path_below(args)?))?;
    Ok(Pickle::Str(as_json("")))
}

/// A running guest, by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Domain(u32);

impl Domain {
    pub(super) fn of(args: &Args) -> Result<Self, Error> {
        let text = args.required("dom_id")?;
        match text.parse() {
            // 0 is the control domain itself; 32752 and above are reserved by Xen.
            Ok(id @ 1..32_752) => Ok(Self(id)),
            _ => {
                let reason = format!("{text:?} is not the domain id of a running guest");
                Err(Error::Argument { name: "dom_id", reason })
            }
        }
    }

    pub(super) fn key(self, path: &str) -> String {
        format!("/local/domain/{}/{path}", self.0).trim_end_matches('/').to_owned()
    }

    pub(super) fn id(self) -> u32 {
        self.0
    }
}

/// A path of xenstore's own letters that stays below the domain.
fn path(args: &Args) -> Result<&str, Error> {
    let path = args.required("path")?.trim_matches('/');
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-_/@:.+".contains(&b);
    let sane = path.len() <= 2_048
        && path.bytes().all(allowed)
        && path.split('/').all(|part| !part.is_empty() && part != "..");
    if path.is_empty() || sane {
        Ok(path)
    } else {
        Err(Error::Argument { name: "path", reason: format!("{path:?} is not a path in xenstore") })
    }
}

/// A path that is not the whole domain, with all its devices, which is neither written to nor removed.
fn path_below(args: &Args) -> Result<&str, Error> {
    match path(args)? {
        "" => Err(Error::Argument { name: "path", reason: "it is the whole domain".to_owned() }),
        path => Ok(path),
    }
}

/// A key's value. Reading is tried once more when the key vanishes between two looks.
pub(super) fn read(dom0: &dyn Dom0, key: &str) -> Result<Option<String>, Error> {
    for _ in 0..2 {
        let finished = dom0.execute("xenstore-read", &["--", key], "", LIMIT)?;
        if finished.code == 0 {
            let value = finished.stdout;
            return Ok(Some(value.strip_suffix('\n').map(str::to_owned).unwrap_or(value)));
        }
        if !exists(dom0, key)? {
            return Ok(None);
        }
    }
    Err(failed("xenstore-read", format!("cannot read {key}")))
}

pub(super) fn write(dom0: &dyn Dom0, key: &str, value: &str) -> Result<(), Error> {
    Ok(dom0.run("xenstore-write", &["--", key, value], "", LIMIT).map(drop)?)
}

pub(super) fn delete(dom0: &dyn Dom0, key: &str) -> Result<(), Error> {
    let finished = dom0.execute("xenstore-rm", &["--", key], "", LIMIT)?;
    if finished.code != 0 && exists(dom0, key)? {
        return Err(failed("xenstore-rm", finished.stderr));
    }
    Ok(())
}

/// `xenstore-exists` fails without a word for a key that is not there.
pub(super) fn exists(dom0: &dyn Dom0, key: &str) -> Result<bool, Error> {
    let finished = dom0.execute("xenstore-exists", &["--", key], "", LIMIT)?;
    match finished.code {
        0 => Ok(true),
        _ if finished.stderr.trim().is_empty() => Ok(false),
        _ => Err(failed("xenstore-exists", finished.stderr)),
    }
}

fn failed(program: &str, stderr: String) -> Error {
    CommandError { program: program.to_owned(), reason: "failed".to_owned(), stderr }.into()
}

/// The value if it is JSON already, else as a JSON text.
fn as_json(value: &str) -> String {
    match serde_json::from_str::<Value>(value) {
        Ok(_) => value.to_owned(),
        Err(_) => Value::from(value).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Fake;

    fn text(outcome: Outcome) -> String {
        match outcome {
            Ok(Pickle::Str(text)) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn records() {
        let dom0 = Fake::default().with_key("/local/domain/7/vm-data/hostname", "web");
        let args = |path| Args::of(&[("dom_id", "7"), ("path", path), ("value", "{\"a\": 1}")]);
        assert_eq!(text(read_record(&dom0, &args("vm-data/hostname"))), "\"web\"");
        assert_eq!(text(write_record(&dom0, &args("/vm-data/networking/00"))), "{\"a\": 1}");
        let listed: Value = serde_json::from_str(&text(list_records(&dom0, &args("vm-data")))).unwrap();
        assert_eq!(listed, serde_json::json!({"hostname": "web", "networking/00": {"a": 1}}));
        assert_eq!(text(list_records(&dom0, &args("data"))), "{}");
        assert_eq!(text(delete_record(&dom0, &args("vm-data/hostname"))), "\"\"");
        assert_eq!(text(delete_record(&dom0, &args("vm-data/hostname"))), "\"\"");
        assert!(read_record(&dom0, &args("vm-data/hostname")).is_err());
    }

    #[test]
    fn a_missing_key_is_none_only_when_asked_for() {
        let dom0 = Fake::default();
        for (ignore, missing_is_none) in [("True", true), ("1", true), ("False", false), ("", false)] {
            let args = Args::of(&[("dom_id", "7"), ("path", "a"), ("ignore_missing_path", ignore)]);
            let outcome = read_record(&dom0, &args);
            assert_eq!(
                outcome == Ok(Pickle::Str(MISSING.to_owned())),
                missing_is_none,
                "{ignore} {outcome:?}"
            );
        }
    }

    #[test]
    fn hostile_arguments() {
        let dom0 = Fake::default();
        for (domain, path) in [
            ("0", "a"),
            ("-1", "a"),
            ("", "a"),
            ("7/../8", "a"),
            ("32752", "a"),
            ("7", "../8/a"),
            ("7", "a//b"),
            ("7", "a b"),
            ("7", "a\nb"),
            // The domain, devices and all.
            ("7", ""),
            ("7", "//"),
        ] {
            let args = Args::of(&[("dom_id", domain), ("path", path), ("value", "x")]);
            for function in [write_record, delete_record] {
                assert!(matches!(function(&dom0, &args), Err(Error::Argument { .. })), "{domain} {path}");
            }
        }
        assert!(dom0.commands().is_empty());
    }
}
