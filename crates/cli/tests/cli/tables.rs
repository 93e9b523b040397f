//! Tables of `--table`: any number of them, each by its own key, in one pass.

use serde_json::Value;

use crate::support::Folder;

const TRADES: &str = "trade_id,instrument_id,venue,currency,book,price\n\
    1,1,XNYS,USD,b 1,1.70\n\
    2,2,XLON,GBP,\"b, 2\",250\n\
    3,1,XNYS,EUR,b 1,3\n\
    4,1,,USD,b 1,4\n\
    5,1,XNYS,USD,b 9,5\n";
const INSTRUMENTS: &str =
    "instrument_id,ticker,strike,expiry,option_type\n1,SPY,200,2024-11-03,call\n2,AAPL,150.5,20250117,P\n";
const VENUES: &str = "mic,city,country\nXNYS,New York,US\nXLON,London,GB\n";
const FEES: &str = "{\"mic\":\"XNYS\",\"currency\":\"USD\",\"fee\":0.10}\n\
    {\"mic\":\"XNYS\",\"currency\":\"EUR\",\"fee\":null}\n\
    {\"mic\":\"XLON\",\"currency\":\"GBP\",\"fee\":2}\n";
const BOOKS: &str = "book,desk\nb 1,options\n\"b, 2\",equities\n";
const JOB: &str = "run --trades trades.csv --instruments instruments.csv --table venues=venues.csv,key=venue@mic \
    --table fees=fees.jsonl,key=venue@mic+currency --table books=books.csv,key=book";
const HEADER: &str = "trade_id,instrument_id,venue,currency,book,price,instrument,city,country,fee,desk\n";

fn folder() -> Folder {
    let folder = Folder::empty();
    for (name, content) in [
        ("trades.csv", TRADES),
        ("instruments.csv", INSTRUMENTS),
        ("venues.csv", VENUES),
        ("fees.jsonl", FEES),
        ("books.csv", BOOKS),
    ] {
        folder.put(name, content);
    }
    folder
}

#[test]
fn tables_with_keys_of_all_kinds_are_joined_in_one_pass() {
    let folder = folder();
    let expected = format!(
        "{HEADER}1,1,XNYS,USD,b 1,1.70,SPY241103C00200000,New York,US,0.10,options\n\
         2,2,XLON,GBP,\"b, 2\",250,AAPL250117P00150500,London,GB,2,equities\n\
         3,1,XNYS,EUR,b 1,3,SPY241103C00200000,New York,US,,options\n"
    );
    assert_eq!(folder.ok(JOB), expected);
    let printed = folder.ok(&format!("{JOB} --output out.csv --json"));
    assert_eq!(folder.read("out.csv"), expected);
    let summary: Value = serde_json::from_str(printed.trim()).expect("a summary");
    let of_tables = |field: &str| -> Vec<u64> {
        let tables = summary["tables"].as_array().expect("tables");
        tables.iter().map(|table| table[field].as_u64().expect("a count")).collect()
    };
    assert_eq!(summary["rows_read"], 5);
    assert_eq!(of_tables("rows_loaded"), [2, 2, 3, 2]);
    assert_eq!(of_tables("matched"), [5, 4, 4, 4]);
    assert_eq!(of_tables("missed"), [0, 1, 1, 1]);
}

#[test]
fn no_trade_is_copied_for_three_tables_with_three_keys() {
    let folder = folder();
    let job = "run --trades trades.csv --instruments instruments.csv --table books=books.csv,key=book \
        --table fees=fees.jsonl,key=venue@mic+currency --output out.csv";
    let expected = "trade_id,instrument_id,venue,currency,book,price,instrument,desk,fee\n\
        1,1,XNYS,USD,b 1,1.70,SPY241103C00200000,options,0.10\n\
        2,2,XLON,GBP,\"b, 2\",250,AAPL250117P00150500,equities,2\n\
        3,1,XNYS,EUR,b 1,3,SPY241103C00200000,options,\n";
    let copied = |options: &str| {
        let printed = folder.ok(&format!("{job} {options} --json"));
        serde_json::from_str::<Value>(printed.trim()).expect("a summary")["trades_copied"].clone()
    };
    let aside = "--distribution books=partitioned --on-miss fees=dead-letter --dead-letters d.jsonl";
    for options in ["", "--workers 2 --batch-len 1", aside] {
        assert_eq!(copied(options), 0, "{options}");
        assert_eq!(folder.read("out.csv"), expected, "{options}");
    }
    let text = folder.ok(job);
    assert!(text.lines().any(|line| line == "3 tables in one pass, no trade copied"), "{text}");
    // The last trade waits for its book to the end, and the fourth has nothing to
    // wait for.
    assert_eq!(copied("--on-miss books=hold=9rows,then=keep"), 1);
    assert_eq!(folder.read("out.csv"), format!("{expected}5,1,XNYS,USD,b 9,5,SPY241103C00200000,,0.10\n"));
}

