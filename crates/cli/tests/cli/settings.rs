//! What a run says at its start: what was asked for, and every default.

use serde_json::{Value, json};

use crate::support::Folder;

const JOB: &str = "run --trades trades.csv --instruments instruments.csv";

/// The line of a section, cut into what was asked for and what nobody said.
fn line(printed: &str, section: &str) -> (String, String) {
    let lines: Vec<_> = printed.lines().collect();
    let head = lines.iter().position(|line| line.trim_start().starts_with("given ")).expect("a heading");
    let at = lines[head].find("default").expect("a column of defaults");
    let is_section = |line: &&&str| line.split_whitespace().next() == Some(section);
    let line = lines[head..].iter().find(is_section).unwrap_or_else(|| panic!("{section}: {printed}"));
    // Columns are counted in letters.
    let given: String = line.chars().take(at).collect();
    let defaults: String = line.chars().skip(at).collect();
    (given.replacen(section, "", 1).trim().to_owned(), defaults.trim().to_owned())
}

fn settings(printed: &str) -> Value {
    let summary: Value = serde_json::from_str(printed.lines().last().unwrap_or_default()).expect("a summary");
    summary["settings"].clone()
}

#[test]
fn a_run_says_what_was_asked_for_and_every_default() {
    let folder = Folder::new();
    let printed =
        folder.ok(&format!("{JOB} --output o.csv --workers 1 --linger 1ms --on-miss instruments=keep"));
    let expect = |section: &str, given: &str, defaults: &str| {
        assert_eq!(line(&printed, section), (given.to_owned(), defaults.to_owned()), "{printed}");
    };
    expect("trades", "trades.csv · linger 1ms", "format csv · on-bad-record fail");
    expect("output", "o.csv", "format csv · columns instrument");
    expect("instruments", "instruments.csv · on-miss keep", "format csv · key instrument_id · mode latest");
    expect("engine", "workers 1", "batch-len 8192 · queue-depth 8 · order input");
    assert!(printed.find("given") < printed.find("messages in"), "before all else: {printed}");
    assert!(printed.contains("  distribution auto\n"), "in a line of its own: {printed}");
}

#[test]
fn a_generated_run_and_a_stream_say_it_too() {
    let folder = Folder::empty();
    let printed = folder.ok("run --limit 2000 --seed 1 --workers 2 --days 2 --mix trades --ids 20");
    assert_eq!(line(&printed, "trades").0, "limit 2000 · seed 1 · mix trades · ids 20 · days 2");
    assert!(
        line(&printed, "trades").1.starts_with("generated · keys uniform · unknown-share 0 · reused 0.2"),
        "{printed}"
    );
    assert_eq!(line(&printed, "output").1, "nowhere · columns instrument");
    folder.ok("generate --limit 2000 --output s.jsonl --quiet");
    let job = "run --messages s.jsonl --output o.jsonl --order strict --hold-rows 10";
    let printed = folder.ok(&format!("{job} --on-miss instruments=hold=1000rows,then=drop"));
    assert_eq!(line(&printed, "messages").0, "s.jsonl");
    assert_eq!(line(&printed, "instruments").0, "on-miss hold=1000rows,then=drop");
    assert_eq!(line(&printed, "engine").0, "order strict · hold-rows 10");
    assert!(printed.contains("hold-bytes 512.00 MiB"), "{printed}");
    assert!(printed.contains("ready after its marker, if it has one"), "{printed}");
    let job = "run --messages s.jsonl --output o.jsonl --gate-timeout 1h --table-ready-after";
    let printed = folder.ok(&format!("{job} 0rows"));
    assert_eq!(line(&printed, "instruments").0, "ready after 0 rows");
    assert_eq!(line(&printed, "messages").0, "s.jsonl · gate-timeout 1h");
}

