//! Panics of a run: what they exit with, and what stands then.

use std::fs;

use crate::checkpoints::{JOB, folder};

/// At one operation of the disk after the other, from those at the start on the main thread to
/// those of the first checkpoint, and at some behind it.
#[test]
fn a_panic_exits_with_70_and_its_stage_and_the_next_run_goes_on() {
    let (folder, want) = folder();
    let job = format!("{JOB} --checkpoint-every 1000rows --batch-len 200");
    let mut told = String::new();
    let mut gone_on = 0;
    for call in (1..=8).chain((12..).step_by(4)) {
        let mut command = folder.command(&job);
        command.env("TRADEJOIN_FAULTS", format!("panic@{call}:once")).env("RUST_BACKTRACE", "0");
        let output = command.output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr);
        if call > 8 && output.status.success() {
            break;
        }
        assert_eq!(output.status.code(), Some(70), "call {call}: {said}");
        assert!(said.contains("a fault that was asked for") && said.contains("please report it"), "{said}");
        told += &said;
        gone_on += u32::from(crate::checkpoints::said(&folder, &job).contains("going on from checkpoint "));
        assert_eq!(folder.read("o.csv"), want, "call {call}");
        fs::remove_file(folder.path("o.csv")).expect("removed");
        fs::remove_dir_all(folder.path("state")).expect("removed");
    }
    assert!(gone_on > 0, "none has died behind a checkpoint");
    for stage in [
        "error: writing failed unexpectedly at batch 0, which begins at position 0, behind 0 trades: a fault",
        "error: keeping a checkpoint failed unexpectedly: a fault",
    ] {
        assert!(told.contains(stage), "{told}");
    }
}
