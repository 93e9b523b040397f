//! Values of every length, and the heap of long ones.

use super::*;

const LONG_TEXT: &str = "a text that does not fit in twenty-three bytes";

fn column(texts: &[Option<&str>]) -> TextColumn {
    let mut column = TextColumn::default();
    texts.iter().for_each(|text| column.push(*text));
    column
}

fn texts(column: &TextColumn) -> Vec<Option<String>> {
    (0..column.len()).map(|row| column.get(row).map(|b| String::from_utf8_lossy(b).into_owned())).collect()
}

#[test]
fn values_of_every_length_come_back() {
    for len in 0..64 {
        let text = "x".repeat(len);
        assert_eq!(column(&[Some(&text)]).get(0), Some(text.as_bytes()));
    }
    assert_eq!(column(&[None]).get(0), None);
    assert_ne!(TextView::NULL, TextView::EMPTY);
}

#[test]
fn arrow_gets_the_values_end_to_end() {
    let (bytes, ends, nulls) = column(&[Some(LONG_TEXT), Some(""), None, Some("é")]).to_parts();
    assert_eq!(bytes, [LONG_TEXT.as_bytes(), "é".as_bytes()].concat());
    assert_eq!(ends, [0, 46, 46, 46, 48]);
    assert!(nulls.expect("one is null").iter().eq([true, true, false, true]));
    let full = "x".repeat(TextView::INLINE_MAX);
    assert_eq!(column(&[Some(&full)]).to_parts(), (full.into_bytes(), vec![0, 23], None));
    assert_eq!(TextColumn::default().to_parts(), (Vec::new(), vec![0], None));
}

#[test]
fn scatter_puts_long_and_short_values_at_their_rows() {
    let mut out = TextColumn::default();
    out.resize(5);
    out.scatter(&[3, 0], &column(&[Some(LONG_TEXT), Some("a")]));
    out.scatter(&[1, 4], &column(&[Some("é"), None]));
    let expected = [Some("a"), Some("é"), None, Some(LONG_TEXT), None].map(|t| t.map(str::to_owned));
    assert_eq!(texts(&out), expected);
}

#[test]
fn overwriting_long_values_for_ever_takes_bounded_memory() {
    let source = column(&[Some(LONG_TEXT)]);
    let mut table = column(&[Some("keep me, I am a long text as well"), Some("x")]);
    for _ in 0..10_000 {
        table.set_all(std::iter::once((1, 0)), &source);
    }
    assert_eq!(table.get(0), Some(&b"keep me, I am a long text as well"[..]));
    assert_eq!(table.get(1), Some(LONG_TEXT.as_bytes()));
    assert!(table.memory_bytes() < 1_000, "{}", table.memory_bytes());
}

#[test]
fn overwriting_a_long_value_does_not_walk_through_the_column_each_time() {
    const ROWS: usize = 10_000;
    let source = column(&[Some(LONG_TEXT)]);
    let mut table = TextColumn::default();
    table.resize(ROWS);
    table.set_all(std::iter::once((7, 0)), &source);
    let (mut walks, mut heap_max) = (0, 0);
    for _ in 0..ROWS {
        let before = table.garbage;
        table.set_all(std::iter::once((7, 0)), &source);
        walks += usize::from(table.garbage < before);
        heap_max = heap_max.max(table.heap.len());
    }
    let bytes = ROWS * LONG_TEXT.len();
    assert!((1..=bytes / (ROWS * 8)).contains(&walks), "{walks} walks for {bytes} bytes");
    assert!(heap_max <= ROWS * 8 + 3 * LONG_TEXT.len(), "{heap_max} bytes");
    assert_eq!(table.get(7), Some(LONG_TEXT.as_bytes()));
    table.set(7, Some(b"short"));
    assert!(table.is_inline(), "without the last long value there is no heap");
}
