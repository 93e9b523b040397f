//! Look-ups by time and by version.

use serde_json::Value;

use crate::support::Folder;

const TERMS: &str = "ticker,strike,expiry,option_type";
/// An id that means another contract each day, and one that is open; in no order.
const ROWS: [&str; 4] = [
    "7,2024-11-05T00:00:00Z,2024-11-06T00:00:00Z,F,2,2025-01-17,put",
    "7,2024-11-04T00:00:00Z,2024-11-05T00:00:00Z,SPY,1,2025-01-17,call",
    "8,1730851200000000000,,AAPL,3,2025-01-17,call",
    "7,2024-11-07T00:00:00Z,,KO,4,2025-01-17,call",
];
const TRADES: &str = "trade_id,instrument_id,timestamp\n\
    1,7,2024-11-04T10:00:00Z\n\
    2,7,2024-11-05T00:00:00Z\n\
    3,7,2024-11-06T10:00:00Z\n\
    4,7,2024-11-09T10:00:00Z\n\
    5,8,2024-11-05T23:59:59Z\n\
    6,8,2024-11-06T00:00:00Z\n\
    7,7,\n\
    8,7,2024-11-03T23:59:59.999999999Z\n";
const JOB: &str = "run --trades t.csv --instruments i.csv --unmatched keep --mode instruments=as-of";

fn folder(order: [usize; 4]) -> Folder {
    let folder = Folder::empty();
    let rows = order.map(|row| format!("{}\n", ROWS[row])).concat();
    folder.put("i.csv", format!("instrument_id,valid_from,valid_to,{TERMS}\n{rows}"));
    folder.put("t.csv", TRADES);
    folder
}

/// The last column of every row.
fn last_column(printed: &str) -> Vec<&str> {
    printed.lines().skip(1).map(|line| line.rsplit(',').next().unwrap_or_default()).collect()
}

fn tables(printed: &str) -> Value {
    let summary: Value = serde_json::from_str(printed.lines().last().unwrap_or_default()).expect("a summary");
    summary["tables"].clone()
}

#[test]
fn an_id_means_what_it_meant_on_the_day_of_the_trade() {
    let expected = [
        "SPY250117C00001000",
        "F250117P00002000",
        "",
        "KO250117C00004000",
        "",
        "AAPL250117C00003000",
        "",
        "",
    ];
    for order in [[0, 1, 2, 3], [3, 2, 1, 0], [1, 0, 3, 2]] {
        let folder = folder(order);
        for rest in ["--workers 1", "--workers 3 --batch-len 2 --distribution instruments=partitioned"] {
            assert_eq!(last_column(&folder.ok(&format!("{JOB} {rest}"))), expected, "{order:?} {rest}");
        }
    }
    let folder = folder([0, 1, 2, 3]);
    let table = &tables(&folder.ok(&format!("{JOB} --output o.csv --json")))[0];
    assert_eq!(
        (&table["mode"], &table["untimed"], &table["missed"]),
        (&"as-of".into(), &1.into(), &4.into())
    );
    let printed = folder.ok(&format!("{JOB} --tolerance instruments=48h"));
    assert_eq!(last_column(&printed)[3], "", "it began 58 hours before");
    assert_eq!(last_column(&folder.ok(&format!("{JOB} --tolerance instruments=58h"))), expected);
    for format in ["parquet", "arrow", "jsonl"] {
        folder.ok(&format!(
            "run --trades t.csv --instruments i.csv --unmatched keep --columns ticker --output t.{format}"
        ));
        let printed = folder.ok(&format!("run --trades t.{format} --instruments i.csv --unmatched keep --mode instruments=as-of --output-format csv"));
        assert_eq!(last_column(&printed), expected, "{format}");
    }
}

