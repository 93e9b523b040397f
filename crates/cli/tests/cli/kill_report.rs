//! What kills have come to, for whoever reads it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use crate::kill_bench::{End, Ended, Fate, Kept, Way};

/// What the kills of a job came to.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) kills: u64,
    pub(crate) runs: u64,
    lives: u64,
    /// Lives that ended by SIGTERM, and that stood still for a while.
    interrupted: u64,
    stopped: u64,
    points: BTreeMap<String, u64>,
    /// Lives by their shards, and how many of them have told how many they had.
    shards: BTreeMap<u32, u64>,
    told: u64,
    spreads: BTreeMap<&'static str, u64>,
    every: BTreeMap<&'static str, u64>,
    /// Lives that went on from a checkpoint of one with fewer, as many and more shards.
    fewer: u64,
    as_many: u64,
    more: u64,
    /// Lives that went on behind the first trade, and from trades that waited.
    behind_trades: u64,
    while_waiting: u64,
}

impl Tally {
    /// Counts a life, and what it went on from.
    pub(crate) fn add(&mut self, way: &Way, fate: Fate, ended: &Ended, from: Option<Kept>) {
        self.lives += 1;
        *self.shards.entry(way.shards()).or_default() += 1;
        *self.every.entry(way.every).or_default() += 1;
        for spread in &way.spreads {
            *self.spreads.entry(spread.unwrap_or("not said")).or_default() += 1;
        }
        // One that was complete has none to tell.
        let told = |summary: &serde_json::Value| summary["already_complete"] == false;
        self.told += u64::from(ended.summary.as_ref().is_some_and(told));
        if let Some(from) = from {
            self.behind_trades += u64::from(from.trades > 0);
            self.while_waiting += u64::from(from.waiting > 0);
            match from.shards.cmp(&way.shards()) {
                std::cmp::Ordering::Less => self.fewer += 1,
                std::cmp::Ordering::Equal => self.as_many += 1,
                std::cmp::Ordering::Greater => self.more += 1,
            }
        }
        self.stopped += u64::from(matches!(fate, Fate::Stopped(_)));
        match ended.end {
            End::Complete => {}
            End::Interrupted => self.interrupted += 1,
            End::Killed => {
                self.kills += 1;
                let point = ended.point.clone().unwrap_or_else(|| "at a moment of the clock".to_owned());
                *self.points.entry(point).or_default() += 1;
            }
        }
    }
}

/// A point without what tells it from others of its kind: a file of an output, or one of the
/// checkpoints without its numbers.
pub(crate) fn kind_of(point: &str) -> String {
    let (what, name) = point.rsplit_once(' ').expect("a name");
    let kind = match name {
        name if name.contains("manifest-") => "a checkpoint's manifest",
        name if name.starts_with("table-") => "a table's changes",
        name if name.starts_with("held-") => "trades that wait",
        "state" | "out" | "parts" => "a folder",
        name if name.contains("_manifest") => "the manifest of parts",
        name if name.contains("part-") => "a part",
        name if name.starts_with("d.") => "dead letters",
        name if name.starts_with("c.") => "corrections",
        name if name.starts_with("j.") => "a journal",
        name if name.starts_with("o.") => "an output",
        other => other,
    };
    format!("{what} {kind}")
}

pub(crate) fn report(all: &[(&str, Tally)], seed: u64, elapsed: Duration) -> String {
    let sum = |of: fn(&Tally) -> u64| all.iter().map(|(_, tally)| of(tally)).sum::<u64>();
    let (kills, lives, runs) = (sum(|t| t.kills), sum(|t| t.lives), sum(|t| t.runs));
    let mut text = format!("seed {seed}: {kills} kills, {runs} runs that ended, {lives} lives");
    let _ = writeln!(text, ", 0 rows lost, 0 doubled, all bytes equal, in {:.0} s", elapsed.as_secs_f64());
    for (name, tally) in all {
        let _ = writeln!(text, "  {name:<54} {:>6} kills, {:>5} runs", tally.kills, tally.runs);
    }
    for (point, count) in together(all, |tally| &tally.points) {
        let _ = writeln!(text, "  killed {point:<47} {count:>6}");
    }
    let (interrupted, stopped) = (sum(|t| t.interrupted), sum(|t| t.stopped));
    let _ = writeln!(text, "  ended by SIGTERM: {interrupted}, stopped and continued: {stopped}");
    let told = sum(|t| t.told);
    let _ = writeln!(text, "  lives by shards: {} ({told} told theirs)", list(all, |tally| &tally.shards));
    let _ = writeln!(text, "  tables by distribution: {}", list(all, |tally| &tally.spreads));
    let _ = writeln!(text, "  lives by checkpoints: {}", list(all, |tally| &tally.every));
    let (fewer, as_many, more) = (sum(|t| t.fewer), sum(|t| t.as_many), sum(|t| t.more));
    let _ = writeln!(text, "  gone on from fewer shards: {fewer}, as many: {as_many}, more: {more}");
    let (behind, waiting) = (sum(|t| t.behind_trades), sum(|t| t.while_waiting));
    let _ = writeln!(text, "  gone on behind the first trade: {behind}, from trades that waited: {waiting}");
    text
}

/// The counts of all jobs.
fn together<'t, K: Ord + 't>(
    all: &'t [(&str, Tally)],
    of: impl Fn(&'t Tally) -> &'t BTreeMap<K, u64>,
) -> BTreeMap<&'t K, u64> {
    let mut sums = BTreeMap::new();
    for (key, count) in all.iter().flat_map(|(_, tally)| of(tally)) {
        *sums.entry(key).or_default() += count;
    }
    sums
}

/// The same on a line.
fn list<'t, K: Ord + std::fmt::Display + 't>(
    all: &'t [(&str, Tally)],
    of: impl Fn(&'t Tally) -> &'t BTreeMap<K, u64>,
) -> String {
    let counts = together(all, of).into_iter().map(|(key, count)| format!("{key}: {count}"));
    counts.collect::<Vec<_>>().join(", ")
}
