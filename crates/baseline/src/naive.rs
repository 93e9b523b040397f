//! One thread with a map.

use std::collections::BTreeMap;

use tradejoin_model::{Message, OccSymbol, TextView, Trade};

use crate::digest::Digest;
use crate::maps;

/// What a program made of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Trades that found all that they were joined with.
    pub enriched: u64,
    /// Trades that did not, and were dropped.
    pub unmatched: u64,
    /// A checksum over every field of the enriched trades, in their order.
    pub digest: Digest,
}

/// The tables that trades are joined with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tables {
    /// Instruments alone.
    Instruments,
    /// Instruments and users.
    InstrumentsAndUsers,
}

/// A map from an id to a string.
pub trait StringMap: Default {
    /// Puts a string in the place of an id.
    fn put(&mut self, id: u32, text: String);
    /// A copy of the string of an id.
    fn cloned(&self, id: u32) -> Option<String>;
}

impl StringMap for maps::Std {
    fn put(&mut self, id: u32, text: String) {
        self.insert(id, text);
    }

    fn cloned(&self, id: u32) -> Option<String> {
        self.get(&id).cloned()
    }
}

impl StringMap for maps::Hashbrown {
    fn put(&mut self, id: u32, text: String) {
        self.insert(id, text);
    }

    fn cloned(&self, id: u32) -> Option<String> {
        self.get(&id).cloned()
    }
}

impl StringMap for maps::Dash {
    fn put(&mut self, id: u32, text: String) {
        self.insert(id, text);
    }

    fn cloned(&self, id: u32) -> Option<String> {
        self.get(&id).map(|text| text.clone())
    }
}

impl StringMap for BTreeMap<u32, String> {
    fn put(&mut self, id: u32, text: String) {
        self.insert(id, text);
    }

    fn cloned(&self, id: u32) -> Option<String> {
        self.get(&id).cloned()
    }
}

/// An enriched trade, with strings of its own.
pub(crate) struct EnrichedTrade {
    pub(crate) trade: Trade,
    pub(crate) symbol: String,
    pub(crate) user: Option<String>,
}

/// Joins a stream on one thread.
pub fn naive<M: StringMap>(messages: impl Iterator<Item = Message>, tables: Tables) -> Outcome {
    let mut join = Join::<M>::new(tables);
    messages.for_each(|message| join.step(message));
    join.outcome
}

/// The state of the naive program.
pub(crate) struct Join<M> {
    symbols: M,
    users: M,
    tables: Tables,
    pub(crate) outcome: Outcome,
}

impl<M: StringMap> Join<M> {
    pub(crate) fn new(tables: Tables) -> Self {
        Self { symbols: M::default(), users: M::default(), tables, outcome: Outcome::default() }
    }

    pub(crate) fn step(&mut self, message: Message) {
        match message {
            Message::Instrument(instrument) => {
                self.symbols.put(instrument.instrument_id.0, render(&instrument.terms));
            }
            Message::User(user) => self.users.put(user.user_id.0, text(&user.username)),
            Message::Trade(trade) => {
                let symbol = self.symbols.cloned(trade.instrument_id.0);
                let user = match self.tables {
                    Tables::Instruments => None,
                    Tables::InstrumentsAndUsers => Some(self.users.cloned(trade.user_id.0)),
                };
                self.outcome.count(trade, symbol, user);
            }
        }
    }
}

impl Outcome {
    /// Counts a trade with what its look-ups found; `user` is `None` if there
    /// was no look-up.
    pub(crate) fn count(&mut self, trade: Trade, symbol: Option<String>, user: Option<Option<String>>) {
        let enriched = match (symbol, user) {
            (Some(symbol), None) => EnrichedTrade { trade, symbol, user: None },
            (Some(symbol), Some(Some(user))) => EnrichedTrade { trade, symbol, user: Some(user) },
            _ => {
                self.unmatched += 1;
                return;
            }
        };
        self.enriched += 1;
        self.digest.add(&enriched.trade, &enriched.symbol, enriched.user.as_deref());
    }
}

/// The compact symbol as a string of its own.
pub(crate) fn render(terms: &OccSymbol) -> String {
    text(&terms.compact())
}

/// An inline text as a string of its own.
pub(crate) fn text(view: &TextView) -> String {
    String::from_utf8_lossy(view.as_bytes()).into_owned()
}
