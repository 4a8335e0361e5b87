//! The envelopes of calls and answers, and events straight into records.
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    xenapi_wire::fuzzing::envelope(bytes);
    xenapi_client::fuzzing::events(bytes);
});
