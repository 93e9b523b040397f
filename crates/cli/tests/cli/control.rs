//! Runs that are spoken to over a socket: reloads on command, rollbacks, groups.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Stdio;

use rustix::process::Signal;
use serde_json::Value;

use crate::live::{Live, TABLE, table};
use crate::support::Folder;

const SPY: &str = "SPY241103C00200000";
const AAPL: &str = "AAPL241103C00200000";
const MSFT: &str = "MSFT241103C00200000";

/// A run that looks at its tables when it is asked, and has joined a trade.
fn asked(folder: &Folder, flags: &str) -> Live {
    folder.put("i.csv", table("SPY"));
    let mut live = Live::start(folder, &format!("--watch=asked --control c.sock {flags}"));
    assert!(live.finds(1).starts_with(SPY));
    live
}

/// What `tradejoin reload` prints of a run that has no trade to go on with.
fn reload(folder: &Folder, what: &str) -> String {
    folder.ok(&format!("reload --control c.sock --wait 0 {what}"))
}

#[test]
fn a_reload_on_command_says_where_it_takes_effect() {
    let folder = Folder::empty();
    let mut live = asked(&folder, "");
    assert_eq!(reload(&folder, ""), "instruments unchanged\n");
    folder.put("i.csv", table("AAPL"));
    let mut command = folder.command("reload --control c.sock --wait 1h instruments");
    let mut asking = command.stdout(Stdio::piped()).spawn().expect("the command starts");
    live.until_said("instruments reloaded: rows added 0, changed 1, removed 0");
    assert_eq!(live.finds(1), AAPL);
    let mut said = String::new();
    asking.stdout.take().expect("a pipe").read_to_string(&mut said).expect("text");
    let expected = "instruments reloaded: rows added 0, changed 1, removed 0\nin effect behind 1 trades\n";
    assert_eq!(said, expected);
    assert!(asking.wait().expect("it ends").success());
    folder.put("i.csv", table("MSFT"));
    let said = reload(&folder, "");
    assert!(said.ends_with("changed 1, removed 0\nin effect before the next trade\n"), "{said}");
    assert_eq!(live.finds(1), MSFT);
    live.end();
}

#[test]
fn a_reload_that_cannot_be_done_says_why_and_exits_accordingly() {
    let folder = Folder::empty();
    let mut live = asked(&folder, "");
    folder.put("i.csv", TABLE);
    let ran = folder.run("reload --control c.sock");
    let why =
        "instruments refused, the rows in force stay: i.csv: it has 0 rows, and --min-rows asks for 1\n";
    assert_eq!((ran.code, ran.stdout.as_str()), (1, why), "{}", ran.stderr);
    let ran = folder.run("reload --control c.sock --json");
    let line: Value = serde_json::from_str(&ran.stdout).expect("a line of JSON");
    assert_eq!((ran.code, &line["tables"][0]["done"]), (1, &Value::from("refused")));
    assert_eq!(live.finds(1), SPY);
    let said = folder.fails(2, "reload --control c.sock instrument");
    assert!(
        said.contains("no table instrument is watched: did you mean instruments? (there are instruments)")
    );
    let said = folder.fails(66, "reload --control nowhere.sock");
    assert!(said.contains("no run listens there: cannot open nowhere.sock"), "{said}");
    let said = live.rest();
    assert!(said.contains("instruments is not reloaded"), "{said}");
    // A run that has a socket, and no watch.
    folder.put("i.csv", table("SPY"));
    let mut command = folder.command("run --trades - --format csv --instruments i.csv --control c.sock");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the command starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
    stdin.write_all(b"trade_id,instrument_id\n1,1\n").expect("written");
    stdout.read_line(&mut String::new()).expect("text");
    let said = folder.fails(2, "reload --control c.sock");
    assert!(said.contains("this run does not watch its tables: start it with --watch"), "{said}");
    drop(stdin);
    assert!(child.wait().expect("it ends").success());
}