#[test]
fn held_trades_are_copied_and_those_that_they_go_on_among() {
    let folder = folder();
    // The fifth comes first, and leaves behind the third.
    let mut lines: Vec<_> = TRADES.lines().collect();
    let fifth = lines.remove(5);
    lines.insert(1, fifth);
    folder.put("trades.csv", lines.join("\n"));
    let job = "run --trades trades.csv --table books=books.csv,key=book --on-miss books=hold=2rows,then=keep \
        --output out.csv";
    let printed = folder.ok(&format!("{job} --json"));
    let summary: Value = serde_json::from_str(printed.trim()).expect("a summary");
    assert_eq!(summary["trades_copied"], 5);
    let hold = &summary["hold"];
    assert_eq!((&hold["entered"], &hold["rows_peak"]), (&1.into(), &1.into()));
    assert!(hold["bytes_peak"].as_u64().is_some_and(|bytes| bytes > 200 && bytes < 1_000), "{hold}");
    let ids: Vec<_> = folder.read("out.csv").lines().skip(1).map(|line| line[..1].to_owned()).collect();
    assert_eq!(ids, ["1", "2", "5", "3", "4"]);
    // One batch each: what leaves is in none with others, or they were not copied.
    let printed = folder.ok(&format!("{job} --json --batch-len 1"));
    let summary: Value = serde_json::from_str(printed.trim()).expect("a summary");
    assert_eq!(summary["trades_copied"], 2);
    let text = folder.ok(job);
    assert!(text.contains("1 table in one pass, 5 trades copied, held or beside one that was\n"), "{text}");
}

#[test]
fn what_finds_nothing_is_empty_in_every_format() {
    let folder = folder();
    let kept = folder.ok(&format!("{JOB} --unmatched keep"));
    let rows: Vec<_> = kept.lines().skip(4).collect();
    assert_eq!(
        rows,
        [
            "4,1,,USD,b 1,4,SPY241103C00200000,,,,options",
            "5,1,XNYS,USD,b 9,5,SPY241103C00200000,New York,US,0.10,"
        ]
    );
    let json = folder.ok(&format!("{JOB} --unmatched keep --output-format jsonl"));
    let rows: Vec<_> = json.lines().collect();
    assert!(rows[0].ends_with("\"country\":\"US\",\"fee\":0.10,\"desk\":\"options\"}"), "{}", rows[0]);
    assert!(
        rows[3].ends_with("\"city\":null,\"country\":null,\"fee\":null,\"desk\":\"options\"}"),
        "{}",
        rows[3]
    );
    // A key that is text meets one in a typed file.
    for typed in ["out.parquet", "out.arrow"] {
        folder.ok(&format!("{JOB} --unmatched keep --columns city --output {typed} --quiet"));
        let job = format!("run --trades {typed} --output-format csv --table books=books.csv,key=book");
        let back = folder.ok(&job);
        assert!(back.starts_with("trade_id,instrument_id,venue,currency,book,price,city,desk\n"), "{back}");
        assert!(back.contains("2,2,XLON,GBP,\"b, 2\",250,London,equities\n"), "{back}");
        assert_eq!(back.lines().count(), 5, "{back}");
        let mut command = folder.command("run --trades trades.csv --limit 2 --table");
        let table = format!("more={typed},key=trade_id,columns=city:instrument_id as number");
        let output = command.arg(table).output().expect("the command runs");
        let back = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(back.ends_with("2,2,XLON,GBP,\"b, 2\",250,London,2\n"), "{back}");
    }
}

#[test]
fn the_bytes_do_not_depend_on_workers_batches_or_distribution() {
    let folder = folder();
    let mut trades = "trade_id,instrument_id,venue,currency,book,price\n".to_owned();
    for id in 0..5_000 {
        let venue = ["XNYS", "XLON", "", "a venue that nobody knows, with a long name"][id % 4].to_owned();
        let currency = ["USD", "GBP", "EUR"][id % 3];
        trades += &format!("{id},{},\"{venue}\",{currency},book {},1\n", 1 + id % 2, id % 700);
    }
    folder.put("trades.csv", trades);
    let books: String = (0..600).map(|n| format!("book {n},desk {}\n", n % 7)).collect();
    folder.put("books.csv", format!("book,desk\n{books}"));
    let job = format!("{JOB} --unmatched keep");
    let expected = folder.ok(&job);
    assert_eq!(expected.lines().count(), 5_001);
    for workers in [1, 2, 5, 16] {
        for how in ["auto", "partitioned", "broadcast"] {
            let printed = folder.ok(&format!(
                "{job} --workers {workers} --batch-len 700 --distribution books={how} --distribution venues={how} --distribution fees={how}"
            ));
            assert!(printed == expected, "{workers} workers, {how}");
        }
    }
}

