//! Journals that nobody has written.

mod support;

use support::Files;
use tradejoin_connectors::{Category, Journal};

/// What is said of a journal with one update.
fn refused(changes: &str) -> String {
    let table = r#"{"name":"venues","rows":2,"digest":1,"mode":"as-of","columns":[]}"#;
    let lines = [
        format!(r#"{{"begin":{{"journal":1,"tables":[{table}]}}}}"#),
        format!(r#"{{"update":{{"trades_before":1,"table":"venues","changes":{changes}}}}}"#),
        r#"{"end":{"trades":2}}"#.to_owned(),
    ];
    let files = Files::new();
    let path = files.put("journal.jsonl", lines.join("\n"));
    Journal::read(&path).map_or_else(|error| error.to_string(), |_| String::new())
}

#[test]
fn a_line_that_is_no_text_is_told() {
    let files = Files::new();
    let path = files.put("journal.jsonl", b"{\"begin\":{\"journal\":1,\"tables\":[]}}\n{\"\xFF\":1}\n");
    let error = Journal::read(&path).expect_err("no text");
    assert_eq!(error.category(), Category::Data);
    assert!(error.to_string().contains("journal.jsonl, line 2: "), "{error}");
}

#[test]
fn what_no_table_could_take_is_refused() {
    for (changes, what) in [
        (r#"{"keys":{"texts":["a"]},"fields":[],"valid_from":[7],"valid_to":[8]}"#, ""),
        (r#"{"keys":{"texts":["a"]},"fields":[],"deleted":[0],"valid_from":[7],"valid_to":[7]}"#, ""),
        (r#"{"keys":{"texts":["a"]},"fields":[],"valid_from":[7],"valid_to":[7]}"#, "ends before it begins"),
        (r#"{"keys":{"texts":[null]},"fields":[]}"#, "a key that is null"),
        (r#"{"keys":{"texts":[{"hex":"+f"}]},"fields":[]}"#, "no hexadecimal text"),
    ] {
        let said = refused(changes);
        assert!(said.contains(what) && said.is_empty() == what.is_empty(), "{changes}: {said}");
    }
}
