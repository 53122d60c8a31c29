//! See `tests/fuzz/targets/policy.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(init: flowlapse_fuzz::begin("policy"), |data: &[u8]| flowlapse_fuzz::check("policy", data));
