//! Changes of a table as Arrow record batches, and back.

use std::sync::Arc;

use arrow_array::builder::{FixedSizeBinaryBuilder, LargeBinaryBuilder};
use arrow_array::{
    Array, ArrayRef, BooleanArray, FixedSizeBinaryArray, Int64Array, LargeBinaryArray, RecordBatch,
    RecordBatchOptions, UInt32Array,
};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use tradejoin_model::{
    ChangeKeys, ChangeKind, ChangeLane, Column, Expiry, INTEGER_NULL, Key, OccSymbol, OptionType, Strike,
    TextColumn, Ticker,
};

/// Bytes of an option's terms: root, day, type, strike.
const OPTION_LEN: usize = 6 + 4 + 1 + 4;

const KEY: &str = "key";
const DELETED: &str = "deleted";
const VALID_FROM: &str = "valid_from";
const VALID_TO: &str = "valid_to";
const VERSION: &str = "version";

/// What keys are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyKind {
    Ids,
    Texts,
}

/// What a field is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FieldKind {
    Text,
    Integers,
    Options,
}

/// What changes of a table consist of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub keys: KeyKind,
    pub fields: Vec<FieldKind>,
    /// Whether there are deletes.
    pub deleted: bool,
    pub valid_from: bool,
    pub valid_to: bool,
    pub versions: bool,
}

impl FieldKind {
    pub(crate) const fn of(column: &Column) -> Self {
        match column {
            Column::Text(_) => Self::Text,
            Column::Integers(_) => Self::Integers,
            Column::Options(_) => Self::Options,
        }
    }

    fn arrow(self) -> DataType {
        match self {
            Self::Text => DataType::LargeBinary,
            Self::Integers => DataType::Int64,
            Self::Options => DataType::FixedSizeBinary(OPTION_LEN as i32),
        }
    }
}

impl Shape {
    /// That of the changes of a lane.
    pub(crate) fn of(lane: &ChangeLane) -> Self {
        Self {
            keys: if lane.keys.texts().is_some() { KeyKind::Texts } else { KeyKind::Ids },
            fields: lane.fields.iter().map(FieldKind::of).collect(),
            deleted: lane.kinds.contains(&ChangeKind::Delete),
            valid_from: !lane.valid_from.is_empty(),
            valid_to: !lane.valid_to.is_empty(),
            versions: !lane.versions.is_empty(),
        }
    }

    /// That of changes of both; `None` if they are of different tables.
    pub(crate) fn union(&self, other: &Self) -> Option<Self> {
        (self.keys == other.keys && self.fields == other.fields).then(|| Self {
            keys: self.keys,
            fields: self.fields.clone(),
            deleted: self.deleted || other.deleted,
            valid_from: self.valid_from || other.valid_from,
            valid_to: self.valid_to || other.valid_to,
            versions: self.versions || other.versions,
        })
    }