#[test]
fn a_socket_is_of_its_run_and_its_user() {
    let folder = Folder::empty();
    let mut live = asked(&folder, "");
    let mode = || folder.path("c.sock").metadata().expect("a socket").permissions().mode();
    assert_eq!(mode() & 0o777, 0o600);
    let job = "run --trades t.csv --instruments i.csv --control c.sock";
    folder.put("t.csv", "trade_id,instrument_id\n1,1\n");
    let said = folder.fails(73, job);
    assert!(said.contains("--control c.sock: a run that goes on listens there"), "{said}");
    assert_eq!(reload(&folder, ""), "instruments unchanged\n");
    // A run that is killed leaves its socket to the next one.
    live.child.kill().expect("killed");
    live.child.wait().expect("it ends");
    assert!(folder.path("c.sock").exists());
    folder.ok(job);
    assert!(!folder.path("c.sock").exists(), "it goes with the run");
    folder.put("c.sock", "a file");
    let said = folder.fails(73, job);
    assert!(said.contains("--control c.sock: there is a file that is no socket"), "{said}");
    assert_eq!(folder.read("c.sock"), "a file");
    let said = folder.fails(2, &format!("{job} --output c.sock --output-format csv"));
    assert!(said.contains("--control would take the place of the output"), "{said}");
    // Nor does a run that is told to stop.
    std::fs::remove_file(folder.path("c.sock")).expect("removed");
    let mut live = asked(&folder, "");
    live.signal(Signal::TERM);
    assert_eq!(live.child.wait().expect("it ends").code(), Some(130));
    assert!(!folder.path("c.sock").exists());
    // Nor does it wait for ever where somebody holds a lock.
    let lock = std::fs::File::open(folder.path(".")).expect("the folder");
    lock.lock().expect("a lock");
    let said = folder.fails(73, job);
    assert!(said.contains("--control c.sock: another process holds a lock on its folder"), "{said}");
    drop(lock);
    // A socket that somebody else's program listens to is not taken.
    let _other = UnixListener::bind(folder.path("c.sock")).expect("a socket");
    folder.fails(73, job);
}

#[test]
fn a_second_run_of_a_folder_of_checkpoints_is_told_of_that_and_not_of_its_socket() {
    let folder = Folder::empty();
    let live = asked(&folder, "--checkpoint state");
    folder.put("t.csv", "trade_id,instrument_id\n1,1\n");
    let job = "run --trades t.csv --instruments i.csv --control c.sock --checkpoint";
    let said = folder.fails(75, &format!("{job} state"));
    assert!(said.contains("another run keeps its checkpoints here"), "{said}");
    // One that is not there is not made for a run that has no socket.
    let said = folder.fails(73, &format!("{job} other"));
    assert!(said.contains("a run that goes on listens there"), "{said}");
    assert_eq!(folder.names(), ["c.sock", "i.csv", "state", "t.csv"]);
    live.end();
}

#[test]
fn a_run_whose_path_another_has_taken_ends_as_ever() {
    let folder = Folder::empty();
    let mut live = asked(&folder, "");
    std::fs::remove_file(folder.path("c.sock")).expect("removed");
    // Whoever has the path now may answer nothing, and its file stays.
    let other = UnixListener::bind(folder.path("c.sock")).expect("a socket");
    assert_eq!(live.finds(1), SPY);
    drop(live.stdin);
    let mut said = String::new();
    live.stderr.read_to_string(&mut said).expect("text");
    assert!(live.child.wait().expect("it ends").success(), "{said}");
    assert!(folder.path("c.sock").exists());
    other.set_nonblocking(true).expect("a socket");
    let called = other.accept().map(drop).map_err(|error| error.kind());
    assert_eq!(called, Err(std::io::ErrorKind::WouldBlock), "nobody called it");
}

