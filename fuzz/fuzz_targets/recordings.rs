//! See `tests/fuzz/targets/recordings.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(init: flowlapse_fuzz::begin("recordings"), |data: &[u8]| flowlapse_fuzz::check("recordings", data));
