//! What threads pay for working on different cores, and what memory gives.

use std::hint::{black_box, spin_loop};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, scope};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::scaling::clock::ns;
use crate::scaling::{Meter, median};

/// What passing something between two cores costs.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Exchange {
    /// Nanoseconds from the waking of a thread that sleeps to its running.
    pub wake: f64,
    /// Nanoseconds that waking it takes whoever does it.
    pub unpark: f64,
    /// Nanoseconds until a cache line that another core has written is here.
    pub line: f64,
    /// Nanoseconds for each byte of a large buffer that one core has written and
    /// another reads, and the first one writes again: what that takes longer than
    /// on one core alone.
    pub byte: f64,
    /// Gigabytes a second that one thread reads from memory.
    pub memory_one: f64,
    /// Gigabytes a second that two threads read from memory together.
    pub memory_two: f64,
}

impl Exchange {
    /// Measures all of it; takes two cores that have nothing else to do.
    #[must_use]
    pub fn measure(meter: Meter) -> Self {
        let (wake, unpark) = waking(meter);
        let [memory_one, memory_two] = memory();
        Self { wake, unpark, line: line(), byte: byte(meter), memory_one, memory_two }
    }
}

/// Two threads wake each other in turn.
fn waking(meter: Meter) -> (f64, f64) {
    const TURNS: usize = 2_000;
    let turn = AtomicUsize::new(0);
    let mut unparks = Vec::with_capacity(TURNS);
    let start = Instant::now();
    scope(|scope| {
        let (main, turn) = (thread::current(), &turn);
        let other = scope.spawn(move || {
            for number in 0..TURNS {
                while turn.load(Ordering::Acquire) != 2 * number + 1 {
                    thread::park();
                }
                turn.store(2 * number + 2, Ordering::Release);
                main.unpark();
            }
        });
        for number in 0..TURNS {
            turn.store(2 * number + 1, Ordering::Release);
            unparks.push(meter.time(|| other.thread().unpark()).1);
            while turn.load(Ordering::Acquire) != 2 * number + 2 {
                thread::park();
            }
        }
    });
    (ns(start.elapsed()) / (2 * TURNS) as f64, median(unparks))
}

/// Two threads pass one word to and fro.
fn line() -> f64 {
    const TURNS: usize = 200_000;
    let turn = AtomicUsize::new(0);
    let take_turns = |parity: usize| {
        for number in (parity..2 * TURNS).step_by(2) {
            await_turn(&turn, number);
            turn.store(number + 1, Ordering::Release);
        }
    };
    let start = Instant::now();
    scope(|scope| {
        scope.spawn(|| take_turns(1));
        take_turns(0);
    });
    ns(start.elapsed()) / (2 * TURNS) as f64
}

fn await_turn(turn: &AtomicUsize, number: usize) {
    while turn.load(Ordering::Acquire) != number {
        spin_loop();
    }
}

/// One thread fills a buffer and another copies it, or the same one does both.
fn byte(meter: Meter) -> f64 {
    /// The symbols of a batch of 8,192.
    const WORDS: usize = 3 * 8_192;
    const TURNS: usize = 300;
    let shared = Mutex::new(vec![0_u64; WORDS]);
    let write = |number: usize| {
        let mut words = shared.lock().expect("no thread has panicked");
        meter.time(|| black_box(&mut *words).fill(number as u64)).1
    };
    let read = |copy: &mut Vec<u64>| {
        let words = shared.lock().expect("no thread has panicked");
        meter.time(|| black_box(&mut *copy).copy_from_slice(&words)).1
    };
    let mut copy = vec![0_u64; WORDS];
    let alone: Vec<_> = (0..TURNS).map(|number| write(number) + read(&mut copy)).collect();

    let turn = AtomicUsize::new(0);
    let (mut writes, mut reads) = (Vec::new(), Vec::new());
    scope(|scope| {
        scope.spawn(|| {
            for number in 0..TURNS {
                await_turn(&turn, 2 * number);
                writes.push(write(number));
                turn.store(2 * number + 1, Ordering::Release);
            }
        });
        for number in 0..TURNS {
            await_turn(&turn, 2 * number + 1);
            reads.push(read(&mut copy));
            turn.store(2 * number + 2, Ordering::Release);
        }
    });
    let apart = median(writes) + median(reads);
    (apart - median(alone)).max(0.0) / (WORDS * size_of::<u64>()) as f64
}

/// Reads of more than any cache holds: gigabytes a second of one thread, and of
/// two.
fn memory() -> [f64; 2] {
    /// 128 MiB for each thread.
    const WORDS: usize = 16 << 20;
    const TURNS: usize = 5;
    let buffers: Vec<_> = (1..=2_u64).map(|fill| vec![fill; WORDS]).collect();
    let read = |buffer: &[u64]| black_box(buffer.iter().fold(0, |sum: u64, word| sum.wrapping_add(*word)));
    [1, 2].map(|threads| {
        let turns = (0..TURNS).map(|_| {
            let start = Instant::now();
            scope(|scope| {
                buffers[1..threads].iter().for_each(|buffer| {
                    scope.spawn(move || read(buffer));
                });
                read(&buffers[0]);
            });
            (threads * WORDS * size_of::<u64>()) as f64 / ns(start.elapsed())
        });
        median(turns.collect())
    })
}
