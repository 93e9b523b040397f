//! What files of other programs say of themselves, without our own marks.

use std::sync::Arc;

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_schema::{ArrowError, FieldRef, Fields, Schema, SchemaRef};

use crate::trade_layout::{ENCODING_KEY, RECORDS_KEY};

/// The schema of a file, without marks that stand for what our own decoders made sure of:
/// that texts are JSON tokens, or a column whole records. A file that has them would have its
/// bytes written as they are. Fields within others may keep theirs: nobody asks them.
pub(crate) fn unmarked(schema: &SchemaRef) -> SchemaRef {
    let is_marked = |field: &FieldRef| field.metadata().contains_key(ENCODING_KEY);
    if !schema.metadata().contains_key(RECORDS_KEY) && !schema.fields().iter().any(is_marked) {
        return Arc::clone(schema);
    }
    let field = |field: &FieldRef| {
        let mut metadata = field.metadata().clone();
        metadata.remove(ENCODING_KEY);
        Arc::new(field.as_ref().clone().with_metadata(metadata))
    };
    let mut metadata = schema.metadata().clone();
    metadata.remove(RECORDS_KEY);
    Arc::new(Schema::new_with_metadata(schema.fields().iter().map(field).collect::<Fields>(), metadata))
}

/// The rows of a file under its schema without marks.
pub(crate) fn with_schema(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), batch.columns().to_vec(), &options)
}
