//! Measurements in every form: what is read is the same in the others.
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| xenapi_client::fuzzing::rrd(bytes));
