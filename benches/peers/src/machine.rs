//! Where and from what a result comes.

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

/// The lock file of this workspace: the versions of the peers.
const LOCK: &str = include_str!("../Cargo.lock");
const PEERS: [&str; 4] = ["timely", "renoir", "datafusion", "tokio"];

/// The machine, the compiler, the commit, the day, and what was measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Origin {
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) compiler: String,
    pub(crate) commit: String,
    pub(crate) date: String,
    pub(crate) versions: BTreeMap<String, String>,
}

impl Origin {
    /// This machine, today.
    ///
    /// # Errors
    /// If the number of cores cannot be had.
    pub(crate) fn here() -> anyhow::Result<Self> {
        let versions = PEERS.iter().filter_map(|name| Some(((*name).to_owned(), version(name)?)));
        Ok(Self {
            cpu: cpu().unwrap_or_else(|| "unknown".to_owned()),
            cores: std::thread::available_parallelism().context("no number of cores")?.get(),
            compiler: env!("PEERS_COMPILER").to_owned(),
            commit: output("git", &["describe", "--always", "--dirty", "--exclude=*"]),
            date: chrono::Utc::now().format("%Y-%m-%d").to_string(),
            versions: versions.collect(),
        })
    }
}

/// The version of a package in the lock file.
fn version(package: &str) -> Option<String> {
    let name = format!("name = \"{package}\"");
    let mut lines = LOCK.lines().skip_while(|line| *line != name).skip(1);
    let version = lines.next()?.strip_prefix("version = ")?;
    Some(version.trim_matches('"').to_owned())
}

fn cpu() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// What a command prints here; "unknown" if it cannot be had.
fn output(command: &str, args: &[&str]) -> String {
    let output = Command::new(command).args(args).current_dir(env!("CARGO_MANIFEST_DIR")).output();
    match output {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        _ => "unknown".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_peer_has_its_version() {
        assert!(PEERS.iter().all(|name| version(name).is_some()));
        assert_eq!(version("no such package"), None);
    }
}