#[test]
fn rows_of_one_key_that_overlap_are_named_both() {
    let folder = folder([0, 1, 2, 3]);
    let rows = "7,2024-11-04T00:00:00Z,2024-11-06T00:00:00Z,A,1,2025-01-17,c\n\
        7,2024-11-05T00:00:00Z,,B,1,2025-01-17,c\n\
        8,2024-11-05T00:00:00Z,2024-11-05T00:00:00Z,B,1,2025-01-17,c\n";
    folder.put("i.csv", format!("instrument_id,valid_from,valid_to,{TERMS}\n{rows}"));
    let said = folder.fails(65, JOB);
    let expected = "i.csv, line 3, column instrument_id: \"7\": valid from 2024-11-05T00:00:00Z on, which \
        overlaps line 2, valid from 2024-11-04T00:00:00Z to 2024-11-06T00:00:00Z";
    assert!(said.contains(expected), "{said}");
    let skipped = folder.run(&format!("{JOB} --on-bad-record skip --output o.csv --json"));
    assert_eq!((skipped.code, &tables(&skipped.stdout)[0]["rejected"]), (0, &2.into()));
    let expected = "line 4, column valid_to: \"2024-11-05T00:00:00Z\": at or before its valid_from";
    assert!(skipped.stderr.contains(expected), "{}", skipped.stderr);
    assert_eq!(last_column(&folder.read("o.csv"))[..2], ["A250117C00001000", "A250117C00001000"]);
}

#[test]
fn a_stream_changes_what_an_id_meant() {
    let folder = Folder::empty();
    let row = |from: &str, ticker: &str, more: &str| {
        format!(
            "{{\"type\":\"instrument\",\"instrument_id\":7,\"valid_from\":{from},\"ticker\":\"{ticker}\",\
            \"strike\":1,\"expiry\":\"2025-01-17\",\"option_type\":\"call\"{more}}}\n"
        )
    };
    let trade = |time: i64| format!("{{\"type\":\"trade\",\"instrument_id\":7,\"timestamp\":{time}}}\n");
    let stream = [
        trade(5),
        row("3", "A", ",\"valid_to\":6"),
        trade(5),
        row("4", "B", ""),
        trade(5),
        row("null", "C", ""),
        trade(2),
        "{\"type\":\"instrument\",\"instrument_id\":7,\"valid_from\":3,\"deleted\":true}\n".to_owned(),
        trade(5),
        "{\"type\":\"instrument\",\"instrument_id\":7,\"deleted\":true}\n".to_owned(),
        trade(5),
    ];
    folder.put("s.jsonl", stream.concat());
    let job = "run --messages s.jsonl --mode instruments=as-of --unmatched keep --columns ticker --output-format csv";
    assert_eq!(last_column(&folder.ok(job)), ["", "A", "A", "C", "C", ""]);
    let table = &tables(&folder.ok(&format!("{job} --output o.csv --json")))[0];
    assert_eq!((&table["changes"], &table["overlaps"]), (&5.into(), &1.into()));
}

#[test]
fn the_highest_version_counts_in_any_order() {
    let rows = ["1,kim,2,", "1,old,1,", "2,pat,1,", "2,,5,true", "1,lee,2,"];
    for order in [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [1, 3, 0, 4, 2]] {
        let folder = Folder::empty();
        let rows = order.map(|row| format!("{}\n", rows[row])).concat();
        folder.put("u.csv", format!("user_id,username,seq,deleted\n{rows}"));
        folder.put("t.csv", "trade_id,user_id\n1,1\n2,2\n");
        let job = "run --trades t.csv --users u.csv --unmatched keep --version-column users=seq";
        for how in ["broadcast", "partitioned"] {
            let printed = folder.ok(&format!("{job} --workers 2 --distribution users={how}"));
            assert_eq!(last_column(&printed), ["lee", ""], "{order:?} {how}");
        }
        let table = &tables(&folder.ok(&format!("{job} --output o.csv --json")))[0];
        assert_eq!((&table["mode"], &table["conflicts"]), (&"latest-version".into(), &1.into()));
        assert!(table["stale"].as_u64() > Some(0), "{table}");
    }
}

