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
    /// Whether a trade has columns of dictionaries: those of a file may have one for all rows.
    pub(crate) fn have_dictionaries(&self) -> bool {
        self.trades.schema_ref().fields().iter().any(|field| has_dictionary(field.data_type()))
    }

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
        let places = by_source(sources.len(), rows);
        let column = |(index, &ty): (usize, &ColumnType)| {
            let mut gathered = Column::new(ty);
            gathered.reset(ty, rows.len());
            for (source, places) in sources.iter().zip(&places) {
                gathered.set_all(places.iter().copied(), &source.columns[index]);
            }
            gathered
        };
        let columns = types.iter().enumerate().map(column).collect();
        Ok(Self { trades, keys, columns })
    }

    /// The same rows, which keep no memory of those that they were gathered from.
    pub(crate) fn on_own_memory(self) -> Result<Self, ArrowError> {
        let trades = without_shared_memory(self.trades)?;
        Ok(Self { trades, ..self })
    }

    /// Bytes of memory in use, but for keys: these are no more than their columns.
    pub(crate) fn memory_bytes(&self) -> usize {
        let added = self.columns.iter().map(Column::memory_bytes);
        self.trades.get_array_memory_size() + added.sum::<usize>()
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

/// Whether values of a column may be in memory that rows of other batches share, of which each
/// copy would have all.
fn has_dictionary(ty: &DataType) -> bool {
    match ty {
        DataType::Dictionary(..) => true,
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::ListView(field)
        | DataType::LargeListView(field)
        | DataType::FixedSizeList(field, _)
        | DataType::Map(field, _) => has_dictionary(field.data_type()),
        DataType::Struct(fields) => fields.iter().any(|field| has_dictionary(field.data_type())),
        _ => false,
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
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(batch.schema(), columns, &options)
}

/// Where the rows of each source go to and come from: each row is looked at once, however many
/// sources and columns there are.
fn by_source(sources: usize, rows: &[(usize, usize)]) -> Vec<Vec<(usize, usize)>> {
    let mut places = vec![Vec::new(); sources];
    rows.iter().enumerate().for_each(|(to, &(source, from))| places[source].push((to, from)));
    places
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
    use arrow_array::types::{Int8Type, Int32Type};
    use arrow_array::{
        BinaryArray, BinaryViewArray, BooleanArray, DictionaryArray, Int16Array, LargeBinaryArray,
        LargeStringArray, ListArray, StringArray, StringViewArray, UInt32Array,
    };
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

    #[test]
    fn bytes_that_wait_keep_no_memory_of_others() {
        let notes = BinaryViewArray::from_iter_values((0..1_000).map(|n| format!("a long text, number {n}")));
        let batch = RecordBatch::try_from_iter([("note", Arc::new(notes) as ArrayRef)]).expect("a batch");
        let own = without_shared_memory(batch.slice(7, 1)).expect("one row");
        assert!(own.get_array_memory_size() < 1_000, "{}", own.get_array_memory_size());
        assert_eq!(own.column(0).as_binary_view().value(0), b"a long text, number 7");
    }

    #[test]
    fn a_row_is_counted_with_the_width_and_the_text_of_each_of_its_values() {
        let texts = ["", "four"];
        let sides: DictionaryArray<Int8Type> = ["buy", "sell"].into_iter().collect();
        let lists = [Some(vec![Some(1)]), None];
        let arrays: [(ArrayRef, u64); 10] = [
            (Arc::new(StringArray::from_iter_values(texts)), 4 + 4),
            (Arc::new(BinaryArray::from_iter_values(texts)), 4 + 4),
            (Arc::new(LargeStringArray::from_iter_values(texts)), 8 + 4),
            (Arc::new(LargeBinaryArray::from_iter_values(texts)), 8 + 4),
            (Arc::new(StringViewArray::from_iter_values(texts)), 16 + 4),
            (Arc::new(BinaryViewArray::from_iter_values(texts)), 16 + 4),
            (Arc::new(sides), 1),
            (Arc::new(BooleanArray::from(vec![true, false])), 1),
            (Arc::new(Int16Array::from(vec![1, 2])), 2),
            (Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(lists)), 64),
        ];
        for (array, expected) in &arrays {
            assert_eq!(value_bytes(array, 1), *expected, "{:?}", array.data_type());
        }
        let columns =
            arrays.iter().enumerate().map(|(number, (array, _))| (number.to_string(), Arc::clone(array)));
        let batch = RecordBatch::try_from_iter(columns).expect("a batch");
        let of_texts = 6 * 4;
        let all = arrays.iter().map(|(_, bytes)| bytes).sum::<u64>();
        assert_eq!((row_bytes(&batch, 0), row_bytes(&batch, 1)), (all - of_texts, all));
    }

    #[test]
    fn each_row_is_looked_at_once_however_many_sources_there_are() {
        let rows: Vec<_> = (0..1_000).map(|row| (row * 7 % 1_000, row)).collect();
        let places = by_source(1_000, &rows);
        assert_eq!(places.iter().map(Vec::len).sum::<usize>(), rows.len());
        for (to, &(source, from)) in rows.iter().enumerate() {
            assert_eq!(places[source], [(to, from)]);
        }
    }

    #[test]
    fn gathered_texts_keep_no_memory_of_others() {
        let texts = StringViewArray::from_iter_values((0..1_000).map(|n| format!("a long text, number {n}")));
        let trades = RecordBatch::try_from_iter([("note", Arc::new(texts) as ArrayRef)]).expect("a batch");
        let rows = Rows { trades, keys: vec![], columns: vec![] };
        let gathered = Rows::gather(&[&rows, &rows], &[], &[(1, 7), (0, 999)]).expect("two rows");
        let gathered = gathered.on_own_memory().expect("two rows");
        assert!(gathered.memory_bytes() < 1_000, "{}", gathered.memory_bytes());
        assert_eq!(gathered.trades.column(0).as_string_view().value(1), "a long text, number 999");
    }

    #[test]
    fn rows_without_columns_are_gathered_by_their_number_alone() {
        let rows = Rows { trades: without_columns(3).expect("no columns"), keys: vec![], columns: vec![] };
        let gathered = Rows::gather(&[&rows], &[], &[(0, 2), (0, 1)]).and_then(Rows::on_own_memory);
        assert_eq!(gathered.expect("two rows").trades.num_rows(), 2);
    }
}
