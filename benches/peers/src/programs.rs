//! The programs of this build, each ready to run.

use clap::ValueEnum;
use tradejoin_baseline::Outcome;
use tradejoin_model::Distribution;

use crate::data::{Data, DataSet};
use crate::ours;
use crate::sum::Sum;

/// Whose program it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Name {
    /// One thread, the standard library's map: the yardstick
    Naive,
    /// The engine
    Tradejoin,
    /// Timely dataflow
    Timely,
    /// Renoir
    Renoir,
    /// DataFusion, which joins a table that does not change
    #[value(name = "datafusion")]
    DataFusion,
}

impl Name {
    /// The name in the report.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Naive => "naive",
            Self::Tradejoin => "tradejoin",
            Self::Timely => "timely",
            Self::Renoir => "renoir",
            Self::DataFusion => "datafusion",
        }
    }

    /// Whether it is in this build.
    pub(crate) fn is_built(self) -> bool {
        match self {
            Self::Naive | Self::Tradejoin => true,
            Self::Timely => cfg!(feature = "timely"),
            Self::Renoir => cfg!(feature = "renoir"),
            Self::DataFusion => cfg!(feature = "datafusion"),
        }
    }
}

/// What a program says of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "one answer at a time, copied and compared")]
pub(crate) enum Answer {
    /// In the order of the stream.
    Ordered(Outcome),
    /// In any order.
    Unordered(Sum),
}

type Run<'a, T> = Box<dyn Fn() -> anyhow::Result<T> + 'a>;

/// A program with its input.
pub(crate) struct Program<'a> {
    pub(crate) name: Name,
    /// Threads that join.
    pub(crate) workers: u32,
    /// What else it was told.
    pub(crate) setting: &'static str,
    /// What is timed.
    pub(crate) run: Run<'a, Answer>,
    /// The sum of a program that is timed with a checksum in order.
    pub(crate) sum: Option<Run<'a, Sum>>,
}

/// The programs of a data set, in the order of the report.
///
/// # Errors
/// If a program cannot take over its input.
pub(crate) fn of<'a>(set: DataSet, data: &'a Data, only: &[Name]) -> anyhow::Result<Vec<Program<'a>>> {
    let mut programs = vec![naive(data)];
    let is_wanted = |name: Name| name.is_built() && (only.is_empty() || only.contains(&name));
    if is_wanted(Name::Tradejoin) {
        programs.extend([1, 2].map(|workers| tradejoin(data, workers, Distribution::Auto)));
        if set == DataSet::Changing {
            programs.extend([1, 2].map(|workers| tradejoin(data, workers, Distribution::Partitioned)));
        }
    }
    match set {
        DataSet::Changing => programs.extend(streaming(data, &is_wanted)),
        DataSet::Fixed => programs.extend(fixed(data, &is_wanted)?),
    }
    Ok(programs)
}

/// The peers that join a stream with changes.
#[cfg_attr(not(any(feature = "timely", feature = "renoir")), expect(unused_variables, unused_mut))]
fn streaming<'a>(data: &'a Data, is_wanted: &dyn Fn(Name) -> bool) -> Vec<Program<'a>> {
    let mut programs = Vec::new();
    #[cfg(feature = "timely")]
    if is_wanted(Name::Timely) {
        programs.extend([1, 2].map(|workers| {
            let run = move || crate::timely_peer::run(&data.events, workers as usize);
            unordered(Name::Timely, workers, run)
        }));
    }
    #[cfg(feature = "renoir")]
    if is_wanted(Name::Renoir) {
        let run = || crate::renoir_peer::run(&data.events, 2);
        programs.push(unordered(Name::Renoir, 2, run));
    }
    programs
}

/// The peers that join a table which is there before the first trade.
#[cfg_attr(not(feature = "datafusion"), expect(unused_variables, unused_mut, clippy::unnecessary_wraps))]
fn fixed<'a>(data: &'a Data, is_wanted: &dyn Fn(Name) -> bool) -> anyhow::Result<Vec<Program<'a>>> {
    let mut programs = Vec::new();
    #[cfg(feature = "datafusion")]
    if is_wanted(Name::DataFusion) {
        for workers in [1, 2] {
            let peer = crate::datafusion_peer::Peer::new(&data.events, workers as usize)?;
            programs.push(unordered(Name::DataFusion, workers, move || peer.run()));
        }
    }
    Ok(programs)
}

fn naive(data: &Data) -> Program<'_> {
    let run = || Ok(Answer::Ordered(ours::naive(data)));
    Program { name: Name::Naive, workers: 1, setting: "", run: Box::new(run), sum: None }
}

fn tradejoin(data: &Data, workers: u32, distribution: Distribution) -> Program<'_> {
    let run = move || ours::tradejoin(data, workers, distribution).map(Answer::Ordered);
    let sum = move || ours::tradejoin_sum(data, workers, distribution);
    Program {
        name: Name::Tradejoin,
        workers,
        setting: distribution.as_str(),
        run: Box::new(run),
        sum: Some(Box::new(sum)),
    }
}

#[cfg_attr(not(any(feature = "timely", feature = "renoir", feature = "datafusion")), expect(dead_code))]
fn unordered<'a>(name: Name, workers: u32, run: impl Fn() -> anyhow::Result<Sum> + 'a) -> Program<'a> {
    let run = Box::new(move || run().map(Answer::Unordered));
    Program { name, workers, setting: "", run, sum: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::check;

    #[test]
    fn all_programs_give_equal_answers() {
        for set in DataSet::ALL {
            // More messages than a batch has of any program.
            let data = Data::draw(set, 40_000, 500).expect("data");
            let programs = of(set, &data, &[]).expect("programs");
            let (outcome, _) = check(&programs, &data).expect("equal answers");
            assert!(outcome.enriched > 20_000);
            assert_eq!(outcome.unmatched > 0, set == DataSet::Changing);
        }
    }

    #[test]
    fn a_wrong_answer_is_an_error() {
        let data = Data::draw(DataSet::Changing, 5_000, 100).expect("data");
        let mut programs = of(DataSet::Changing, &data, &[]).expect("programs");
        programs[1].run = Box::new(|| Ok(Answer::Unordered(Sum::default())));
        let error = check(&programs, &data).expect_err("a wrong answer");
        assert!(error.to_string().contains("tradejoin"), "{error}");
    }
}
