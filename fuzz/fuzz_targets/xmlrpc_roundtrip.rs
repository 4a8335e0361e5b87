//! What XML-RPC brought in goes out and comes in unchanged.
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| xenapi_wire::fuzzing::xmlrpc_roundtrip(bytes));
