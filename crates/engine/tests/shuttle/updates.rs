//! Changes that another thread offers while a run goes on.

use std::ops::Range;
use std::sync::Arc;

use shuttle::sync::mpsc::{Receiver, SyncSender, sync_channel};
use shuttle::sync::{Mutex, PoisonError};
use shuttle::thread;
use tradejoin_engine::{InEffect, Updates};
use tradejoin_flow::{Block, BoxError, Source};
use tradejoin_model::ChangeLane;

use crate::faults::Faults;
use crate::runs::{Collect, Job, KEYS, lane, load, messages};
use crate::{check, draw};

/// Blocks without changes, which end when nobody offers any more.
struct Waiting {
    at: u64,
    end: u64,
    offering: Receiver<()>,
}

impl Source for Waiting {
    fn next(&mut self) -> Result<Option<Block>, BoxError> {
        if self.at == self.end {
            // Fails once what sends is gone.
            while self.offering.recv().is_ok() {}
            return Ok(None);
        }
        self.at += 1;
        Ok(Some(messages(self.at - 1, ChangeLane::default()).into()))
    }
}

/// What a thread has offered, by number, and what it was told of all of them meanwhile.
type Offered = (Vec<(u64, String)>, Vec<InEffect>);

/// Offers a change to each of these values; `sender` goes when that is done.
fn offer(updates: &Updates, values: Range<u64>, sender: SyncSender<()>) -> Offered {
    let _sender = sender;
    let (mut offered, mut in_effect) = (Vec::new(), Vec::new());
    for value in values.map(|value| value.to_string()) {
        offered.push((updates.offer(vec![(0, lane(&value))]), value));
        in_effect.extend(updates.in_effect());
    }
    (offered, in_effect)
}

#[test]
fn every_update_takes_effect_once_at_the_place_that_is_told() {
    check(|| {
        let job = Job::drawn();
        let engine = job.engine();
        let updates = engine.updates();
        let (sender, offering) = sync_channel(0);
        let offers = [0..draw(4), 10..10 + draw(3)].map(|values| {
            let (updates, sender) = (updates.clone(), sender.clone());
            thread::spawn(move || offer(&updates, values, sender))
        });
        drop(sender);
        let rows = Arc::new(Mutex::new(Vec::new()));
        let source = Waiting { at: 0, end: job.blocks, offering };
        let sink = Collect { rows: Arc::clone(&rows), faults: Faults::none(), is_kept: false };
        let load = vec![load(vec!["loaded".to_owned()], &Faults::none())];
        engine.run(load, source, sink).expect("a run without faults");
        let (mut offered, mut in_effect) = (Vec::new(), updates.in_effect());
        for (values, told) in offers.map(|offers| offers.join().expect("no panic")) {
            offered.extend(values);
            in_effect.extend(told);
        }
        offered.sort_unstable();
        in_effect.sort_by_key(|update| update.update);
        let numbers = in_effect.iter().map(|update| update.update);
        assert!(numbers.eq(offered.iter().map(|(number, _)| *number)), "{in_effect:?}, {offered:?}");
        assert!((0..).zip(&offered).all(|(number, (offered, _))| number == *offered), "{offered:?}");
        let found = |trade| {
            let before = in_effect.iter().filter(|update| update.trades_before <= trade).count();
            before.checked_sub(1).map_or("loaded", |last| &offered[last].1)
        };
        let expected = (0..job.blocks * KEYS).map(|trade| format!("{trade} {}", found(trade)));
        let rows = rows.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(rows.iter().cloned().eq(expected), "{rows:?}, {in_effect:?}, {offered:?}, {job:?}");
    });
}
