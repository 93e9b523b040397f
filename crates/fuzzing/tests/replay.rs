//! Replays what the fuzzer has kept, and every input that has ever failed.

use std::collections::BTreeSet;
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use tradejoin_fuzzing::TARGETS;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz")
}

/// The names in a folder, in order; none if it is missing.
fn names(folder: &Path) -> BTreeSet<String> {
    let Ok(entries) = fs::read_dir(folder) else { return BTreeSet::new() };
    entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("text")).collect()
}

fn replay(kind: &str) -> usize {
    let mut replayed = 0;
    for (name, target) in TARGETS {
        let folder = fuzz().join(kind).join(name);
        for file in names(&folder) {
            let bytes = fs::read(folder.join(&file)).expect("a file");
            assert!(catch_unwind(|| target(&bytes)).is_ok(), "{kind}/{name}/{file}");
            replayed += 1;
        }
    }
    replayed
}

#[test]
fn the_corpus_holds() {
    assert!(replay("corpus") >= 100, "the corpus is there");
}

#[test]
fn no_regression_comes_back() {
    replay("regressions");
}

#[test]
fn every_target_has_a_program_and_a_corpus() {
    let targets: BTreeSet<_> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let programs = names(&fuzz().join("fuzz_targets"));
    assert_eq!(programs, targets.iter().map(|name| format!("{name}.rs")).collect());
    assert_eq!(names(&fuzz().join("corpus")), targets);
    assert!(names(&fuzz().join("regressions")).is_subset(&targets));
    let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).expect("a manifest");
    assert!(targets.iter().all(|name| manifest.contains(&format!("fuzz_targets/{name}.rs"))));
}
