//! Outputs beside what they should be.

use serde_json::Value;

use crate::support::Folder;
use crate::words::stream;

const JOB: &str = "--trades t.csv --instruments i.csv --users u.csv";

/// Generated trades and tables, in which some ids are missed.
fn folder() -> Folder {
    let folder = Folder::empty();
    let stream = "--limit 20000 --ids 500 --unknown-share 0.02";
    folder.ok(&format!("generate {stream} --trades t.csv --instruments i.csv --users u.csv"));
    folder
}

/// The lines of an output, with its header.
fn lines(folder: &Folder, name: &str) -> Vec<String> {
    folder.read(name).lines().map(str::to_owned).collect()
}

fn write(folder: &Folder, name: &str, lines: &[String]) {
    folder.put(name, lines.join("\n") + "\n");
}

/// What is said of an output that differs, as JSON.
fn differs(folder: &Folder, line: &str) -> Value {
    let ran = folder.run(&format!("verify {line} --json"));
    assert_eq!(ran.code, 1, "{}\n{}", ran.stdout, ran.stderr);
    serde_json::from_str(&ran.stdout).expect("one line of JSON")
}

#[test]
fn an_output_of_a_run_is_what_it_should_be_in_every_format() {
    let folder = folder();
    for ending in ["csv", "csv.gz", "jsonl", "jsonl.zst", "parquet", "arrow"] {
        for flags in
            ["", "--unmatched keep --columns user,expiry,strike,instrument_padded --workers 3 --batch-len 99"]
        {
            let job = format!("{JOB} --output out.{ending} {flags}");
            folder.ok(&format!("run {job} --quiet"));
            let said = folder.ok(&format!("verify {job}"));
            assert!(said.contains("rows are what they should be"), "{ending}: {said}");
        }
    }
}

#[test]
fn an_output_without_formulas_is_what_it_should_be() {
    let folder = Folder::empty();
    folder.put("t.csv", "instrument_id,=note\n1,=1+1\n2,-7\n");
    folder.put("i.csv", "instrument_id,ticker,strike,expiry,option_type,who\n1,SPY,5,2030-01-01,call,@x\n2,SPY,5,2030-01-01,put,x\n");
    let job = "--trades t.csv --instruments i.csv --columns who --output out.csv";
    folder.ok(&format!("run {job} --csv-safe --quiet"));
    assert_eq!(folder.read("out.csv"), "instrument_id,'=note,who\n1,'=1+1,'@x\n2,-7,x\n");
    assert!(folder.ok(&format!("verify {job} --csv-safe")).contains("rows are what they should be"));
    assert_eq!(folder.run(&format!("verify {job}")).code, 1);
}

#[test]
fn one_altered_row_is_found_and_named() {
    let folder = folder();
    folder.ok(&format!("run {JOB} --output out.csv --unmatched keep --quiet"));
    let mut rows = lines(&folder, "out.csv");
    let instrument = rows[0].split(',').position(|name| name == "instrument").expect("the column");
    let mut cells: Vec<_> = rows[9_876].split(',').map(str::to_owned).collect();
    let (id, was) =
        (cells[0].clone(), std::mem::replace(&mut cells[instrument], "SPY999999C00000000".to_owned()));
    rows[9_876] = cells.join(",");
    write(&folder, "out.csv", &rows);

    let ran = folder.run(&format!("verify out.csv {JOB} --unmatched keep"));
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    assert!(ran.stdout.contains("is not what it should be: 1 row altered, of "), "{}", ran.stdout);
    let place =
        format!("row 9,876, trade_id {id}, column instrument: \"SPY999999C00000000\", should be \"{was}\"\n");
    assert!(ran.stdout.contains(&place), "{}", ran.stdout);

    let found = differs(&folder, &format!("out.csv {JOB} --unmatched keep"));
    assert_eq!((&found["verdict"], &found["altered"]), (&"differs".into(), &1.into()));
    let cell = &found["differences"][0]["cells"][0];
    assert_eq!((&cell["column"], &cell["expected"]), (&"instrument".into(), &was.into()));
    assert_eq!(folder.run(&format!("verify out.csv {JOB} --unmatched keep --quiet")).stdout, "");
}

