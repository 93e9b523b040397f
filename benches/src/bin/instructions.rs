//! Counts the instructions of each stage of the join with callgrind, and fails if
//! one takes more than its bound.
//!
//! ```console
//! $ cargo run --release -p tradejoin-benches --bin instructions
//! ```
//!
//! Instructions do not depend on what else the machine does: a change that makes
//! a stage dearer is seen where clocks are too noisy. They say nothing of caches.

use std::error::Error;
use std::hint::black_box;
use std::io::Write as _;
use std::process::{Command, ExitCode};
use std::sync::Arc;

use tradejoin_benches::Feed;
use tradejoin_merger::{Merged, Merger};
use tradejoin_model::{Answer, Batch, BatchIndex, Position, Routed, ShardCount, ShardIndex, TableSpec};
use tradejoin_router::Router;
use tradejoin_worker::Worker;

const BLOCK_LEN: usize = 8_192;
/// Batches before those that are counted: by then most keys are in the tables.
const WARM: usize = 120;
const COUNTED: usize = 30;

/// A stage, its shards, and the most instructions that it may take for a message
/// of the mix `article`: what it took when the bound was set, and a tenth.
const BOUNDS: [(&str, u32, f64); 6] = [
    ("route", 1, 0.1),
    ("route", 2, 38.4),
    ("look-up", 1, 62.8),
    ("look-up", 2, 69.1),
    ("merge", 1, 0.6),
    ("merge", 2, 15.3),
];

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [] => count_all(),
        [stage, shards] => {
            let shards = shards.parse().ok().and_then(ShardCount::new).ok_or("not a number of shards")?;
            Stages::new(shards).run(stage);
            Ok(ExitCode::SUCCESS)
        }
        _ => Err("the command takes no arguments".into()),
    }
}

fn count_all() -> Result<ExitCode, Box<dyn Error>> {
    let mut out = std::io::stdout().lock();
    let mut all_within = true;
    writeln!(out, "{:<8} {:>6} {:>24} {:>6}", "stage", "shards", "instructions a message", "bound")?;
    for (stage, shards, bound) in BOUNDS {
        let count = count(stage, shards)?;
        let is_within = count <= bound;
        all_within &= is_within;
        let note = if is_within { "" } else { "  too many" };
        writeln!(out, "{stage:<8} {shards:>6} {count:>24.2} {bound:>6.1}{note}")?;
    }
    Ok(if all_within { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Instructions of a stage for each message, by a run of this program under
/// callgrind.
fn count(stage: &str, shards: u32) -> Result<f64, Box<dyn Error>> {
    let run = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=*counted_part*"])
        .arg(std::env::current_exe()?)
        .args([stage, &shards.to_string()])
        .output()
        .map_err(|error| format!("cannot run valgrind, which counts the instructions: {error}"))?;
    let printed = String::from_utf8_lossy(&run.stderr);
    if !run.status.success() {
        return Err(format!("the run under valgrind failed: {printed}").into());
    }
    let total = printed.lines().find_map(|line| line.split_once("Collected : "));
    let total: f64 =
        total.ok_or_else(|| format!("no count in what valgrind printed: {printed}"))?.1.parse()?;
    if total == 0.0 {
        return Err(
            "valgrind has not found the part to count: build with --release, and without strip".into()
        );
    }
    Ok(total / (COUNTED * BLOCK_LEN) as f64)
}

/// What is counted. The name is looked for by callgrind.
#[inline(never)]
fn counted_part(work: &mut dyn FnMut()) {
    work();
}

/// The stages of one thread, stepped batch by batch.
struct Stages {
    router: Router,
    workers: Vec<Worker>,
    merger: Merger,
    batches: Vec<Batch>,
}

impl Stages {
    fn new(shards: ShardCount) -> Self {
        let tables = vec![TableSpec::instruments()];
        let feed = Feed::article(((WARM + COUNTED) * BLOCK_LEN) as u64, BLOCK_LEN);
        let batch = |(index, block)| Batch { index: BatchIndex(index), messages: Arc::new(block) };
        Self {
            router: Router::new(shards, tables.clone()),
            workers: shards.shards().map(|shard| Worker::new(shard, &tables)).collect(),
            merger: Merger::new(&tables),
            batches: (0..).zip(feed.blocks).map(batch).collect(),
        }
    }

    /// Takes all batches through all stages, of which one is counted.
    fn run(mut self, counted: &str) {
        for (number, batch) in std::mem::take(&mut self.batches).into_iter().enumerate() {
            let is_counted = |stage| number >= WARM && stage == counted;
            let routed = part(is_counted("route"), || self.route(&batch));
            let answers = part(is_counted("look-up"), || self.look_up(&routed));
            let mut answers = Some(answers);
            part(is_counted("merge"), || self.merge(&routed, answers.take().unwrap_or_default()));
        }
    }

    fn route(&self, batch: &Batch) -> Routed {
        self.router.route(batch.clone(), &[None], ShardIndex(0))
    }

    fn look_up(&mut self, routed: &Routed) -> Vec<Answer> {
        let spent: Vec<_> =
            self.workers.iter().map(|_| self.merger.take_spent().unwrap_or_default()).collect();
        let steps = self.workers.iter_mut().zip(spent).map(|(worker, spent)| worker.step(routed, spent));
        steps.filter(|answer| routed.is_answered_by(answer.shard)).collect()
    }

    fn merge(&mut self, routed: &Routed, answers: Vec<Answer>) {
        let merged = self.merger.merge(routed, Position(0), 0, answers);
        let Merged { enriched, .. } = merged.expect("no miss fails");
        self.merger.recycle(black_box(enriched).columns);
    }
}

/// Does some work, as the counted part or not.
fn part<T>(is_counted: bool, mut work: impl FnMut() -> T) -> T {
    if !is_counted {
        return work();
    }
    let mut result = None;
    counted_part(&mut || result = Some(work()));
    result.unwrap_or_else(|| unreachable!("the part has run"))
}
