//! Any bytes, every decoder: nothing may panic.
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| xenapi_wire::fuzzing::decode_anything(bytes));
