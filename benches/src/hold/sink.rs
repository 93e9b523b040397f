//! A sink that looks at the clock, and at every trade of the crowd.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use arrow_array::cast::AsArray as _;
use arrow_array::types::UInt64Type;
use tradejoin_baseline::{Digest, digest_enriched};
use tradejoin_engine::{HoldPeak, process_cpu};
use tradejoin_flow::{BoxError, Encode, End, NothingPrepared, Prepared, Sink};
use tradejoin_model::{Column, Enriched};

use crate::hold::Measured;
use crate::hold::input::{Crowd, Input};

/// Digests the found trades, and keeps a list of the others.
pub(crate) struct Watch<'a> {
    input: &'a Input,
    crowd: Crowd,
    digest: Digest,
    /// Found trades that were written.
    found: u64,
    /// Of each trade of the crowd, whether it has come out.
    is_out: Vec<bool>,
    start: Instant,
    /// When the first found trade was written, when the beginning of the stream was,
    /// and its end.
    first: Option<Instant>,
    from: Option<Reading>,
    to: Option<Reading>,
    end: Option<Instant>,
}

/// A look at the clocks.
#[derive(Clone, Copy)]
struct Reading {
    time: Instant,
    cpu: Duration,
    /// Found trades that were written before.
    found: u64,
    resident: Option<u64>,
}

/// What was seen in one batch.
#[derive(Default)]
pub(crate) struct Seen {
    found: u64,
    digest: Digest,
    /// Numbers of those who waited, with whether they found their key.
    waited: Vec<(u64, bool)>,
}

impl<'a> Watch<'a> {
    pub(crate) fn new(input: &'a Input, crowd: Crowd) -> Self {
        Self {
            input,
            crowd,
            digest: Digest::default(),
            found: 0,
            is_out: vec![false; crowd.trades as usize],
            start: Instant::now(),
            first: None,
            from: None,
            to: None,
            end: None,
        }
    }

    fn reading(&self) -> Reading {
        Reading { time: Instant::now(), cpu: process_cpu(), found: self.found, resident: resident() }
    }

    /// The digest of the found trades, if all others have come out, too.
    pub(crate) fn check(&self) -> anyhow::Result<Digest> {
        let missing = self.is_out.iter().filter(|is_out| !**is_out).count();
        ensure!(missing == 0, "{missing} trades that waited never came out");
        Ok(self.digest)
    }

    /// What the clocks say.
    pub(crate) fn measured(&self, peak: HoldPeak) -> anyhow::Result<Measured> {
        let (first, end) = (self.first.context("no trade was found")?, self.end.context("no end")?);
        let (from, to) = (self.from.context("no beginning")?, self.to.context("no end of the stream")?);
        let share = (to.found - from.found) as f64 / self.input.found() as f64;
        let messages = share * self.input.messages() as f64;
        let ns = |time: Duration| time.as_nanos() as f64 / messages;
        Ok(Measured {
            ns: ns(to.time.saturating_duration_since(from.time)),
            cpu_ns: ns(to.cpu.saturating_sub(from.cpu)),
            entered: first.saturating_duration_since(self.start),
            left: end.saturating_duration_since(to.time),
            peak,
            resident: to.resident,
            resident_end: resident(),
        })
    }
}

impl<'a> Sink for Watch<'a> {
    type Piece = Seen;
    type Encoder = Eye<'a>;

    fn encoder(&self) -> Eye<'a> {
        Eye { input: self.input, crowd: self.crowd }
    }

    fn write(&mut self, seen: &mut Seen) -> Result<(), BoxError> {
        self.digest.append(&seen.digest);
        self.found += seen.found;
        for &(number, _) in &seen.waited {
            let is_out = self.is_out.get_mut(number as usize).ok_or("a trade that is not of the crowd")?;
            if std::mem::replace(is_out, true) {
                return Err(format!("trade {number} of the crowd came out twice").into());
            }
        }
        if seen.found == 0 {
            return Ok(());
        }
        if self.first.is_none() {
            self.first = Some(Instant::now());
        }
        // By then the instruments are defined, and those who wait have come.
        if self.from.is_none() && self.found >= self.input.found() / 10 {
            self.from = Some(self.reading());
        }
        if self.found == self.input.found() {
            self.to = Some(self.reading());
        }
        Ok(())
    }

    fn prepare(&mut self, _: Option<End>) -> Result<Box<dyn Prepared>, BoxError> {
        self.end = Some(Instant::now());
        Ok(Box::new(NothingPrepared))
    }
}

/// The encoder of [`Watch`].
pub(crate) struct Eye<'a> {
    input: &'a Input,
    crowd: Crowd,
}

impl Encode for Eye<'_> {
    type Piece = Seen;

    fn encode(&mut self, enriched: &Enriched, seen: &mut Seen) -> Result<(), BoxError> {
        seen.waited.clear();
        let ids = enriched.trades().column(0).as_primitive::<UInt64Type>().values();
        let of_crowd = ids.iter().filter(|&&id| Crowd::number_of(id).is_some()).count();
        if of_crowd == 0 {
            (seen.found, seen.digest) = (enriched.rows_kept as u64, digest_enriched(enriched));
            return Ok(());
        }
        if of_crowd < ids.len() {
            return Err("a trade of the crowd went on among the stream's".into());
        }
        (seen.found, seen.digest) = (0, Digest::default());
        let Some(Column::Text(symbols)) = enriched.columns.first() else {
            return Err("no symbols were added".into());
        };
        let symbol_of = |row: usize| symbols.get(row);
        let aside = enriched.dead_letters.iter().map(|letter| (letter.row as usize, false));
        for (row, has_come) in enriched.rows().map(|row| (row, true)).chain(aside) {
            let number = Crowd::number_of(ids[row]).ok_or("checked above")?;
            let compact = self.input.terms_of(number).compact();
            let expected = has_come.then_some(compact.as_bytes());
            if self.crowd.comes(number) != has_come || symbol_of(row) != expected {
                return Err(format!("trade {number} of the crowd has another outcome than its own").into());
            }
            seen.waited.push((number, has_come));
        }
        Ok(())
    }
}

/// The largest resident size of the process so far in bytes, where the system tells
/// (`man 5 proc`).
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}
