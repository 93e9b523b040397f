//! What a reload would do with a newer file, before it does.

use crate::support::{Folder, INSTRUMENTS};

const HEAD: &str = "instrument_id,ticker,strike,expiry,option_type";

/// Rows of instruments by id and ticker.
fn instruments(rows: &[(u32, &str)]) -> String {
    let row = |(id, ticker): &(u32, &str)| format!("{id},{ticker},200,2024-11-03,call\n");
    format!("{HEAD}\n{}", rows.iter().map(row).collect::<String>())
}

#[test]
fn what_is_added_changed_and_removed_is_shown_with_what_it_was() {
    let folder = Folder::empty();
    folder.put("old.csv", instruments(&[(1, "SPY"), (2, "F"), (3, "T"), (4, "X"), (5, "C"), (6, "D")]));
    folder.put("new.csv", instruments(&[(7, "MSFT"), (6, "D"), (5, "C"), (4, "X"), (3, "T"), (2, "GM")]));
    let ran = folder.run("diff-table old.csv new.csv");
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let expected = "instruments by instrument_id · mode latest · columns compared: instrument\n\
        rows 6 → 6: 1 added, 1 changed, 1 removed, 0 duplicates\n\
        \nadded\n  7: instrument MSFT241103C00200000\n\
        \nchanged\n  2: instrument F241103C00200000 → GM241103C00200000\n\
        \nremoved\n  1\n\
        \nwould be reloaded\n";
    assert_eq!(ran.stdout, expected);
    let ran = folder.run("diff-table old.csv old.csv");
    assert_eq!(ran.code, 0);
    assert!(ran.stdout.ends_with("would be reloaded: no row says anything else\n"), "{}", ran.stdout);
}

#[test]
fn what_the_guards_refuse_is_told_by_the_code_too() {
    let folder = Folder::empty();
    folder.put("old.csv", instruments(&[(1, "SPY"), (2, "F"), (3, "T")]));
    folder.put("new.csv", instruments(&[(1, "SPY"), (3, "T")]));
    let ran = folder.run("diff-table old.csv new.csv");
    assert_eq!(ran.code, 1);
    let why = "would be refused: 1 of 3 rows are missing from it, and --max-removed allows 20%\n";
    assert!(ran.stdout.ends_with(why), "{}", ran.stdout);
    assert_eq!(folder.run("diff-table --max-removed 1 old.csv new.csv").code, 0);
    assert_eq!(folder.run("diff-table --max-removed 1 --min-rows 3 old.csv new.csv").code, 1);

    folder.put("new.csv", instruments(&[(1, "SPY"), (2, "F"), (3, "T"), (2, "F"), (9, "A"), (9, "A")]));
    let ran = folder.run("diff-table old.csv new.csv");
    assert_eq!(ran.code, 1);
    let shown = "duplicates\n  2: instrument F241103C00200000\n  9: instrument A241103C00200000\n";
    assert!(ran.stdout.contains(shown), "{}", ran.stdout);
    assert!(ran.stdout.contains("2 of its rows have a key that an earlier one has"), "{}", ran.stdout);
}

#[test]
fn a_file_that_cannot_be_read_is_refused_and_one_that_is_missing_is_an_error() {
    let folder = Folder::empty();
    folder.put("old.csv", INSTRUMENTS);
    folder.put("new.csv", format!("{HEAD},desk\nSPY-1,SPY,200,2024-11-03,call,a\n"));
    let ran = folder.run("diff-table old.csv new.csv");
    assert_eq!(ran.code, 1);
    let why = "would be refused: new.csv, line 2, column instrument_id: \"SPY-1\": not an unsigned integer";
    assert!(ran.stdout.contains(why) && ran.stdout.contains("columns added: desk"), "{}", ran.stdout);
    let said = folder.fails(65, "diff-table new.csv old.csv");
    assert!(said.contains("new.csv, line 2, column instrument_id: \"SPY-1\""), "{said}");
    folder.put("new.csv", "instrument_id,ticker\n1,SPY\n");
    assert_eq!(folder.run("diff-table old.csv new.csv").code, 1);
    assert_eq!(folder.run("diff-table old.csv none.csv").code, 66);
    assert_eq!(folder.run("diff-table none.csv old.csv").code, 66);
    assert_eq!(folder.run("diff-table new.csv old.csv").code, 2);
    assert_eq!(folder.run("diff-table --kind instruments new.csv old.csv").code, 65);
    assert_eq!(folder.run("diff-table --key instrument_id --columns none new.csv old.csv").code, 2);
}

