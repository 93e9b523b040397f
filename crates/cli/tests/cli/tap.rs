//! Trades to look at: of runs that write nothing, and of runs that go on.

use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::process::{Child, ChildStdout, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::live::{Live, table};
use crate::support::Folder;

const DRY: &str = "tap --trades trades.csv --instruments instruments.csv --unmatched keep";

#[test]
fn a_dry_run_shows_the_trades_that_are_meant() {
    let folder = Folder::new();
    let shown = |conditions: &str| {
        let printed = folder.ok(&format!("{DRY} {conditions}"));
        let ids = printed.lines().skip(1).filter_map(|row| row.split(',').next()).map(str::to_owned);
        ids.collect::<Vec<_>>().join(" ")
    };
    for (conditions, expected) in [
        ("", "1 2 3 4 5"),
        ("--limit 2", "1 2"),
        ("--where instrument=*P0*", "2 4"),
        ("--where instrument=", "3 5"),
        ("--where instrument!=SPY* --where side=sell", "2 4"),
        ("--where price>=1.7 --where price<13", "1 4"),
        ("--where price=1.70", "1"),
        ("--where price=1.7", "1"),
        ("--where quantity!=1", "1 2 4"),
        ("--where timestamp>2024-11-01T13:30:00Z --where timestamp<=2024-11-01T13:30:02Z", "2 3 4"),
        ("--where user_id=", "5"),
        ("--where side=hold", ""),
        ("--workers 2 --batch-len 1", "1 2 3 4 5"),
    ] {
        assert_eq!(shown(conditions), expected, "{conditions}");
    }
    assert_eq!(folder.names(), ["instruments.csv", "trades.csv", "users.csv"]);
}

#[test]
fn rows_are_csv_or_json_whatever_the_trades_are() {
    let folder = Folder::new();
    let csv = "trade_id,timestamp,instrument_id,user_id,price,quantity,side,venue,instrument\n\
        1,2024-11-01T13:30:00Z,1,7,1.70,10,buy,\"X, Y\",SPY241103C00200000\n";
    assert_eq!(folder.ok(&format!("{DRY} --limit 1")), csv);
    let json = "{\"trade_id\":5,\"timestamp\":\"2024-11-01T13:30:03Z\",\"instrument_id\":99,\"user_id\":null,\
        \"price\":1,\"quantity\":1,\"side\":\"buy\",\"venue\":\"Z\",\"instrument\":null}\n";
    assert_eq!(folder.ok(&format!("{DRY} --where trade_id=5 --json")), json);
    let run = "run --trades trades.csv --instruments instruments.csv --unmatched keep --columns ticker --quiet --output";
    for file in ["t.jsonl", "t.parquet", "t.csv"] {
        folder.ok(&format!("{run} {file}"));
        let tap = format!("tap --trades {file} --instruments instruments.csv --where trade_id=2 --json");
        let row: Value = serde_json::from_str(&folder.ok(&tap)).expect("a row");
        let members =
            ["trade_id", "price", "side", "venue", "ticker", "instrument"].map(|of| row[of].clone());
        let expected =
            [json!(2), json!(250), json!("sell"), json!("Z"), json!("AAPL"), json!("AAPL250117P00150500")];
        assert_eq!(members, expected, "{file}");
    }
}

#[test]
fn in_a_pipe_values_stand_as_they_are() {
    let folder = Folder::new();
    let trades =
        ["trade_id,instrument_id,note", "1,1,\u{1b}[31mred\u{1b}[0m", "2,1,\0\u{7}b", "3,1,\u{9b}c\u{7f}"];
    folder.put("t.csv", trades.map(|line| format!("{line}\n")).concat());
    let found = ["instrument"].into_iter().chain(std::iter::repeat("SPY241103C00200000"));
    let rows: String =
        trades.iter().zip(found).map(|(line, instrument)| format!("{line},{instrument}\n")).collect();
    assert_eq!(folder.ok("tap --trades t.csv --instruments instruments.csv"), rows);
}

#[test]
fn a_sample_is_the_same_for_any_cut() {
    let folder = Folder::empty();
    let cuts = ["--batch-len 1000 --workers 2", "--batch-len 7 --workers 1", "--batch-len 1 --workers 2"];
    let job = "tap --mix trades --ids 100 --sample 1/50 --limit 40";
    let first = folder.ok(job);
    assert_eq!(first.lines().count(), 41);
    for cut in cuts {
        assert_eq!(folder.ok(&format!("{job} {cut}")), first, "{cut}");
        let distribution = "--distribution instruments=partitioned";
        assert_eq!(folder.ok(&format!("{job} {cut} {distribution}")), first, "{cut} {distribution}");
    }
    // Some wait, and leave among others or at the end.
    folder
        .ok("generate --trades t.csv --instruments i.csv --ids 100 --unknown-share 0.2 --limit 3000 --quiet");
    let job = "tap --trades t.csv --instruments i.csv --sample 1/10 --limit 100000 --on-miss instruments";
    let sorted = |policy: &str, cut: &str| {
        let shown = folder.ok(&format!("{job}={policy} {cut}"));
        let mut lines: Vec<_> = shown.lines().map(str::to_owned).collect();
        lines.sort_unstable();
        (shown, lines)
    };
    let (_, kept) = sorted("keep", "");
    assert!(kept.len() > 200 && kept.iter().any(|line| line.ends_with(',')), "{}", kept.len());
    for policy in ["hold=100rows,then=keep", "hold=1000000rows,then=keep"] {
        let (first, lines) = sorted(policy, "");
        assert_eq!(lines, kept, "the same trades, whenever they leave");
        cuts.iter().for_each(|cut| assert_eq!(sorted(policy, cut).0, first, "{policy} {cut}"));
    }
}

#[test]
fn a_config_file_is_that_of_the_run() {
    let folder = Folder::new();
    folder.put(
        "c.toml",
        "[input]\ntrades = \"trades.csv\"\ninstruments = \"instruments.csv\"\n\
         [output]\nfile = \"out.csv\"\n\
         [reload]\nwatch = \"1s\"\nmin_rows = 2\njournal = \"j.jsonl\"\ncontrol = \"c.sock\"\n",
    );
    assert_eq!(folder.ok("tap --config c.toml --where side=buy").lines().count(), 2);
    assert_eq!(folder.names(), ["c.toml", "instruments.csv", "trades.csv", "users.csv"]);
}

#[test]
fn what_cannot_be_looked_for_is_2() {
    let folder = Folder::new();
    for (flags, why) in [
        (
            "--where instrumnet=SPY*",
            "--where instrumnet=SPY*: no column instrumnet: did you mean instrument? (there are trade_id, ",
        ),
        ("--where side<buy", "< compares numbers and times, and \"buy\" is neither"),
        ("--where side", "write COLUMN=VALUE, with one of = != < <= > >= between"),
        ("--sample 0", "write a share such as 1/1000"),
        ("--control c.sock", "--control is of a run that goes on, whose trades are not named here"),
    ] {
        let said = folder.fails(2, &format!("{DRY} {flags}"));
        assert!(said.contains(why), "{why}: {said}");
    }
    folder.fails(66, "tap --control nowhere.sock");
    folder.fails(66, "tap --trades nowhere.csv --instruments instruments.csv");
}

/// A tap on a run that goes on, which has shown its header: trades from here on are looked at.
fn tap(folder: &Folder, flags: &str) -> (Child, BufReader<ChildStdout>) {
    let mut command = folder.command(&format!("tap --control c.sock {flags}"));
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the command starts");
    let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
    assert_eq!(line(&mut stdout), "trade_id,instrument_id,instrument");
    (child, stdout)
}

fn line(from: &mut impl BufRead) -> String {
    let mut line = String::new();
    from.read_line(&mut line).expect("text");
    line.trim_end().to_owned()
}

/// A run that is spoken to and has joined a trade.
fn tapped(folder: &Folder) -> Live {
    folder.put("i.csv", table("SPY") + "2,F,7.125,260320,Put\n");
    let mut live = Live::start(folder, "--watch=asked --control c.sock");
    live.finds(1);
    live
}

#[test]
fn rows_of_a_run_that_goes_on_are_shown_as_they_pass() {
    let folder = Folder::empty();
    let mut live = tapped(&folder);
    let (mut child, mut stdout) = tap(&folder, "--where instrument=SPY* --limit 2");
    let (mut all, mut all_out) = tap(&folder, "");
    assert_eq!([live.finds(1), live.finds(2)], ["SPY241103C00200000", "F260320P00007125"]);
    // Not when the run ends or the tap does: now.
    assert_eq!(line(&mut stdout), "2,1,SPY241103C00200000");
    assert_eq!(line(&mut all_out), "2,1,SPY241103C00200000");
    assert_eq!(line(&mut all_out), "3,2,F260320P00007125");
    live.finds(1);
    assert_eq!(line(&mut stdout), "4,1,SPY241103C00200000");
    assert_eq!(line(&mut stdout), "");
    assert!(child.wait().expect("it ends").success());
    live.finds(3);
    live.end();
    let mut rest = String::new();
    all_out.read_to_string(&mut rest).expect("text");
    assert_eq!(rest, "4,1,SPY241103C00200000\n5,3,\n");
    assert!(all.wait().expect("it ends").success());
}

#[test]
fn a_tap_that_is_stopped_stops_nothing_else() {
    let folder = Folder::empty();
    let mut live = tapped(&folder);
    let (mut child, mut stdout) = tap(&folder, "");
    live.finds(1);
    assert_eq!(line(&mut stdout), "2,1,SPY241103C00200000");
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("a process");
    // Not SIGINT: what a script starts in the background ignores it, and so does all that is
    // started there, as long as it does not ask for the signal itself.
    kill_process(pid, Signal::TERM).expect("the process is there");
    assert!(!child.wait().expect("it ends").success());
    assert_eq!(live.finds(2), "F260320P00007125");
    let said = folder.fails(2, "tap --control c.sock --where instrumnet=SPY*");
    assert!(
        said.contains("did you mean instrument? (there are trade_id, instrument_id, instrument)"),
        "{said}"
    );
    live.end();
}

#[test]
fn a_client_that_says_no_more_still_listens() {
    let folder = Folder::empty();
    let mut live = tapped(&folder);
    let half_closed = |request: &[u8]| {
        let mut client = UnixStream::connect(folder.path("c.sock")).expect("a call");
        client.write_all(request).expect("written");
        client.shutdown(Shutdown::Write).expect("shut");
        BufReader::new(client)
    };
    let mut tap = half_closed(b"{\"tap\":{}}\n");
    assert_eq!(line(&mut tap), "{\"columns\":[\"trade_id\",\"instrument_id\",\"instrument\"]}");
    folder.put("i.csv", table("AAPL"));
    let mut reload = half_closed(b"{\"reload\":{\"tables\":[\"instruments\"]}}\n");
    assert!(line(&mut reload).contains("\"refused\""));
    folder.put("i.csv", table("AAPL") + "2,F,7.125,260320,Put\n");
    let mut reload = half_closed(b"{\"reload\":{\"tables\":[\"instruments\"]}}\n");
    assert!(line(&mut reload).contains("\"reloaded\""));
    // Longer than it takes to look whether they have gone.
    std::thread::sleep(Duration::from_millis(300));
    live.finds(2);
    assert_eq!(line(&mut tap), "{\"row\":[2,2,\"F260320P00007125\"]}");
    assert_eq!(line(&mut reload), "{\"in_effect\":{\"trades_before\":1}}");
    live.end();
    assert_eq!(line(&mut tap), "{\"end\":{}}");
}

#[test]
fn a_tap_of_a_run_that_fails_says_so() {
    let folder = Folder::empty();
    let mut live = tapped(&folder);
    let (child, mut stdout) = tap(&folder, "");
    live.finds(2);
    assert_eq!(line(&mut stdout), "2,2,F260320P00007125");
    live.write("x,y\n");
    assert_eq!(live.child.wait().expect("it ends").code(), Some(65));
    let output = child.wait_with_output().expect("it ends");
    let said = String::from_utf8(output.stderr).expect("text");
    assert_eq!((output.status.code(), line(&mut stdout).as_str()), (Some(74), ""), "{said}");
    assert!(said.contains("the run has failed; what it says itself is why"), "{said}");
}

#[test]
fn more_than_a_request_may_have_is_refused_by_its_limit() {
    let folder = Folder::empty();
    let live = tapped(&folder);
    let said = folder.fails(2, &format!("tap --control c.sock --where instrument={}", "x".repeat(70_000)));
    assert_eq!(said, "error: more is asked than the 64.00 KiB that a request may have: name less at once\n");
    live.end();
}

#[test]
fn rows_for_which_a_client_is_too_slow_are_counted() {
    const TRADES: u64 = 60_000;
    let folder = Folder::empty();
    let mut live = tapped(&folder);
    let mut client = UnixStream::connect(folder.path("c.sock")).expect("a call");
    client.write_all(b"{\"tap\":{}}\n").expect("written");
    let mut lines = BufReader::new(client);
    assert_eq!(line(&mut lines), "{\"columns\":[\"trade_id\",\"instrument_id\",\"instrument\"]}");
    for _ in 0..TRADES / 500 {
        let trades = live.trades + 1..=live.trades + 500;
        live.trades += 500;
        live.write(&trades.map(|trade| format!("{trade},1\n")).collect::<String>());
        (0..500).for_each(|_| drop(live.line()));
    }
    let (mut shown, mut dropped) = (0, 0);
    while shown + dropped < TRADES {
        let reply: Value = serde_json::from_str(&line(&mut lines)).expect("a line of JSON");
        match reply.get("dropped") {
            Some(count) => dropped += count.as_u64().expect("a number"),
            None => shown += u64::from(reply["row"].is_array()),
        }
    }
    assert!(shown > 0 && dropped > 0 && shown + dropped == TRADES, "{shown} and {dropped}");
    // It is all there again for who listens.
    live.finds(2);
    let row = format!("{{\"row\":[{},2,\"F260320P00007125\"]}}", live.trades);
    assert_eq!(line(&mut lines), row);
    live.end();
    assert_eq!(line(&mut lines), "{\"end\":{}}");
}
