//! Dead letters in several files: the same ones for any workers and batches, and none that is
//! gone without a word.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;

use serde_json::Value;

use crate::support::{Folder, INSTRUMENTS};

const RUN: &str = "run --trades t.csv --instruments instruments.csv --on-bad-record dead-letter \
                   --on-miss instruments=dead-letter --output o.csv";

/// A folder with trades of which every third is put aside, and every seventh is a bad record;
/// one of those is longer than a file is to be.
fn folder() -> Folder {
    let folder = Folder::empty();
    folder.put("instruments.csv", INSTRUMENTS);
    let trade = |number: u32| match number {
        70 => format!("{},x,{number}\n", "long".repeat(500)),
        _ if number.is_multiple_of(7) => format!("{number},x,{number}\n"),
        _ => format!("{number},{},{number}\n", if number.is_multiple_of(3) { 9 } else { 1 }),
    };
    let trades: String = (1..=400).map(trade).collect();
    folder.put("t.csv", format!("trade_id,instrument_id,price\n{trades}"));
    folder
}

/// The files of dead letters in the order of their names behind the first, each with its text.
fn files(folder: &Folder, first: &str) -> Vec<(String, String)> {
    let stem = first.strip_suffix(".jsonl").expect("JSON Lines");
    let (mut names, others): (Vec<_>, Vec<_>) = folder.names().into_iter().partition(|name| name == first);
    names.extend(others.into_iter().filter(|name| name.starts_with(&format!("{stem}."))));
    names.into_iter().map(|name| (name.clone(), folder.read(&name))).collect()
}

fn text(files: &[(String, String)]) -> String {
    files.iter().map(|(_, text)| text.as_str()).collect()
}

#[test]
fn letters_go_on_in_files_that_are_the_same_for_any_workers_and_batches() {
    let folder = folder();
    folder.ok(&format!("{RUN} --dead-letters whole.jsonl --quiet"));
    let whole = folder.read("whole.jsonl");
    folder.ok(&format!("{RUN} --dead-letters d.jsonl --dead-letters-rotate 2KiB --quiet"));
    let expected = files(&folder, "d.jsonl");
    assert!(text(&expected) == whole, "all letters, in their order");
    assert!(expected.len() > 10, "{} files", expected.len());
    assert_eq!((&*expected[0].0, &*expected[1].0), ("d.jsonl", "d.000001.jsonl"));
    // Each has as many letters as there is room for; a letter that is longer has its own.
    for pair in expected.windows(2) {
        let next = pair[1].1.split_inclusive('\n').next().expect("a letter").len();
        assert!(pair[0].1.len() + next > 2 << 10, "{} ends too early", pair[0].0);
    }
    let longer: Vec<_> = expected.iter().filter(|(_, text)| text.len() > 2 << 10).collect();
    assert!(longer.len() == 1 && longer[0].1.lines().count() == 1, "{}", longer.len());
    for (workers, batch_len) in [(1, 1), (2, 7), (3, 50), (4, 10_000)] {
        for (name, _) in &expected {
            fs::remove_file(folder.path(name)).expect("removed");
        }
        let run = format!("{RUN} --dead-letters d.jsonl --dead-letters-rotate 2KiB --quiet");
        folder.ok(&format!("{run} --workers {workers} --batch-len {batch_len}"));
        assert!(files(&folder, "d.jsonl") == expected, "{workers} workers, batches of {batch_len}");
    }
    let bytes = whole.len();
    let run = format!(
        "{RUN} --dead-letters e.jsonl --dead-letters-rotate 2KiB --quiet --batch-len 20 --dead-letters-max"
    );
    assert!(folder.fails(65, &format!("{run} {}", bytes - 1)).contains("the dead letters take more than"));
    // What was complete is left, and no other run takes its place.
    assert!(folder.path("e.000001.jsonl").exists());
    assert!(folder.fails(73, &format!("{run} {bytes}")).contains("numbered files of another run"));
}

#[test]
fn packed_letters_go_on_in_other_files() {
    let folder = folder();
    folder.ok(&format!("{RUN} --dead-letters whole.jsonl --quiet"));
    folder.ok(&format!("{RUN} --dead-letters d.jsonl.zst --dead-letters-rotate 8KiB --quiet"));
    let read =
        |name: &str| zstd::decode_all(&fs::read(folder.path(name)).expect("a file")[..]).expect("Zstandard");
    let names: Vec<_> = folder.names().into_iter().filter(|name| name.starts_with("d.")).collect();
    // That of the first stands behind the digits of the others.
    let (first, others) = names.split_last().expect("files");
    assert!(first == "d.jsonl.zst" && others.len() > 1, "{names:?}");
    let all: Vec<u8> = [first].into_iter().chain(others).flat_map(|name| read(name)).collect();
    assert!(all == folder.read("whole.jsonl").into_bytes());
}

