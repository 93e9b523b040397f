//! Tables come from a checkpoint as bytes: what they mean has to be what it was.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt as _;
use std::process::Command;
use std::sync::Arc;

use arrow_array::{
    ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray, UInt32Array,
    UInt64Array,
};
use arrow_cast::cast;
use arrow_ipc::writer::FileWriter;
use arrow_schema::DataType;

use crate::support::Folder;

const JOB: &str =
    "run --trades t.csv --output o.csv --checkpoint state --checkpoint-every 1000rows --batch-len 200";
const ANY: &str = "--table x=x.arrow,key=venue";

fn put(folder: &Folder, name: &str, columns: Vec<(&str, ArrayRef)>) {
    let batch = RecordBatch::try_from_iter(columns).expect("columns of one length");
    let file = File::create(folder.path(name)).expect("a file");
    let mut writer = FileWriter::try_new(file, &batch.schema()).expect("a header");
    writer.write(&batch).and_then(|()| writer.finish()).expect("written");
}

/// A table of three venues with one column more.
fn venues(folder: &Folder, n: ArrayRef) {
    let keys: ArrayRef = Arc::new(StringArray::from(vec!["A", "B", "C"]));
    put(folder, "x.arrow", vec![("venue", keys), ("n", n)]);
}

fn integers() -> ArrayRef {
    Arc::new(Int64Array::from(vec![1_196, -2, 3]))
}

/// Contracts with one column more.
fn contracts(folder: &Folder, lot: ArrayRef) {
    let texts = |text: &str| -> ArrayRef { Arc::new(StringArray::from(vec![text; 3])) };
    let ids: ArrayRef = Arc::new(UInt32Array::from(vec![0, 1, 2]));
    let columns = vec![
        ("instrument_id", ids),
        ("ticker", texts("SPY")),
        ("strike", texts("100")),
        ("expiry", texts("2024-11-03")),
        ("option_type", texts("call")),
        ("lot", lot),
    ];
    put(folder, "i.arrow", columns);
}

fn folder() -> Folder {
    let folder = Folder::empty();
    let trades = (0..20_000).fold("trade_id,instrument_id,venue\n".to_owned(), |mut all, number| {
        let _ = writeln!(all, "{number},{},{}", number % 3, ["A", "B", "C"][number % 3]);
        all
    });
    folder.put("t.csv", trades);
    folder
}

fn command(folder: &Folder, tables: &str, columns: Option<&str>) -> Command {
    let mut command = folder.command(&format!("{JOB} {tables}"));
    command.args(columns.map(|columns| format!("--columns={columns}")));
    command
}

/// Runs until it is killed behind its first checkpoint, and gives what it would have written.
/// How many calls there are is a matter of timing: late ones are tried first.
fn die(folder: &Folder, tables: &str, columns: Option<&str>) -> String {
    assert!(command(folder, tables, columns).output().expect("it runs").status.success());
    let want = folder.read("o.csv");
    let is_killed = (8..=60).rev().step_by(4).any(|call| {
        fs::remove_dir_all(folder.path("state")).expect("removed");
        for name in folder.names().iter().filter(|name| name.starts_with("o.csv")) {
            fs::remove_file(folder.path(name)).expect("removed");
        }
        let mut command = command(folder, tables, columns);
        let output = command.env("TRADEJOIN_FAULTS", format!("kill@{call}:before")).output();
        output.expect("it runs").status.signal() == Some(9)
            && folder.ok("checkpoint list state").contains("a run goes on here")
    });
    assert!(is_killed, "it never dies");
    want
}

/// The run does not go on, and says why.
fn is_refused(folder: &Folder, tables: &str, columns: Option<&str>, reason: &str) {
    let output = command(folder, tables, columns).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(said.trim_end().ends_with(&format!("the checkpoint is of another job: {reason}")), "{said}");
}

fn goes_on(folder: &Folder, tables: &str, columns: Option<&str>, want: &str) {
    let output = command(folder, tables, columns).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("going on from checkpoint "), "{said}");
    assert!(folder.read("o.csv") == want);
}

