//! What all targets begin with.

use std::panic;

/// What a panic message names as its place if it comes out of a library that the product
/// guards against: it is caught, and told as an error of the file.
const GUARDED: [&str; 3] = ["/arrow-", "/parquet-", "/flatbuffers-"];

/// Lets the product catch what it guards against: libFuzzer would end with the message of
/// a panic, caught or not. One that nobody catches still ends the run.
pub fn let_guards_work() {
    let hook = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let is_guarded =
            info.location().is_some_and(|place| GUARDED.iter().any(|name| place.file().contains(name)));
        if !is_guarded {
            hook(info);
        }
    }));
}

/// A target of this name.
#[macro_export]
macro_rules! target {
    ($name:literal) => {
        libfuzzer_sys::fuzz_target!(
            init: $crate::let_guards_work(),
            |bytes: &[u8]| {
                static TARGET: std::sync::LazyLock<tradejoin_fuzzing::Target> =
                    std::sync::LazyLock::new(|| tradejoin_fuzzing::target($name).expect("a target of this name"));
                TARGET(bytes);
            }
        );
    };
}
