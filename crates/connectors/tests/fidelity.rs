//! From text to text, fields come out with what they came in with.

mod support;

use std::path::Path;

use proptest::prelude::*;
use support::{Files, content, convert, create, enriched, input, skipping, trades};
use tradejoin_connectors::{AddedColumn, Fields, InputOptions, TradesOptions, open_trades};
use tradejoin_flow::End;
use tradejoin_model::{Column, ColumnType};

/// What comes out of a file in its own format with an added column, and what was
/// refused.
fn enrich(files: &Files, path: &Path, fields: Fields, batch_len: usize) -> Option<(String, Vec<String>)> {
    let (options, bad) = skipping(path);
    let mut reader = open_trades(TradesOptions {
        input: InputOptions { batch_len, ..options },
        limit: None,
        key_columns: vec!["k".into(), "user_id".into()],
        fields,
    })
    .ok()?;
    let to = files.path(&format!("out.{}", path.extension()?.to_str()?));
    let added = AddedColumn::plain("n", ColumnType::Integer, 0);
    let mut output = create(&to, &reader, vec![added]);
    let mut keys = Vec::new();
    while let Some(messages) = reader.read().expect("skips") {
        keys.extend(messages.keys.iter().map(|keys| format!("{keys:?}")).filter(|_| batch_len > 100));
        let numbers = (0..messages.trades.num_rows() as i64).map(|row| if row == 1 { i64::MIN } else { 7 });
        let columns = vec![Column::Integers(numbers.collect())];
        output.write_enriched(&enriched(messages, columns, None)).expect("written");
    }
    output.close(End::Complete).expect("complete");
    let refused = bad.first().into_iter().map(|bad| bad.to_string()).chain([bad.count().to_string()]);
    Some((content(&to), keys.into_iter().chain(refused).collect()))
}

#[test]
fn a_record_of_one_empty_field_is_no_blank_line() {
    let files = Files::new();
    let path = files.put("a.csv", "user_id\n\"\"\n\n1\n");
    let mut reader = open_trades(TradesOptions {
        input: input(&path),
        limit: None,
        key_columns: vec!["user_id".into()],
        fields: Fields::InRecord,
    })
    .expect("opens");
    let to = files.path("b.csv");
    let mut output = create(&to, &reader, Vec::new());
    output.write_batch(&reader.read().expect("good").expect("rows").trades).expect("written");
    output.close(End::Complete).expect("complete");
    assert_eq!(content(&to), "user_id\n\"\"\n1\n");
}

#[test]
fn csv_fields_pass_as_they_are() {
    let text = "instrument_id,px,user_id,timestamp\n007,1.70,0x1, yesterday \n8,+.5e-3,,\n";
    let files = Files::new();
    convert(&files.put("a.csv", text), &files.path("b.csv"));
    assert_eq!(content(&files.path("b.csv")), text);
}

#[test]
fn json_tokens_pass_as_they_are() {
    let text = "{\"instrument_id\":1,\"price\":1.70,\"tags\":[1, {\"a\":null}],\"n\":null}\n\
        {\"instrument_id\":\"2\",\"price\":\"1.70\",\"tags\":\"\\u00e9\\n\",\"n\":1e400}\n\
        {\"instrument_id\":3}\n";
    let files = Files::new();
    convert(&files.put("a.jsonl", text), &files.path("b.jsonl"));
    assert_eq!(content(&files.path("b.jsonl")), text);
    convert(&files.path("b.jsonl"), &files.path("b.csv"));
    let csv = "instrument_id,price,tags,n\n1,1.70,\"[1, {\"\"a\"\":null}]\",\n2,1.70,\"é\n\",1e400\n3,,,\n";
    assert_eq!(content(&files.path("b.csv")), csv);
}

