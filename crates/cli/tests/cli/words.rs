//! Streams in words, and what runs make of them.

use serde_json::Value;

use crate::support::Folder;

/// A stream of messages, in words: `t1` and `t1u7` are trades of instrument 1 (and
/// user 7), `i1=SPY` and `u7=kim` upserts, `i1!` and `u7!` deletes. Behind `@` stands the
/// time of a trade, or from when and before when a row is valid (`@3`, `@3-6`, `@-6`);
/// behind `#` the version of a row. `i$2` and `u$2` are markers of two rows.
pub(crate) fn stream(words: &str) -> String {
    let mut lines = String::new();
    let mut trades = 0;
    for word in words.split_whitespace() {
        let (word, version) = word.split_once('#').unwrap_or((word, ""));
        let (word, times) = word.split_once('@').unwrap_or((word, ""));
        let line = match word.split_at(1) {
            ("t", ids) => {
                trades += 1;
                let (instrument, user) = ids.split_once('u').unwrap_or((ids, "null"));
                format!(r#""type":"trade","trade_id":{trades},"instrument_id":{instrument},"user_id":{user}"#)
            }
            (table, rows) if rows.starts_with('$') => {
                let name = if table == "i" { "instruments" } else { "users" };
                format!(r#""type":"snapshot_end","table":"{name}","rows":{}"#, &rows[1..])
            }
            ("i", rest) => match rest.split_once('=') {
                Some((id, ticker)) => format!(
                    r#""type":"instrument","instrument_id":{id},"ticker":"{ticker}","strike":1,"expiry":"2024-11-03","option_type":"call""#
                ),
                None => {
                    let id = rest.trim_end_matches('!');
                    format!(r#""type":"instrument","instrument_id":{id},"deleted":true"#)
                }
            },
            ("u", rest) => match rest.split_once('=') {
                Some((id, name)) => format!(r#""type":"user","user_id":{id},"username":"{name}""#),
                None => format!(r#""type":"user","user_id":{},"deleted":true"#, rest.trim_end_matches('!')),
            },
            _ => unreachable!("{word}"),
        };
        let (from, to) = times.split_once('-').unwrap_or((times, ""));
        let from_name = if word.starts_with('t') { "timestamp" } else { "valid_from" };
        let members = [(from_name, from), ("valid_to", to), ("seq", version)];
        let more = members.iter().filter(|(_, value)| !value.is_empty());
        let more: String = more.map(|(name, value)| format!(",\"{name}\":{value}")).collect();
        lines += &format!("{{{line}{more}}}\n");
    }
    lines
}

/// What a run over a stream writes: for each trade its number and what was added.
pub(crate) fn run(words: &str, options: &str) -> String {
    let folder = Folder::empty();
    folder.put("s.jsonl", stream(words));
    written(&folder.ok(&format!("run --messages s.jsonl --columns ticker {options}")))
}

/// The same with users.
pub(crate) fn run_with_users(words: &str, options: &str) -> String {
    let folder = Folder::empty();
    folder.put("s.jsonl", stream(words));
    let job = "run --messages s.jsonl --tables instruments,users --columns ticker,user";
    written(&folder.ok(&format!("{job} {options}")))
}

pub(crate) fn written(lines: &str) -> String {
    let row = |line: &str| {
        let row: Value = serde_json::from_str(line).expect("a trade");
        let text = |name: &str| row[name].as_str().unwrap_or("-").to_owned();
        let user = row.get("user").map(|_| format!("/{}", text("user"))).unwrap_or_default();
        let waited = row.get("waited").map(|waited| format!("+{waited}")).unwrap_or_default();
        format!("{}:{}{user}{waited}", row["trade_id"], text("ticker"))
    };
    lines.lines().map(row).collect::<Vec<_>>().join(" ")
}

/// The trades that a run puts aside, with table and key.
pub(crate) fn aside(words: &str, options: &str) -> (String, Vec<String>) {
    let folder = Folder::empty();
    folder.put("s.jsonl", stream(words));
    let job =
        "run --messages s.jsonl --tables instruments,users --columns ticker,user --dead-letters d.jsonl";
    let rows = written(&folder.ok(&format!("{job} {options}")));
    let letter = |line: &str| {
        let letter: Value = serde_json::from_str(line).expect("a letter");
        assert_eq!(letter["reason"], "no-match");
        assert_eq!(letter["fields"]["trade_id"], letter["trade"]);
        format!("{}:{}={}", letter["trade"], letter["table"].as_str().expect("a name"), letter["key"])
    };
    (rows, folder.read("d.jsonl").lines().map(letter).collect())
}

/// What a run over a stream gives: its rows, for the first table what has made it ready
/// and how many rows it had by then, and how many changes behind that.
pub(crate) fn gated(words: &str, options: &str) -> (String, String, u64, u64) {
    let folder = Folder::empty();
    folder.put("s.jsonl", stream(words));
    let job = format!("run --messages s.jsonl --columns ticker --output o.jsonl --json {options}");
    let summary: Value = serde_json::from_str(folder.ok(&job).trim()).expect("a summary");
    let table = &summary["tables"][0];
    let ready_after = table["ready_after"].as_str().expect("ready").to_owned();
    let count = |name: &str| table[name].as_u64().expect("a count");
    (written(&folder.read("o.jsonl")), ready_after, count("rows_loaded"), count("changes"))
}

/// What a run over a stream says that fails with this code, and writes nothing.
pub(crate) fn fails(code: i32, words: &str, options: &str) -> String {
    let folder = Folder::empty();
    folder.put("s.jsonl", stream(words));
    let said = folder.fails(code, &format!("run --messages s.jsonl --output o.jsonl {options}"));
    assert_eq!(folder.names(), ["s.jsonl"], "{said}");
    said
}

pub(crate) fn ready(rows: &str, after: &str, loaded: u64, changes: u64) -> (String, String, u64, u64) {
    (rows.to_owned(), after.to_owned(), loaded, changes)
}

/// What a run over a stream writes where the version of an instrument counts, and a
/// count of its summary.
pub(crate) fn by_version(words: &str, count: &str) -> (String, u64) {
    counted(words, "--version-column instruments=seq --unmatched keep", count)
}

/// The same with look-ups by time.
pub(crate) fn as_of(words: &str, count: &str) -> (String, u64) {
    counted(words, "--mode instruments=as-of --unmatched keep", count)
}

fn counted(words: &str, options: &str, count: &str) -> (String, u64) {
    let folder = Folder::empty();
    folder.put("s.jsonl", stream(words));
    let job = format!("run --messages s.jsonl --columns ticker --output o.jsonl --json {options}");
    let summary: Value = serde_json::from_str(folder.ok(&job).trim()).expect("a summary");
    (written(&folder.read("o.jsonl")), summary["tables"][0][count].as_u64().expect("a count"))
}
