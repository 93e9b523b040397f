//! Figures of several runs.

use std::time::Duration;

use serde::Serialize;

/// The spread of a figure over the rounds that count.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Spread {
    pub(crate) mean: f64,
    /// The standard deviation of the rounds as a sample; 0 for one round.
    pub(crate) sd: f64,
    pub(crate) min: f64,
    pub(crate) median: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// The spread of at least one figure.
    pub(crate) fn of(mut figures: Vec<f64>) -> Self {
        figures.sort_by(f64::total_cmp);
        let count = figures.len();
        let mean = figures.iter().sum::<f64>() / count as f64;
        let squares: f64 = figures.iter().map(|figure| (figure - mean).powi(2)).sum();
        let sd = if count > 1 { (squares / (count - 1) as f64).sqrt() } else { 0.0 };
        let median = (figures[(count - 1) / 2] + figures[count / 2]) / 2.0;
        Self { mean, sd, min: figures[0], median, max: figures[count - 1] }
    }

    /// The spread of durations, in seconds.
    pub(crate) fn of_seconds(durations: &[Duration]) -> Self {
        Self::of(durations.iter().map(Duration::as_secs_f64).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spread_of_a_few_figures() {
        let spread = Spread::of(vec![4.0, 1.0, 3.0, 2.0]);
        assert_eq!((spread.mean, spread.min, spread.median, spread.max), (2.5, 1.0, 2.5, 4.0));
        // The sum of squares is 5, over three degrees of freedom.
        assert!((spread.sd - (5.0_f64 / 3.0).sqrt()).abs() < 1e-12);
        let one = Spread::of(vec![7.0]);
        assert_eq!((one.sd, one.median), (0.0, 7.0));
    }
}
