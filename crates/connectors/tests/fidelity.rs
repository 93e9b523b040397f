//! From text to text, fields come out with what they came in with.

mod support;

use proptest::prelude::*;
use support::{Files, content, convert, input, trades};
use tradejoin_connectors::Fields;

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
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

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
