//! `generate`, `bench`, `completions`, help and version.

use serde_json::Value;

use crate::support::Folder;

#[test]
fn a_seed_is_a_stream() {
    let folder = Folder::empty();
    let stream = |seed: u32| folder.ok(&format!("generate --limit 2000 --seed {seed} --output - --quiet"));
    assert_eq!(stream(3), stream(3));
    assert_ne!(stream(3), stream(4));
    let lines: Vec<Value> = stream(3).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.len(), 2_000);
    assert!(lines[..1_000].iter().all(|line| line["type"] == "instrument"));
    let trades = lines.iter().filter(|line| line["type"] == "trade").count();
    assert!((850..950).contains(&trades), "{trades}");
}

#[test]
fn files_apart_hold_every_row_once() {
    let folder = Folder::empty();
    folder.ok("generate --trades t.csv --instruments i.csv --users u.csv --ids 1000 --limit 3000 --quiet");
    for (name, lines) in [("t.csv", 3_001), ("i.csv", 1_001), ("u.csv", 10_001)] {
        assert_eq!(folder.read(name).lines().count(), lines, "{name}");
    }
    let said = folder.fails(2, "generate --trades t.csv --mix article");
    assert!(said.contains("--mix"), "{said}");
}

#[test]
fn a_bench_names_its_rows_and_they_agree() {
    let folder = Folder::empty();
    for rest in
        ["", "--generate-inside", "--mix article-users", "--distribution instruments=broadcast --workers 3"]
    {
        let printed = folder.ok(&format!("bench --messages 20000 --rounds 2 --json {rest}"));
        let report: Value = serde_json::from_str(&printed).expect("one line of JSON");
        assert_eq!((&report["messages"], &report["rounds"]), (&20_000.into(), &2.into()));
        let rows = report["rows"].as_array().expect("rows");
        let names: Vec<_> = rows.iter().filter_map(|row| row["name"].as_str()).collect();
        let expected = [
            "naive-std",
            "naive-hashbrown",
            "naive-dashmap",
            "threads-channel",
            "threads-ring",
            "two-tables-ring",
            "fused",
            "sharded",
        ];
        assert_eq!(names[..8], expected);
        for row in rows {
            let spread = &row["elapsed_s"];
            let figure = |key: &str| spread[key].as_f64().expect("a figure");
            assert!(
                figure("min") > 0.0 && figure("min") <= figure("median") && figure("median") <= figure("max")
            );
            assert!(row["cpu_ns_per_message"].as_f64().is_some_and(|ns| ns > 0.0), "{row}");
            assert!(row["ratio_to_naive"].as_f64().is_some_and(|ratio| ratio > 0.0), "{row}");
        }
        assert_eq!(rows[0]["ratio_to_naive"], 1.0);
    }
    let cores = std::thread::available_parallelism().expect("a number of cores").get() as u64;
    for (how, expected) in [("auto", cores.min(1024)), ("partitioned", 1024)] {
        let line = "bench --messages 2000 --rounds 1 --json --only naive-std,sharded --workers 1024";
        let printed = folder.ok(&format!("{line} --distribution instruments={how}"));
        let report: Value = serde_json::from_str(&printed).expect("one line of JSON");
        assert_eq!(report["rows"][1]["workers_run"], expected, "{how}");
    }
    let table = folder.ok("bench --messages 20000 --rounds 1 --only naive-std,sharded --workers 1");
    assert!(table.contains("naive-std") && table.contains("sharded, broadcast"), "{table}");
}

#[test]
fn a_bench_at_a_rate_accounts_for_every_trade() {
    let folder = Folder::empty();
    for rest in ["--linger 0", "--mix article-users --batch-len 100 --distribution instruments=partitioned"] {
        let printed = folder.ok(&format!("bench --rate 40000,50000/s --messages 6000 --json {rest}"));
        let report: Value = serde_json::from_str(&printed).expect("one line of JSON");
        let rows = report["rows"].as_array().expect("rows");
        let runs: Vec<_> = rows.iter().map(|row| (row["rate"].as_u64(), row["workers"].as_u64())).collect();
        let run = |rate, workers| (Some(rate), Some(workers));
        assert_eq!(runs, [run(40_000, 1), run(40_000, 2), run(50_000, 1), run(50_000, 2)]);
        for row in rows {
            assert_eq!(row["trades"], rows[0]["trades"]);
            assert_eq!(row["written"], rows[0]["written"]);
            let [trades, written] = ["trades", "written"].map(|key| row[key].as_u64().expect("a count"));
            assert!(trades > 4_000 && written > 0 && written < trades, "{row}");
            let figures = ["p50", "p90", "p99", "p99.9", "max"].map(|key| row["latency_us"][key].as_f64());
            assert!(figures.iter().all(Option::is_some) && figures.is_sorted(), "{row}");
            assert!(row["achieved_rate"].as_f64().is_some_and(|rate| rate > 0.0), "{row}");
            assert!(row["cpu_share"].as_f64().is_some_and(|share| share > 0.0), "{row}");
        }
    }
    let table = folder.ok("bench --rate 1000 --seconds 1 --workers 1");
    assert!(table.contains("p99.9") && table.contains("1,000"), "{table}");
}

#[test]
fn help_has_examples_and_the_version_its_commit() {
    let folder = Folder::empty();
    for line in ["--help", "run --help", "generate --help", "bench --help", "completions --help"] {
        let help = folder.ok(line);
        assert!(help.contains("Example") && help.contains("tradejoin"), "{line}");
    }
    let version = folder.ok("--version");
    assert!(version.starts_with(concat!("tradejoin ", env!("CARGO_PKG_VERSION"))), "{version}");
    assert!(folder.ok("completions zsh").contains("#compdef tradejoin"));
}
