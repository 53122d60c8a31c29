//! See `tests/fuzz/targets/path.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(init: flowlapse_fuzz::begin("path"), |data: &[u8]| flowlapse_fuzz::check("path", data));
