//! Answers of an NBD server: the disk that they say, in whatever pieces and order, or an error.
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| xenapi_client::fuzzing::nbd(bytes));
