//! One fuzz target of Keyward under libFuzzer: the one that `KEYWARD_FUZZ_TARGET` names.
//! `cargo xtask fuzz` builds it with the instrumentation that it needs, and runs it.

#![no_main]

use std::sync::LazyLock;

use keyward_fuzz::Target;

libfuzzer_sys::fuzz_target!(|data: &[u8]| TARGET.run(data));

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let name = std::env::var("KEYWARD_FUZZ_TARGET").expect("KEYWARD_FUZZ_TARGET names a target");
    Target::find(&name).expect("it is one of `keyward_fuzz::TARGETS`")
});
