//! Pictures of recorded results, as SVG.
//!
//! What is drawn depends on the results alone, so that a test can compare
//! pictures that are kept with those that their results give.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use plotters::coord::Shift;
use plotters::prelude::*;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::scaling::{About, Costs, Row, Scaling, median};

/// Latencies at given rates, several runs of each.
#[derive(Clone, Debug, Deserialize)]
pub struct Latencies {
    /// Where and when.
    pub about: About,
    /// What `tradejoin bench --rate … --json` printed, run by run.
    pub runs: Vec<LatencyRun>,
}

/// One run of the command.
#[derive(Clone, Debug, Deserialize)]
pub struct LatencyRun {
    /// A figure for each rate and number of workers.
    pub rows: Vec<LatencyRow>,
}

/// Latencies at one rate.
#[derive(Clone, Debug, Deserialize)]
pub struct LatencyRow {
    /// Trades a second that were due.
    pub rate: u64,
    /// Workers.
    pub workers: u32,
    /// Microseconds that so many in a hundred trades took at most.
    pub latency_us: LatencyUs,
}

/// Quantiles in microseconds.
#[derive(Clone, Debug, Deserialize)]
pub struct LatencyUs {
    /// Half of the trades.
    pub p50: f64,
    /// All but one in a hundred.
    pub p99: f64,
    /// All but one in a thousand.
    #[serde(rename = "p99.9")]
    pub p999: f64,
}

/// All pictures of the results in a folder, by file name.
///
/// # Errors
/// If a file of results is not there or not as it was recorded, or nothing can be
/// drawn of it.
pub fn pictures(results: &Path) -> anyhow::Result<Vec<(&'static str, String)>> {
    let partitioned: Scaling = read(results, "scaling-partitioned.json")?;
    let broadcast: Scaling = read(results, "scaling-broadcast.json")?;
    let latencies: Latencies = read(results, "latency.json")?;
    Ok(vec![
        ("rate.svg", rate(&partitioned, &broadcast)?),
        ("costs.svg", costs(&partitioned, &broadcast)?),
        ("latency.svg", latency(&latencies)?),
    ])
}

fn read<T: DeserializeOwned>(results: &Path, name: &str) -> anyhow::Result<T> {
    let path = results.join(name);
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is not as it was recorded", path.display()))
}

const FONT: &str = "sans-serif";
const TEXT: RGBColor = RGBColor(0x1e, 0x29, 0x3b);
const GRID: RGBColor = RGBColor(0xe2, 0xe8, 0xf0);
const BACKGROUND: RGBColor = RGBColor(0xfa, 0xfa, 0xfa);
const BLUE: RGBColor = RGBColor(0x1d, 0x4e, 0xd8);
const ORANGE: RGBColor = RGBColor(0xc2, 0x41, 0x0c);
/// One for each stage.
const STAGES: [(&str, RGBColor); 7] = [
    ("read", RGBColor(0x94, 0xa3, 0xb8)),
    ("route", RGBColor(0x25, 0x63, 0xeb)),
    ("look up", RGBColor(0x16, 0xa3, 0x4a)),
    ("merge", RGBColor(0xea, 0xb3, 0x08)),
    ("encode", RGBColor(0xea, 0x58, 0x0c)),
    ("write", RGBColor(0xdb, 0x27, 0x77)),
    ("board", RGBColor(0x7c, 0x3a, 0xed)),
];

type Canvas<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Draws on a canvas of its own, below a title and above where it comes from.
fn drawn(
    title: &str,
    about: &About,
    draw: impl FnOnce(&Canvas<'_>) -> anyhow::Result<()>,
) -> anyhow::Result<String> {
    const SIZE: (u32, u32) = (860, 460);
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        root.fill(&BACKGROUND)?;
        root.draw(&Text::new(title, (20, 14), (FONT, 17).into_font().color(&TEXT)))?;
        let About { cpu, cores, compiler, commit, date } = about;
        let compiler = compiler.split(" (").next().unwrap_or_default();
        let source = format!("{cpu}, {cores} cores, {compiler}, commit {commit}, {date}");
        root.draw(&Text::new(source, (20, SIZE.1 as i32 - 20), (FONT, 11).into_font().color(&TEXT)))?;
        draw(&root.margin(40, 26, 10, 10))?;
        root.present()?;
    }
    Ok(svg)
}

/// A point of a line.
type Point = (f64, f64);

/// How the points of a line are shown.
#[derive(Clone, Copy)]
enum Mark {
    Line,
    LineAndDots,
    Rings,
}

struct Series {
    name: String,
    color: RGBColor,
    mark: Mark,
    points: Vec<Point>,
}

