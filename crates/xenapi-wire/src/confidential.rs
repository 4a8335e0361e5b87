//! Parameters that nobody may be shown, marked such that whoever makes a call can cut them out of what is answered.

use serde::{Serialize, Serializer};

use crate::codec::{self, Sink};
use crate::error::EncodeError;

pub(crate) const NEWTYPE: &str = "$xenapi_wire::Confidential";

/// A parameter or field that nobody may be shown, which goes over the wire as what it is: a text, or a map of which some
/// entries are secret.
#[derive(Clone, Copy)]
pub struct Confidential<'a, T: ?Sized>(pub &'a T);

impl<T: Serialize + ?Sized> Serialize for Confidential<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_newtype_struct(NEWTYPE, self.0)
    }
}

/// The texts in `value` that are [`Confidential`]. Of a map, as of a `device_config` or the arguments of a plugin, they are
/// the entries whose names say so: addresses and sizes are wanted in messages.
pub fn confidential<T: Serialize + ?Sized>(value: &T) -> Vec<String> {
    let mut found = Texts::default();
    // What cannot be written is not sent either.
    let _ = codec::write(value, &mut found);
    found.texts
}

/// Whether the entry of a map is secret, by its name. An entry such as `cifspassword_secret` names an object.
fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let parts = ["passw", "pwd", "secret", "token", "session", "cookie", "credential", "private"];
    !name.ends_with("_secret") && parts.iter().any(|part| name.contains(part))
}

#[derive(Default)]
struct Texts {
    texts: Vec<String>,
    /// How many marks it is in.
    within: usize,
    /// For each struct that it is in, whether it is marked as a whole, and whether its present entry is secret.
    structs: Vec<(bool, bool)>,
}

impl Sink for Texts {
    fn nil(&mut self) {}

    fn bool(&mut self, _: bool) {}

    fn int(&mut self, _: i64) {}

    fn int32(&mut self, _: i32) {}

    fn double(&mut self, _: f64) {}

    fn text(&mut self, value: &str) -> Result<(), EncodeError> {
        let is_entry = self.structs.iter().any(|(is_marked, _)| *is_marked);
        let is_secret = if is_entry { self.structs.iter().any(|(_, is)| *is) } else { self.within > 0 };
        if is_secret && !value.is_empty() {
            self.texts.push(value.to_owned());
        }
        Ok(())
    }

    fn date(&mut self, _: &str) -> Result<(), EncodeError> {
        Ok(())
    }

    fn begin_array(&mut self) {}

    fn element(&mut self, _: bool) {}

    fn end_array(&mut self) {}

    fn begin_struct(&mut self) {
        self.structs.push((self.within > 0, false));
    }

    fn key(&mut self, _: bool, name: &str) -> Result<(), EncodeError> {
        if let Some((is_marked, is)) = self.structs.last_mut() {
            *is = *is_marked && is_secret(name);
        }
        Ok(())
    }

    fn end_member(&mut self) {}

    fn end_struct(&mut self) {
        self.structs.pop();
    }

    fn mark(&self) -> usize {
        self.texts.len()
    }

    fn undo(&mut self, mark: usize) {
        self.texts.truncate(mark);
    }

    fn confidential(&mut self, begins: bool) {
        if begins { self.within += 1 } else { self.within -= 1 }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::xmlrpc;

    #[test]
    fn what_is_marked_is_found_and_sent_as_it_is() {
        let config = BTreeMap::from([
            ("target", "192.0.2.7"),
            ("chappassword", "a"),
            ("password_secret", "uuid"),
            ("session_id", "b"),
        ]);
        let record = BTreeMap::from([("value", Confidential("c"))]);
        let plain = BTreeMap::from([("password", "not marked")]);
        let params = ("ref", Confidential("d"), Confidential(&config), record, plain, Confidential(""));
        assert_eq!(confidential(&params), ["d", "a", "b", "c"]);
        let marked = xmlrpc::encode_call("a", None, &(Confidential(&config), Confidential("d"))).unwrap();
        assert_eq!(marked, xmlrpc::encode_call("a", None, &(&config, "d")).unwrap());
    }
}
