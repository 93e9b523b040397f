//! Timely dataflow: each of n workers reads every nth chunk of the stream, the
//! messages are exchanged by instrument, and a join with state has them in order.
//!
//! A chunk is an epoch. One reader for all workers would need no epochs, for a
//! channel keeps the order; it takes 1.5 times as long with two workers.

use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use anyhow::anyhow;
use hashbrown::HashMap;
use timely::container::{
    CapacityContainerBuilder, ContainerBuilder, LengthPreservingContainerBuilder, PushInto,
};
use timely::dataflow::channels::pact::{ExchangeCore, Pipeline};
use timely::dataflow::operators::{Input as _, Operator as _, Probe as _};
use timely::dataflow::{InputHandle, ProbeHandle, StreamVec};
use timely::worker::Worker;
use timely::{CommunicationConfig, Config, WorkerConfig};
use tradejoin_model::{Message, TextView};

use crate::event::{Event, key};
use crate::sum::{Row, Sum};

/// Messages of an epoch: of one worker, whose parcels they are, and of several.
const CHUNK_LENS: [usize; 2] = [4_096, 8_192];
/// Epochs that a worker reads ahead of the slowest.
const AHEAD: u64 = 4;
/// Messages that go to another worker at once. Timely's own 8 KiB are 128 of them,
/// with which two workers take 1.4 times as long.
const PARCEL_LEN: usize = 1_024;

/// Joins on so many workers.
///
/// # Errors
/// If a worker fails.
pub(crate) fn run(events: &Arc<[Event]>, workers: usize) -> anyhow::Result<Sum> {
    let communication = match workers {
        1 => CommunicationConfig::Thread,
        _ => CommunicationConfig::Process(workers),
    };
    let config = Config { communication, worker: WorkerConfig::default() };
    let events = Arc::clone(events);
    let guards = timely::execute(config, move |worker| work(worker, &events));
    let mut total = Sum::default();
    for sum in guards.map_err(|error| anyhow!(error))?.join() {
        total.merge(sum.map_err(|error| anyhow!(error))?);
    }
    Ok(total)
}

/// One worker: its chunks go in, until all that came out is in its sum.
fn work(worker: &mut Worker, events: &[Event]) -> Sum {
    let total = Rc::new(Cell::new(Sum::default()));
    let mut input = InputHandle::new();
    let probe = ProbeHandle::new();
    let (index, peers) = (worker.index(), worker.peers());
    worker.dataflow(|scope| dataflow(scope.input_from(&mut input), peers, Rc::clone(&total), &probe));
    let chunk_len = CHUNK_LENS[usize::from(peers > 1)];
    let mut buffer = Vec::new();
    for (epoch, chunk) in (0_u64..).zip(events.chunks(chunk_len)).skip(index).step_by(peers) {
        input.advance_to(epoch);
        buffer.clear();
        buffer.extend_from_slice(chunk);
        input.send_batch(&mut buffer);
        input.advance_to(epoch + peers as u64);
        worker.step();
        while probe.less_than(&epoch.saturating_sub(AHEAD)) {
            worker.step();
        }
    }
    input.close();
    while !probe.done() {
        worker.step_or_park(None);
    }
    total.get()
}

/// A map from instruments to symbols on each worker, and behind it the sum.
fn dataflow(events: StreamVec<'_, u64, Event>, peers: usize, total: Rc<Cell<Sum>>, probe: &ProbeHandle<u64>) {
    let by_instrument = ExchangeCore::<Parcels, _>::new_core(|event: &Event| u64::from(key(event)));
    type Rows = CapacityContainerBuilder<Vec<Row>>;
    let rows = events.unary_frontier::<Rows, _, _, _>(by_instrument, "join", |_, _| {
        let mut symbols = Symbols::default();
        let mut waiting = BTreeMap::new();
        move |(input, frontier), output| {
            input.for_each(|capability, events| {
                if peers == 1 {
                    // They come in order, and need not wait.
                    let mut session = output.session(&capability);
                    events.drain(..).for_each(|event| symbols.step(event, |row| session.give(row)));
                } else if let Some(capability) = capability.retain_least(output.output_index()) {
                    let epoch = *capability.time();
                    let (_, parcels) = waiting.entry(epoch).or_insert_with(|| (capability, Vec::new()));
                    parcels.push(std::mem::take(events));
                }
            });
            while let Some(first) = waiting.first_entry() {
                if frontier.less_equal(first.key()) {
                    break;
                }
                let (capability, parcels) = first.remove();
                let mut session = output.session(&capability);
                parcels.into_iter().flatten().for_each(|event| symbols.step(event, |row| session.give(row)));
            }
        }
    });
    rows.unary::<CapacityContainerBuilder<Vec<()>>, _, _, _>(Pipeline, "sum", |_, _| {
        move |input, _| {
            input.for_each(|_, rows| {
                let mut sum = total.get();
                rows.drain(..).for_each(|(trade, symbol)| sum.add(&trade, symbol.as_bytes()));
                total.set(sum);
            });
        }
    })
    .probe_with(probe);
}

/// The state of the join.
#[derive(Default)]
struct Symbols(HashMap<u32, TextView>);

impl Symbols {
    #[inline]
    fn step(&mut self, event: Event, mut give: impl FnMut(Row)) {
        match event.0 {
            Message::Trade(trade) => {
                if let Some(&symbol) = self.0.get(&trade.instrument_id.0) {
                    give((trade, symbol));
                }
            }
            Message::Instrument(instrument) => {
                self.0.insert(instrument.instrument_id.0, instrument.terms.compact());
            }
            Message::User(_) => {}
        }
    }
}

/// Collects messages for one worker into containers of [`PARCEL_LEN`].
#[derive(Default)]
struct Parcels {
    current: Vec<Event>,
    full: VecDeque<Vec<Event>>,
    given: Option<Vec<Event>>,
}

impl PushInto<Event> for Parcels {
    #[inline]
    fn push_into(&mut self, event: Event) {
        if self.current.capacity() == 0 {
            self.current.reserve_exact(PARCEL_LEN);
        }
        self.current.push(event);
        if self.current.len() >= PARCEL_LEN {
            self.full.push_back(std::mem::take(&mut self.current));
        }
    }
}

impl ContainerBuilder for Parcels {
    type Container = Vec<Event>;

    #[inline]
    fn extract(&mut self) -> Option<&mut Vec<Event>> {
        self.given = Some(self.full.pop_front()?);
        self.given.as_mut()
    }

    fn finish(&mut self) -> Option<&mut Vec<Event>> {
        if !self.current.is_empty() {
            self.full.push_back(std::mem::take(&mut self.current));
        }
        self.extract()
    }
}

impl LengthPreservingContainerBuilder for Parcels {}
