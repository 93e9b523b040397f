//! Runs that earlier versions of the command have left in their middle: each format of checkpoints
//! is gone on with for ever.
//!
//! A folder `golden/format-N/JOB` has the inputs, what there was of the outputs (`out`) and of the
//! checkpoints (`state`), and what it comes to: outputs (`want`) and counts (`want.json`) of an
//! undisturbed run. The first ones were killed by `TRADEJOIN_FAULTS` in three lives of 2 workers, with
//! `--batch-len 3 --checkpoint-every 6rows --checkpoint-keep 1`, the last between the checkpoint and
//! the names of the outputs that it completes; what no checkpoint tells of was removed.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::kill_jobs::{rows, with_journal};
use crate::support::{Folder, Ran};

const TEXT: &str = "run --trades t.csv --instruments i.csv --table-changes c.jsonl --journal out/j.jsonl \
    --on-miss instruments=hold=12rows,then=dead-letter --on-bad-record dead-letter --max-bad 50 \
    --dead-letters out/d.jsonl --dead-letters-rotate 1KiB --correct 20rows --corrections out/r.csv \
    --output out/o.csv --checkpoint state";

const PARTS: &str = "run --trades t.csv --instruments i.csv --table-changes c.jsonl \
    --on-miss instruments=hold=12rows,then=keep --on-bad-record skip --max-bad 50 --correct 20rows \
    --corrections out/r.jsonl --output out/parts/ --output-format parquet --checkpoint state";

fn golden(job: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/format-1").join(job)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        match from.is_dir() {
            true => copy(&from, &to),
            false => fs::copy(&from, &to).map(drop).expect("copied"),
        }
    }
}

/// A copy of a run that was left in its middle.
fn left(job: &str) -> Folder {
    let folder = Folder::empty();
    copy(&golden(job), &folder.path(""));
    // As the command makes it, whatever the copy in the repository may have.
    fs::set_permissions(folder.path("state"), fs::Permissions::from_mode(0o700)).expect("set");
    folder
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

/// The checkpoint has what a version might read in another way.
fn check_state(folder: &Folder) -> Value {
    let state = json(&folder.ok("checkpoint show state --json"));
    assert_eq!((&state["format"], &state["end"]), (&1.into(), &Value::Null));
    let is_there = |count: &Value| count.as_u64().is_some_and(|count| count > 0);
    assert!(is_there(&state["held"]["trades"]) && is_there(&state["held"]["recent"]), "{}", state["held"]);
    assert!(
        is_there(&state["bad"]["t.csv"]) && state["source"]["inputs"].as_array().expect("a list").len() == 2
    );
    state
}

/// Goes on from a copy with several numbers of workers.
fn goes_on(job: &str, line: &str, outputs: fn(&Path) -> BTreeMap<String, Vec<u8>>) {
    let (want, counts) = (
        outputs(&golden(job).join("want")),
        json(&fs::read_to_string(golden(job).join("want.json")).expect("counts")),
    );
    for (workers, batch_len) in [(1, 3), (2, 8192), (3, 1), (8, 7)] {
        let folder = left(job);
        let how = format!("--workers {workers} --batch-len {batch_len}");
        let Ran { code, stdout, stderr } = folder.run(&format!("{line} {how} --json"));
        assert_eq!(code, 0, "{how}: {stderr}");
        let summary = json(&stdout);
        let is_told = |(name, value): (&String, &Value)| match value {
            Value::Object(values) => values.iter().all(|(inner, value)| summary[name][inner] == *value),
            value => summary[name] == *value,
        };
        assert!(counts.as_object().expect("counts").iter().all(is_told), "{how}: {summary}");
        assert!(summary["checkpoints"]["messages_before"].as_u64() > Some(0), "{how}: it goes on");
        let got = outputs(&folder.path("out"));
        assert_eq!(got.keys().collect::<Vec<_>>(), want.keys().collect::<Vec<_>>(), "{how}");
        for (name, bytes) in got {
            assert!(bytes == want[&name], "{how}: {name}: {}", String::from_utf8_lossy(&bytes));
        }
    }
}

#[test]
fn texts_letters_and_a_journal_of_the_first_format_are_gone_on_with() {
    let folder = left("text");
    let state = check_state(&folder);
    let outputs = state["outputs"].as_array().expect("a list");
    let len = |name: &Value| {
        let file = fs::metadata(folder.path(name.as_str().expect("a name")));
        file.ok().map(|file| file.len())
    };
    let is_any = |is: &dyn Fn(Option<u64>, Option<u64>, Option<u64>) -> bool| {
        outputs
            .iter()
            .any(|output| is(len(&output["partial"]), len(&output["name"]), output["bytes"].as_u64()))
    };
    assert!(is_any(&|partial, name, bytes| partial == bytes && name.is_none()), "under way");
    assert!(is_any(&|partial, name, bytes| partial.is_none() && name == bytes), "complete");
    assert!(is_any(&|partial, _, bytes| partial > bytes), "longer than what counts");
    assert!(outputs.iter().any(|output| output["is_complete"] == true && len(&output["name"]).is_none()));
    goes_on("text", TEXT, with_journal);
}

#[test]
fn parts_of_the_first_format_are_gone_on_with() {
    fn outputs(folder: &Path) -> BTreeMap<String, Vec<u8>> {
        let mut all = rows(folder);
        all.insert("r.jsonl".to_owned(), fs::read(folder.join("r.jsonl")).expect("corrections"));
        all
    }
    let folder = left("parts");
    let state = check_state(&folder);
    let parts = &state["outputs"][0];
    assert!(parts["parts"].as_u64() > Some(0));
    let staged = parts["staged"][0]["partial"].as_str().expect("a part that has no name of its own yet");
    assert!(folder.path("out/parts").join(staged).exists());
    goes_on("parts", PARTS, outputs);
}
