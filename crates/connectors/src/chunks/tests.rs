//! A text is cut anywhere, and comes out the same.

use proptest::prelude::*;

use super::*;
use crate::input::memory;

/// A text that comes in reads of the given lengths, over and over.
struct Dripping {
    text: Vec<u8>,
    at: usize,
    lens: Vec<usize>,
    reads: usize,
}

impl Read for Dripping {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.lens[self.reads % self.lens.len()];
        self.reads += 1;
        let len = len.min(self.text.len() - self.at).min(buffer.len());
        buffer[..len].copy_from_slice(&self.text[self.at..self.at + len]);
        self.at += len;
        Ok(len)
    }
}

fn dripping(text: &[u8], lens: &[usize], format: Format) -> Chunks {
    let bytes = Dripping { text: text.to_vec(), at: 0, lens: lens.to_vec(), reads: 0 };
    Chunks::new(TextInput { bytes: Box::new(bytes), ..memory(&b""[..]) }, format)
}

/// Every record with its line, and the records of each chunk.
fn records(mut chunks: Chunks, format: Format, max: usize) -> (Vec<(Place, Vec<u8>)>, Vec<usize>) {
    let (mut all, mut lens) = (Vec::new(), Vec::new());
    while let Some(chunk) = chunks.next(max).expect("from memory") {
        let mut records = Records::new(&chunk, format);
        let before = all.len();
        while let Some(record) = records.next() {
            all.push((records.place(&record), chunk.bytes[record].to_vec()));
        }
        assert_eq!(chunk.records, all.len() - before);
        lens.push(chunk.records);
    }
    (all, lens)
}

fn lines(text: &str) -> Vec<Place> {
    let chunks = Chunks::new(memory(text.as_bytes()), Format::Csv);
    records(chunks, Format::Csv, 3).0.into_iter().map(|(place, _)| place).collect()
}

#[test]
fn lines_are_physical_whatever_ends_them() {
    for end in ["\n", "\r\n", "\r"] {
        let text = ["", "a,b", "1,2", "", "", "\"x", "y\",2", "3", "4,5", ""].join(end);
        let expected = [2, 3, 6, 8, 9].map(Place::Line);
        for text in [text.as_str(), text.trim_end()] {
            for (max, len) in (1..7).flat_map(|max| (1..text.len()).map(move |len| (max, len))) {
                let chunks = dripping(text.as_bytes(), &[len], Format::Csv);
                let places = records(chunks, Format::Csv, max).0.into_iter().map(|(place, _)| place);
                assert_eq!(places.collect::<Vec<_>>(), expected, "{end:?}, {max} of {len} bytes");
            }
        }
    }
    let long = format!("a,b\n{}", "1,2\n".repeat(100_000));
    let expected: Vec<_> = (1..100_002).map(Place::Line).collect();
    assert_eq!(lines(&long), expected);
    assert_eq!(lines(&long.replace('\n', "\r\n")), expected);
    assert_eq!(lines(&long.replace('\n', "\r")), expected);
}

#[test]
fn an_open_quote_does_not_swallow_the_file() {
    let endless = io::Read::chain(&b"a\nb\n\n\"x"[..], io::repeat(b'y'));
    let mut chunks = Chunks::new(memory(endless), Format::Csv);
    assert_eq!(chunks.next(10).expect("good so far").map(|chunk| chunk.records), Some(2));
    let error = chunks.next(10).expect_err("no end");
    assert!(error.to_string().starts_with("memory, line 4: longer than 16 MiB"), "{error}");
    assert_eq!(error.category(), crate::Category::Data);
}

#[test]
fn a_long_record_is_no_different_where_the_text_is_cut() {
    let text = |len| [b"a\n\"", vec![b'x'; len].as_slice(), b"\"\nb\n"].concat();
    let records = |len| {
        let mut chunks = Chunks::new(memory(text(len).as_slice()), Format::Csv);
        std::iter::from_fn(|| chunks.next(1).transpose()).map(|chunk| chunk.map(|_| ())).collect::<Vec<_>>()
    };
    let longest = Limits::default().line_bytes - 2;
    assert!(records(longest).iter().all(Result::is_ok));
    assert_eq!(records(longest).len(), 3);
    assert!(records(longest + 1)[1].is_err());
}

