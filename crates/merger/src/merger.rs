//! The merger: batches that wait for answers, and those that are complete.

use std::collections::VecDeque;
use std::sync::Arc;

use tradejoin_model::{Answer, BatchIndex, Column, Enriched, Ledger, Routed, TableSpec};

use crate::merge::{Buffers, merge};

/// In which order enriched trades come out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// In the order of their positions.
    #[default]
    Input,
    /// A batch as soon as it is complete; within it, the order of positions.
    Arrival,
}

/// What becomes of a trade that misses in a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unmatched {
    /// It is dropped, and counted.
    #[default]
    Drop,
    /// It is passed on with that table's columns empty, and counted.
    Keep,
}

/// Collects answers into enriched batches.
#[derive(Debug)]
pub struct Merger {
    tables: Vec<TableSpec>,
    order: Order,
    unmatched: Unmatched,
    /// The index of the batch at the front of `waiting`.
    first: BatchIndex,
    waiting: VecDeque<Waiting>,
    ledger: Ledger,
    buffers: Buffers,
}

/// A batch of which not all answers have come, or which is not yet its turn.
#[derive(Debug, Default)]
enum Waiting {
    /// Nothing has come for it.
    #[default]
    Unseen,
    /// These answers have come.
    Answered(Arc<Routed>, Vec<Answer>),
    /// It has gone out ahead of earlier ones.
    Gone,
}

impl Merger {
    /// A merger for tables in the order in which batches have them.
    #[must_use]
    pub fn new(tables: &[TableSpec], order: Order, unmatched: Unmatched) -> Self {
        Self {
            tables: tables.to_vec(),
            order,
            unmatched,
            first: BatchIndex(0),
            waiting: VecDeque::new(),
            ledger: Ledger::new(tables.len()),
            buffers: Buffers::default(),
        }
    }

    /// Takes the answer of a shard that [`Routed::is_answered_by`] names.
    ///
    /// # Panics
    /// If the batch has gone out already: a shard has answered twice.
    pub fn push(&mut self, routed: Arc<Routed>, answer: Answer) {
        let ahead = routed.batch.index.0.checked_sub(self.first.0).expect("one answer from each shard");
        // No further ahead than the links are deep.
        let ahead = ahead as usize;
        while self.waiting.len() <= ahead {
            self.waiting.push_back(Waiting::Unseen);
        }
        match &mut self.waiting[ahead] {
            Waiting::Answered(_, answers) => answers.push(answer),
            Waiting::Gone => unreachable!("one answer from each shard"),
            unseen @ Waiting::Unseen => {
                let mut answers = Vec::with_capacity(routed.answers_expected());
                answers.push(answer);
                *unseen = Waiting::Answered(routed, answers);
            }
        }
    }

    /// The next enriched batch, if one is complete and its turn has come.
    pub fn pop(&mut self) -> Option<Enriched> {
        let at = match self.order {
            Order::Input => self.waiting.front().filter(|waiting| waiting.is_complete()).map(|_| 0),
            Order::Arrival => self.waiting.iter().position(Waiting::is_complete),
        }?;
        let Waiting::Answered(routed, answers) = std::mem::replace(&mut self.waiting[at], Waiting::Gone)
        else {
            return None;
        };
        while let Some(Waiting::Gone) = self.waiting.front() {
            self.waiting.pop_front();
            self.first = self.first.next();
        }
        Some(merge(&self.tables, &routed, answers, self.unmatched, &mut self.ledger, &mut self.buffers))
    }

    /// Takes back the columns of a batch that has been written, to use their
    /// memory again.
    pub fn recycle(&mut self, columns: Vec<Column>) {
        self.buffers.columns = columns;
    }

    /// An answer that has been used up, to go back to its shard.
    pub fn pop_spent(&mut self) -> Option<Answer> {
        self.buffers.spent.pop()
    }

    /// What became of the trades that have come out so far.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// How many batches wait for an answer or for their turn.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.iter().filter(|waiting| matches!(waiting, Waiting::Answered(..))).count()
    }
}

impl Waiting {
    fn is_complete(&self) -> bool {
        matches!(self, Self::Answered(routed, answers) if answers.len() == routed.answers_expected())
    }
}
