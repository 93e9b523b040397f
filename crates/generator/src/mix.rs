//! What share of a stream is what.

use std::fmt;
use std::str::FromStr;

use crate::error::GeneratorError;

/// Messages of one table at the start of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preamble {
    /// So many, their ids drawn like all others.
    Drawn(u64),
    /// One for each id, in their order.
    Every,
}

/// The shares of trades, instrument changes and user changes in a stream, and
/// what stands at its start: first users, then instruments.
#[derive(Clone, Debug, PartialEq)]
pub struct Mix {
    name: String,
    first_users: Preamble,
    first_instruments: Preamble,
    users: f64,
    instruments: f64,
    /// Whether trades meet a users table though no message is a user.
    users_elsewhere: bool,
}

impl Mix {
    /// 1,000 instruments first, then 10 % instruments and 90 % trades.
    #[must_use]
    pub fn article() -> Self {
        Self::named("article", Preamble::Drawn(0), Preamble::Drawn(1_000), 0.0, 0.10)
    }

    /// 100 users and 1,000 instruments first, then 2 % users, 8 % instruments
    /// and 90 % trades.
    #[must_use]
    pub fn article_users() -> Self {
        Self::named("article-users", Preamble::Drawn(100), Preamble::Drawn(1_000), 0.02, 0.08)
    }

    /// Every instrument first, then one instrument change in 1,000 messages.
    #[must_use]
    pub fn slow() -> Self {
        Self::named("slow", Preamble::Drawn(0), Preamble::Every, 0.0, 0.001)
    }

    /// Every instrument first, then trades alone.
    #[must_use]
    pub fn trades() -> Self {
        Self::named("trades", Preamble::Drawn(0), Preamble::Every, 0.0, 0.0)
    }

    /// Trades alone, without a preamble: for tables in files of their own.
    /// `users` says whether there is a users table.
    #[must_use]
    pub fn bare(users: bool) -> Self {
        let mix = Self::named("bare", Preamble::Drawn(0), Preamble::Drawn(0), 0.0, 0.0);
        Self { users_elsewhere: users, ..mix }
    }

    fn named(
        name: &str,
        first_users: Preamble,
        first_instruments: Preamble,
        users: f64,
        instruments: f64,
    ) -> Self {
        Self {
            name: name.to_owned(),
            first_users,
            first_instruments,
            users,
            instruments,
            users_elsewhere: false,
        }
    }

    /// Whether a run of the stream has a users table.
    #[must_use]
    pub fn has_users(&self) -> bool {
        self.users_elsewhere || self.users > 0.0 || self.first_users != Preamble::Drawn(0)
    }

    /// The share of user changes behind the preamble.
    #[must_use]
    pub fn user_share(&self) -> f64 {
        self.users
    }

    /// The share of instrument changes behind the preamble.
    #[must_use]
    pub fn instrument_share(&self) -> f64 {
        self.instruments
    }

    /// The users at the start.
    #[must_use]
    pub fn first_users(&self) -> Preamble {
        self.first_users
    }

    /// The instruments at the start, behind the users.
    #[must_use]
    pub fn first_instruments(&self) -> Preamble {
        self.first_instruments
    }

    fn check(self) -> Result<Self, GeneratorError> {
        for (what, share) in [("users", self.users), ("instruments", self.instruments)] {
            if !(0.0..=1.0).contains(&share) {
                return Err(GeneratorError::Share { what, share });
            }
        }
        let share = self.users + self.instruments;
        if share > 1.0 {
            return Err(GeneratorError::Share { what: "users and instruments together", share });
        }
        Ok(self)
    }
}

impl FromStr for Mix {
    type Err = GeneratorError;

    /// Reads the name of a mix, or `custom:` and parts such as
    /// `instruments=0.1`, `users=0.02`, `first-instruments=1000`,
    /// `first-users=every`, separated by commas.
    ///
    /// # Errors
    /// If the name is not known, a part cannot be read or stands twice, or a
    /// share is outside 0 to 1.
    fn from_str(text: &str) -> Result<Self, GeneratorError> {
        match text {
            "article" => return Ok(Self::article()),
            "article-users" => return Ok(Self::article_users()),
            "slow" => return Ok(Self::slow()),
            "trades" => return Ok(Self::trades()),
            _ => {}
        }
        let parts =
            text.strip_prefix("custom:").ok_or_else(|| GeneratorError::UnknownMix(text.to_owned()))?;
        let mut mix = Self::named(text, Preamble::Drawn(0), Preamble::Drawn(0), 0.0, 0.0);
        let mut keys = Vec::new();
        for part in parts.split(',') {
            let wrong = || GeneratorError::MixPart { part: part.to_owned() };
            let (key, value) = part.split_once('=').ok_or_else(wrong)?;
            if keys.contains(&key) {
                return Err(GeneratorError::MixKeyTwice(key.to_owned()));
            }
            keys.push(key);
            let share = || value.parse::<f64>().map_err(|_| wrong());
            let preamble = || match value {
                "every" => Ok(Preamble::Every),
                count => count.parse().map(Preamble::Drawn).map_err(|_| wrong()),
            };
            match key {
                "instruments" => mix.instruments = share()?,
                "users" => mix.users = share()?,
                "first-instruments" => mix.first_instruments = preamble()?,
                "first-users" => mix.first_users = preamble()?,
                _ => return Err(wrong()),
            }
        }
        mix.check()
    }
}

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_custom_mix_says_what_is_wrong_with_it() {
        let mix: Mix = "custom:instruments=0.5,users=0.25,first-users=every".parse().expect("a mix");
        assert_eq!(
            (mix.instrument_share(), mix.user_share(), mix.first_users()),
            (0.5, 0.25, Preamble::Every)
        );
        assert!(matches!("rticle".parse::<Mix>(), Err(GeneratorError::UnknownMix(_))));
        for part in [
            "custom:",
            "custom:instruments",
            "custom:instruments=x",
            "custom:trades=1",
            "custom:first-users=-1",
        ] {
            assert!(matches!(part.parse::<Mix>(), Err(GeneratorError::MixPart { .. })), "{part}");
        }
        let twice = "custom:users=0.1,users=0.2".parse::<Mix>();
        assert!(matches!(twice, Err(GeneratorError::MixKeyTwice(_))));
        for share in ["instruments=1.1", "instruments=-0.1", "instruments=nan", "instruments=0.6,users=0.6"] {
            let text = format!("custom:{share}");
            assert!(matches!(text.parse::<Mix>(), Err(GeneratorError::Share { .. })), "{share}");
        }
    }
}