#[test]
fn the_first_record_that_is_too_long_is_the_last_one_wherever_the_text_is_cut() {
    let text = "a\nb\n\"xxxxx\"\nc\nyyyyyy\nd\nzzzzzz\ne\n";
    for (max, len) in (1..9).flat_map(|max| (1..text.len()).map(move |len| (max, len))) {
        let mut chunks = dripping(text.as_bytes(), &[len], Format::Csv);
        chunks.inflow.limits = Limits { line_bytes: 5, ..Limits::default() };
        let mut records = 0;
        let error = loop {
            match chunks.next(max) {
                Ok(chunk) => records += chunk.expect("an error before the end").records,
                Err(error) => break error.to_string(),
            }
        };
        assert!(error.starts_with("memory, line 3: longer than 5 bytes"), "{max} of {len} bytes: {error}");
        assert_eq!(records, 2, "{max} of {len} bytes");
        assert!(chunks.next(max).is_ok_and(|chunk| chunk.is_none()), "nothing comes behind it");
    }
}

#[test]
fn the_place_behind_every_line_is_told_where_some_are_too_long() {
    let long = "x".repeat(30);
    let lines = ["{}", "{}", &long, "{}", "", "{}", &long, &long, "{}", "{}"];
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    // Behind each line that is not blank: its number, the bytes, and the lines.
    let mut expected = Vec::new();
    let (mut bytes, mut records) = (0, 0);
    for (number, line) in (1..).zip(lines) {
        bytes += line.len() as u64 + 1;
        if !line.is_empty() {
            records += 1;
            expected.push(TextPlace { records, bytes, lines: number });
        }
    }
    for (max, len) in [1, 2, 3, 100].into_iter().flat_map(|max| (1..60).map(move |len| (max, len))) {
        let mut chunks = dripping(text.as_bytes(), &[len], Format::JsonLines);
        chunks.inflow.limits = Limits { line_bytes: 10, ..Limits::default() };
        let mut places = Vec::new();
        while let Some(chunk) = chunks.next(max).expect("from memory") {
            let mut records = Records::new(&chunk, Format::JsonLines);
            for number in 1..chunk.records {
                records.next();
                places.push(records.place_behind(chunk.places[0], number));
            }
            places.push(chunk.places[1]);
        }
        assert_eq!(places, expected, "chunks of {max}, reads of {len}");
    }
}

#[test]
fn a_line_is_too_long_without_its_end_wherever_the_text_is_cut() {
    let ten = "x".repeat(10);
    let lines = [ten.clone(), format!("{ten}x"), format!("{ten}\r  "), format!("{ten}\r\r"), ten];
    let limits = Limits { line_bytes: 10, ..Limits::default() };
    for (end, len) in ["\n", "\r\n"].into_iter().flat_map(|end| (1..40).map(move |len| (end, len))) {
        let mut chunks = dripping(lines.join(end).as_bytes(), &[len], Format::JsonLines);
        chunks.inflow.limits = limits;
        let all = records(chunks, Format::JsonLines, 2).0;
        let mut members = crate::json_rows::Members::within(limits);
        let beyond = Reason::TooLong { bytes_max: 10 };
        let long = all.iter().map(|(_, line)| members.scan(line).is_err_and(|reason| reason == beyond));
        assert_eq!(long.collect::<Vec<_>>(), [false, true, true, true, false], "{end:?} in reads of {len}");
    }
}

#[test]
fn blank_lines_take_no_memory() {
    let formats =
        [(Format::Csv, "a,1\n", "\n"), (Format::Csv, "a,1\r", "\r"), (Format::JsonLines, "{}\n", "\n")];
    for (format, record, end) in formats {
        let blank = end.repeat(3 * READ_LEN);
        let text = [blank.as_str(), record, &blank, record, &blank].concat();
        let limits = Limits { block_bytes: Limits::BLOCK_BYTES_MIN, ..Limits::default() };
        let input = TextInput { limits, ..memory(text.as_bytes()) };
        let mut chunks = Chunks::new(input, format);
        let mut found = Vec::new();
        while let Some(chunk) = chunks.next(100).expect("from memory") {
            assert!(chunk.bytes.len() < 2 * READ_LEN && chunks.buffer.len() <= 4 * READ_LEN);
            let mut records = Records::new(&chunk, format);
            let record = records.next().expect("a record");
            found.push(records.place(&record));
        }
        let first = 3 * READ_LEN as u64 + 1;
        assert_eq!(found, [Place::Line(first), Place::Line(2 * first)]);
    }
}

