//! Generated ids that mean other contracts on other days: each trade finds the one
//! that its id meant on its day.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::Folder;

const GENERATE: &str = "generate --days 5 --ids 300 --unknown-share 0.05 --quiet";

/// A row of the instruments table: its id, the dates on which it is valid, and its
/// symbol.
struct Row {
    id: String,
    from: String,
    to: String,
    symbol: String,
}

/// The compact symbol of the terms of a row, by its texts.
fn symbol(ticker: &str, strike: &str, expiry: &str, option_type: &str) -> String {
    let (whole, part) = strike.split_once('.').unwrap_or((strike, ""));
    let day = expiry[2..].replace('-', "");
    let side = option_type[..1].to_ascii_uppercase();
    format!("{ticker}{day}{side}{whole:0>5}{part:0<3}")
}

fn rows(csv: &str) -> Vec<Row> {
    let mut lines = csv.lines();
    assert_eq!(lines.next(), Some("instrument_id,ticker,strike,expiry,option_type,valid_from,valid_to"));
    let row = |line: &str| {
        let cells: Vec<_> = line.split(',').collect();
        let date = |time: &str| time.strip_suffix("T00:00:00Z").unwrap_or(time).to_owned();
        Row {
            id: cells[0].to_owned(),
            from: date(cells[5]),
            to: date(cells[6]),
            symbol: symbol(cells[1], cells[2], cells[3], cells[4]),
        }
    };
    lines.map(row).collect()
}

/// What the id of each trade means on the date of the trade, by a scan of all rows.
fn meant(trades: &str, rows: &[Row]) -> Vec<String> {
    let of_trade = |line: &str| {
        let cells: Vec<_> = line.split(',').collect();
        let (id, date) = (cells[2], &cells[1][..10]);
        let is_meant = |row: &&Row| {
            row.id == id && row.from.as_str() <= date && (row.to.is_empty() || date < row.to.as_str())
        };
        let all: Vec<_> = rows.iter().filter(is_meant).map(|row| row.symbol.clone()).collect();
        assert!(all.len() <= 1, "{line} means {all:?}");
        all.into_iter().next().unwrap_or_default()
    };
    trades.lines().skip(1).map(of_trade).collect()
}

fn last_column(printed: &str) -> Vec<&str> {
    printed.lines().skip(1).map(|line| line.rsplit(',').next().unwrap_or_default()).collect()
}

fn summary(printed: &str) -> Value {
    serde_json::from_str(printed.lines().last().unwrap_or_default()).expect("a summary")
}

#[test]
fn each_trade_finds_what_its_id_meant_on_its_day() {
    let folder = Folder::empty();
    folder.ok(&format!("{GENERATE} --limit 6000 --trades t.csv --instruments i.csv"));
    let (trades, table) = (folder.read("t.csv"), folder.read("i.csv"));
    let rows = rows(&table);
    let dates: BTreeSet<_> =
        trades.lines().skip(1).filter_map(|line| line.split(',').nth(1)?.get(..10)).collect();
    let expected = ["2024-11-01", "2024-11-04", "2024-11-05", "2024-11-06", "2024-11-07"];
    assert!(dates.into_iter().eq(expected), "five days without a weekend");
    let expected = meant(&trades, &rows);
    assert!((500..700).contains(&rows.len()), "a fifth of 300 ids on each of four days: {}", rows.len());
    let job = "run --trades t.csv --instruments i.csv --unmatched keep --mode instruments=as-of";
    for workers in [1, 2, 3, 7] {
        for how in ["auto", "partitioned"] {
            let printed = folder.ok(&format!("{job} --workers {workers} --distribution instruments={how}"));
            assert!(
                printed
                    .lines()
                    .skip(1)
                    .map(|line| line.rsplit_once(',').unwrap_or_default().0)
                    .eq(trades.lines().skip(1))
            );
            assert!(last_column(&printed) == expected, "{workers} workers, {how}");
        }
    }
    // By the order of rows alone an id means what it means on the last day.
    let latest = folder.ok("run --trades t.csv --instruments i.csv --unmatched keep --workers 2");
    let wrong = last_column(&latest).iter().zip(&expected).filter(|(found, meant)| found != meant).count();
    assert!((1_500..3_500).contains(&wrong), "{wrong} of 6000");
    for format in ["jsonl", "parquet", "arrow"] {
        folder.ok(&format!("{GENERATE} --limit 6000 --trades t.{format} --instruments i.{format}"));
        let job = job.replace(".csv", &format!(".{format}"));
        assert!(last_column(&folder.ok(&format!("{job} --output-format csv"))) == expected, "{format}");
    }
}

