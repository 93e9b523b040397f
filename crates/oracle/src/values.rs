//! Values as plain bytes.

use tradejoin_model::{ChangeLane, Column, INTEGER_NULL, OccSymbol, OptionPart, OutputSource, TableSpec};

/// What a table adds for a change of a lane.
pub(crate) fn values(spec: &TableSpec, lane: &ChangeLane, change: usize) -> Vec<Option<Vec<u8>>> {
    let value = |source| match source {
        OutputSource::Field(field) => bytes(&lane.fields[field], change),
        OutputSource::Option(field, part) => match &lane.fields[field] {
            Column::Options(options) => Some(part_text(&options[change], part).into_bytes()),
            _ => None,
        },
    };
    spec.outputs.iter().map(|output| value(output.source)).collect()
}

fn part_text(option: &OccSymbol, part: OptionPart) -> String {
    let OccSymbol { ticker, expiry, option_type, strike } = option;
    let date = expiry.to_string().replace('-', "");
    let letter = option_type.to_string().to_uppercase().remove(0);
    let tail = format!("{}{letter}{:08}", &date[2..], strike.thousandths());
    match part {
        OptionPart::Compact => format!("{ticker}{tail}"),
        OptionPart::Padded => format!("{:<6}{tail}", ticker.to_string()),
        OptionPart::Ticker => ticker.to_string(),
        OptionPart::Strike => strike.thousandths().to_string(),
        OptionPart::Expiry => expiry.epoch_days().to_string(),
        OptionPart::OptionType => option_type.to_string(),
    }
}

/// The bytes of a value, to compare an engine's column with
/// [`Joined::columns`](crate::Joined::columns): integers in decimal, whatever they stand for.
///
/// # Panics
/// If `row` is out of bounds, or the column is one of options.
#[must_use]
pub fn bytes(column: &Column, row: usize) -> Option<Vec<u8>> {
    match column {
        Column::Text(texts) => texts.get(row).map(<[u8]>::to_vec),
        Column::Integers(values) => {
            Some(values[row]).filter(|&v| v != INTEGER_NULL).map(|v| v.to_string().into_bytes())
        }
        Column::Options(_) => unreachable!("options are never an answer"),
    }
}

/// [`bytes`] as text.
///
/// # Panics
/// As there.
#[must_use]
pub fn text(column: &Column, row: usize) -> Option<String> {
    bytes(column, row).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}
