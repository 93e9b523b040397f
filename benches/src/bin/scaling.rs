//! Measures what each stage costs, and derives, simulates and measures the rate
//! by number of workers. See `docs/performance.md`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{Write as _, stdout};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Parser;
use tradejoin_baseline::Outcome;
use tradejoin_benches::scaling::{
    About, Blocks, Bounds, Costs, Exchange, Input, Measured, Meter, Row, Scaling, Shape, Simulated,
    batch_len, measure, median_of, simulate, stage_costs,
};
use tradejoin_engine::EngineConfig;
use tradejoin_generator::{Stream, StreamConfig};
use tradejoin_model::{Distribution, ShardCount};

/// The rate by number of workers: by formula, in simulated time, and measured.
#[derive(Debug, Parser)]
struct Args {
    /// How the instruments are spread: partitioned or broadcast
    #[arg(long, default_value = "partitioned")]
    distribution: String,

    /// Numbers of workers
    #[arg(long, value_delimiter = ',', default_value = "1,2,4,8,16,32,64,128")]
    workers: Vec<u32>,

    /// Messages in a batch, whatever the workers: a divisor of 4194304
    #[arg(long)]
    batch_len: Option<usize>,

    /// Rounds: each measures everything once, and medians are told
    #[arg(long, default_value_t = 5)]
    rounds: usize,

    /// Gigabytes a second that memory gives all cores together; what the maker states
    /// for a socket with twelve channels of DDR5-4800
    #[arg(long, default_value_t = 460.8)]
    memory_gbs: f64,

    /// Record the figures in a file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Print the machine, the compiler, the commit and the date as JSON, and end
    #[arg(long)]
    about: bool,
}

/// Messages before they come again.
const CYCLE: u64 = 4 << 20;
/// Messages of a run at least.
const MESSAGES: usize = 8 << 20;

/// What the rounds have brought for one number of workers.
#[derive(Default)]
struct Rounds {
    costs: Vec<Costs>,
    simulated: Vec<Simulated>,
    measured: Vec<Measured>,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let about = About::now();
    if args.about {
        return Ok(writeln!(stdout(), "{}", serde_json::to_string(&about)?)?);
    }
    let distribution = match args.distribution.as_str() {
        "partitioned" => Distribution::Partitioned,
        "broadcast" => Distribution::Broadcast,
        other => anyhow::bail!("no distribution: {other}"),
    };
    let config = StreamConfig::default();
    let mix = config.mix.to_string();
    let stream = Arc::new(Stream::new(config)?);
    let shards = args.workers.iter().map(|&count| ShardCount::new(count).context("too many or no workers"));
    let shards = shards.collect::<Result<Vec<_>, _>>()?;
    let len = |&shards: &ShardCount| args.batch_len.unwrap_or_else(|| batch_len(shards));
    let blocks: BTreeMap<usize, Blocks> = shards
        .iter()
        .map(len)
        .map(|batch_len| (batch_len, Blocks::new(Arc::clone(&stream), CYCLE, batch_len)))
        .collect();
    let input = |shards| input(shards, &blocks[&len(&shards)], distribution);
    let inputs: Vec<_> = shards.iter().copied().map(input).collect();
    let expected = expected(&inputs);

    let meter = Meter::new();
    let mut exchanges = Vec::new();
    let mut rounds: Vec<_> = inputs.iter().map(|_| Rounds::default()).collect();
    for _ in 0..args.rounds.max(1) {
        exchanges.push(Exchange::measure(meter));
        for (input, rounds) in inputs.iter().zip(&mut rounds) {
            // The stages alone need no full windows.
            let few = Input { batches: CYCLE as usize / input.batch_len(), ..*input };
            rounds.costs.push(stage_costs(few, &expected[&messages(&few)], meter));
            let expected = &expected[&messages(input)];
            let exchange = median_of(&exchanges);
            rounds.simulated.push(simulate(*input, expected, exchange, meter));
            if input.shards.get() as usize <= about.cores {
                rounds.measured.push(measure(*input, expected));
            }
        }
    }

