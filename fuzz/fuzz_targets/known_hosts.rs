//! A file of known hosts: nothing is skipped, and what is added is the only change.
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| xenapi_client::fuzzing::known_hosts(bytes));
