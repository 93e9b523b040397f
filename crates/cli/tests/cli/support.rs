//! A folder with files of a test, and the command in it.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

pub(crate) const INSTRUMENTS: &str = "instrument_id,ticker,strike,expiry,option_type\n\
    1,SPY,200,2024-11-03,call\n\
    2,AAPL,150.5,20250117,P\n\
    3,F,7.125,260320,Put\n";

pub(crate) const USERS: &str = "user_id,username\n7,kim\n8,\"o'neil, pat\"\n";

/// Five trades: the third has an instrument, the fourth a user, and the fifth
/// both, that no table has.
pub(crate) const TRADES: &str = "trade_id,timestamp,instrument_id,user_id,price,quantity,side,venue\n\
    1,2024-11-01T13:30:00Z,1,7,1.70,10,buy,\"X, Y\"\n\
    2,2024-11-01T13:30:00.5Z,2,8,250,3,sell,Z\n\
    3,2024-11-01T13:30:01Z,99,7,0.05,1,buy,\n\
    4,2024-11-01T13:30:02Z,3,99,12.345,2,sell,Z\n\
    5,2024-11-01T13:30:03Z,99,,1,1,buy,Z\n";

/// What the first two trades become, joined with both tables.
pub(crate) const ENRICHED: &str = "trade_id,timestamp,instrument_id,user_id,price,quantity,side,venue,instrument,user\n\
    1,2024-11-01T13:30:00Z,1,7,1.70,10,buy,\"X, Y\",SPY241103C00200000,kim\n\
    2,2024-11-01T13:30:00.5Z,2,8,250,3,sell,Z,AAPL250117P00150500,\"o'neil, pat\"\n";

/// A folder that goes with the test.
pub(crate) struct Folder(TempDir);

/// What a run of the command gave.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Folder {
    pub(crate) fn empty() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    /// A folder with the three files.
    pub(crate) fn new() -> Self {
        let folder = Self::empty();
        folder.put("instruments.csv", INSTRUMENTS);
        folder.put("users.csv", USERS);
        folder.put("trades.csv", TRADES);
        folder
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn put(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).expect("a file");
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Whether there is nothing in a folder of this one.
    pub(crate) fn is_empty(&self, name: &str) -> bool {
        fs::read_dir(self.path(name)).expect("a folder").next().is_none()
    }

    /// The names of all files, sorted.
    pub(crate) fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.path()).expect("the folder");
        let mut names: Vec<_> = entries
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    /// The command in this folder, with the arguments that `line` holds.
    pub(crate) fn command(&self, line: &str) -> Command {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("tradejoin"));
        command.current_dir(self.0.path()).args(line.split_whitespace()).stdin(Stdio::null());
        command
    }

    /// Runs the command with the arguments that `line` holds.
    pub(crate) fn run(&self, line: &str) -> Ran {
        let Output { status, stdout, stderr } = self.command(line).output().expect("the command runs");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        Ran { code: status.code().unwrap_or(-1), stdout: text(stdout), stderr: text(stderr) }
    }

    /// Runs the command, which must succeed, and gives what it printed.
    pub(crate) fn ok(&self, line: &str) -> String {
        let ran = self.run(line);
        assert_eq!(ran.code, 0, "{line}\n{}", ran.stderr);
        ran.stdout
    }

    /// Runs the command, which must fail with this code, and gives what it
    /// said.
    pub(crate) fn fails(&self, code: i32, line: &str) -> String {
        let ran = self.run(line);
        assert_eq!(ran.code, code, "{line}\n{}\n{}", ran.stdout, ran.stderr);
        ran.stderr
    }
}