#[test]
fn clients_that_do_not_speak_hold_up_nobody() {
    let folder = Folder::empty();
    let mut live = asked(&folder, "");
    let call = || UnixStream::connect(folder.path("c.sock")).expect("a call");
    let _silent: Vec<_> = (0..8).map(|_| call()).collect();
    let said = folder.fails(74, "reload --control c.sock");
    assert!(said.contains("8 others speak to this run"), "{said}");
    assert_eq!(live.finds(1), SPY);
    live.end();
    let folder = Folder::empty();
    let mut live = asked(&folder, "");
    // What is known with the next trade holds no place for those who do not wait.
    for round in 0..10 {
        folder.put("i.csv", table(&format!("R{}", char::from(b'A' + round))));
        reload(&folder, "");
    }
    assert_eq!(live.finds(1), "RJ241103C00200000");
    let mut nonsense = UnixStream::connect(folder.path("c.sock")).expect("a call");
    nonsense.write_all(b"{\"what\":1}\n").expect("written");
    let mut answer = String::new();
    nonsense.read_to_string(&mut answer).expect("text");
    assert!(answer.starts_with("{\"refused\":{\"code\":2,\"why\":\"this version does not know"), "{answer}");
    live.end();
}

#[test]
fn what_waits_for_a_trade_has_a_bound() {
    let folder = Folder::empty();
    let mut live = asked(&folder, "");
    let put = |round: u8| folder.put("i.csv", table(&format!("R{}", char::from(b'A' + round))));
    for round in 0..16 {
        put(round);
        assert!(reload(&folder, "").ends_with("in effect before the next trade\n"));
    }
    put(16);
    for what in ["", "instruments", "--rollback"] {
        let ran = folder.run(&format!("reload --control c.sock {what}"));
        let why = "instruments refused, the rows in force stay: as much as may wait for a trade waits already: \
                   ask again when one has come\n";
        assert_eq!((ran.code, ran.stdout.as_str()), (1, why), "{}", ran.stderr);
    }
    // A signal is not forgotten.
    live.signal(Signal::HUP);
    assert_eq!(live.finds(1), "RP241103C00200000");
    live.until_said("instruments reloaded");
    live.until_found(1, "RQ241103C00200000");
    // A table of many rows waits alone.
    let rows: String = (2..70_000).map(|id| format!("{id},X,1,2024-11-03,put\n")).collect();
    folder.put("i.csv", table("SPY") + &rows);
    assert!(reload(&folder, "").ends_with("in effect before the next trade\n"));
    folder.put("i.csv", table("AAPL") + &rows);
    assert_eq!(folder.run("reload --control c.sock").code, 1);
    assert_eq!(live.finds(1), SPY);
    reload(&folder, "");
    assert_eq!(live.finds(1), AAPL);
    live.end();
}

#[test]
fn a_rollback_goes_back_a_generation_at_a_time() {
    let folder = Folder::empty();
    std::fs::create_dir(folder.path("kept")).expect("a folder");
    let mut live = asked(&folder, "--generations kept --json");
    let refused = |why: &str| {
        let ran = folder.run("reload --control c.sock --rollback");
        assert_eq!(ran.code, 1, "{}", ran.stderr);
        assert!(ran.stdout.contains(why), "{}", ran.stdout);
    };
    refused("instruments refused, the rows in force stay: there is nothing to go back to");
    for ticker in ["AAPL", "MSFT"] {
        folder.put("i.csv", format!("{}2,F,7.125,260320,Put\n", table(ticker)));
        reload(&folder, "");
    }
    assert_eq!(live.finds(1), MSFT);
    assert_eq!(live.finds(2), "F260320P00007125");
    let said = reload(&folder, "--rollback");
    assert!(said.starts_with("instruments rolled back: rows added 0, changed 1, removed 0\n"), "{said}");
    assert_eq!(live.finds(1), AAPL);
    // Half of the rows go: what is refused of a newer file is not of an older one.
    let said = reload(&folder, "--rollback instruments");
    assert!(said.starts_with("instruments rolled back: rows added 0, changed 1, removed 1\n"), "{said}");
    assert_eq!([live.finds(1), live.finds(2)], [SPY, ""]);
    refused("there is nothing to go back to");
    let said = live.rest();
    let summary: Value = serde_json::from_str(said.lines().last().expect("a summary")).expect("JSON");
    let reloads = &summary["reloads"][0];
    let counts = ["reloaded", "rolled_back", "refused", "added", "changed", "removed"].map(|of| &reloads[of]);
    assert_eq!(counts, [2, 2, 0, 1, 4, 1].map(Value::from).each_ref());
    assert_eq!(std::fs::read_dir(folder.path("kept")).expect("the folder").count(), 0);
}

