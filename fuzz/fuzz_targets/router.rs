//! Requests to a simulated pool: as bytes, as calls, as handlers, as methods with parameters.
#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| xapi_simulator::fuzzing::requests(bytes));