#[test]
fn rows_that_are_missing_or_too_many_are_told_apart() {
    let folder = folder();
    folder.ok(&format!("run {JOB} --output out.csv --quiet"));
    let mut rows = lines(&folder, "out.csv");
    rows.remove(5_000);
    rows.insert(7_000, rows[3].clone());
    write(&folder, "out.csv", &rows);
    let ran = folder.run(&format!("verify out.csv {JOB} --show 1"));
    let parts =
        ["1 row missing, 1 too many", "before row 5,000, trade_id ", "and 1 more: --show 2 shows all"];
    assert!(parts.iter().all(|part| ran.stdout.contains(part)), "{}", ran.stdout);
    let found = differs(&folder, &format!("out.csv {JOB}"));
    let kinds =
        [0, 1].map(|at| (found["differences"][at]["kind"].clone(), found["differences"][at]["row"].clone()));
    assert_eq!(kinds, [("missing".into(), 5_000.into()), ("extra".into(), 7_000.into())]);

    rows.truncate(7_000);
    rows.push("1,2".to_owned());
    write(&folder, "out.csv", &rows);
    let ran = folder.run(&format!("verify out.csv {JOB}"));
    assert!(ran.stdout.contains(": is no record with these columns: \"1,2\""), "{}", ran.stdout);
}

#[test]
fn what_was_cut_or_sorted_says_what_to_do() {
    let folder = folder();
    folder.ok(&format!("run {JOB} --output out.csv --quiet"));
    let rows = lines(&folder, "out.csv");
    write(&folder, "out.csv", &rows[..1_001]);
    let ran = folder.run(&format!("verify out.csv {JOB}"));
    assert!(
        ran.stdout.contains("out.csv ends behind row 1,000, and ") && ran.stdout.contains("run again"),
        "{}",
        ran.stdout
    );
    assert_eq!(differs(&folder, &format!("out.csv {JOB}"))["verdict"], "cut");
    folder.put("out.csv", rows[..1_001].join("\n") + "\n1,2");
    assert_eq!(differs(&folder, &format!("out.csv {JOB}"))["verdict"], "cut");

    let mut sorted = rows.clone();
    sorted[1..].sort();
    write(&folder, "out.csv", &sorted);
    let ran = folder.run(&format!("verify out.csv {JOB}"));
    assert_eq!(ran.code, 1);
    assert!(
        ran.stdout.contains("in another order") && ran.stdout.contains("--order arrival"),
        "{}",
        ran.stdout
    );
    assert!(
        folder.ok(&format!("verify out.csv {JOB} --order arrival")).contains("in any order, by their hashes")
    );
    sorted[77] = sorted[77].replacen('2', "3", 1);
    write(&folder, "out.csv", &sorted);
    let found = differs(&folder, &format!("out.csv {JOB} --order arrival"));
    assert_eq!(
        found["differences"].as_array().map(Vec::len),
        Some(2 - found["altered"].as_u64().expect("a count") as usize)
    );

    folder.put("out.csv", "");
    let ran = folder.run(&format!("verify out.csv {JOB}"));
    assert!(
        ran.stdout.contains("has other columns than it should") && ran.stdout.contains("it has     none"),
        "{}",
        ran.stdout
    );
    folder.put("out.parquet", "PAR1 cut");
    folder.fails(65, &format!("verify out.parquet {JOB}"));
}

