//! `peers memory`: checks all programs, then times them in rounds.

use std::time::{Duration, Instant};

use anyhow::bail;
use tradejoin_baseline::Outcome;
use tradejoin_engine::process_cpu;

use crate::MemoryArgs;
use crate::data::{Data, DataSet};
use crate::machine::Origin;
use crate::ours;
use crate::programs::{self, Answer, Name, Program};
use crate::record::{self, MemoryRecord, ProgramRecord, SetRecord, Spread};
use crate::sum::Sum;

/// One run of one program.
#[derive(Clone, Copy)]
struct Timing {
    elapsed: Duration,
    cpu: Duration,
}

/// Carries out the command.
///
/// # Errors
/// If a program fails or gives a wrong answer, or the record cannot be written.
pub(crate) fn run(args: &MemoryArgs) -> anyhow::Result<()> {
    let peers = [Name::Timely, Name::Renoir, Name::DataFusion];
    let missing = peers.into_iter().filter(|name| !name.is_built());
    let mut record = MemoryRecord {
        origin: Origin::here(),
        messages: args.messages,
        ids: args.ids,
        rounds: args.rounds,
        skipped: missing.map(|name| format!("{}: not in this build", name.as_str())).collect(),
        sets: Vec::new(),
    };
    for set in DataSet::ALL {
        record.sets.push(measure(set, args)?);
    }
    for skipped in &record.skipped {
        eprintln!("skipped: {skipped}");
    }
    if let Some(path) = &args.json {
        record::write(path, &record)?;
    }
    Ok(())
}

/// Measures the programs of one data set.
fn measure(set: DataSet, args: &MemoryArgs) -> anyhow::Result<SetRecord> {
    let data = Data::draw(set, args.messages, args.ids)?;
    let programs = programs::of(set, &data, &args.only)?;
    let expected = check(&programs, &data)?;
    let (outcome, sum) = expected;
    eprintln!("{}: {} programs agree on {} trades", set.as_str(), programs.len(), outcome.enriched);
    let mut timings = vec![Vec::new(); programs.len()];
    for _ in 0..args.rounds {
        for (program, timings) in programs.iter().zip(&mut timings) {
            let (start, cpu) = (Instant::now(), process_cpu());
            let answer = (program.run)()?;
            timings.push(Timing { elapsed: start.elapsed(), cpu: process_cpu().saturating_sub(cpu) });
            compare(program, answer, expected)?;
        }
    }
    let naive = timings[0].clone();
    let records = programs.iter().zip(&timings).map(|(program, timings)| {
        let record = program_record(program, timings, &naive, args.messages);
        eprintln!("{record}");
        record
    });
    Ok(SetRecord {
        name: set.as_str().to_owned(),
        mix: set.mix().to_string(),
        enriched: outcome.enriched,
        unmatched: outcome.unmatched,
        checksum: format!("{:016x}", sum.digest),
        programs: records.collect(),
    })
}

/// Runs each program once, and demands the right answer of all.
///
/// # Errors
/// If a program fails, or gives another answer.
pub(crate) fn check(programs: &[Program<'_>], data: &Data) -> anyhow::Result<(Outcome, Sum)> {
    let expected = ours::expected(data);
    for program in programs {
        compare(program, (program.run)()?, expected)?;
        if let Some(sum) = &program.sum {
            compare(program, Answer::Unordered(sum()?), expected)?;
        }
    }
    Ok(expected)
}

fn compare(program: &Program<'_>, answer: Answer, (outcome, sum): (Outcome, Sum)) -> anyhow::Result<()> {
    let expected = match answer {
        Answer::Ordered(_) => Answer::Ordered(outcome),
        Answer::Unordered(_) => Answer::Unordered(sum),
    };
    if answer != expected {
        let (name, workers) = (program.name.as_str(), program.workers);
        bail!("{name} with {workers} workers gives {answer:?}, but right is {expected:?}");
    }
    Ok(())
}

fn program_record(
    program: &Program<'_>,
    timings: &[Timing],
    naive: &[Timing],
    messages: u64,
) -> ProgramRecord {
    let ns = |duration: Duration| duration.as_secs_f64() * 1e9 / messages as f64;
    let ratio = |(naive, timing): (&Timing, &Timing)| {
        naive.elapsed.as_secs_f64() / timing.elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
    };
    ProgramRecord {
        name: program.name.as_str().to_owned(),
        workers: program.workers,
        setting: program.setting.to_owned(),
        elapsed_ns: Spread::of(timings.iter().map(|timing| ns(timing.elapsed)).collect()),
        cpu_ns: Spread::of(timings.iter().map(|timing| ns(timing.cpu)).collect()),
        ratio_to_naive: Spread::of(naive.iter().zip(timings).map(ratio).collect()),
    }
}