#[test]
fn csv_numbers_become_json_numbers_where_they_are_such() {
    let files = Files::new();
    let csv = "instrument_id,price,note\n1,1.70,1.70\n02,.5,\n3,,x\n";
    convert(&files.put("a.csv", csv), &files.path("b.jsonl"));
    let expected = "{\"instrument_id\":1,\"price\":1.70,\"note\":\"1.70\"}\n\
        {\"instrument_id\":\"02\",\"price\":\".5\",\"note\":\"\"}\n\
        {\"instrument_id\":3,\"price\":null,\"note\":\"x\"}\n";
    assert_eq!(content(&files.path("b.jsonl")), expected);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, max_shrink_iters: 500, ..ProptestConfig::default() })]

    #[test]
    fn any_csv_field_survives(rows in proptest::collection::vec((any::<u32>(), "\\PC*|[\",\r\n a]*"), 0..20)) {
        let files = Files::new();
        let mut writer = csv::Writer::from_path(files.path("a.csv")).expect("made");
        writer.write_record(["instrument_id", "note"]).expect("written");
        for (id, note) in &rows {
            writer.write_record([&id.to_string(), note]).expect("written");
        }
        writer.flush().expect("written");
        convert(&files.path("a.csv"), &files.path("b.csv"));
        prop_assert_eq!(content(&files.path("a.csv")), content(&files.path("b.csv")));
        let mut back = csv::Reader::from_path(files.path("b.csv")).expect("opens");
        for (record, (id, note)) in back.records().zip(&rows) {
            let record = record.expect("a record");
            prop_assert_eq!(record[0].to_owned(), id.to_string());
            prop_assert_eq!(&record[1], note.as_str());
        }
    }

    #[test]
    fn a_csv_record_as_a_whole_comes_out_as_its_fields_do(
        rows in "(([12]|x|\"3\"|),([a\"é]|\"(\"\"|,|\n|\r|b){0,2}\"|\"\"x| ){0,2},[0-9]{0,2}(,z)?(\n|\r\n|\r|\n\n)){0,9}(4,\"open)?",
        batch_len in prop::sample::select(vec![1, 2, 3, 1_000]),
    ) {
        let files = Files::new();
        let path = files.put("a.csv", format!("k,note,user_id\n{rows}"));
        let fields = enrich(&files, &path, Fields::AsText, batch_len).expect("opens");
        prop_assert_eq!(enrich(&files, &path, Fields::InRecord, batch_len).expect("opens"), fields);
    }

    #[test]
    fn an_object_as_a_whole_comes_out_as_its_members_do(
        rows in "(( |)[{](\"k\":( |)([12]|\"3\"|null)(,|, )){0,2}(\"n\\\\u006fte\"|\"note\"):(1.50|\"é\\\\n\"|[{]\"a\": 1[}]|null)(,\"user_id\":[0-9]{1,2}|,\"k\":5)?[}] ?(\n|\r\n|\n\n)){0,9}",
        batch_len in prop::sample::select(vec![1, 2, 3, 1_000]),
    ) {
        let files = Files::new();
        let first = "{\"k\":1,\"note\":null,\"user_id\":null}\n";
        let path = files.put("a.jsonl", format!("{first}{rows}"));
        let fields = enrich(&files, &path, Fields::AsText, batch_len).expect("opens");
        prop_assert_eq!(enrich(&files, &path, Fields::InRecord, batch_len).expect("opens"), fields);
    }

    #[test]
    fn any_json_text_survives(notes in proptest::collection::vec(any::<String>(), 1..20)) {
        let files = Files::new();
        let lines: String = notes
            .iter()
            .map(|note| format!("{{\"instrument_id\":1,\"note\":{}}}\n", serde_json::to_string(note).expect("text")))
            .collect();
        convert(&files.put("a.jsonl", &lines), &files.path("b.jsonl"));
        prop_assert_eq!(content(&files.path("b.jsonl")), lines.clone());
        convert(&files.path("a.jsonl"), &files.path("c.csv"));
        convert(&files.path("c.csv"), &files.path("d.jsonl"));
        for (line, note) in content(&files.path("d.jsonl")).lines().zip(&notes) {
            let object: serde_json::Value = serde_json::from_str(line).expect("an object");
            prop_assert_eq!(object["note"].as_str(), Some(note.as_str()));
        }
    }

    #[test]
    fn no_bytes_make_a_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), ending in 0..6_usize) {
        let ending = ["csv", "jsonl", "parquet", "arrow", "csv.gz", "jsonl.zst"][ending];
        let files = Files::new();
        let path = files.put(&format!("a.{ending}"), bytes);
        if let Ok(mut reader) = trades(input(&path), Fields::Typed) {
            while let Ok(Some(_)) = reader.read() {}
        }
    }
}