    let exchange = median_of(&exchanges);
    let message_bytes = inputs.first().context("no workers")?.blocks.message_bytes();
    let rows = inputs.iter().zip(&rounds).map(|(input, rounds)| {
        let shape = Shape {
            workers: f64::from(input.shards.get()),
            batch_len: input.batch_len() as f64,
            message_bytes,
            memory_gbs: args.memory_gbs,
        };
        row(input, rounds, &exchange, &shape)
    });
    let rows = rows.collect();
    let (distribution, rounds, memory_gbs) = (args.distribution, args.rounds.max(1), args.memory_gbs);
    let scaling = Scaling { about, mix, distribution, rounds, message_bytes, memory_gbs, exchange, rows };
    stdout().write_all(text(&scaling).as_bytes())?;
    if let Some(path) = args.json {
        let json = serde_json::to_string_pretty(&scaling)? + "\n";
        fs::write(&path, json).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// As many batches as leave some when a window at each end is not counted.
fn input(shards: ShardCount, blocks: &Blocks, distribution: Distribution) -> Input<'_> {
    let window = shards.as_usize() + EngineConfig::QUEUE_DEPTH.get();
    let batches = (MESSAGES / blocks.block_len()).max(3 * window);
    Input { blocks, batches, shards, distribution }
}

fn messages(input: &Input<'_>) -> u64 {
    (input.batches * input.batch_len()) as u64
}

/// What the naive program makes of each number of messages.
fn expected(inputs: &[Input<'_>]) -> BTreeMap<u64, Outcome> {
    let mut expected = BTreeMap::new();
    for input in inputs {
        for batches in [input.batches, CYCLE as usize / input.batch_len()] {
            let messages = messages(&Input { batches, ..*input });
            expected.entry(messages).or_insert_with(|| input.blocks.expected(batches));
        }
    }
    expected
}

fn row(input: &Input<'_>, rounds: &Rounds, exchange: &Exchange, shape: &Shape) -> Row {
    let costs = median_of(&rounds.costs);
    let bounds = Bounds::of(&costs, exchange, shape);
    let (binds, predicted) = bounds.binding();
    Row {
        workers: input.shards.get(),
        batch_len: input.batch_len(),
        messages: messages(input),
        costs,
        bounds,
        predicted,
        binds,
        simulated: median_of(&rounds.simulated),
        measured: (!rounds.measured.is_empty()).then(|| median_of(&rounds.measured)),
    }
}

/// Two tables: what stages cost, and what comes of it.
fn text(scaling: &Scaling) -> String {
    let mut out = String::new();
    let about = &scaling.about;
    let _ = writeln!(
        out,
        "{}, {} cores, {}, {}, {}\nmix {}, {}, medians of {} rounds; {:.0} bytes a message; {:?}\n",
        about.cpu,
        about.cores,
        about.compiler,
        about.commit,
        about.date,
        scaling.mix,
        scaling.distribution,
        scaling.rounds,
        scaling.message_bytes,
        scaling.exchange
    );
    let _ = writeln!(
        out,
        "ns a message on one thread\n\nworkers   read  route look-up busiest  merge encode  write  board  locks  bytes"
    );
    for Row { workers, costs, .. } in &scaling.rows {
        let Costs { read, route, look_up, busiest_shard, merge, encode, write, board, .. } = costs;
        let Costs { board_locks, handed_over_bytes, .. } = costs;
        let _ = writeln!(
            out,
            "{workers:7} {read:6.3} {route:6.2} {look_up:7.2} {busiest_shard:7.3} {merge:6.2} {encode:6.2} {write:6.3} \
             {board:6.3} {board_locks:6.0} {handed_over_bytes:6.1}"
        );
    }
    let _ = writeln!(
        out,
        "\nmillions of messages a second\n\nworkers predicted  binds     simulated  busy queueing board reading writing shard  measured CPU ns"
    );
    for Row { workers, predicted, binds, simulated, measured, .. } in &scaling.rows {
        let Simulated { ns, busy, queueing, board, reading, writing, shard } = simulated;
        let binds = format!("{binds:?}");
        let _ = write!(
            out,
            "{workers:7} {:9.1}  {binds:9} {:9.1}  {busy:4.2} {queueing:8.2} {board:5.2} {reading:7.2} {writing:7.2} {shard:5.2}",
            1e3 / predicted,
            1e3 / ns
        );
        let _ = match measured {
            Some(Measured { ns, cpu_ns }) => writeln!(out, "  {:8.1} {cpu_ns:6.1}", 1e3 / ns),
            None => writeln!(out),
        };
    }
    out
}
