//! The result of `event.from`.

use std::collections::BTreeMap;

use crate::EventRecord;
use crate::record::record;

record! {
    /// What `event.from` returns: events, and the token to ask for those that follow.
    "event batch" EventBatch {
        /// Give this to the next `event.from`.
        0 "token" token: String;
        /// How many objects of each class there are now; the class in lower case.
        1 "valid_ref_counts" valid_ref_counts: BTreeMap<String, i64>;
        /// The events, deletions last.
        2 "events" events: Vec<EventRecord>;
    }
}