/// Axes of which both are logarithmic.
struct Axes<'a> {
    x: (&'a str, f64, f64),
    y: (&'a str, f64, f64),
    ticks: usize,
    label: fn(&f64) -> String,
    legend: SeriesLabelPosition,
}

fn lines(area: &Canvas<'_>, axes: Axes<'_>, all: Vec<Series>) -> anyhow::Result<()> {
    let Axes { x, y, ticks, label, legend } = axes;
    let mut chart = ChartBuilder::on(area)
        .x_label_area_size(38)
        .y_label_area_size(60)
        .build_cartesian_2d((x.1..x.2).log_scale().base(2.0), (y.1..y.2).log_scale().base(2.0))?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID)
        .axis_style(TEXT)
        .label_style((FONT, 12).into_font().color(&TEXT))
        .axis_desc_style((FONT, 13).into_font().color(&TEXT))
        .x_desc(x.0)
        .y_desc(y.0)
        .x_labels(ticks)
        .y_labels(14)
        .x_label_formatter(&label)
        .y_label_formatter(&f64::to_string)
        .draw()?;
    for Series { name, color, mark, points } in all {
        let dots = points.clone();
        match mark {
            Mark::Rings => {
                let rings = dots.into_iter().map(|point| Circle::new(point, 7, color.stroke_width(2)));
                chart.draw_series(rings)?.label(name).legend(move |(x, y)| {
                    EmptyElement::at((x + 12, y)) + Circle::new((0, 0), 6, color.stroke_width(2))
                });
                continue;
            }
            Mark::LineAndDots => {
                chart.draw_series(dots.into_iter().map(|point| Circle::new(point, 3, color.filled())))?;
            }
            Mark::Line => {}
        }
        let width = if matches!(mark, Mark::Line) { 1 } else { 2 };
        let style = color.stroke_width(width);
        chart.draw_series(LineSeries::new(points, style))?.label(name).legend(move |(x, y)| {
            let dot = if width == 2 { 3 } else { 0 };
            EmptyElement::at((x, y))
                + PathElement::new(vec![(0, 0), (24, 0)], style)
                + Circle::new((12, 0), dot, color.filled())
        });
    }
    chart
        .configure_series_labels()
        .position(legend)
        .legend_area_size(32)
        .label_font((FONT, 12).into_font().color(&TEXT))
        .background_style(BACKGROUND)
        .border_style(GRID)
        .draw()?;
    Ok(())
}

/// Millions of messages a second by workers.
fn rate(partitioned: &Scaling, broadcast: &Scaling) -> anyhow::Result<String> {
    let mut all = Vec::new();
    for (scaling, color) in [(partitioned, BLUE), (broadcast, ORANGE)] {
        let of = |what: &str, mark, ns: &dyn Fn(&Row) -> Option<f64>| Series {
            name: format!("{}, {what}", scaling.distribution),
            color,
            mark,
            points: scaling
                .rows
                .iter()
                .filter_map(|row| Some((f64::from(row.workers), 1e3 / ns(row)?)))
                .collect(),
        };
        all.push(of("predicted", Mark::Line, &|row| Some(row.predicted)));
        all.push(of("simulated", Mark::LineAndDots, &|row| Some(row.simulated.ns)));
        all.push(of("measured", Mark::Rings, &|row| row.measured.map(|measured| measured.ns)));
    }
    let axes = Axes {
        x: ("workers, each on a core of its own", 1.0, 150.0),
        y: ("millions of messages a second", 64.0, 4_096.0),
        ticks: 8,
        label: |workers| format!("{workers:.0}"),
        legend: SeriesLabelPosition::UpperLeft,
    };
    drawn("Rate by workers: mix article, instruments alone", &partitioned.about, |area| {
        lines(area, axes, all)
    })
}

