//! Every reason that a bad record may have, by an input that gives it.

use std::collections::BTreeSet;

use tradejoin_connectors::reason_codes;

use crate::bad_records::reasons;
use crate::support::Folder;

/// What gives each reason, by what is run.
fn bad_inputs(folder: &Folder) -> Vec<String> {
    let trades = "--trades good.csv";
    folder.put("good.csv", "instrument_id,mic\n1,X\n");
    folder.put("mic.csv", "mic\nX\n");
    folder.put("t.csv", b"instrument_id,a\nx,1\n4294967296,1\n,1\n1\n1,2,3\n1,\xff\n");
    let mut lines = vec!["{\"instrument_id\":1}".to_owned(); 1_024];
    lines.extend(
        ["{", "[1]", "{\"instrument_id\":1,\"b\":2}", "{\"instrument_id\":1,\"instrument_id\":1}"]
            .map(str::to_owned),
    );
    lines.push(format!("{{\"instrument_id\":1{}}}", " ".repeat(16 << 20)));
    lines.push(format!("{{\"instrument_id\":1,\"a\":{}{}}}", "[".repeat(200), "]".repeat(200)));
    lines.push(format!("{{\"instrument_id\":1{}}}", ",\"a\":1".repeat(5_000)));
    folder.put("t.jsonl", lines.join("\n"));
    let rows = [
        ("tomorrow", "A", "1", "C", ""),
        ("2024-02-30", "A", "1", "C", ""),
        ("1999-01-01", "A", "1", "C", ""),
        ("2024-11-03", "TOOLONG", "1", "C", ""),
        ("2024-11-03", "A", "x", "C", ""),
        ("2024-11-03", "A", "1.2345", "C", ""),
        ("2024-11-03", "A", "123456789012345678901234567890", "C", ""),
        ("2024-11-03", "A", "-1", "C", ""),
        ("2024-11-03", "A", "100000", "C", ""),
        ("2024-11-03", "A", "1", "both", ""),
        ("2024-11-03", "A", "1", "C", "maybe"),
    ];
    let rows = rows.map(|(expiry, ticker, strike, ty, deleted)| {
        format!("1,{ticker},{strike},{expiry},{ty},{deleted}\n")
    });
    folder.put("i.csv", format!("instrument_id,ticker,strike,expiry,option_type,deleted\n{}", rows.concat()));
    folder.put(
        "valid.csv",
        "user_id,username,valid_from,valid_to\n1,a,soon,\n1,a,2024-01-02T00:00:00Z,2024-01-01T00:00:00Z\n\
         2,a,2024-01-01T00:00:00Z,2024-01-03T00:00:00Z\n2,b,2024-01-02T00:00:00Z,2024-01-04T00:00:00Z\n",
    );
    folder.put("versions.csv", "user_id,username,v\n1,a,x\n1,a,99999999999999999999\n");
    folder.put("u.csv", "user_id,timestamp\n1,2024-11-01T00:00:00Z\n");
    folder.put(
        "m.jsonl",
        "{\"type\":\"trade\",\"instrument_id\":1}\n\
         {\"type\":\"snapshot_end\",\"table\":\"instruments\",\"rows\":5}\n\
         {\"type\":\"snapshot_end\",\"table\":\"venues\",\"rows\":0}\n\
         {\"type\":\"snapshot_end\",\"table\":\"instruments\",\"rows\":0}\n\
         {\"type\":\"snapshot_end\",\"table\":\"instruments\",\"rows\":0}\n\
         {\"type\":\"user\",\"user_id\":1,\"username\":\"a\"}\n{\"type\":\"venue\"}\n",
    );
    folder.put(
        "c.jsonl",
        "{\"type\":\"venus\"}\n{\"type\":\"venues\",\"mic\":\"X\",\"citty\":1}\n\
         {\"type\":\"typed\",\"price\":\"x\",\"note\":\"n\"}\n",
    );
    folder.put("venues.jsonl", "{\"mic\":\"X\",\"city\":\"Y\"}\n");
    // A table with types.
    folder.put("typed.csv", "instrument_id,note,price\n1,n,1.5\n");
    folder.ok(
        "run --trades typed.csv --table x=venues.jsonl,key=note@mic --unmatched keep --output typed.parquet",
    );
    let typed = "--table typed=typed.parquet,key=mic@note,columns=price";
    [
        "--trades t.csv --instruments instruments.csv",
        "--trades t.jsonl --instruments instruments.csv",
        &format!("{trades} --instruments i.csv"),
        "--trades u.csv --users valid.csv --mode users=as-of",
        "--trades u.csv --users versions.csv --version-column users=v",
        "--messages m.jsonl --tables instruments",
        &format!(
            "--trades mic.csv --table venues=venues.jsonl,key=mic {typed} --table-changes c.jsonl --changes-by arrival"
        ),
    ]
    .map(str::to_owned)
    .into()
}

#[test]
fn every_reason_of_the_list_has_an_input_that_gives_it() {
    let folder = Folder::new();
    let mut seen = BTreeSet::new();
    for run in bad_inputs(&folder) {
        seen.extend(reasons(&folder, &run));
    }
    let missing: Vec<_> = reason_codes().into_iter().filter(|code| !seen.contains(*code)).collect();
    // Of a trade; of a run that ends; of types that no output of ours has; of journals.
    assert_eq!(
        missing,
        ["no-match", "open-quote", "not-of-type", "too-fine", "not-an-occ-symbol"],
        "{seen:?}"
    );
}
