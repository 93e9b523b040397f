//! The plot: bars, drawn from the records alone.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, anyhow};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::record::{FilesRecord, MemoryRecord};

const WIDTH: i32 = 900;
const MARGIN: i32 = 24;
/// Where bars begin: names stand before it.
const BARS_LEFT: i32 = 230;
/// The length of the longest bar: figures stand behind it.
const BAR_LEN_MAX: f64 = 560.0;
const BAR_HEIGHT: i32 = 18;
const ROW_HEIGHT: i32 = 26;
const HEADING_HEIGHT: i32 = 44;
const FONT: &str = "Helvetica, Arial, sans-serif";

// The page's own white: the plot reads the same on a dark background.
const PAPER: RGBColor = RGBColor(255, 255, 255);
const INK: RGBColor = RGBColor(15, 23, 42);
const FAINT: RGBColor = RGBColor(100, 116, 139);
const OURS: RGBColor = RGBColor(21, 128, 61);
const THEIRS: RGBColor = RGBColor(59, 130, 246);
const YARDSTICK: RGBColor = RGBColor(148, 163, 184);

/// Bars that share a scale.
struct Group {
    heading: String,
    bars: Vec<Bar>,
}

struct Bar {
    name: String,
    value: f64,
    label: String,
    color: RGBColor,
}

/// Draws the records.
///
/// # Errors
/// If there is nothing to draw, or the file cannot be written.
pub(crate) fn draw(
    path: &Path,
    memory: Option<&MemoryRecord>,
    files: Option<&FilesRecord>,
) -> anyhow::Result<()> {
    let mut groups = memory.map(memory_groups).unwrap_or_default();
    groups.extend(files.map(file_groups).unwrap_or_default());
    let rows: usize = groups.iter().map(|group| group.bars.len()).sum();
    // A few dozen rows at most.
    let height = MARGIN + groups.len() as i32 * HEADING_HEIGHT + rows as i32 * ROW_HEIGHT + MARGIN / 2;
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (WIDTH as u32, height as u32)).into_drawing_area();
        area.fill(&PAPER).map_err(|error| anyhow!("{error}"))?;
        let mut top = MARGIN / 2;
        for group in &groups {
            top = draw_group(&area, group, top).map_err(|error| anyhow!("{error}"))?;
        }
        area.present().map_err(|error| anyhow!("{error}"))?;
    }
    let svg = svg.replacen("<svg ", &format!("<svg role=\"img\" aria-label=\"{}\" ", summary(&groups)), 1);
    fs::write(path, svg + "\n").with_context(|| format!("cannot write {}", path.display()))
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

/// Draws a group, and gives where the next one begins.
fn draw_group<'a>(
    area: &Area<'a>,
    group: &Group,
    top: i32,
) -> Result<i32, DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>> {
    let heading = style((FONT, 16, FontStyle::Bold).into_font(), &INK, HPos::Left);
    let name = style((FONT, 14).into_font(), &INK, HPos::Right);
    let figure = style((FONT, 13).into_font(), &FAINT, HPos::Left);
    area.draw_text(&group.heading, &heading, (MARGIN, top + HEADING_HEIGHT / 2 + 4))?;
    let most = group.bars.iter().map(|bar| bar.value).fold(f64::MIN_POSITIVE, f64::max);
    let mut y = top + HEADING_HEIGHT;
    for bar in &group.bars {
        let middle = y + BAR_HEIGHT / 2;
        let end = BARS_LEFT + (BAR_LEN_MAX * bar.value / most).round().max(1.0) as i32;
        area.draw(&Rectangle::new([(BARS_LEFT, y), (end, y + BAR_HEIGHT)], bar.color.filled()))?;
        area.draw_text(&bar.name, &name, (BARS_LEFT - 10, middle))?;
        area.draw_text(&bar.label, &figure, (end + 8, middle))?;
        y += ROW_HEIGHT;
    }
    Ok(y)
}

/// A text that is in the middle of a line.
fn style<'a>(font: FontDesc<'a>, color: &'a RGBColor, h: HPos) -> TextStyle<'a> {
    TextStyle::from(font).color(color).pos(Pos::new(h, VPos::Center))
}

fn memory_groups(record: &MemoryRecord) -> Vec<Group> {
    let group = |set: &crate::record::SetRecord| {
        let what =
            if set.name == "fixed" { "a table that does not change" } else { "10 % instrument changes" };
        let bar = |program: &crate::record::ProgramRecord| Bar {
            name: format!("{}, {}", program.title(), workers(program.workers)),
            value: program.ratio_to_naive.median,
            label: format!("{:.2} ×", program.ratio_to_naive.median),
            color: color(&program.name),
        };
        Group {
            heading: format!("In memory, {what}: speed by that of naive; longer is faster"),
            bars: set.programs.iter().map(bar).collect(),
        }
    };
    record.sets.iter().map(group).collect()
}

fn file_groups(record: &FilesRecord) -> Vec<Group> {
    let group = |case: &crate::record::CaseRecord| {
        let bar = |program: &crate::record::FileProgramRecord| Bar {
            name: program.name.clone(),
            value: program.time_to_tradejoin.median,
            label: format!("{:.2} ×, {:.2} s", program.time_to_tradejoin.median, program.elapsed_s.median),
            color: color(&program.name),
        };
        Group {
            heading: format!("{}: time by that of tradejoin; shorter is faster", case.name),
            bars: case.programs.iter().map(bar).collect(),
        }
    };
    record.cases.iter().map(group).collect()
}

fn workers(count: u32) -> String {
    if count == 1 { "1 worker".to_owned() } else { format!("{count} workers") }
}

fn color(program: &str) -> RGBColor {
    match program {
        "naive" => YARDSTICK,
        name if name.starts_with("tradejoin") => OURS,
        _ => THEIRS,
    }
}

/// The plot in words.
fn summary(groups: &[Group]) -> String {
    let group = |group: &Group| {
        let bars: Vec<_> = group.bars.iter().map(|bar| format!("{} {}", bar.name, bar.label)).collect();
        format!("{}: {}", group.heading, bars.join(", "))
    };
    groups.iter().map(group).collect::<Vec<_>>().join(". ")
}
