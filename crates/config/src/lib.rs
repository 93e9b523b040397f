//! The configuration file of `tradejoin run`: what its flags say, in TOML.
//!
//! The command reads a file with [`Config::parse`] and puts [`Config::arguments`] behind the
//! words that were typed, so that what a value may be is known in one place, the flags.
//!
//! Guaranteed: what is taken is in the arguments, and a key that means nothing is an error
//! that names its line; nothing is passed over. What is written with `serde` reads the same.
//!
//! Not here: files, flags, and what they mean.
//!
//! ```
//! use tradejoin_config::Config;
//!
//! let config = Config::parse("[input]\ntrades = \"trades.csv\"\n[engine]\nworkers = 2\n")?;
//! assert_eq!(config.arguments(|_, _| false), ["--trades=trades.csv", "--workers=2"]);
//! assert_eq!(config.arguments(|flag, _| flag == "workers"), ["--trades=trades.csv"]);
//!
//! let error = Config::parse("[engine]\nworker = 2\n").expect_err("no such key");
//! assert!(error.to_string().starts_with("line 2: unknown field `worker`"));
//! # Ok::<(), tradejoin_config::ConfigError>(())
//! ```

mod arguments;
mod error;
mod file;

pub use error::{ConfigError, nearest};
pub use file::Config;
