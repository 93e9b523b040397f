//! Where and from what a result comes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tradejoin_benches::scaling::About;

/// The lock file of this workspace: the versions of the peers.
const LOCK: &str = include_str!("../Cargo.lock");
const PEERS: [&str; 4] = ["timely", "renoir", "datafusion", "tokio"];

/// The machine, the compiler, the commit, the day, and what was measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Origin {
    #[serde(flatten)]
    pub(crate) about: About,
    pub(crate) versions: BTreeMap<String, String>,
}

impl Origin {
    /// This machine, today.
    pub(crate) fn here() -> Self {
        let versions = PEERS.iter().filter_map(|name| Some(((*name).to_owned(), version(name)?)));
        Self { about: About::now(), versions: versions.collect() }
    }
}

/// The version of a package in the lock file.
fn version(package: &str) -> Option<String> {
    let name = format!("name = \"{package}\"");
    let mut lines = LOCK.lines().skip_while(|line| *line != name).skip(1);
    let version = lines.next()?.strip_prefix("version = ")?;
    Some(version.trim_matches('"').to_owned())
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
