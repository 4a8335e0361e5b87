//! The archive of a guest or a disk, as bytes or as a list of members: whole and in pieces, and written again.
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| xenapi_types::fuzzing::archive(bytes));