#[test]
fn other_flags_than_those_of_the_run_show() {
    let folder = folder();
    folder.ok(&format!("run {JOB} --output out.parquet --quiet"));
    let ran = folder.run("verify out.parquet --trades t.csv --instruments i.csv");
    assert!(
        ran.code == 1 && ran.stdout.contains("user Utf8") && ran.stdout.contains("--users"),
        "{}",
        ran.stdout
    );
    let ran = folder.run(&format!("verify out.parquet {JOB} --unmatched keep"));
    assert!(ran.code == 1 && ran.stdout.contains("--unmatched"), "{}", ran.stdout);
    let said = folder.fails(2, "verify --trades t.csv --instruments i.csv");
    assert!(said.contains("verify OUTPUT"), "{said}");
    folder.fails(66, &format!("verify none.csv {JOB}"));
    let said = folder.fails(2, &format!("verify t.csv {JOB}"));
    assert!(said.contains("an input"), "{said}");
}

#[test]
fn trades_that_waited_are_where_the_oracle_has_them() {
    let folder = Folder::empty();
    folder.put("s.jsonl", stream("i1=A t1 t2 u7=kim t2 i3=B t9 i2=C t3 t9 i1! t1 t1 i1=D i9=E t4 t4"));
    for order in ["input", "strict"] {
        for hold in [
            "hold=3rows,then=keep",
            "hold=100rows,then=drop",
            "hold=100rows,then=keep --hold-rows 2",
            "hold=100rows,then=keep --hold-bytes 700",
            "hold=100rows,then=keep --hold-bytes 1000",
        ] {
            let flags = format!(
                "--messages s.jsonl --on-miss instruments={hold} --order {order} --wait-column waited --columns ticker"
            );
            folder.ok(&format!("run {flags} --output out.jsonl --quiet --batch-len 2"));
            let said = folder.ok(&format!("verify out.jsonl {flags}"));
            assert!(said.contains("rows are what they should be"), "{said}");
        }
    }
    let said =
        folder.fails(2, "verify out.jsonl --messages s.jsonl --on-miss instruments=hold=1s,clock=processing");
    assert!(said.contains("by the clock"), "{said}");
    let said = folder.fails(65, "verify out.jsonl --messages s.jsonl --on-miss instruments=fail");
    assert!(said.contains("--on-miss instruments=fail"), "{said}");
}

#[test]
fn tables_of_any_kind_and_mode_are_joined_again() {
    let folder = Folder::new();
    folder.put("key.csv", "venue\nZ\n\"X, Y\"\n");
    folder.put("raw.csv", "venue,city,since,lots\nZ,Basel,2020-01-01,7\n\"X, Y\",\"Nancy, F\",,\n");
    // A table whose columns have types.
    folder.ok("run --trades raw.csv --table c=key.csv,key=venue --output typed.parquet --quiet");
    let job = "--trades trades.csv --table v=typed.parquet,key=venue --unmatched keep";
    for ending in ["csv", "jsonl", "parquet", "arrow"] {
        folder.ok(&format!("run {job} --output out.{ending} --quiet"));
        folder.ok(&format!("verify out.{ending} {job}"));
    }
    let generate = "generate --days 5 --limit 5000 --ids 50 --trades t.csv --instruments i.csv";
    folder.ok(generate);
    let job = "--trades t.csv --instruments i.csv --mode instruments=as-of --tolerance instruments=2d --unmatched keep";
    folder.ok(&format!("run {job} --output out.arrow --quiet"));
    folder.ok(&format!("verify out.arrow {job}"));
    folder.put("versions.csv", "user_id,username,v\n7,old,1\n7,new,3\n7,mid,2\n8,x,1\n");
    let job = "--trades trades.csv --users versions.csv --version-column users=v --on-bad-record skip";
    folder.ok(&format!("run {job} --output out.csv --quiet"));
    folder.ok(&format!("verify out.csv {job}"));
    folder.ok("run --limit 5000 --output generated.arrow --quiet");
    folder.ok("verify generated.arrow --limit 5000");
    folder.put(
        "job.toml",
        "[input]\ntrades = \"t.csv\"\ninstruments = \"i.csv\"\n[output]\nfile = \"of_file.csv\"\n",
    );
    folder.ok("run --config job.toml --quiet");
    folder.ok("verify --config job.toml");
}