#[test]
fn each_trade_of_a_stream_finds_what_its_id_means_on_its_day_or_nothing() {
    let folder = Folder::empty();
    folder.ok(&format!("{GENERATE} --limit 12000 --instruments i.csv"));
    let rows = rows(&folder.read("i.csv"));
    for (mix, found_share) in [("slow", 0.95), ("article", 0.9), ("custom:instruments=0.3,users=0.1", 0.0)] {
        folder.ok(&format!("{GENERATE} --mix {mix} --limit 12000 --output s.jsonl"));
        let job = "run --messages s.jsonl --unmatched keep --mode instruments=as-of --columns instrument --output-format csv";
        let printed = folder.ok(&format!("{job} --workers 1"));
        let trades: String = printed
            .lines()
            .map(|line| format!("{}\n", line.rsplit_once(',').unwrap_or_default().0))
            .collect();
        let (found, meant) = (last_column(&printed), meant(&trades, &rows));
        let is_right = |(found, meant): (&&str, &String)| found.is_empty() || *found == meant;
        assert!(found.iter().zip(&meant).all(is_right), "{mix}");
        let share = found.iter().filter(|found| !found.is_empty()).count() as f64 / found.len() as f64;
        assert!(share >= found_share - 0.02, "{mix}: {share}");
        for rest in ["--workers 2", "--workers 7 --batch-len 100 --distribution instruments=partitioned"] {
            assert!(folder.ok(&format!("{job} {rest}")) == printed, "{mix}: {rest}");
        }
        // The same stream, without a file in between.
        let line = format!(
            "{} --mix {mix} --limit 12000",
            GENERATE.replace("generate", "run").replace("--quiet", "--json")
        );
        let generated =
            summary(&folder.ok(&format!("{line} --mode instruments=as-of --unmatched keep --workers 3")));
        let read =
            summary(&folder.ok(&format!("{} --output o.csv --json", job.replace("--output-format csv", ""))));
        assert_eq!(generated["outcomes"], read["outcomes"], "{mix}");
        assert_eq!(
            (&generated["tables"][0]["mode"], &generated["tables"][0]["overlaps"]),
            (&"as-of".into(), &0.into())
        );
    }
}

#[test]
fn one_day_is_a_stream_without_days() {
    let folder = Folder::empty();
    for rest in ["--output s.jsonl", "--trades s.csv", "--instruments i.csv"] {
        let name = rest.rsplit(' ').next().unwrap_or_default();
        folder.ok(&format!("generate --limit 2000 --quiet {rest}"));
        let without = folder.read(name);
        folder.ok(&format!("generate --limit 2000 --days 1 --quiet {rest}"));
        assert!(folder.read(name) == without && !without.contains("valid_from"), "{name}");
    }
}

#[test]
fn days_that_cannot_be_had_are_refused() {
    let folder = Folder::new();
    for (line, expected) in [
        ("generate --days 0 --output s.jsonl", "write a whole number from 1 to 1000"),
        (
            "generate --days 1 --reused 0.1 --output s.jsonl",
            "--reused is what changes from one day to the next",
        ),
        ("generate --reused 0.1 --output s.jsonl", "--days"),
        ("generate --days 2 --reused 1.5 --output s.jsonl", "the share of reused ids is 1.5"),
        ("generate --days 3 --limit 3000 --output s.jsonl", "a day of 1000 messages has no room"),
        (
            "run --days 3 --mode users=as-of --mix article-users",
            "generated tables have neither times nor versions",
        ),
        ("run --days 3 --trades trades.csv --instruments instruments.csv", "--days is for generated streams"),
    ] {
        let said = folder.fails(2, line);
        assert!(said.contains(expected), "{line}: {said}");
    }
}
