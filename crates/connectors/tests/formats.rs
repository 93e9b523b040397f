//! Every format to every other gives the same rows.

mod support;

use arrow_schema::{DataType, TimeUnit};
use support::{Files, content, convert, create, enriched, input, trades};
use tradejoin_connectors::{AddedColumn, Fields};
use tradejoin_flow::End;
use tradejoin_model::{Column, ColumnType, TextColumn};

const TRADES: &str = "trade_id,timestamp,instrument_id,user_id,px,quantity,side,note\n\
    1,2014-06-06T13:30:00Z,100000,30,1.7,28,buy,plain\n\
    18446744073709551615,2014-06-06T13:30:00.000000001Z,4294967295,,250.25,0.5,sell,\"a, \"\"b\"\"\"\n\
    3,1969-12-31T23:59:59.5Z,0,7,-0.000000001,79000000000000000000,,é\n\
    ,,5,,,,,\n";

#[test]
fn every_pair_of_formats_gives_the_same_rows() {
    let files = Files::new();
    let source = files.put("in.csv", TRADES);
    let endings = ["csv", "jsonl", "parquet", "arrow", "csv.gz", "csv.zst", "jsonl.gz", "jsonl.zst"];
    for first in endings {
        let one = files.path(&format!("one.{first}"));
        convert(&source, &one);
        for second in endings {
            let two = files.path(&format!("{first}-two.{second}"));
            convert(&one, &two);
            let back = files.path("back.csv");
            convert(&two, &back);
            assert_eq!(content(&back), TRADES, "{first} to {second}");
        }
    }
}

#[test]
fn typed_outputs_have_types_that_fit() {
    let files = Files::new();
    let source = files.put("in.csv", TRADES);
    for ending in ["parquet", "arrow"] {
        let path = files.path(&format!("out.{ending}"));
        convert(&source, &path);
        let schema = trades(input(&path), Fields::AsText).expect("opens").schema();
        let ty = |name: &str| schema.field_with_name(name).expect(name).data_type().clone();
        assert_eq!(ty("trade_id"), DataType::UInt64);
        assert_eq!(ty("instrument_id"), DataType::UInt32);
        assert_eq!(ty("px"), DataType::Decimal128(38, 9));
        assert_eq!(ty("timestamp"), DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into())));
        assert_eq!(ty("note"), DataType::Utf8);
        assert!(schema.fields().iter().all(|field| field.metadata().is_empty()));
    }
}

#[test]
fn no_rows_still_have_a_header() {
    let files = Files::new();
    let source = files.put("in.csv", "instrument_id,side\n");
    for ending in ["csv", "jsonl", "parquet", "arrow"] {
        let (there, back) = (files.path(&format!("out.{ending}")), files.path("back.csv"));
        convert(&source, &there);
        convert(&there, &back);
        let header = content(&back);
        match ending {
            // Without objects there are no names: it has those of trades.
            "jsonl" => assert!(header.starts_with("trade_id,timestamp,instrument_id,"), "{header}"),
            _ => assert_eq!(header, "instrument_id,side\n", "{ending}"),
        }
    }
}

#[test]
fn added_columns_stand_behind_in_the_order_asked_for() {
    let files = Files::new();
    let source = files.put("in.csv", "instrument_id,note\n1,a\n2,\n3,c\n");
    let mut texts = TextColumn::default();
    for text in [Some("SPY241103C00200000"), Some("dropped"), None] {
        texts.push(text);
    }
    let columns = [
        Column::Text(texts),
        Column::Integers(vec![200_500, 1, tradejoin_model::INTEGER_NULL]),
        Column::Integers(vec![20_030, 1, 2]),
    ];
    let added = AddedColumn::plain;
    let order = [
        added("expiry", ColumnType::Date, 2),
        added("instrument", ColumnType::Text, 0),
        added("strike", ColumnType::Strike, 1),
    ];
    let csv = "instrument_id,note,expiry,instrument,strike\n1,a,2024-11-03,SPY241103C00200000,200.5\n\
        3,c,1970-01-03,,\n";
    let jsonl = "{\"instrument_id\":1,\"note\":\"a\",\"expiry\":\"2024-11-03\",\
        \"instrument\":\"SPY241103C00200000\",\"strike\":200.5}\n\
        {\"instrument_id\":3,\"note\":\"c\",\"expiry\":\"1970-01-03\",\"instrument\":null,\"strike\":null}\n";
    for (ending, expected) in [("csv", csv), ("jsonl", jsonl), ("parquet", csv), ("arrow", csv)] {
        let mut reader = trades(input(&source), Fields::AsText).expect("opens");
        let path = files.path(&format!("out.{ending}"));
        let mut output = create(&path, &reader, order.to_vec());
        let messages = reader.read().expect("good").expect("rows");
        output
            .write_enriched(&enriched(messages, columns.to_vec(), Some(vec![true, false, true])))
            .expect("written");
        output.close(End::Complete).expect("complete");
        let shown = files.path("shown.csv");
        if ending == "jsonl" {
            assert_eq!(content(&path), expected);
        } else {
            convert(&path, &shown);
            assert_eq!(content(&shown), expected, "{ending}");
        }
    }
}
