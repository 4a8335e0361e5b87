//! A date that reads is written as the same second.
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| xenapi_wire::fuzzing::datetime(bytes));