#[test]
fn a_file_that_was_rolled_back_stays_out_until_it_changes() {
    let folder = Folder::empty();
    folder.put("i.csv", table("SPY"));
    let mut live = Live::start(&folder, "--control c.sock");
    assert_eq!(live.finds(1), SPY);
    folder.put("i.csv", table("AAPL"));
    live.until_found(1, AAPL);
    reload(&folder, "--rollback");
    assert_eq!(live.finds(1), SPY);
    // Written again, with nothing else in it.
    folder.put("new.csv", table("AAPL"));
    std::fs::rename(folder.path("new.csv"), folder.path("i.csv")).expect("renamed");
    let stays = "instruments unchanged: its file is the one that was rolled back: name the table to take it up again\n";
    assert_eq!(reload(&folder, ""), stays);
    assert_eq!(live.finds(1), SPY);
    folder.put("i.csv", table("MSFT"));
    live.until_found(1, MSFT);
    reload(&folder, "--rollback");
    assert_eq!(live.finds(1), SPY);
    reload(&folder, "instruments");
    assert_eq!(live.finds(1), MSFT);
    live.end();
}

#[test]
fn a_pipe_in_the_place_of_a_file_that_was_rolled_back_is_not_waited_for() {
    let folder = Folder::empty();
    let mut live = asked(&folder, "");
    folder.put("i.csv", table("AAPL"));
    reload(&folder, "");
    reload(&folder, "--rollback");
    std::fs::remove_file(folder.path("i.csv")).expect("removed");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mkfifoat(rustix::fs::CWD, folder.path("i.csv"), mode).expect("a pipe");
    let ran = folder.run("reload --control c.sock");
    assert!(ran.code == 1 && ran.stdout.contains("i.csv is no file any more"), "{}", ran.stdout);
    assert_eq!(live.finds(1), SPY);
    live.end();
}

#[test]
fn a_run_that_ends_before_it_answers_has_reloaded_nothing() {
    let folder = Folder::empty();
    let listener = UnixListener::bind(folder.path("c.sock")).expect("a socket");
    let said = std::thread::scope(|threads| {
        threads.spawn(|| {
            let (mut client, _) = listener.accept().expect("a call");
            client.read_exact(&mut [0; 10]).expect("what is asked");
        });
        folder.fails(74, "reload --control c.sock --wait 0")
    });
    assert!(said.contains("before it answered: nothing has changed"), "{said}");
}

#[test]
fn a_rollback_is_in_the_journal() {
    let folder = Folder::empty();
    folder.put("first.csv", table("SPY"));
    let mut live = asked(&folder, "--journal j.jsonl");
    let mut output = format!("trade_id,instrument_id,instrument\n1,1,{SPY}\n");
    for (what, found) in [("", AAPL), ("--rollback", SPY)] {
        folder.put("i.csv", table("AAPL"));
        reload(&folder, what);
        assert_eq!(live.finds(1), found);
        output += &format!("{},1,{found}\n", live.trades);
    }
    live.end();
    folder.put("t.csv", "trade_id,instrument_id\n1,1\n2,1\n3,1\n");
    let job = "run --trades t.csv --instruments first.csv --replay-journal j.jsonl --workers";
    for workers in 1..=3 {
        assert_eq!(folder.ok(&format!("{job} {workers}")), output);
    }
    folder.put("o.csv", output);
    folder.ok("verify o.csv --trades t.csv --instruments first.csv --replay-journal j.jsonl");
}

