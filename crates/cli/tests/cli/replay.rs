//! Dead letters, once more.

use crate::support::{Folder, INSTRUMENTS};

const TRADES: &str =
    "trade_id,instrument_id,note\n1,9,\"a, b\"\n2,1,x\n3,8,\n4,9,\"say \"\"hi\"\"\"\n5,7,z\n";

/// A folder in which trades 1, 3, 4 and 5 have been put aside.
fn put_aside() -> Folder {
    let folder = Folder::empty();
    folder.put("t.csv", TRADES);
    folder.put("i.csv", INSTRUMENTS);
    folder.ok("run --trades t.csv --instruments i.csv --on-miss instruments=dead-letter --dead-letters d.jsonl --output e.csv --quiet");
    folder.put("new.csv", format!("{INSTRUMENTS}9,GM,200,2024-11-03,call\n"));
    folder
}

#[test]
fn trades_that_were_put_aside_are_joined_with_a_newer_table() {
    let folder = put_aside();
    folder.ok("replay d.jsonl --instruments new.csv --output r.csv --dead-letters d2.jsonl --quiet");
    let recovered = "trade_id,instrument_id,note,instrument\n\
        1,9,\"a, b\",GM241103C00200000\n4,9,\"say \"\"hi\"\"\",GM241103C00200000\n";
    assert_eq!(folder.read("r.csv"), recovered);
    // They keep their numbers, and each time counts.
    let again = "{\"reason\":\"no-match\",\"table\":\"instruments\",\"key\":\"8\",\"trade\":3,\"tries\":2,\
        \"fields\":{\"trade_id\":3,\"instrument_id\":8,\"note\":\"\"}}\n\
        {\"reason\":\"no-match\",\"table\":\"instruments\",\"key\":\"7\",\"trade\":5,\"tries\":2,\
        \"fields\":{\"trade_id\":5,\"instrument_id\":7,\"note\":\"z\"}}\n";
    assert_eq!(folder.read("d2.jsonl"), again);
    folder.put("newer.csv", format!("{INSTRUMENTS}7,T,200,2024-11-03,call\n"));
    folder.ok("replay d2.jsonl --instruments newer.csv --output r.jsonl --dead-letters d3.jsonl.gz --quiet");
    let line = "{\"trade_id\":5,\"instrument_id\":7,\"note\":\"z\",\"instrument\":\"T241103C00200000\"}\n";
    assert_eq!(folder.read("r.jsonl"), line);
    folder.ok("replay d3.jsonl.gz --instruments newer.csv --output r.csv --dead-letters d4.jsonl --quiet");
    assert!(folder.read("d4.jsonl").contains("\"trade\":3,\"tries\":4,"), "{}", folder.read("d4.jsonl"));
}

#[test]
fn what_is_no_dead_letter_or_makes_no_sense_is_refused() {
    let folder = put_aside();
    let tables = "--instruments new.csv --output r.csv";
    folder.put("bad.jsonl", "\n{\"trade\":1,\"fields\":{\"instrument_id\":1}}\n{\"trade\":2}\n");
    let error = folder.fails(65, &format!("replay bad.jsonl {tables} --dead-letters x.jsonl"));
    assert!(
        error.contains("bad.jsonl") && error.contains("line 3 is no dead letter: it has no member fields"),
        "{error}"
    );
    folder.put("bad.jsonl", "\n{\"trade\":1,\"fields\":{\"instrument_id\":\"x\"}}\n");
    let error = folder.fails(65, &format!("replay bad.jsonl {tables} --unmatched drop"));
    assert!(error.contains("bad.jsonl, line 2, column instrument_id: \"x\""), "{error}");
    assert!(folder.fails(2, &format!("replay d.jsonl {tables}")).contains("give --dead-letters FILE"));
    assert!(
        folder
            .fails(2, &format!("replay d.jsonl {tables} --trades t.csv --unmatched drop"))
            .contains("not for a replay")
    );
    folder.fails(2, &format!("replay t.csv {tables} --dead-letters x.jsonl"));
    folder.fails(2, &format!("replay d.jsonl {tables} --dead-letters d.jsonl"));
    folder.fails(66, &format!("replay none.jsonl {tables} --dead-letters x.jsonl"));
    assert!(
        !folder.names().iter().any(|name| name.starts_with("x.jsonl") || name.starts_with("r.csv")),
        "{:?}",
        folder.names()
    );
}