#[test]
fn a_look_ahead_takes_nothing_away() {
    let text = (0..5_000).map(|i| format!("{{\"a\":{i}}}\n")).collect::<String>();
    let mut chunks = dripping(text.as_bytes(), &[7_000], Format::JsonLines);
    let mut seen = 0;
    chunks
        .look_ahead(|_| {
            seen += 1;
            seen < 4_000
        })
        .expect("from memory");
    assert_eq!(seen, 4_000);
    let (all, lens) = records(chunks, Format::JsonLines, 100);
    assert_eq!((all.len(), lens), (5_000, vec![100; 50]));
    assert_eq!(all.last().map(|(place, _)| *place), Some(Place::Line(5_000)));
}

#[test]
fn an_error_is_told_behind_what_stands_before_it() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::InvalidData.into())
        }
    }
    let bytes = Box::new(io::Read::chain(&b"a\nb\nc"[..], Broken));
    let mut chunks = Chunks::new(TextInput { bytes, ..memory(&b""[..]) }, Format::Csv);
    assert_eq!(chunks.next(9).expect("whole records").map(|chunk| chunk.records), Some(2));
    assert!(chunks.next(0).expect("nothing asked").is_none());
    assert!(chunks.next(9).is_err());
}

#[test]
fn what_does_not_come_in_time_is_not_waited_for() {
    /// Has nothing for the moment every other time.
    struct Halting(Dripping, bool);
    impl Read for Halting {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.1 = !self.1;
            if self.1 { self.0.read(buffer) } else { Err(io::ErrorKind::WouldBlock.into()) }
        }
    }
    let dripping =
        Dripping { text: b"a,1\nb,2\n\"c\n\",3\nd".to_vec(), at: 0, lens: vec![8, 5, 4], reads: 0 };
    let input = TextInput { bytes: Box::new(Halting(dripping, false)), ..memory(&b""[..]) };
    let mut chunks = Chunks::new(input, Format::Csv);
    let chunk = chunks.next(100).expect("late").expect("records");
    assert_eq!((chunk.bytes.as_slice(), chunk.line), (&b"a,1\nb,2\n"[..], 1));
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 1_000, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn csv_is_the_same_wherever_it_is_cut(
        text in "(([ab]{0,3}|\"[a,\n\ré]{0,4}\"|\"\"x|é)(,([ab]{0,3}|\"[a\r\n]{0,3}(\"\")?\"))?(\n|\r\n|\r|\n\n|,)){0,8}[\"a,\r]{0,3}",
        lens in proptest::collection::vec(1..9_usize, 1..4),
        max in 1..5_usize,
    ) {
        let whole = records(Chunks::new(memory(text.as_bytes()), Format::Csv), Format::Csv, usize::MAX).0;
        let (cut, chunks) = records(dripping(text.as_bytes(), &lens, Format::Csv), Format::Csv, max);
        prop_assert_eq!(&cut, &whole);
        let ends = text.replace("\r\n", "\n").replace('\r', "\n");
        let last = whole.last().map(|(place, record)| {
            let lines = String::from_utf8_lossy(record).replace("\r\n", "\n").replace('\r', "\n");
            let behind = ends.trim_end_matches('\n').matches('\n').count() as u64 + 1;
            (*place, Place::Line(behind - lines.trim_end_matches('\n').matches('\n').count() as u64))
        });
        prop_assert!(last.is_none_or(|(place, counted)| place == counted), "{last:?}");
        prop_assert!(chunks.iter().rev().skip(1).all(|&len| len == max));
    }

    #[test]
    fn lines_are_the_same_wherever_they_are_cut(
        text in "(x{0,5}é?| |\r){0,3}(\n( |\r|x{0,3}){0,2}){0,8}",
        lens in proptest::collection::vec(1..9_usize, 1..4),
        max in 1..5_usize,
    ) {
        let whole = text.split_inclusive('\n').enumerate().filter(|(_, line)| !line.trim_ascii().is_empty());
        let whole: Vec<_> =
            whole.map(|(i, line)| (Place::Line(i as u64 + 1), line.as_bytes().to_vec())).collect();
        let json = Format::JsonLines;
        prop_assert_eq!(records(dripping(text.as_bytes(), &lens, json), json, max).0, whole);
    }
}