#[test]
fn a_run_that_fails_leaves_neither_socket_nor_copies() {
    let folder = Folder::empty();
    std::fs::create_dir(folder.path("kept")).expect("a folder");
    let mut live = asked(&folder, "--generations kept");
    assert_eq!(std::fs::read_dir(folder.path("kept")).expect("the folder").count(), 1);
    live.write("x,y\n");
    assert_eq!(live.child.wait().expect("it ends").code(), Some(65));
    assert_eq!(std::fs::read_dir(folder.path("kept")).expect("the folder").count(), 0);
    assert!(!folder.path("c.sock").exists());
}

#[test]
fn what_was_kept_is_read_as_it_was_in_any_format() {
    let folder = Folder::empty();
    // A bad row of the first file was skipped, and is again.
    folder.put("i.csv", table("SPY") + "x,Q,1,2024-11-03,call\n");
    for file in ["x.parquet", "x.jsonl.gz", "x.arrow", "x.jsonl"] {
        let generate = |seed: u32| {
            folder.ok(&format!("generate --ids 10 --seed {seed} --instruments {file} --quiet --limit 1"))
        };
        generate(1);
        let flags = format!("--table x={file},key=instrument_id,columns=ticker --on-bad-record skip");
        folder.put("i.csv", table("SPY") + "x,Q,1,2024-11-03,call\n");
        let mut live = Live::start(&folder, &format!("--watch=asked --control c.sock {flags}"));
        let first = live.finds(1);
        assert!(first.starts_with(SPY) && !first.ends_with(','), "{first}");
        generate(2);
        folder.put("i.csv", table("AAPL"));
        reload(&folder, "");
        let second = live.finds(1);
        assert!(second.starts_with(AAPL) && second.split_once(',') != first.split_once(','), "{second}");
        let said = reload(&folder, "--rollback");
        assert!(said.contains("x rolled back: rows added 0, changed 10, removed 0"), "{file}: {said}");
        assert_eq!(live.finds(1), first, "{file}");
        live.end();
    }
}

#[test]
fn rows_of_a_lower_version_are_not_rolled_back_to() {
    let folder = Folder::empty();
    let version = |version: u32| {
        format!(
            "instrument_id,ticker,strike,expiry,option_type,seq\n1,V{version},2,2024-11-03,call,{version}\n"
        )
    };
    folder.put("i.csv", version(1).replace(",V1,", ",SPY,").replace(",2,2024", ",200,2024"));
    let mut live = Live::start(&folder, "--watch=asked --control c.sock --version-column instruments=seq");
    assert_eq!(live.finds(1), SPY);
    folder.put("i.csv", version(2).replace(",V2,", ",X,"));
    reload(&folder, "");
    let ran = folder.run("reload --control c.sock --rollback");
    assert_eq!(ran.code, 1);
    assert!(ran.stdout.contains("rows of a lower version never take the place of others"), "{}", ran.stdout);
    assert_eq!(live.finds(1), "X241103C00002000");
    live.end();
}

/// Files of a table of names by instrument.
fn names(name: &str) -> String {
    format!("id,name\n1,{name}\n")
}

#[test]
fn tables_of_a_group_take_effect_together_or_not_at_all() {
    let folder = Folder::empty();
    folder.put("n.csv", names("spider"));
    let flags = "--table names=n.csv,key=instrument_id@id,columns=name --reload-group instruments+names";
    let mut live = asked(&folder, flags);
    let old = format!("{SPY},spider");
    assert_eq!(live.finds(1), old);
    folder.put("i.csv", table("AAPL"));
    folder.put("n.csv", "id,name\n");
    let ran = folder.run("reload --control c.sock names");
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    let why = "n.csv: it has 0 rows, and --min-rows asks for 1";
    let group =
        format!("instruments refused, the rows in force stay: another table of its group is refused: {why}");
    assert_eq!(ran.stdout, format!("{group}\nnames refused, the rows in force stay: {why}\n"));
    let said = format!("instruments and names are one group and not reloaded, the rows in force stay: {why}");
    live.until_said(&said);
    assert_eq!(live.finds(1), old);
    folder.put("n.csv", names("apple"));
    let said = reload(&folder, "instruments");
    let each = "reloaded: rows added 0, changed 1, removed 0\n";
    assert_eq!(said, format!("instruments {each}names {each}in effect before the next trade\n"));
    let new = format!("{AAPL},apple");
    assert_eq!(live.finds(1), new);
    // Back as they came.
    reload(&folder, "--rollback names");
    assert_eq!(live.finds(1), old);
    let stays = reload(&folder, "");
    assert!(stays.contains("names unchanged: its file is the one that was rolled back"), "{stays}");
    // Another content of one of them is another state of the group.
    folder.put("n.csv", names("pear"));
    reload(&folder, "");
    assert_eq!(live.finds(1), format!("{AAPL},pear"));
    live.end();
}

