//! The file of `run --config`, found and read.

use std::path::Path;

use tradejoin_config::Config;
use tradejoin_connectors::OpenError;

use crate::failure::UsageError;

/// Reads a configuration file.
///
/// # Errors
/// If it cannot be read, is not TOML, or has a key that means nothing.
pub(crate) fn read(path: &Path) -> anyhow::Result<Config> {
    let missing = |source| OpenError::Missing { source_name: path.display().to_string().into(), source };
    let text = std::fs::read_to_string(path).map_err(missing)?;
    Ok(Config::parse(&text).map_err(|error| UsageError(format!("{}, {error}", path.display())))?)
}
