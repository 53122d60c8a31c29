//! See `tests/fuzz/targets/scenario.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(init: flowlapse_fuzz::begin("scenario"), |data: &[u8]| flowlapse_fuzz::check("scenario", data));
