//! Records of the chunked framing make the disk they say, whole and in pieces, or are refused.
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| disk_stream::fuzzing::chunked(bytes));