#[test]
fn a_group_is_taken_up_once_its_files_stand_still() {
    let folder = Folder::empty();
    folder.put("i.csv", table("SPY"));
    folder.put("n.csv", names("spider"));
    folder.put("o.csv", names("one").replace("name", "other"));
    let tables = "--table names=n.csv,key=instrument_id@id --table others=o.csv,key=instrument_id@id";
    let group = "--reload-group instruments+names --settle 1h";
    let mut live = Live::start(&folder, &format!("{tables} {group}"));
    let old = format!("{SPY},spider");
    assert_eq!(live.finds(1), format!("{old},one"));
    folder.put("i.csv", table("AAPL"));
    // A file that changed later is in force: the group was looked at, and waits.
    folder.put("o.csv", names("two").replace("name", "other"));
    live.until_said("others reloaded");
    assert_eq!(live.finds(1), format!("{old},two"));
    folder.put("n.csv", names("apple"));
    live.signal(Signal::HUP);
    live.until_said("names reloaded");
    assert_eq!(live.finds(1), format!("{AAPL},apple,two"));
    live.end();
    // A group whose files need not stand still for longer than any file.
    folder.put("i.csv", table("SPY"));
    let mut live = Live::start(
        &folder,
        "--table names=n.csv,key=instrument_id@id,columns=name --reload-group names+instruments --settle 0",
    );
    assert_eq!(live.finds(1), format!("{SPY},apple"));
    folder.put("n.csv", "id,name\n");
    live.until_said("instruments and names are one group and not reloaded");
    folder.put("i.csv", table("AAPL"));
    live.until_said("instruments and names are one group and not reloaded");
    assert_eq!(live.finds(1), format!("{SPY},apple"));
    folder.put("n.csv", names("pear"));
    live.until_found(1, &format!("{AAPL},pear"));
    live.end();
}

#[test]
fn groups_and_control_that_make_no_sense_are_2() {
    let folder = Folder::new();
    let job = "run --trades trades.csv --instruments instruments.csv --users users.csv";
    for (flags, why) in [
        ("--watch --reload-group instruments+user", "no table user is watched: did you mean users?"),
        ("--watch --reload-group instruments", "write the names of two tables or more, TABLE+TABLE"),
        ("--reload-group instruments+users", "--reload-group is for tables that are watched: add --watch"),
        ("--watch --keep-generations 3", "--control <PATH>"),
        ("--control c.sock --keep-generations 3", "--keep-generations is for tables that are watched"),
        ("--watch --control c.sock --generations none", "--generations none: there is no such folder"),
        ("--watch=often", "write a time with its unit, such as 500us, 1ms or 2s, or asked"),
    ] {
        let said = folder.fails(2, &format!("{job} {flags}"));
        assert!(said.contains(why), "{why}: {said}");
    }
    folder.put(
        "c.toml",
        "[input]\ntrades = \"trades.csv\"\ninstruments = \"instruments.csv\"\nusers = \"users.csv\"\n\
         [reload]\nwatch = \"asked\"\ngroups = [[\"instruments\", \"users\"]]\nsettle = \"5s\"\n\
         control = \"c.sock\"\nkeep_generations = 3\n",
    );
    let printed = folder.ok("run --config c.toml --output o.csv");
    for part in
        ["watch asked", "reload-group instruments+users", "settle 5s", "control c.sock", "keep-generations 3"]
    {
        assert!(printed.contains(part), "{part}: {printed}");
    }
}