#[test]
fn a_run_with_tables_that_change_says_what_is_refused() {
    let folder = Folder::new();
    let printed = folder.ok(&format!("{JOB} --output o.csv --watch --min-rows 2 --journal j.jsonl"));
    let (given, defaults) = line(&printed, "trades");
    assert_eq!(given, "trades.csv · watch 1s · min-rows 2 · journal j.jsonl");
    assert_eq!(defaults, "format csv · on-bad-record fail · linger 1ms");
    assert!(printed.contains("max-removed 20%"), "{printed}");
    let printed = folder.ok(&format!("{JOB} --output o.csv --replay-journal j.jsonl"));
    assert_eq!(line(&printed, "trades").0, "trades.csv · replay-journal j.jsonl");
}

#[test]
fn the_summary_has_the_settings_with_the_names_of_the_defaults() {
    let folder = Folder::new();
    folder.put("venues.csv", "mic,city,valid_from\nZ,Zurich,1\n");
    folder.put(
        "c.toml",
        "[engine]\nqueue_depth = 8\nunmatched = \"drop\"\n[output]\nwait_column = \"waited\"\n[input]\nlinger = \"2ms\"\n",
    );
    let table = "--table v=venues.csv,key=venue@mic,mode=as-of,tolerance=90m,distribution=partitioned";
    let job = format!(
        "{JOB} --config c.toml --output o.jsonl --json --workers 1 --batch-len 100 --on-miss v=fail {table}"
    );
    // The first trade has a venue that no row has.
    let said = folder.fails(65, &job);
    assert!(said.contains("finds nothing in v"), "{said}");
    let job = job.replace("v=fail", "v=hold=2s,then=keep");
    let settings = settings(&folder.ok(&job));
    assert_eq!(
        settings["input"],
        json!({
            "trades": "trades.csv", "format": "csv", "limit": null, "on_bad_record": "fail", "linger": "2ms",
            "strict": false, "defaults": ["format", "limit", "on_bad_record", "strict"]
        })
    );
    assert_eq!(
        settings["output"],
        json!({
            "file": "o.jsonl", "format": "jsonl", "columns": ["instrument", "city", "valid_from"],
            "dead_letters": null, "wait_column": "waited", "defaults": ["format", "columns", "dead_letters"]
        })
    );
    assert_eq!(
        settings["tables"],
        json!([
            {
                "name": "instruments", "file": "instruments.csv", "format": "csv", "key": "instrument_id",
                "mode": "latest", "tolerance": null, "version_column": null, "on_miss": "drop",
                "distribution": "auto",
                "defaults": ["format", "key", "mode", "tolerance", "version_column", "distribution"]
            },
            {
                "name": "v", "file": "venues.csv", "format": "csv", "key": "venue@mic", "mode": "as-of",
                "tolerance": "1h30m", "version_column": null, "on_miss": "hold=2s,then=keep",
                "distribution": "partitioned", "defaults": ["format", "version_column"]
            }
        ])
    );
    assert_eq!(
        settings["engine"],
        json!({
            "workers": 1, "batch_len": 100, "queue_depth": 8, "order": "input", "hold_rows": 2_000_000,
            "hold_bytes": 536_870_912, "defaults": ["order", "hold_rows", "hold_bytes"]
        })
    );
}

#[test]
fn settings_go_where_the_summary_goes() {
    let folder = Folder::new();
    let quiet = folder.run(JOB);
    assert!(quiet.stdout.starts_with("trade_id,") && quiet.stderr.is_empty(), "a pipe is not told");
    let told = folder.run(&format!("{JOB} --verbose"));
    assert_eq!(told.stdout, quiet.stdout);
    assert_eq!(line(&told.stderr, "output").1, "standard output · format csv · columns instrument");
    assert!(told.stderr.contains("messages in"), "{}", told.stderr);
    for rest in ["--quiet", "--json"] {
        let printed = folder.ok(&format!("{JOB} --output o.csv {rest}"));
        assert!(!printed.contains("given"), "{rest}: {printed}");
    }
    let said = folder.fails(2, &format!("{JOB} --quiet --verbose"));
    assert!(said.contains("cannot be used with"), "{said}");
    // What cannot run is not announced.
    let ran = folder.run(&format!("{JOB} --output o.csv --on-miss instruments=dead-letter"));
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
}