#[test]
fn the_columns_that_a_table_adds_are_chosen_and_renamed() {
    let folder = folder();
    let run = |rest: &[&str]| {
        let mut command = folder.command("run --trades trades.csv --limit 1");
        let output = command.args(rest).output().expect("the command runs");
        (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    let own = "trade_id,instrument_id,venue,currency,book,price";
    let venues = "venues=venues.csv,key=venue@mic,columns=country as land:city";
    assert_eq!(
        run(&["--table", venues]),
        (Some(0), format!("{own},land,city\n1,1,XNYS,USD,b 1,1.70,US,New York\n"))
    );
    let rest =
        ["--table", venues, "--table", "books=books.csv,key=book", "--columns", "desk,venues.land as at"];
    assert_eq!(run(&rest), (Some(0), format!("{own},desk,at\n1,1,XNYS,USD,b 1,1.70,options,US\n")));
    let (code, said) = run(&["--table", venues, "--columns", "country"]);
    assert_eq!(code, Some(2));
    assert!(said.contains("no column \"country\" to add; there are: venues.land, venues.city"), "{said}");
    let twice = ["--table", venues, "--table", "more=venues.csv,key=venue@mic"];
    let (code, said) = run(&twice);
    assert_eq!(code, Some(2));
    assert!(said.contains("a column \"city\" already") && said.contains("\"more.city as NAME\""), "{said}");
    let (code, said) = run(&["--table", "venues=venues.csv,key=venue@mic,columns=city as price"]);
    assert_eq!(code, Some(2));
    assert!(said.contains("a column \"price\" already"), "{said}");
}

#[test]
fn what_cannot_be_meant_is_2() {
    let folder = folder();
    for (rest, expected) in [
        ("--table venues", "a table has a name and a file; write NAME=FILE,key=COLUMN"),
        ("--table v=venues.csv", "table v has no key"),
        ("--table v=venues.csv,kye=venue@mic", "unknown option \"kye\": did you mean key?"),
        ("--table v=venues.csv,key=venue@mic --table v=books.csv,key=book", "two tables have the name v"),
        (
            "--instruments instruments.csv --table instruments=venues.csv,key=venue@mic",
            "two tables have the name instruments",
        ),
        ("--table v=-,key=venue@mic --table w=-,key=book", "standard input can be read once"),
        ("--table v=venues.csv,key=venue@mic --distribution venues=auto", "a table that the run has not"),
    ] {
        let said = folder.fails(2, &format!("run --trades trades.csv {rest}"));
        assert!(said.contains(expected), "{rest}: {said}");
    }
    let said = folder.fails(2, "run --table v=venues.csv,key=venue@mic");
    assert!(said.contains("a table without trades"), "{said}");
    let said =
        folder.fails(2, "run --trades trades.csv --table v=venues.csv,key=venue@mic --output venues.csv");
    assert!(said.contains("would take the place of an input"), "{said}");
    folder.fails(2, "run --messages m.jsonl --table v=venues.csv,key=venue@mic");
}

#[test]
fn a_missing_column_or_a_bad_row_is_65() {
    let folder = folder();
    let run = |table: &str, rest: &str| format!("run --trades trades.csv --table {table} {rest}");
    let said = folder.fails(65, &run("v=venues.csv,key=venue", ""));
    assert!(said.contains("venues.csv: no column venue; the columns are: mic, city, country"), "{said}");
    let said = folder.fails(65, &run("v=venues.csv,key=mic", ""));
    assert!(said.contains("trades.csv: no column mic; the columns are: trade_id"), "{said}");
    let said = folder.fails(66, &run("v=nowhere.csv,key=venue@mic", ""));
    assert!(said.contains("nowhere.csv"), "{said}");
    folder.put("venues.csv", "mic,city\nXNYS,New York\n,Nowhere\nXNYS,Albany\n");
    let said = folder.fails(65, &run("v=venues.csv,key=venue@mic", ""));
    assert!(said.contains("venues.csv, line 3, column mic: no value, but the column needs one"), "{said}");
    let ran = folder.run(&run("v=venues.csv,key=venue@mic", "--on-bad-record skip --limit 1"));
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stdout.ends_with(",Albany\n"), "{}", ran.stdout);
    assert!(ran.stderr.contains("1 row of v has a key that an earlier row has"), "{}", ran.stderr);
    let said = folder.fails(65, &run("v=venues.csv,key=venue@mic", "--on-bad-record skip --strict"));
    assert!(said.contains("mic XNYS stands twice, in line 2 and in line 4"), "{said}");
}
