//! Figures as they are recorded.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::scaling::{About, Bounds, Costs, Exchange, Part, Simulated};

/// What `scaling` records.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Scaling {
    /// Where and when.
    pub about: About,
    /// The mix of the stream.
    pub mix: String,
    /// How the table is spread.
    pub distribution: String,
    /// Rounds that figures are medians of.
    pub rounds: usize,
    /// Bytes of a message in memory.
    pub message_bytes: f64,
    /// Gigabytes a second that memory is supposed to give all cores together.
    pub memory_gbs: f64,
    /// What cores pay for one another.
    pub exchange: Exchange,
    /// By number of workers.
    pub rows: Vec<Row>,
}

/// Figures of one number of workers, in nanoseconds of a message.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    /// Workers, and shards.
    pub workers: u32,
    /// Messages in a batch.
    pub batch_len: usize,
    /// Messages of a simulated or measured run.
    pub messages: u64,
    /// What each stage costs on one thread.
    pub costs: Costs,
    /// What each part of the run needs at least.
    pub bounds: Bounds,
    /// The greatest bound.
    pub predicted: f64,
    /// What that is.
    pub binds: Part,
    /// The real stages in simulated time.
    pub simulated: Simulated,
    /// The engine itself, where there are as many cores.
    pub measured: Option<Measured>,
}

/// A run of the engine.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Measured {
    /// Elapsed nanoseconds of a message.
    pub ns: f64,
    /// Nanoseconds of all threads for a message.
    pub cpu_ns: f64,
}

/// The middle of some figures, or between the two in the middle.
///
/// # Panics
/// If there are none.
#[must_use]
pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    let count = figures.len();
    (figures[(count - 1) / 2] + figures[count / 2]) / 2.0
}

/// Figures that are each the median of those in its place.
///
/// # Panics
/// If there are none, or they are not plain records of numbers.
#[must_use]
pub fn median_of<T: Serialize + DeserializeOwned>(records: &[T]) -> T {
    let fields = |record: &T| match serde_json::to_value(record) {
        Ok(Value::Object(fields)) => fields,
        other => panic!("not a record: {other:?}"),
    };
    let records: Vec<Map<String, Value>> = records.iter().map(fields).collect();
    let middle = |name: &String| {
        let figures = records.iter().map(|record| record[name].as_f64().expect("a number"));
        (name.clone(), Value::from(median(figures.collect())))
    };
    let medians = records[0].keys().map(middle).collect();
    serde_json::from_value(Value::Object(medians)).expect("the same fields")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_figure_has_a_median_of_its_own() {
        let runs = [(1.0, 9.0), (2.0, 8.0), (3.0, 1.0)].map(|(ns, cpu_ns)| Measured { ns, cpu_ns });
        let middle = median_of(&runs);
        assert_eq!((middle.ns, middle.cpu_ns), (2.0, 8.0));
        let middle = median_of(&runs[..2]);
        assert_eq!((middle.ns, middle.cpu_ns), (1.5, 8.5));
    }
}
