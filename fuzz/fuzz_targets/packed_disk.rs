//! A packed disk, or one that is packed here: the same disk however it is packed, or refused.
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| disk_stream::fuzzing::packed(bytes));
