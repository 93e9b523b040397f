//! Pictures are drawn from recorded results, never by hand.

use std::fs;
use std::path::Path;

use tradejoin_benches::plots::pictures;

#[test]
fn pictures_are_those_of_the_recorded_results() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    for (name, picture) in pictures(&docs.join("results")).expect("recorded results") {
        let kept = fs::read_to_string(docs.join("images").join(name)).unwrap_or_default();
        assert!(kept == picture, "{name} is not what `cargo run -p tradejoin-benches --bin plots` draws");
    }
}
