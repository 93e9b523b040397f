//! A message in the form that timely and Renoir ask for.

use serde::{Deserialize, Serialize};
use tradejoin_model::{
    Instrument, InstrumentId, Message, OccSymbol, ParseFieldError, Price, Side, TextView, Trade, User, UserId,
};

/// A message that could be sent to another process. Here all workers are threads,
/// to which both libraries hand it as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Wire", try_from = "Wire")]
pub(crate) struct Event(pub(crate) Message);

/// The id of the instrument, or of the user if the message is one.
#[cfg(any(feature = "timely", feature = "renoir"))]
pub(crate) fn key(event: &Event) -> u32 {
    match &event.0 {
        Message::Trade(trade) => trade.instrument_id.0,
        Message::Instrument(instrument) => instrument.instrument_id.0,
        Message::User(user) => user.user_id.0,
    }
}

/// What would go over a wire.
#[derive(Serialize, Deserialize)]
enum Wire {
    Trade { id: u64, time: i64, instrument: u32, user: u32, price: i128, quantity: u32, is_sell: bool },
    Instrument { id: u32, symbol: String },
    User { id: u32, name: String },
}

impl From<Event> for Wire {
    fn from(event: Event) -> Self {
        match event.0 {
            Message::Trade(trade) => Self::Trade {
                id: trade.trade_id,
                time: trade.timestamp_ns,
                instrument: trade.instrument_id.0,
                user: trade.user_id.0,
                price: trade.price.units(),
                quantity: trade.quantity,
                is_sell: trade.side == Side::Sell,
            },
            Message::Instrument(Instrument { instrument_id, terms }) => {
                Self::Instrument { id: instrument_id.0, symbol: terms.to_string() }
            }
            Message::User(User { user_id, username }) => {
                Self::User { id: user_id.0, name: String::from_utf8_lossy(username.as_bytes()).into_owned() }
            }
        }
    }
}

impl TryFrom<Wire> for Event {
    type Error = ParseFieldError;

    fn try_from(wire: Wire) -> Result<Self, ParseFieldError> {
        Ok(Self(match wire {
            Wire::Trade { id, time, instrument, user, price, quantity, is_sell } => Message::Trade(Trade {
                trade_id: id,
                timestamp_ns: time,
                instrument_id: InstrumentId(instrument),
                user_id: UserId(user),
                price: Price::from_units(price),
                quantity,
                side: if is_sell { Side::Sell } else { Side::Buy },
            }),
            Wire::Instrument { id, symbol } => Message::Instrument(Instrument {
                instrument_id: InstrumentId(id),
                terms: symbol.parse::<OccSymbol>()?,
            }),
            Wire::User { id, name } => Message::User(User {
                user_id: UserId(id),
                // A name comes from a view, and fits one.
                username: TextView::inline(&name).unwrap_or(TextView::EMPTY),
            }),
        }))
    }
}

#[cfg(test)]
mod tests {
    use tradejoin_generator::{Mix, Stream, StreamConfig};

    use super::*;

    #[test]
    fn a_message_comes_back_from_the_wire() {
        let config = StreamConfig { mix: Mix::article_users(), ..StreamConfig::default() };
        let stream = Stream::new(config).expect("a valid configuration");
        for event in (0..3_000).map(|position| Event(stream.message(position))) {
            let text = serde_json::to_string(&event).expect("text");
            assert_eq!(serde_json::from_str::<Event>(&text).expect("an event"), event);
        }
    }
}
