//! No field of an output in CSV is a formula, if that is asked for.

mod support;

use support::{Files, content, enriched, input, trades};
use tradejoin_connectors::{AddedColumn, Fields, Location, Output, OutputOptions};
use tradejoin_flow::End;
use tradejoin_model::{Column, ColumnType, TextColumn};

const LINES: &str = "instrument_id,price,=note\n1,-1.25,\"=1+1\"\n2,+2,\"-2+3, \"\"x\"\"\"\n3,,@a\n4,-,a=b\n";

fn texts(of: &[&str]) -> Column {
    let mut texts = TextColumn::default();
    of.iter().for_each(|text| texts.push(Some(text)));
    Column::Text(texts)
}

#[test]
fn own_and_added_fields_and_names_are_texts() {
    let files = Files::new();
    let mut reader = trades(input(&files.put("in.csv", LINES)), Fields::AsText).expect("opens");
    let write = |csv_safe, name: &str, block| {
        let path = files.path(name);
        let mut output = Output::create(OutputOptions {
            csv_safe,
            added: vec![AddedColumn::plain("symbol", ColumnType::Text, 0)],
            ..OutputOptions::new(Location::Path(path.clone()), "csv".parse().expect("known"), reader.schema())
        })
        .expect("created");
        output.write_enriched(&block).expect("written");
        output.close(End::Complete).expect("complete");
        content(&path)
    };
    let block = trades(input(&files.path("in.csv")), Fields::AsText).expect("opens").read();
    let block = enriched(block.expect("good").expect("rows"), vec![texts(&["\t=1", "-5", "+x", "ok"])], None);
    let safe = "instrument_id,price,'=note,symbol\n1,-1.25,'=1+1,'\t=1\n2,+2,\"'-2+3, \"\"x\"\"\",-5\n\
                3,,'@a,'+x\n4,'-,a=b,ok\n";
    assert_eq!(write(true, "safe.csv", block.clone()), safe);
    assert_eq!(write(false, "plain.csv", block), safe.replace('\'', ""));
    assert!(reader.read().is_ok());
}

#[test]
fn records_that_pass_whole_are_refused() {
    let files = Files::new();
    let mut reader = trades(input(&files.put("in.csv", LINES)), Fields::InRecord).expect("opens");
    let location = Location::Path(files.path("out.csv"));
    let options = OutputOptions::new(location, "csv".parse().expect("known"), reader.schema());
    let mut output = Output::create(OutputOptions { csv_safe: true, ..options }).expect("created");
    let block = reader.read().expect("good").expect("rows");
    assert!(output.write_batch(&block.trades).is_err());
}
