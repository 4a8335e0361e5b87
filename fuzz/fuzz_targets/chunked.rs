//! The framing of chunked uploads, read whole and in parts.
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| xenapi_types::fuzzing::chunked(bytes));
