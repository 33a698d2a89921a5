//! What was measured as pictures: bars in panels, in SVG that is readable on light and on dark ground.
use std::fmt::Write as _;

use super::{
    case::{BATCHES, Case, OVERLOAD_BATCH},
    goal::thousands,
    results::{Results, Spread},
    subject::Subject,
};
use crate::{measured::Latency, workload::Compression};

/// A picture.
#[derive(Debug, Clone)]
pub struct Plot {
    /// The name of its file.
    pub file: &'static str,
    /// What it shows.
    pub title: String,
    panels: Vec<Panel>,
}

/// A part of a picture, with a scale of its own from zero on.
#[derive(Debug, Clone)]
struct Panel {
    title: String,
    bars: Vec<Bar>,
}

#[derive(Debug, Clone)]
struct Bar {
    subject: Subject,
    spread: Spread,
    label: String,
}

/// Sizes, in pixels.
const WIDTH: usize = 760;
const NAMES: usize = 170;
const NUMBERS: usize = 110;
const BAR: usize = 14;
const ROW: usize = 20;
const HEAD: usize = 30;
const MARGIN: usize = 12;

/// Grounds may be light or dark, whatever the page's own colours.
const STYLE: &str = "\
text { font: 12px system-ui, sans-serif; fill: #1f2328 } \
.title { font-weight: 600; font-size: 14px } .panel { font-weight: 600 } .name { text-anchor: end } \
.ours { fill: #1f77b4 } .native { fill: #7fb2d9 } .other { fill: #9aa0a6 } \
.spread { stroke: #1f2328; stroke-width: 1.5; opacity: 0.6 } \
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .ours { fill: #4da3e0 } .native { fill: #2f6690 } \
.other { fill: #6e7681 } .spread { stroke: #e6edf3 } }";

/// One figure of many times.
type Percentile = fn(&Latency) -> f64;

/// All pictures that something was measured for.
#[must_use]
pub fn plots(results: &Results) -> Vec<Plot> {
    let efficiency = |compression| {
        let panel = move |batch| {
            let cell = move |subject| {
                let case = Case::new(subject, batch).compressed(compression);
                results.throughput(&case)?.spread(|round| round.records_per_cpu_second / 1e3)
            };
            panel(&format!("batches of {}", thousands(batch)), cell, |figure| thousands(figure.round() as usize))
        };
        BATCHES.map(panel).to_vec()
    };
    let percentiles: [(&str, Percentile); 3] =
        [("p50", |all| all.p50_us), ("p99", |all| all.p99_us), ("p99.9", |all| all.p999_us)];
    let latency = percentiles.map(|(name, percentile)| {
        let cell = |subject| {
            let cell = results.latency.iter().find(|cell| cell.case == Case::new(subject, LATENCY_BATCH))?;
            cell.spread(|added| added.microseconds(percentile))
        };
        panel(name, cell, |figure| thousands(figure.round() as usize))
    });
    let mebibytes = |figure: f64| thousands(figure.round() as usize);
    let peak = |subject| {
        let cell = results.throughput(&Case::new(subject, OVERLOAD_BATCH))?;
        cell.spread(|round| round.peak_bytes as f64 / f64::from(1 << 20))
    };
    let slow = |subject| {
        let cell = results.overload.iter().find(|cell| cell.case.subject == subject)?;
        cell.spread(|round| round.peak_bytes as f64 / f64::from(1 << 20))
    };
    let memory = [
        panel("under as much load as each takes", peak, mebibytes),
        panel("while the sink is too slow", slow, mebibytes),
    ];
    let plots = [
        ("efficiency.svg", "Thousand records a second per CPU second, uncompressed", efficiency(Compression::None)),
        (
            "efficiency-gzip.svg",
            "Thousand records a second per CPU second, gzip in and out",
            efficiency(Compression::Gzip),
        ),
        ("latency.svg", "Added latency at half load, batches of 100, in microseconds", latency.to_vec()),
        ("memory.svg", "Peak memory, batches of 1,000, in MiB", memory.to_vec()),
    ];
    let plots = plots.map(|(file, title, panels)| {
        let panels = panels.into_iter().filter(|panel| !panel.bars.is_empty()).collect();
        Plot { file, title: title.into(), panels }
    });
    plots.into_iter().filter(|plot| !plot.panels.is_empty()).collect()
}