#[test]
fn tables_by_any_key_show_their_columns_and_what_became_of_the_key() {
    let folder = Folder::empty();
    folder.put("old.csv", "mic,ccy,city,desk\n1,usd,NY,a\n2,usd,Rome,b\n");
    folder.put("new.csv", "mic,ccy,city,code\nXNYS,usd,NY,a\nXMIL,usd,Rome,b\n");
    let ran = folder.run("diff-table --key mic --columns city old.csv new.csv");
    assert_eq!(ran.code, 1);
    for expected in [
        "table by mic · mode latest · columns compared: city\n",
        "columns added: code\ncolumns removed: desk\n",
        "the keys were integers, and all new ones are texts\n",
        "added\n  XNYS: city NY\n  XMIL: city Rome\n",
        "removed\n  1\n  2\n",
    ] {
        assert!(ran.stdout.contains(expected), "{expected}: {}", ran.stdout);
    }
    // All columns are compared unless some are named, and one of them is gone.
    let ran = folder.run("diff-table --key mic old.csv new.csv");
    assert!(ran.stdout.contains("would be refused: column desk is not there any more"), "{}", ran.stdout);
    folder.put("new.csv", "mic,ccy,city,desk\n2,usd,Rom,b\n1,usd,NY,\n");
    let ran = folder.run("diff-table --key mic+ccy old.csv new.csv");
    assert!(ran.stdout.contains("changed\n  2, usd: city Rome → Rom\n  1, usd: desk a → "), "{}", ran.stdout);
}

#[test]
fn rows_with_times_and_versions_are_compared_as_a_run_does() {
    let folder = Folder::empty();
    folder.put("old.csv", "k,v,valid_from\na,1,2024-01-01T00:00:00Z\na,2,2024-02-01T00:00:00Z\n");
    folder.put("new.csv", "k,v,valid_from\na,1,2024-01-01T00:00:00Z\na,3,2024-02-01T00:00:00Z\n");
    let ran = folder.run("diff-table --key k --columns v --mode as-of old.csv new.csv");
    assert_eq!(ran.code, 0);
    assert!(ran.stdout.contains("changed\n  a from 2024-02-01T00:00:00Z: v 2 → 3\n"), "{}", ran.stdout);
    folder.put("old.csv", "k,v,seq\na,1,1\nb,1,1\n");
    folder.put("new.csv", "k,v,seq\na,2,2\n");
    let ran = folder.run("diff-table --key k --columns v --version-column seq old.csv new.csv");
    assert_eq!(ran.code, 0);
    assert!(ran.stdout.contains("changed\n  a: v 1 → 2, seq 1 → 2\n"), "{}", ran.stdout);
    assert!(ran.stdout.contains("0 removed"), "{}", ran.stdout);
}

#[test]
fn formats_may_differ_and_json_tells_all() {
    let folder = Folder::empty();
    for (seed, to) in [(1, "i.parquet"), (1, "i.csv"), (2, "j.jsonl")] {
        folder.ok(&format!("generate --limit 1000 --ids 50 --seed {seed} --instruments {to}"));
    }
    let report = |flags: &str| -> serde_json::Value {
        serde_json::from_str(&folder.ok(&format!("diff-table --json {flags}"))).expect("JSON")
    };
    let same = report("i.parquet i.csv");
    let counts = serde_json::json!({"rows": 50, "added": 0, "changed": 0, "removed": 0, "duplicates": 0});
    assert_eq!(
        (&same["table"], &same["rows_before"], &same["counts"]),
        (&"instruments".into(), &50.into(), &counts)
    );
    let other = report("--show 1 i.parquet j.jsonl");
    assert_eq!((&other["counts"]["changed"], &other["refusal"]), (&50.into(), &serde_json::Value::Null));
    assert_eq!(other["would_reload"], true);
    let cell = &other["first"]["changed"][0]["columns"][0];
    assert_eq!(cell["column"], "instrument");
    assert!(cell["old"].is_string() && cell["new"].is_string() && cell["old"] != cell["new"], "{other}");
}
