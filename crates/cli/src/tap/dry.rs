//! Rows of a run that writes nothing.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;
use arrow_schema::SchemaRef;
use tradejoin_connectors::{AddedColumn, Readiness};
use tradejoin_engine::{Engine, Stop};
use tradejoin_flow::{BoxError, Encode, End, NothingPrepared, Prepared, Sink};
use tradejoin_model::Enriched;

use super::Rows;
use super::filter::Filters;
use super::pick::{Picked, Room, Wanted, pick};
use super::show::Show;
use crate::args::RunArgs;
use crate::control::Reply;
use crate::destination::Destination;
use crate::failure::{self, UsageError};
use crate::job::Job;
use crate::plan;
use crate::signals::{HangUp, Signals};
use crate::tell::tell;

/// Joins until enough rows are shown, and gives the exit code.
pub(super) fn tap(run: &RunArgs, rows: &Rows) -> anyhow::Result<u8> {
    let signals = Signals::install(HangUp::Ends)?;
    let destination = Destination::new(run)?;
    let mut job = Job::open(run, &destination, &Readiness::default(), signals.stop(), None)?;
    let mut config = plan::engine_config(&run.engine, job.tables)?;
    if let Some(name) = &run.wait_column {
        plan::add_wait_column(name, &mut config, &job.schema, &mut job.added)?;
    }
    let own = job.schema.fields().iter().map(|field| field.name().clone());
    let columns: Vec<_> = own.chain(job.added.iter().map(|column| column.name.clone())).collect();
    let filters = Filters::read(&rows.conditions, &columns).map_err(UsageError)?;
    let picker = Picker {
        schema: job.schema,
        added: job.added.into(),
        wanted: Wanted { filters, every: rows.every },
        limit: rows.limit.unwrap_or(u64::MAX),
    };
    let engine = Engine::new(config).stopped_by(signals.stop().clone());
    let is_enough = Arc::<AtomicBool>::default();
    let sink = Shown {
        picker,
        show: Show::new(columns, run.report.json),
        stop: signals.stop().clone(),
        is_enough: Arc::clone(&is_enough),
    };
    let report = engine.run(job.loads, job.source, sink)?;
    match job.bad_records.count() {
        0 => {}
        count => tell!("bad records that were skipped: {count}"),
    }
    let is_interrupted = report.interrupted && !is_enough.load(Ordering::Relaxed);
    Ok(if is_interrupted { failure::INTERRUPTED } else { failure::OK })
}

/// What picks rows, on any thread.
#[derive(Clone)]
struct Picker {
    schema: SchemaRef,
    added: Arc<[AddedColumn]>,
    wanted: Wanted,
    limit: u64,
}

/// Shows rows in their order, and stops the run when they are enough.
struct Shown {
    picker: Picker,
    show: Show<anstream::AutoStream<io::Stdout>>,
    stop: Stop,
    is_enough: Arc<AtomicBool>,
}

impl Sink for Shown {
    type Piece = Picked;
    type Encoder = Picker;

    fn encoder(&self) -> Picker {
        self.picker.clone()
    }

    fn write(&mut self, picked: &mut Picked) -> Result<(), BoxError> {
        for line in picked.lines.drain(..) {
            if self.show.shown == self.picker.limit {
                break;
            }
            if let Reply::Row(values) = serde_json::from_str(&line)? {
                self.show.row(&values)?;
            }
        }
        if self.show.shown == self.picker.limit {
            self.is_enough.store(true, Ordering::Relaxed);
            self.stop.request();
        }
        Ok(())
    }

    fn prepare(&mut self, end: Option<End>) -> Result<Box<dyn Prepared>, BoxError> {
        if end.is_some() {
            self.show.end().context("cannot print")?;
        }
        Ok(Box::new(NothingPrepared))
    }
}

impl Encode for Picker {
    type Piece = Picked;

    fn encode(&mut self, enriched: &Enriched, picked: &mut Picked) -> Result<(), BoxError> {
        let Self { schema, added, wanted, limit } = self;
        let room = Room { rows: usize::MAX, bytes: usize::MAX, limit: *limit };
        *picked = pick(enriched, schema, added, wanted, room)?;
        Ok(())
    }
}
