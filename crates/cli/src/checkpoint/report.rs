//! What a summary says of a run that is kept.

use std::fmt;

use indicatif::{HumanBytes, HumanCount};
use serde::Serialize;
use tradejoin_engine::{KeptReport, Report};

/// What keeping a run has come to. The field names are its JSON form.
#[derive(Debug, Serialize)]
pub(crate) struct KeptSummary {
    /// How many are durable.
    count: u64,
    /// Bytes that were written for them, those of the output not counted.
    bytes: u64,
    /// The longest that writing stood still at a time.
    pause_max_s: f64,
    /// How long in all it waited for a disk that was behind the changes of tables.
    waited_s: f64,
    /// The longest that it took to make one durable.
    durable_max_s: f64,
    /// How long it took until the tables were there that the run went on with; `None` if it
    /// began at the beginning.
    restored_in_s: Option<f64>,
    /// Messages of the runs before.
    messages_before: u64,
}

impl KeptSummary {
    /// `None` if the run is not kept.
    pub(crate) fn new(report: &Report) -> Option<Self> {
        let KeptReport { cuts, bytes, pause_max, waited, durable_max, restored_in, messages_before } =
            report.kept?;
        Some(Self {
            count: cuts,
            bytes,
            pause_max_s: pause_max.as_secs_f64(),
            waited_s: waited.as_secs_f64(),
            durable_max_s: durable_max.as_secs_f64(),
            restored_in_s: restored_in.map(|time| time.as_secs_f64()),
            messages_before,
        })
    }
}

impl fmt::Display for KeptSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, bytes) = (HumanCount(self.count), HumanBytes(self.bytes));
        let (pause, durable) = (self.pause_max_s * 1e3, self.durable_max_s * 1e3);
        write!(f, "checkpoints: {count}, {bytes}; writing stood still for {pause:.1} ms at most, ")?;
        if self.waited_s > 0.0 {
            write!(f, "and for {:.1} s in all since the disk was behind, ", self.waited_s)?;
        }
        write!(f, "a checkpoint was durable after {durable:.0} ms at most")?;
        if let Some(restored) = self.restored_in_s {
            let before = HumanCount(self.messages_before);
            write!(
                f,
                "\nwent on behind {before} messages; tables were there after {:.0} ms",
                restored * 1e3
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn how_long_writing_stood_still_is_told() {
        let told = |waited| {
            let kept = KeptReport {
                cuts: 2,
                bytes: 2_048,
                pause_max: Duration::from_micros(1_200),
                waited,
                durable_max: Duration::from_millis(30),
                ..KeptReport::default()
            };
            KeptSummary::new(&Report { kept: Some(kept), ..Report::default() }).expect("kept").to_string()
        };
        assert_eq!(
            told(Duration::ZERO),
            "checkpoints: 2, 2.00 KiB; writing stood still for 1.2 ms at most, a checkpoint was durable after 30 ms at most"
        );
        let behind = "for 1.2 ms at most, and for 26.5 s in all since the disk was behind, a checkpoint was";
        let told = told(Duration::from_millis(26_500));
        assert!(told.contains(behind), "{told}");
    }
}
