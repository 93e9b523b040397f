//! Rows with what the tables add, and new ones put together from them.

use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::{Array as _, ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow_schema::{ArrowError, DataType, Schema, SchemaRef};
use arrow_select::interleave::interleave_record_batch;
use arrow_select::take::take_record_batch;
use tradejoin_model::{
    BatchIndex, Column, ColumnType, Enriched, HeldRows, Keys, Messages, Position, Refused,
};

/// Trades, their keys and the added columns: a batch, or some rows of it.
#[derive(Clone, Debug)]
pub(crate) struct Rows {
    pub(crate) trades: RecordBatch,
    pub(crate) keys: Vec<Keys>,
    pub(crate) columns: Vec<Column>,
}

impl Rows {
    /// Some rows of a batch, on memory of their own.
    pub(crate) fn take(
        messages: &Messages,
        columns: &[Column],
        types: &[ColumnType],
        rows: &[u32],
    ) -> Result<Self, ArrowError> {
        let numbers = UInt32Array::from(rows.to_vec());
        let trades = if messages.trades.num_columns() == 0 {
            without_columns(rows.len())?
        } else {
            without_shared_memory(take_record_batch(&messages.trades, &numbers)?)?
        };
        let places: Vec<_> = rows.iter().map(|&row| (0, row as usize)).collect();
        let keys = messages.keys.iter().map(|keys| Keys::gather(&[keys], &places)).collect();
        let column = |(column, &ty): (&Column, &ColumnType)| {
            let mut taken = Column::new(ty);
            taken.reset(ty, rows.len());
            taken.set_all(rows.iter().enumerate().map(|(to, &from)| (to, from as usize)), column);
            taken
        };
        let columns = columns.iter().zip(types).map(column).collect();
        Ok(Self { trades, keys, columns })
    }

    /// Rows of several sources, each by its source and its row there.
    pub(crate) fn gather(
        sources: &[&Self],
        types: &[ColumnType],
        rows: &[(usize, usize)],
    ) -> Result<Self, ArrowError> {
        let batches: Vec<_> = sources.iter().map(|source| &source.trades).collect();
        let trades = if batches[0].num_columns() == 0 {
            without_columns(rows.len())?
        } else {
            interleave_record_batch(&batches, rows)?
        };
        let keys = (0..sources[0].keys.len()).map(|table| {
            let keys: Vec<_> = sources.iter().map(|source| &source.keys[table]).collect();
            Keys::gather(&keys, rows)
        });
        let keys = keys.collect();
        let column = |(index, &ty): (usize, &ColumnType)| {
            let mut gathered = Column::new(ty);
            gathered.reset(ty, rows.len());
            for (number, source) in sources.iter().enumerate() {
                let own = rows.iter().enumerate().filter(|(_, row)| row.0 == number);
                gathered.set_all(own.map(|(to, &(_, from))| (to, from)), &source.columns[index]);
            }
            gathered
        };
        let columns = types.iter().enumerate().map(column).collect();
        Ok(Self { trades, keys, columns })
    }

    /// No rows, of so many tables.
    pub(crate) fn none(schema: SchemaRef, tables: usize, types: &[ColumnType]) -> Self {
        Self {
            trades: RecordBatch::new_empty(schema),
            keys: (0..tables).map(|_| Keys::none()).collect(),
            columns: types.iter().map(|&ty| Column::new(ty)).collect(),
        }
    }

    /// The rows as they are kept.
    pub(crate) fn to_held(&self) -> HeldRows {
        let Self { trades, keys, columns } = self.clone();
        HeldRows { trades, keys, columns }
    }

    /// Rows that were kept.
    pub(crate) fn of_held(HeldRows { trades, keys, columns }: HeldRows) -> Self {
        Self { trades, keys, columns }
    }

    /// As a batch that has nothing else but these records that were refused, all of whose rows
    /// go on.
    pub(crate) fn into_enriched(self, refused: Vec<Refused>) -> Enriched {
        let Self { trades, keys, columns } = self;
        let rows_kept = trades.num_rows();
        let lanes = Arc::from([]);
        let messages = Messages { trades, keys, lanes, times: None, rejected: 0, refused, loading: false };
        Enriched {
            index: BatchIndex::default(),
            first_position: Position::default(),
            trades_before: 0,
            numbers: None,
            messages: Arc::new(messages),
            columns,
            kept: None,
            rows_kept,
            dead_letters: Vec::new(),
        }
    }
}

/// The same with views that refer to memory of their own: otherwise a row that
/// waits would keep that of all others of its batch.
fn without_shared_memory(batch: RecordBatch) -> Result<RecordBatch, ArrowError> {
    let own = |column: &ArrayRef| -> ArrayRef {
        match column.data_type() {
            DataType::Utf8View => Arc::new(column.as_string_view().gc()),
            DataType::BinaryView => Arc::new(column.as_binary_view().gc()),
            _ => Arc::clone(column),
        }
    };
    let columns = batch.columns().iter().map(own).collect();
    RecordBatch::try_new(batch.schema(), columns)
}

pub(crate) fn without_columns(rows: usize) -> Result<RecordBatch, ArrowError> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options)
}