/// The same rows in each format: `fees.` with the ending.
fn fees(folder: &Folder) {
    folder.put(
        "fees.csv",
        "mic,ccy,fee,seq,valid_from,valid_to\nX,USD,1,2,10,20\nX,USD,2,1,20,\nX,EUR,3,1,,15\n",
    );
    folder.put(
        "fees.jsonl",
        "{\"mic\":\"X\",\"ccy\":\"USD\",\"fee\":\"1\",\"seq\":2,\"valid_from\":10,\"valid_to\":20}\n\
         {\"mic\":\"X\",\"ccy\":\"USD\",\"fee\":\"2\",\"seq\":1,\"valid_from\":20}\n\
         {\"mic\":\"X\",\"ccy\":\"EUR\",\"fee\":\"3\",\"seq\":1,\"valid_from\":null,\"valid_to\":15}\n",
    );
    // As trades they become columns with types; the ids are of no account.
    folder.put("none.csv", "user_id,username\n");
    folder.put(
        "as_trades.csv",
        "user_id,mic,ccy,fee,seq,valid_from,valid_to\n1,X,USD,1,2,10,20\n1,X,USD,2,1,20,\n1,X,EUR,3,1,,15\n",
    );
    folder.ok("run --trades as_trades.csv --users none.csv --unmatched keep --output fees.parquet");
}

#[test]
fn any_table_is_looked_up_by_time_or_version() {
    let folder = Folder::empty();
    fees(&folder);
    let trades =
        "trade_id,mic,ccy,timestamp\n1,X,USD,15\n2,X,USD,20\n3,X,USD,9\n4,X,EUR,14\n5,X,EUR,15\n6,X,USD,\n";
    folder.put("t.csv", trades);
    for file in ["fees.csv", "fees.jsonl", "fees.parquet"] {
        let job = format!(
            "run --trades t.csv --table fees={file},key=mic+ccy,columns=fee --unmatched keep --workers 2"
        );
        for how in ["broadcast", "partitioned"] {
            let by_time = folder.ok(&format!("{job} --mode fees=as-of --distribution fees={how}"));
            assert_eq!(last_column(&by_time), ["1", "2", "", "3", "", ""], "{file} {how}");
            let by_version = folder.ok(&format!("{job} --version-column fees=seq --distribution fees={how}"));
            assert_eq!(last_column(&by_version), ["1", "1", "1", "3", "3", "1"], "{file} {how}");
        }
        let recent = folder.ok(&format!("{job} --mode fees=as-of --tolerance fees=4ns"));
        assert_eq!(last_column(&recent), ["", "2", "", "", "", ""], "{file}");
    }
    folder.put("fees.csv", "mic,ccy,fee,valid_from,valid_to\nX,USD,1,10,20\nX,USD,2,15,\nX,USD,3,5,5\n");
    let job = "run --trades t.csv --table fees=fees.csv,key=mic+ccy --mode fees=as-of";
    let said = folder.fails(65, job);
    assert!(said.contains("fees.csv, line 3, column mic+ccy: \"X, USD\": valid from"), "{said}");
    let said = folder.run(&format!("{job} --on-bad-record skip")).stderr;
    assert!(said.contains("line 4, column valid_to: \"5\": at or before its valid_from"), "{said}");
    folder.put("fees.csv", "mic,ccy,fee,valid_from\nX,USD,1,10\nX,USD,2,11\nX,USD,2,10\n");
    assert!(folder.fails(65, &format!("{job} --strict")).contains("in line 2 and in line 4"));
    let said = folder.fails(65, &format!("{job} --table u=none.csv,key=mic@user_id --mode u=as-of"));
    assert!(said.contains("none.csv: no column valid_from"), "{said}");
}

#[test]
fn a_file_says_the_modes_too() {
    let folder = folder([0, 1, 2, 3]);
    folder.put(
        "c.toml",
        "[input]\ntrades = \"t.csv\"\ninstruments = \"i.csv\"\n\
         [engine]\nunmatched = \"keep\"\nmode = { instruments = \"as-of\" }\ntolerance = { instruments = \"48h\" }\n",
    );
    let by_flags = folder.ok(&format!("{JOB} --tolerance instruments=48h"));
    assert_eq!(folder.ok("run --config c.toml"), by_flags);
    let said = folder.fails(2, "run --config c.toml --mode instruments=latest");
    assert!(said.contains("add --mode instruments=as-of"), "{said}");
    folder.put("v.toml", "[engine]\nversion_column = { instruments = \"seq\" }\n");
    let said = folder.fails(65, "run --trades t.csv --instruments i.csv --config v.toml");
    assert!(said.contains("no column seq"), "{said}");
}

