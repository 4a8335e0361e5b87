//! Files of oslo.config.
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| xenapi_config::fuzzing::nova_conf(bytes));