#[test]
fn the_oldest_files_go_and_their_letters_are_counted() {
    let folder = folder();
    folder.ok(&format!("{RUN} --dead-letters all.jsonl --dead-letters-rotate 4KiB --quiet"));
    let all = files(&folder, "all.jsonl");
    let run = format!("{RUN} --dead-letters d.jsonl --dead-letters-rotate 4KiB --dead-letters-keep 2");
    let summary: Value = serde_json::from_str(&folder.ok(&format!("{run} --json"))).expect("JSON");
    let kept = files(&folder, "d.jsonl");
    let dropped = &all[..all.len() - 2];
    let texts = |files: &[(String, String)]| files.iter().map(|(_, text)| text.clone()).collect::<Vec<_>>();
    assert!(kept.len() == 2 && texts(&kept) == texts(&all[all.len() - 2..]));
    let letters = text(dropped).lines().count();
    assert_eq!(summary["dead_letters_dropped"]["files"], dropped.len());
    assert_eq!(summary["dead_letters_dropped"]["letters"], letters);
    // They are in the ledger, wherever they are now.
    let all_letters = text(&all).lines().count();
    let aside = summary["unmatched"]["dead_lettered"].as_u64().expect("a number");
    assert_eq!(aside + summary["outcomes"]["rejected"].as_u64().expect("a number"), all_letters as u64);
    let said = format!("{letters} dead letters are gone with the oldest {} of their files", dropped.len());
    for (name, _) in kept {
        fs::remove_file(folder.path(&name)).expect("removed");
    }
    let printed = folder.ok(&run);
    assert!(printed.contains(&said), "{printed}");
    for (name, _) in files(&folder, "d.jsonl") {
        fs::remove_file(folder.path(&name)).expect("removed");
    }
    let failed = folder.fails(65, &format!("{run} --max-bad 50 --batch-len 10 --quiet"));
    assert!(failed.contains(" dead letters are gone with the oldest "), "{failed}");
}

#[test]
fn a_run_that_is_killed_goes_on_in_the_file_that_it_was_at() {
    let folder = folder();
    let rotated = "--dead-letters-rotate 2KiB --dead-letters-max 1MiB --quiet";
    folder.ok(&format!("{RUN} --dead-letters want.jsonl {rotated}"));
    let want = files(&folder, "want.jsonl");
    let run = format!(
        "{RUN} --dead-letters d.jsonl {rotated} --checkpoint state --checkpoint-every 20rows --batch-len 5"
    );
    let mut killed = 0;
    // At one durable call after the other, until none is left.
    for call in (10..).step_by(7) {
        let mut command = folder.command(&run);
        let output =
            command.env("TRADEJOIN_FAULTS", format!("kill@{call}:before")).output().expect("it runs");
        if output.status.success() {
            break;
        }
        assert_eq!(output.status.signal(), Some(9), "{}", String::from_utf8_lossy(&output.stderr));
        killed += 1;
    }
    assert!(killed > 2, "{killed} times");
    let found = files(&folder, "d.jsonl");
    assert!(found.iter().all(|(name, _)| name.ends_with(".jsonl")), "nothing is left over");
    assert!(found.iter().map(|(_, text)| text).eq(want.iter().map(|(_, text)| text)));
}

#[test]
fn what_cannot_be_done_with_files_of_letters_is_refused() {
    let folder = folder();
    for (flags, said) in [
        ("--dead-letters d.jsonl --dead-letters-rotate 100", "write a size of at least 1KiB"),
        ("--dead-letters d.jsonl --dead-letters-keep 2", "--dead-letters-rotate"),
        ("--dead-letters /dev/null --dead-letters-rotate 1MiB", "only where they are in files"),
        (
            "--dead-letters d.jsonl --dead-letters-rotate 1MiB --dead-letters-keep 2 --checkpoint state",
            "--checkpoint does not go with --dead-letters-keep",
        ),
        (
            "--dead-letters d.jsonl.gz --dead-letters-rotate 1MiB --checkpoint state",
            "--checkpoint does not go with --dead-letters-rotate for a packed file",
        ),
    ] {
        let stderr = folder.fails(2, &format!("{RUN} {flags}"));
        assert!(stderr.contains(said), "{flags}: {stderr}");
    }
    // A run goes on as it began.
    let kept = format!("{RUN} --dead-letters d.jsonl --checkpoint state --quiet");
    folder.ok(&format!("{kept} --dead-letters-rotate 2KiB"));
    let said = folder.fails(78, &format!("{kept} --dead-letters-rotate 4KiB"));
    assert!(said.contains("dead_letters_rotate"), "{said}");
}
