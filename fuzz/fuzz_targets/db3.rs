#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| depthcast_fuzz::replay(bytes, "db3"));