#[test]
fn a_table_says_its_mode_itself() {
    let folder = Folder::empty();
    fees(&folder);
    folder.put("t.csv", "trade_id,mic,ccy,timestamp\n1,X,USD,15\n2,X,USD,20\n3,X,USD,9\n4,X,EUR,14\n");
    let job = "run --trades t.csv --table fees=fees.csv,key=mic+ccy,columns=fee";
    for (by_table, by_flags) in [
        (",mode=as-of,on-miss=keep", "--mode fees=as-of --unmatched keep"),
        (
            ",mode=as-of,tolerance=4ns,on-miss=keep",
            "--mode fees=as-of --tolerance fees=4ns --on-miss fees=keep",
        ),
        (",version=seq", "--version-column fees=seq"),
        (",mode=latest,version=seq,distribution=partitioned", "--version-column fees=seq"),
        (",mode=as-of,on-miss=hold=1rows,then=keep", "--mode fees=as-of --on-miss fees=hold=1rows,then=keep"),
    ] {
        assert_eq!(
            folder.ok(&format!("{job}{by_table}")),
            folder.ok(&format!("{job} {by_flags}")),
            "{by_table}"
        );
    }
    folder.put(
        "c.toml",
        "[input]\ntrades = \"t.csv\"\n[[table]]\nname = \"fees\"\nfile = \"fees.csv\"\nkey = \"mic+ccy\"\n\
         columns = [\"fee\"]\nmode = \"as-of\"\ntolerance = \"4ns\"\non_miss = \"hold=1rows,then=keep\"\n",
    );
    let by_flags = "--mode fees=as-of --tolerance fees=4ns --on-miss fees=hold=1rows,then=keep";
    assert_eq!(folder.ok("run --config c.toml"), folder.ok(&format!("{job} {by_flags}")));
    for (rest, expected) in [
        (",mode=as-of --mode fees=as-of", "--mode names fees, whose --table says mode= already"),
        (
            ",mode=as-of,tolerance=1s --tolerance fees=1s",
            "--tolerance names fees, whose --table says tolerance=",
        ),
        (
            ",version=seq --version-column fees=seq",
            "--version-column names fees, whose --table says version=",
        ),
        (",on-miss=keep --on-miss fees=keep", "--on-miss names fees, whose --table says on-miss= already"),
        (",tolerance=1s", "add --mode fees=as-of"),
        (",mode=as-of,version=seq", "fees is looked up by time"),
    ] {
        let said = folder.fails(2, &format!("{job}{rest}"));
        assert!(said.contains(expected), "{rest}: {said}");
    }
}

#[test]
fn a_mode_without_its_columns_or_its_table_is_refused() {
    let folder = Folder::new();
    let job = "run --trades trades.csv --instruments instruments.csv";
    for (code, rest, expected) in [
        (
            65,
            "--mode instruments=as-of",
            "instruments.csv: no column valid_from, the time from which a row is valid",
        ),
        (65, "--version-column instruments=seq", "instruments.csv: no column seq, the version of a row"),
        (2, "--mode users=as-of", "--mode names users, a table that the run has not"),
        (2, "--mode instruments=as-of,instruments=latest", "--mode names instruments twice"),
        (2, "--mode instruments=then", "\"then\" is neither latest nor as-of"),
        (2, "--tolerance instruments=1s", "add --mode instruments=as-of"),
        (2, "--tolerance instruments=1", "write a time with its unit"),
        (2, "--mode instruments=as-of --version-column instruments=seq", "instruments is looked up by time"),
    ] {
        let said = folder.fails(code, &format!("{job} {rest}"));
        assert!(said.contains(expected), "{rest}: {said}");
    }
    folder.put("i.csv", format!("instrument_id,valid_from,{TERMS}\n"));
    folder.put("t.csv", "instrument_id,time\n1,2\n");
    let said = folder.fails(65, "run --trades t.csv --instruments i.csv --mode instruments=as-of");
    assert!(said.contains("t.csv: no column timestamp, the time of a trade"), "{said}");
    folder.put("t.csv", "instrument_id,timestamp\n1,noon\n");
    let said = folder.fails(65, "run --trades t.csv --instruments i.csv --mode instruments=as-of");
    assert!(said.contains("t.csv, line 2, column timestamp: \"noon\": not a time"), "{said}");
    let said = folder.fails(2, "run --limit 10 --mode instruments=as-of");
    assert!(said.contains("generated tables have neither times nor versions"), "{said}");
}