    /// Whether changes of the other are some of this.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        self.union(other).is_some_and(|union| union == *self)
    }

    fn optional(&self) -> [(&'static str, bool); 3] {
        [(VALID_FROM, self.valid_from), (VALID_TO, self.valid_to), (VERSION, self.versions)]
    }

    pub(crate) fn schema(&self) -> SchemaRef {
        let key = match self.keys {
            KeyKind::Ids => DataType::UInt32,
            KeyKind::Texts => DataType::LargeBinary,
        };
        let mut fields = vec![Field::new(KEY, key, false)];
        if self.deleted {
            fields.push(Field::new(DELETED, DataType::Boolean, false));
        }
        let optional = self.optional().into_iter().filter(|&(_, is_there)| is_there);
        fields.extend(optional.map(|(name, _)| Field::new(name, DataType::Int64, false)));
        let own = self.fields.iter().enumerate();
        fields.extend(
            own.map(|(number, kind)| Field::new(number.to_string(), kind.arrow(), *kind == FieldKind::Text)),
        );
        Arc::new(Schema::new(fields))
    }

    /// Reads a schema that [`Self::schema`] gives.
    pub(crate) fn read(schema: &Schema) -> Result<Self, String> {
        let has = |name| schema.fields().iter().any(|field| field.name() == name);
        let keys = match schema.fields().first().map(|field| field.data_type()) {
            Some(DataType::UInt32) => KeyKind::Ids,
            Some(DataType::LargeBinary) => KeyKind::Texts,
            _ => return Err("its first column is no key".to_owned()),
        };
        let kind = |field: &Arc<Field>| match field.data_type() {
            DataType::LargeBinary => FieldKind::Text,
            DataType::Int64 => FieldKind::Integers,
            _ => FieldKind::Options,
        };
        let is_own = |field: &&Arc<Field>| field.name().starts_with(|first: char| first.is_ascii_digit());
        let shape = Self {
            keys,
            fields: schema.fields().iter().filter(is_own).map(kind).collect(),
            deleted: has(DELETED),
            valid_from: has(VALID_FROM),
            valid_to: has(VALID_TO),
            versions: has(VERSION),
        };
        if shape.schema().fields() == schema.fields() {
            Ok(shape)
        } else {
            Err("its columns are not those of changes".to_owned())
        }
    }

    /// A lane as a batch of this shape, which covers the lane's.
    pub(crate) fn batch(&self, schema: &SchemaRef, lane: &ChangeLane) -> Result<RecordBatch, ArrowError> {
        let len = lane.len();
        let mut columns: Vec<ArrayRef> = vec![match &lane.keys {
            ChangeKeys::Ids(ids) => Arc::new(UInt32Array::from_iter_values(ids.iter().map(|key| key.0))),
            ChangeKeys::Texts(texts) => texts_to_arrow(texts),
        }];
        if self.deleted {
            let deleted = lane.kinds.iter().map(|&kind| kind == ChangeKind::Delete).collect::<Vec<_>>();
            columns.push(Arc::new(BooleanArray::from(deleted)));
        }
        for ((_, is_there), values) in
            self.optional().into_iter().zip([&lane.valid_from, &lane.valid_to, &lane.versions])
        {
            if is_there {
                let mut values = values.clone();
                values.resize(len, INTEGER_NULL);
                columns.push(Arc::new(Int64Array::from(values)));
            }
        }
        for field in &lane.fields {
            columns.push(field_to_arrow(field)?);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(len));
        RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
    }

    /// The changes of a batch of this shape, in the shape `wanted`, which covers it.
    pub(crate) fn lane(&self, batch: &RecordBatch, wanted: &Self) -> Result<ChangeLane, String> {
        let len = batch.num_rows();
        let mut columns = batch.columns().iter();
        let mut next = || columns.next().ok_or_else(|| "a column is missing".to_owned());
        let mut lane = ChangeLane { at_rows: vec![0; len], ..ChangeLane::default() };
        lane.keys = match self.keys {
            KeyKind::Ids => {
                let ids: &UInt32Array = cast(next()?)?;
                ids.values().iter().map(|&id| Key(id)).collect::<Vec<_>>().into()
            }
            KeyKind::Texts => texts_from_arrow(cast(next()?)?).into(),
        };
        lane.kinds = vec![ChangeKind::Upsert; len];
        if self.deleted {
            let deleted: &BooleanArray = cast(next()?)?;
            deleted.values().set_indices().for_each(|row| lane.kinds[row] = ChangeKind::Delete);
        }
        let ChangeLane { valid_from, valid_to, versions, .. } = &mut lane;
        let all = self.optional().into_iter().zip(wanted.optional()).zip([valid_from, valid_to, versions]);
        for (((_, is_there), (_, is_wanted)), values) in all {
            if is_there {
                values.extend_from_slice(cast::<Int64Array>(next()?)?.values());
            } else if is_wanted {
                values.resize(len, INTEGER_NULL);
            }
        }
        for kind in &self.fields {
            lane.fields.push(field_from_arrow(*kind, next()?)?);
        }
        Ok(lane)
    }
}

/// The array as one of a type; no null is where its field allows none.
fn cast<T: 'static>(array: &ArrayRef) -> Result<&T, String> {
    array.as_any().downcast_ref().ok_or_else(|| "a column has another type".to_owned())
}

fn texts_to_arrow(texts: &TextColumn) -> ArrayRef {
    let mut builder = LargeBinaryBuilder::with_capacity(texts.len(), texts.len() * 16);
    (0..texts.len()).for_each(|row| builder.append_option(texts.get(row)));
    Arc::new(builder.finish())
}

fn texts_from_arrow(array: &LargeBinaryArray) -> TextColumn {
    let mut texts = TextColumn::default();
    array.iter().for_each(|text| texts.push_bytes(text));
    texts
}

pub(crate) fn field_to_arrow(column: &Column) -> Result<ArrayRef, ArrowError> {
    Ok(match column {
        Column::Text(texts) => texts_to_arrow(texts),
        Column::Integers(values) => Arc::new(Int64Array::from(values.clone())),
        Column::Options(symbols) => {
            let mut builder = FixedSizeBinaryBuilder::with_capacity(symbols.len(), OPTION_LEN as i32);
            symbols.iter().try_for_each(|symbol| builder.append_value(option_to_bytes(symbol)))?;
            Arc::new(builder.finish())
        }
    })
}

pub(crate) fn field_from_arrow(kind: FieldKind, array: &ArrayRef) -> Result<Column, String> {
    Ok(match kind {
        FieldKind::Text => Column::Text(texts_from_arrow(cast(array)?)),
        FieldKind::Integers => Column::Integers(cast::<Int64Array>(array)?.values().to_vec()),
        FieldKind::Options => {
            let options: &FixedSizeBinaryArray = cast(array)?;
            let option = |row| option_from_bytes(options.value(row)).ok_or("an option has impossible terms");
            Column::Options((0..options.len()).map(option).collect::<Result<_, _>>()?)
        }
    })
}

