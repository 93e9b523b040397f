//! Formats with types: whatever the bytes are, they are rows or an error, the same for
//! any block length.

use tradejoin_connectors::{Fields, Format};

use crate::memory::Memory;
use crate::tables::read_alike;
use crate::trades::{How, read, with_keys};

/// Trades and tables in Parquet.
pub(crate) fn parquet(bytes: &[u8]) {
    check(bytes, Format::Parquet);
}

/// Trades and tables in Arrow's file and stream formats.
pub(crate) fn arrow(bytes: &[u8]) {
    check(bytes, Format::Arrow);
}

fn check(bytes: &[u8], format: Format) {
    let file = Memory::new(bytes);
    let how = How { fields: Fields::Typed, ..How::new(format) };
    if let Some(how) = with_keys(&file, &how) {
        let whole = read(&file, &how);
        let apart = read(&file, &How { batch_len: 2, ..how });
        if let (Ok((_, whole)), Ok((_, apart))) = (&whole, &apart)
            && whole.failure.is_none()
        {
            assert_eq!(apart, whole);
        }
    }
    read_alike(bytes, format);
}