/// About how many bytes a row takes: the same for a row wherever it stands, which
/// the memory of its batch divided by its rows is not.
pub(crate) fn row_bytes(trades: &RecordBatch, row: usize) -> u64 {
    trades.columns().iter().map(|column| value_bytes(column, row)).sum()
}

fn value_bytes(array: &ArrayRef, row: usize) -> u64 {
    /// For what has no width of its own, such as lists.
    const OTHER: u64 = 64;
    let len = match array.data_type() {
        DataType::Utf8 => 4 + array.as_string::<i32>().value_length(row) as usize,
        DataType::Binary => 4 + array.as_binary::<i32>().value_length(row) as usize,
        DataType::LargeUtf8 => 8 + array.as_string::<i64>().value_length(row) as usize,
        DataType::LargeBinary => 8 + array.as_binary::<i64>().value_length(row) as usize,
        DataType::Utf8View => 16 + array.as_string_view().value(row).len(),
        DataType::BinaryView => 16 + array.as_binary_view().value(row).len(),
        DataType::Dictionary(keys, _) => return keys.primitive_width().map_or(OTHER, |width| width as u64),
        DataType::Boolean => 1,
        ty => return ty.primitive_width().map_or(OTHER, |width| width as u64),
    };
    len as u64
}

/// Whether rows that were kept are of so many tables, which add columns of these types.
pub(crate) fn is_fit(rows: &HeldRows, tables: usize, types: &[ColumnType]) -> bool {
    let len = rows.trades.num_rows();
    let are_columns =
        rows.columns.iter().zip(types).all(|(column, &ty)| column.is_of(ty) && column.len() == len);
    rows.keys.len() == tables
        && rows.keys.iter().all(|keys| keys.len() == len)
        && rows.columns.len() == types.len()
        && are_columns
}

#[cfg(test)]
mod tests {
    use arrow_array::{StringViewArray, UInt32Array};
    use arrow_schema::Field;

    use super::*;

    #[test]
    fn a_row_that_waits_keeps_no_memory_of_others() {
        let texts = StringViewArray::from_iter_values((0..1_000).map(|n| format!("a long text, number {n}")));
        let schema = Arc::new(Schema::new(vec![Field::new("note", DataType::Utf8View, false)]));
        let trades = RecordBatch::try_new(schema, vec![Arc::new(texts)]).expect("a batch");
        let keys = UInt32Array::from_iter_values(0..1_000).into();
        let messages = Messages::new(trades, vec![keys], vec![Default::default()]).expect("valid");
        let rows = Rows::take(&messages, &[], &[], &[7, 999]).expect("two rows");
        assert!(rows.trades.get_array_memory_size() < 1_000, "{}", rows.trades.get_array_memory_size());
        let texts = rows.trades.column(0).as_string_view();
        assert_eq!((texts.value(0), texts.value(1)), ("a long text, number 7", "a long text, number 999"));
        assert_eq!(rows.keys[0].get(1), Some(tradejoin_model::OwnedKey::Id(999)));
        assert_eq!(row_bytes(&rows.trades, 0), 16 + 21);
    }
}