#[test]
fn a_table_whose_file_has_other_types_now_is_refused() {
    let folder = folder();
    venues(&folder, integers());
    let want = die(&folder, ANY, None);
    assert!(want.contains(",1196\n"));
    let shown = folder.ok("checkpoint show state");
    for line in ["table x: column n = Int64", "table x: key = text", "output column n = x.n"] {
        assert!(shown.contains(line), "{line}\n{shown}");
    }
    let others: [(ArrayRef, &str); 4] = [
        (Arc::new(TimestampMillisecondArray::from(vec![1, 2, 3])), "Timestamp(ms)"),
        (Arc::new(UInt64Array::from(vec![1, 2, 3])), "UInt64"),
        (Arc::new(StringArray::from(vec!["1", "2", "3"])), "text"),
        (cast(&integers(), &DataType::Decimal128(20, 2)).expect("decimals"), "Decimal128(20, 2)"),
    ];
    for (values, ty) in others {
        venues(&folder, values);
        let reason = format!("table x: column n is \"Int64\" there, and \"{ty}\" now");
        is_refused(&folder, ANY, None, &reason);
    }
    // Other rows of the same types are none of its business.
    venues(&folder, Arc::new(Int64Array::from(vec![7, 8, 9])));
    goes_on(&folder, ANY, None, &want);
}

#[test]
fn texts_and_floats_are_not_read_as_anything_else() {
    let folder = folder();
    let floats: ArrayRef = Arc::new(Float64Array::from(vec![0.5, -1.25, 3e300]));
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["p", "q", "r"]));
    for (before, ty) in [(floats, "Float64"), (texts, "text")] {
        venues(&folder, Arc::clone(&before));
        let want = die(&folder, ANY, None);
        venues(&folder, integers());
        let reason = format!("table x: column n is \"{ty}\" there, and \"Int64\" now");
        is_refused(&folder, ANY, None, &reason);
        venues(&folder, before);
        goes_on(&folder, ANY, None, &want);
        fs::remove_file(folder.path("o.csv")).expect("removed");
        fs::remove_dir_all(folder.path("state")).expect("removed");
    }
}

/// A column of a preset is held as one of few types: a width of integers makes no difference.
#[test]
fn a_column_of_contracts_with_another_type_is_refused() {
    let folder = folder();
    let (tables, columns) = ("--instruments i.arrow", Some("ticker,lot"));
    contracts(&folder, integers());
    let want = die(&folder, tables, columns);
    contracts(&folder, Arc::new(TimestampMillisecondArray::from(vec![1, 2, 3])));
    let of_lot = |now: &str| format!("table instruments: column lot is \"integer\" there, and \"{now}\" now");
    is_refused(&folder, tables, columns, &of_lot("timestamp"));
    contracts(&folder, Arc::new(StringArray::from(vec!["1", "2", "3"])));
    is_refused(&folder, tables, columns, &of_lot("text"));
    contracts(&folder, integers());
    let any = "--table instruments=i.arrow,key=instrument_id";
    is_refused(&folder, any, columns, &of_lot("Int64"));
    contracts(&folder, Arc::new(UInt32Array::from(vec![1, 2, 3])));
    goes_on(&folder, tables, columns, &want);
}

/// Its output has the same names, and other columns behind them.
#[test]
fn other_columns_under_the_same_names_are_another_job() {
    let folder = folder();
    let put = || {
        let keys: ArrayRef = Arc::new(StringArray::from(vec!["A", "B", "C"]));
        put(&folder, "x.arrow", vec![("venue", keys), ("n", integers()), ("m", integers())]);
    };
    put();
    let want = die(&folder, ANY, Some("n as v"));
    let reason = "output column v is \"x.n\" there, and \"x.m\" now";
    is_refused(&folder, ANY, Some("m as v"), reason);
    let chosen = "--table x=x.arrow,key=venue,columns=n";
    goes_on(&folder, chosen, Some("x.n as v"), &want);
}

/// Rows are not read again, but columns are looked up.
#[test]
fn the_file_of_a_table_has_to_be_there() {
    let folder = folder();
    venues(&folder, integers());
    let want = die(&folder, ANY, None);
    fs::remove_file(folder.path("x.arrow")).expect("removed");
    let output = command(&folder, ANY, None).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(66) && said.contains("x.arrow"), "{said}");
    venues(&folder, Arc::new(Int64Array::from(vec![0; 3])));
    goes_on(&folder, ANY, None, &want);
}