/// Microseconds by trades a second.
fn latency(latencies: &Latencies) -> anyhow::Result<String> {
    type Quantile = fn(&LatencyUs) -> f64;
    const QUANTILES: [(&str, Mark, Quantile); 3] = [
        ("half", Mark::Line, |us| us.p50),
        ("99 %", Mark::LineAndDots, |us| us.p99),
        ("99.9 %", Mark::Rings, |us| us.p999),
    ];
    let rows = || latencies.runs.iter().flat_map(|run| &run.rows);
    let distinct = |of: fn(&LatencyRow) -> u64| {
        let mut values: Vec<_> = rows().map(of).collect();
        values.sort_unstable();
        values.dedup();
        values
    };
    let mut all = Vec::new();
    for (workers, color) in distinct(|row| row.workers.into()).into_iter().zip([BLUE, ORANGE]) {
        for (name, mark, quantile) in QUANTILES {
            let point = |rate: u64| {
                let is_meant = |row: &&LatencyRow| (row.rate, u64::from(row.workers)) == (rate, workers);
                let figures: Vec<_> = rows().filter(is_meant).map(|row| quantile(&row.latency_us)).collect();
                (!figures.is_empty()).then(|| (rate as f64 / 1e6, median(figures)))
            };
            let points = distinct(|row| row.rate).into_iter().filter_map(point).collect();
            let name = format!("{workers} {}, {name}", if workers == 1 { "worker" } else { "workers" });
            all.push(Series { name, color, mark, points });
        }
    }
    let highest =
        all.iter().flat_map(|series| &series.points).fold(0.0, |most: f64, point| most.max(point.1));
    let fastest =
        all.iter().flat_map(|series| &series.points).fold(0.0, |most: f64, point| most.max(point.0));
    let axes = Axes {
        x: ("millions of trades a second that are due", 0.08, fastest * 1.2),
        y: ("µs from due to written, at most", 0.5, highest * 4.0),
        ticks: 10,
        label: |millions| format!("{millions:.2}"),
        legend: SeriesLabelPosition::UpperLeft,
    };
    drawn("Latency by load", &latencies.about, |area| lines(area, axes, all))
}

/// Nanoseconds of one thread by stage and shards.
fn costs(partitioned: &Scaling, broadcast: &Scaling) -> anyhow::Result<String> {
    /// With more, what broadcasting costs hides the rest.
    const BROADCAST_MAX: u32 = 8;
    let broadcast: Vec<_> = broadcast.rows.iter().filter(|row| row.workers <= BROADCAST_MAX).collect();
    let all: Vec<_> = partitioned.rows.iter().collect();
    drawn("What a message costs on one thread, by stage and shards", &partitioned.about, |area| {
        let (left, rest) = area.split_horizontally(450);
        let (middle, right) = rest.split_horizontally(270);
        bars(&left, "partitioned", &all)?;
        bars(&middle, "broadcast", &broadcast)?;
        for (number, (name, color)) in (0..).zip(STAGES.iter().rev()) {
            let y = 40 + 22 * number;
            right.draw(&Rectangle::new([(12, y), (24, y + 12)], color.filled()))?;
            right.draw(&Text::new(*name, (30, y), (FONT, 12).into_font().color(&TEXT)))?;
        }
        Ok(())
    })
}

fn bars(area: &Canvas<'_>, name: &str, rows: &[&Row]) -> anyhow::Result<()> {
    let stages = |costs: &Costs| {
        let Costs { read, route, look_up, merge, encode, write, board, .. } = *costs;
        [read, route, look_up, merge, encode, write, board]
    };
    let highest = rows.iter().map(|row| row.costs.sum()).fold(0.0, f64::max) * 1.05;
    let mut chart = ChartBuilder::on(area)
        .margin(8)
        .x_label_area_size(38)
        .y_label_area_size(46)
        .build_cartesian_2d(0.0..rows.len() as f64, 0.0..highest)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .disable_x_axis()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID)
        .axis_style(TEXT)
        .label_style((FONT, 12).into_font().color(&TEXT))
        .axis_desc_style((FONT, 13).into_font().color(&TEXT))
        .y_desc("ns a message")
        .y_labels(10)
        .y_label_formatter(&|value: &f64| format!("{value:.0}"))
        .draw()?;
    for (number, row) in rows.iter().enumerate() {
        let (start, end) = (number as f64 + 0.15, number as f64 + 0.85);
        let mut below = 0.0;
        for (ns, (_, color)) in stages(&row.costs).into_iter().zip(STAGES) {
            chart.draw_series([Rectangle::new([(start, below), (end, below + ns)], color.filled())])?;
            below += ns;
        }
    }
    let (width, height) = area.dim_in_pixel();
    let step = (f64::from(width) - 62.0) / rows.len() as f64;
    for (number, row) in rows.iter().enumerate() {
        let x =
            (54.0 + step * (number as f64 + 0.5)).round() as i32 - 4 * row.workers.to_string().len() as i32;
        let label =
            Text::new(row.workers.to_string(), (x, height as i32 - 42), (FONT, 12).into_font().color(&TEXT));
        area.draw(&label)?;
    }
    let place = (54 + width as i32 / 4, height as i32 - 22);
    area.draw(&Text::new(format!("shards, {name}"), place, (FONT, 13).into_font().color(&TEXT)))?;
    Ok(())
}