/// The batch whose latency is shown.
const LATENCY_BATCH: usize = 100;

fn panel(title: &str, cell: impl Fn(Subject) -> Option<Spread>, label: impl Fn(f64) -> String) -> Panel {
    let bar = |subject| {
        let spread = cell(subject)?;
        Some(Bar { subject, spread, label: label(spread.median) })
    };
    // Chains are of no use beside others; tables have them.
    Panel { title: title.into(), bars: Subject::main().filter_map(bar).collect() }
}

impl Plot {
    /// The picture as SVG.
    #[must_use]
    pub fn svg(&self) -> String {
        let rows: usize = self.panels.iter().map(|panel| panel.bars.len()).sum();
        let height = 2 * MARGIN + HEAD + self.panels.len() * HEAD + rows * ROW;
        let title = &self.title;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
             height=\"{height}\" role=\"img\">\n<title>{title}</title>\n<style>{STYLE}</style>\n\
             <text class=\"title\" x=\"{MARGIN}\" y=\"{}\">{title}</text>\n",
            MARGIN + BAR,
        );
        let mut top = MARGIN + HEAD;
        for panel in &self.panels {
            panel.draw(top, &mut svg);
            top += HEAD + panel.bars.len() * ROW;
        }
        svg.push_str("</svg>\n");
        svg
    }
}

impl Panel {
    fn draw(&self, top: usize, svg: &mut String) {
        let largest = self.bars.iter().map(|bar| bar.spread.max).fold(f64::MIN_POSITIVE, f64::max);
        let width = |figure: f64| figure / largest * (WIDTH - NAMES - NUMBERS) as f64;
        let _ = writeln!(svg, "<text class=\"panel\" x=\"{MARGIN}\" y=\"{}\">{}</text>", top + ROW, self.title);
        for (index, Bar { subject, spread, label }) in self.bars.iter().enumerate() {
            let top = top + HEAD + index * ROW;
            let (text, middle) = (top + BAR - 3, top + BAR / 2);
            let class = match subject {
                Subject::Sluicegate(_) => "ours",
                Subject::Native(_) => "native",
                _ => "other",
            };
            let [bar, min, max] = [spread.median, spread.min, spread.max].map(width);
            let [from, to] = [min, max].map(|end| NAMES as f64 + end);
            let end = NAMES as f64 + max + 8.0;
            let _ = write!(
                svg,
                "<text class=\"name\" x=\"{}\" y=\"{text}\">{}</text>\n\
                 <rect class=\"{class}\" x=\"{NAMES}\" y=\"{top}\" width=\"{bar:.1}\" height=\"{BAR}\"/>\n\
                 <line class=\"spread\" x1=\"{from:.1}\" y1=\"{middle}\" x2=\"{to:.1}\" y2=\"{middle}\"/>\n\
                 <text x=\"{end:.1}\" y=\"{text}\">{label}</text>\n",
                NAMES - 8,
                subject.title(),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_with_their_spread() {
        let bar = |subject, min, median, max| {
            let spread = Spread { median, min, max };
            Bar { subject, spread, label: format!("{median}") }
        };
        let ours = Subject::all().next().expect("there are some");
        let bars = vec![bar(ours, 90.0, 100.0, 120.0), bar(Subject::Nginx, 60.0, 60.0, 60.0)];
        let plot =
            Plot { file: "plot.svg", title: "Bars".into(), panels: vec![Panel { title: "one panel".into(), bars }] };
        insta::assert_snapshot!(plot.svg());
    }

    #[test]
    fn nothing_measured_gives_no_picture() {
        assert!(plots(&Results::default()).is_empty());
    }
}
