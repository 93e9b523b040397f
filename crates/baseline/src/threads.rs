//! Two and more threads, a message at a time.

use std::sync::mpsc::sync_channel;
use std::thread::{scope, yield_now};

use rtrb::{Consumer, PopError, Producer, PushError, RingBuffer};
use tradejoin_model::{Message, Trade};

use crate::maps;
use crate::naive::{Join, Outcome, Tables, render, text};

/// How many messages a channel or ring holds.
const CAPACITY: usize = 1_024;
/// How often a full or empty ring is tried again before the thread steps aside.
const SPINS: u32 = 64;

/// One thread feeds the messages over a channel of the standard library, the
/// calling thread joins them.
pub fn threads_channel(messages: impl Iterator<Item = Message> + Send, tables: Tables) -> Outcome {
    scope(|scope| {
        let (sender, receiver) = sync_channel(CAPACITY);
        scope.spawn(move || {
            for message in messages {
                if sender.send(message).is_err() {
                    break;
                }
            }
        });
        let mut join = Join::<maps::Std>::new(tables);
        receiver.into_iter().for_each(|message| join.step(message));
        join.outcome
    })
}

/// One thread feeds the messages over a ring buffer, the calling thread joins
/// them.
pub fn threads_ring(messages: impl Iterator<Item = Message> + Send, tables: Tables) -> Outcome {
    scope(|scope| {
        let (mut producer, mut consumer) = RingBuffer::new(CAPACITY);
        scope.spawn(move || {
            for message in messages {
                if !push(&mut producer, message) {
                    break;
                }
            }
        });
        let mut join = Join::<maps::Std>::new(tables);
        while let Some(message) = pop(&mut consumer) {
            join.step(message);
        }
        join.outcome
    })
}

/// One thread feeds changes over one ring and trades over another; a second one
/// applies the changes to two shared maps; the calling thread joins the trades
/// with both.
///
/// Nothing holds a trade back until the changes before it are applied: which
/// trades find a match, and which version, depends on timing. Its counts add up
/// to the trades, and no more can be said of its outcome.
pub fn two_tables_ring(messages: impl Iterator<Item = Message> + Send) -> Outcome {
    let (symbols, users) = (maps::Dash::default(), maps::Dash::default());
    let (symbols, users) = (&symbols, &users);
    scope(|scope| {
        let (mut change_producer, mut change_consumer) = RingBuffer::new(CAPACITY);
        let (mut trade_producer, mut trade_consumer) = RingBuffer::<Trade>::new(CAPACITY);
        scope.spawn(move || {
            for message in messages {
                let is_taken = match message {
                    Message::Trade(trade) => push(&mut trade_producer, trade),
                    change => push(&mut change_producer, change),
                };
                if !is_taken {
                    break;
                }
            }
        });
        scope.spawn(move || {
            while let Some(change) = pop(&mut change_consumer) {
                match change {
                    Message::Instrument(instrument) => {
                        symbols.insert(instrument.instrument_id.0, render(&instrument.terms));
                    }
                    Message::User(user) => {
                        users.insert(user.user_id.0, text(&user.username));
                    }
                    Message::Trade(_) => {}
                }
            }
        });
        let mut outcome = Outcome::default();
        while let Some(trade) = pop(&mut trade_consumer) {
            let symbol = symbols.get(&trade.instrument_id.0).map(|symbol| symbol.clone());
            let user = users.get(&trade.user_id.0).map(|user| user.clone());
            outcome.count(trade, symbol, Some(user));
        }
        outcome
    })
}

/// Puts an item into a ring; waits while it is full. `false` once it is full
/// and its consumer is gone: a thread that panicked must not leave another one
/// waiting for ever.
fn push<T>(producer: &mut Producer<T>, mut item: T) -> bool {
    let mut spins = 0;
    while let Err(PushError::Full(refused)) = producer.push(item) {
        if producer.is_abandoned() {
            return false;
        }
        item = refused;
        wait(&mut spins);
    }
    true
}

/// Takes an item out of a ring; waits while it is empty. `None` once it is
/// empty and its producer is gone.
fn pop<T>(consumer: &mut Consumer<T>) -> Option<T> {
    let mut spins = 0;
    loop {
        // Asked first: what the producer pushed before it left is then seen.
        let is_abandoned = consumer.is_abandoned();
        match consumer.pop() {
            Ok(item) => return Some(item),
            Err(PopError::Empty) if is_abandoned => return None,
            Err(PopError::Empty) => wait(&mut spins),
        }
    }
}

/// Spins for a while, then lets another thread have the core.
fn wait(spins: &mut u32) {
    if *spins < SPINS {
        *spins += 1;
        std::hint::spin_loop();
    } else {
        yield_now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_ring_without_a_reader_does_not_wait_for_ever() {
        let (mut producer, consumer) = RingBuffer::new(1);
        assert!(push(&mut producer, 1));
        drop(consumer);
        assert!(!push(&mut producer, 2));
    }

    #[test]
    fn what_was_pushed_is_popped_after_the_producer_is_gone() {
        let (mut producer, mut consumer) = RingBuffer::new(2);
        assert!(push(&mut producer, 1) && push(&mut producer, 2));
        drop(producer);
        assert_eq!([pop(&mut consumer), pop(&mut consumer), pop(&mut consumer)], [Some(1), Some(2), None]);
    }
}