fn option_to_bytes(symbol: &OccSymbol) -> [u8; OPTION_LEN] {
    let mut bytes = [0; OPTION_LEN];
    bytes[..6].copy_from_slice(symbol.ticker.padded());
    bytes[6..10].copy_from_slice(&symbol.expiry.epoch_days().to_le_bytes());
    bytes[10] = symbol.option_type.letter();
    bytes[11..].copy_from_slice(&symbol.strike.thousandths().to_le_bytes());
    bytes
}

fn option_from_bytes(bytes: &[u8]) -> Option<OccSymbol> {
    let (ticker, rest) = bytes.split_first_chunk::<6>()?;
    let (days, rest) = rest.split_first_chunk::<4>()?;
    let (&letter, rest) = rest.split_first()?;
    let len = ticker.iter().rposition(|&byte| byte != b' ')? + 1;
    Some(OccSymbol {
        ticker: Ticker::from_bytes(&ticker[..len]).ok()?,
        expiry: Expiry::from_epoch_days(i32::from_le_bytes(*days)).ok()?,
        option_type: [OptionType::Call, OptionType::Put].into_iter().find(|ty| ty.letter() == letter)?,
        strike: Strike::from_thousandths(u32::from_le_bytes(rest.try_into().ok()?))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ids, a field of each kind, and nothing of what need not be there.
    fn plain() -> Shape {
        Shape {
            keys: KeyKind::Ids,
            fields: vec![FieldKind::Text, FieldKind::Integers, FieldKind::Options],
            deleted: false,
            valid_from: false,
            valid_to: false,
            versions: false,
        }
    }

    /// Shapes of one table with each choice of what need not be there, as bits.
    fn shapes() -> impl Iterator<Item = (u32, Shape)> {
        (0..16).map(|bits| {
            let has = |bit: u32| bits & 1 << bit != 0;
            let (deleted, valid_from, valid_to, versions) = (has(0), has(1), has(2), has(3));
            (bits, Shape { deleted, valid_from, valid_to, versions, ..plain() })
        })
    }

    #[test]
    fn a_union_has_what_either_has_and_covers_both() {
        for (bits, shape) in shapes() {
            for (other_bits, other) in shapes() {
                let union = shape.union(&other).expect("of one table");
                let (_, expected) = shapes().nth((bits | other_bits) as usize).expect("16 shapes");
                assert_eq!(union, expected);
                assert_eq!(shape.covers(&other), bits | other_bits == bits);
            }
        }
    }

    #[test]
    fn shapes_of_different_tables_have_no_union() {
        let others = [
            Shape { keys: KeyKind::Texts, ..plain() },
            Shape { fields: vec![FieldKind::Text], ..plain() },
            Shape { keys: KeyKind::Texts, fields: vec![], ..plain() },
        ];
        for other in others {
            assert_eq!(plain().union(&other), None);
            assert!(!plain().covers(&other) && !other.covers(&plain()));
        }
    }

    #[test]
    fn a_schema_reads_back_and_no_other_does() {
        for (_, shape) in shapes() {
            for keys in [KeyKind::Ids, KeyKind::Texts] {
                let shape = Shape { keys, ..shape.clone() };
                assert_eq!(Shape::read(&shape.schema()), Ok(shape));
            }
        }
        let field = |name: &str, ty| Field::new(name, ty, false);
        let key = || field(KEY, DataType::UInt32);
        let no_key = [vec![], vec![field(KEY, DataType::Int64)]];
        for fields in no_key {
            assert_eq!(Shape::read(&Schema::new(fields)), Err("its first column is no key".to_owned()));
        }
        let no_changes = [
            vec![key(), field("other", DataType::Int64)],
            vec![key(), field("1", DataType::Int64)],
            vec![key(), field("0", DataType::Boolean)],
            vec![key(), field(VERSION, DataType::Int64), field(DELETED, DataType::Boolean)],
            vec![field("id", DataType::UInt32)],
        ];
        for fields in no_changes {
            let error = Shape::read(&Schema::new(fields)).expect_err("other columns");
            assert_eq!(error, "its columns are not those of changes");
        }
    }

    #[test]
    fn an_option_reads_back_and_impossible_terms_do_not() {
        let symbol: OccSymbol = "A990101P99999999".parse().expect("a symbol");
        let bytes = option_to_bytes(&symbol);
        assert_eq!(option_from_bytes(&bytes), Some(symbol));
        let with = |at: usize, other: &[u8]| {
            let mut bytes = bytes;
            bytes[at..at + other.len()].copy_from_slice(other);
            option_from_bytes(&bytes)
        };
        assert_eq!(with(0, b"      "), None, "no ticker");
        assert_eq!(with(0, b"A A   "), None, "none either");
        assert_eq!(with(6, &i32::MIN.to_le_bytes()), None, "no day");
        assert_eq!(with(10, b"X"), None, "neither call nor put");
        assert_eq!(with(11, &u32::MAX.to_le_bytes()), None, "no strike");
        assert_eq!(option_from_bytes(&bytes[..OPTION_LEN - 1]), None, "too short");
        let call = OccSymbol { option_type: OptionType::Call, ..symbol };
        assert_eq!(with(10, b"C"), Some(call));
    }
}
