//! Floats within nested values as JSON.

use std::io::Write as _;
use std::sync::{Arc, LazyLock};

use arrow_array::cast::AsArray as _;
use arrow_array::types::Float64Type;
use arrow_array::{Array, Float64Array};
use arrow_cast::cast;
use arrow_json::writer::{Encoder, EncoderFactory, EncoderOptions, NullableEncoder, make_encoder};
use arrow_schema::{ArrowError, DataType, FieldRef};

/// How nested values are encoded: every member is there, and a float that is no number, for which
/// JSON has no word, is a text, as it is outside of them.
pub(crate) fn options() -> EncoderOptions {
    EncoderOptions::default().with_explicit_nulls(true).with_encoder_factory(Arc::new(Texts))
}

#[derive(Debug)]
struct Texts;

impl EncoderFactory for Texts {
    fn make_default_encoder<'a>(
        &self,
        field: &'a FieldRef,
        array: &'a dyn Array,
        _: &'a EncoderOptions,
    ) -> Result<Option<NullableEncoder<'a>>, ArrowError> {
        static PLAIN: LazyLock<EncoderOptions> = LazyLock::new(EncoderOptions::default);
        if !array.data_type().is_floating() {
            return Ok(None);
        }
        let values = cast(array, &DataType::Float64)?.as_primitive::<Float64Type>().clone();
        if values.values().iter().all(|value| value.is_finite()) {
            return Ok(None);
        }
        let floats = Floats { values, numbers: make_encoder(field, array, &PLAIN)? };
        Ok(Some(NullableEncoder::new(Box::new(floats), array.nulls().cloned())))
    }
}

/// Floats of which some are no numbers.
struct Floats<'a> {
    values: Float64Array,
    numbers: NullableEncoder<'a>,
}

impl Encoder for Floats<'_> {
    fn encode(&mut self, row: usize, out: &mut Vec<u8>) {
        let value = self.values.value(row);
        if value.is_finite() {
            self.numbers.encode(row, out);
        } else {
            // A vector takes everything.
            let _ = write!(out, "\"{value}\"");
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::types::Float32Type;
    use arrow_array::{ArrayRef, Int32Array, ListArray, RunArray};
    use arrow_schema::Field;

    use super::*;
    use crate::render::Cells;

    fn texts(array: ArrayRef) -> Vec<String> {
        let field = Arc::new(Field::new("value", array.data_type().clone(), true));
        let options = options();
        let mut encoder = make_encoder(&field, &array, &options).expect("an encoder");
        let mut text = |row| {
            let mut out = Vec::new();
            encoder.encode(row, &mut out);
            String::from_utf8(out).expect("text")
        };
        (0..array.len()).map(&mut text).collect()
    }

    #[test]
    fn values_of_any_width_and_of_runs_are_what_plain_ones_are() {
        let plain: ArrayRef = Arc::new(Float64Array::from(vec![Some(1.5), None, Some(f64::NAN), Some(2.0)]));
        let wanted = [Some("1.5"), None, Some("NaN"), Some("2")];
        let narrow = cast(&plain, &DataType::Float16).expect("floats");
        let ends = Int32Array::from(vec![1, 2, 3, 4]);
        let runs: ArrayRef = Arc::new(RunArray::try_new(&ends, &plain).expect("runs"));
        let shown: Vec<_> = [plain, narrow, runs]
            .iter()
            .map(|array| {
                let field = Arc::new(Field::new("value", array.data_type().clone(), true));
                let cells = [Cells::of_csv(array, &field), Cells::of_json(array, &field)]
                    .map(|cells| cells.expect("cells"));
                let texts = (0..array.len()).map(|row| cells[0].to_text(row)).collect::<Vec<_>>();
                (texts, cells.map(|cells| cells.form))
            })
            .collect();
        assert_eq!(shown[0].0.iter().map(Option::as_deref).collect::<Vec<_>>(), wanted);
        assert!(shown.iter().all(|one| *one == shown[0]), "{shown:?}");
    }

    #[test]
    fn what_is_no_number_is_text_and_changes_no_number() {
        let numbers = [Some(1.5), None, Some(-0.0), Some(1e300), Some(0.1)];
        let others = [Some(f64::NAN), Some(f64::INFINITY), Some(f64::NEG_INFINITY)];
        let lists = [Some(numbers.to_vec()), Some(others.to_vec())];
        let both = ListArray::from_iter_primitive::<Float64Type, _, _>(lists.clone());
        let alone = ListArray::from_iter_primitive::<Float64Type, _, _>(lists.into_iter().take(1));
        let expected = ["[1.5,null,-0.0,1.0e300,0.1]", r#"["NaN","inf","-inf"]"#];
        assert_eq!(texts(Arc::new(both)), expected);
        assert_eq!(texts(Arc::new(alone)), expected[..1]);
        let narrow = [Some(vec![Some(f32::NAN), Some(0.1)])];
        let narrow = ListArray::from_iter_primitive::<Float32Type, _, _>(narrow);
        for ty in [DataType::Float16, DataType::Float32] {
            let list = DataType::List(Arc::new(Field::new("item", ty.clone(), true)));
            let found = texts(cast(&narrow, &list).expect("floats"));
            let of_tenth = if ty == DataType::Float32 { "0.1" } else { "0.099975586" };
            assert_eq!(found, [format!("[\"NaN\",{of_tenth}]")], "{ty}");
        }
    }
}
