//! Where and when figures were taken.

use std::fs;
use std::num::NonZero;
use std::process::Command;
use std::thread::available_parallelism;

use serde::{Deserialize, Serialize};

/// The machine, the compiler, the code and the day of a run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct About {
    /// The model of the processor, as it calls itself.
    pub cpu: String,
    /// Cores that the run could use.
    pub cores: usize,
    /// The compiler.
    pub compiler: String,
    /// The commit, with `+` if files differed from it.
    pub commit: String,
    /// The day.
    pub date: String,
}

impl About {
    /// As it is here and now; what cannot be told is empty.
    #[must_use]
    pub fn now() -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpuinfo.lines().find(|line| line.starts_with("model name"));
        let cpu = model.and_then(|line| line.split(": ").nth(1)).unwrap_or_default();
        let differs = !told("git", &["status", "--porcelain", "--untracked-files=no"]).is_empty();
        Self {
            cpu: cpu.trim().to_owned(),
            cores: available_parallelism().map_or(0, NonZero::get),
            compiler: told("rustc", &["--version"]),
            commit: told("git", &["rev-parse", "--short=10", "HEAD"]) + if differs { "+" } else { "" },
            date: told("date", &["-u", "+%Y-%m-%d"]),
        }
    }
}

/// What a program prints.
fn told(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output();
    let text = output.ok().filter(|output| output.status.success()).map(|output| output.stdout);
    String::from_utf8_lossy(&text.unwrap_or_default()).trim().to_owned()
}
