//! The result of `event.from`.

use std::collections::BTreeMap;

use xenapi_wire::{Class, DecodeError, Ref, Value};

use crate::EventRecord;
use crate::record::record;

record! {
    /// What `event.from` returns: events, and the token to ask for those that follow.
    "event batch" EventBatch {
        /// The events, deletions last.
        0 "events" events: Vec<EventRecord>;
        /// How many objects of each class there are now; the class in lower case.
        1 "valid_ref_counts" valid_ref_counts: BTreeMap<String, i64>;
        /// Give this to the next `event.from`.
        2 "token" token: String;
    }
}

impl EventRecord {
    /// The object of the event, when it is of class `C`. Events name classes in lower case.
    pub fn object<C: Class>(&self) -> Option<Ref<C>> {
        self.class.eq_ignore_ascii_case(C::NAME).then(|| self.r#ref.as_str().into())
    }

    /// The record as it is now, when the event is of class `C` and has one: deletions that
    /// `event.from` reports have none.
    ///
    /// # Errors
    /// When the snapshot is no record of the class.
    pub fn record<C: Class>(&self) -> Option<Result<C::Record, DecodeError>> {
        if self.snapshot == Value::Nil || !self.class.eq_ignore_ascii_case(C::NAME) {
            return None;
        }
        Some(self.snapshot.decode())
    }
}
