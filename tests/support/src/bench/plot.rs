//! The plot of docs/benchmarks.svg: memory and CPU at rest by the number of plans.

use std::fmt::Write;

use super::figures::{Figures, Rest};
use super::load::Kind;
use super::report::thousands;

/// Size of one panel, and what is around its axes.
const PANEL: [f64; 2] = [330.0, 220.0];
const MARGIN: [f64; 2] = [55.0, 40.0];

/// One line of a panel.
struct Series {
    name: &'static str,
    colour: &'static str,
    value: fn(&Rest) -> f64,
}

const MEMORY: [Series; 2] = [
    Series { name: "at rest", colour: "#0b6bcb", value: |it| it.resident_kib as f64 / 1024.0 },
    Series { name: "peak", colour: "#c2410c", value: |it| it.peak_kib as f64 / 1024.0 },
];
const CPU: [Series; 1] = [Series { name: "at rest", colour: "#0b6bcb", value: |it| it.operator_cpu_percent }];

/// A panel for memory and one for CPU; nothing where no plans were measured at rest.
#[must_use]
pub fn svg(all: &[Figures]) -> Option<String> {
    let plans = all.iter().filter(|it| it.kind == Kind::Plans);
    let mut points: Vec<_> = plans.filter_map(|it| Some((it.objects, it.rest.as_ref()?))).collect();
    points.sort_by_key(|it| it.0);
    if points.is_empty() {
        return None;
    }
    let [width, height] = [2.0 * (PANEL[0] + MARGIN[0]) + 20.0, PANEL[1] + 2.0 * MARGIN[1]];
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    panel(&mut svg, MARGIN[0], "memory of the operator, MiB", &MEMORY, &points);
    panel(&mut svg, 2.0 * MARGIN[0] + PANEL[0], "CPU of one core at rest, %", &CPU, &points);
    svg.push_str("</svg>\n");
    Some(svg)
}

fn panel(svg: &mut String, left: f64, title: &str, series: &[Series], points: &[(usize, &Rest)]) {
    let (top, bottom) = (MARGIN[1], MARGIN[1] + PANEL[1]);
    let values = series.iter().flat_map(|it| points.iter().map(|(_, rest)| (it.value)(rest)));
    let step = step(values.fold(0.0, f64::max));
    let decades = |objects: usize| (objects as f64).log10();
    // Half a decade on both sides.
    let (first, last) = (decades(points[0].0) - 0.5, decades(points[points.len() - 1].0) + 0.5);
    let x = |objects: usize| left + PANEL[0] * (decades(objects) - first) / (last - first);
    let y = |value: f64| bottom - PANEL[1] * value / (4.0 * step);
    let mut line = |text: std::fmt::Arguments<'_>| writeln!(svg, "{text}").unwrap_or_default();
    line(format_args!("<text x=\"{left}\" y=\"{}\" font-weight=\"bold\">{title}</text>", top - 15.0));
    for number in 0..=4 {
        let (value, right) = (step * f64::from(number), left + PANEL[0]);
        let shown = (value * 1000.0).round() / 1000.0;
        let y = y(value);
        line(format_args!("<line x1=\"{left}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"#d4d4d8\"/>"));
        let (x, y) = (left - 6.0, y + 4.0);
        line(format_args!("<text x=\"{x}\" y=\"{y:.1}\" text-anchor=\"end\">{shown}</text>"));
    }
    for (objects, _) in points {
        let (x, y, plans) = (x(*objects), bottom + 18.0, thousands(*objects));
        line(format_args!("<text x=\"{x:.1}\" y=\"{y}\" text-anchor=\"middle\">{plans} plans</text>"));
    }
    for (number, Series { name, colour, value }) in series.iter().enumerate() {
        let at: Vec<_> = points.iter().map(|(objects, rest)| (x(*objects), y(value(rest)))).collect();
        let path: Vec<_> = at.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let path = path.join(" ");
        line(format_args!("<polyline points=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>"));
        for (x, y) in at {
            line(format_args!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\" fill=\"{colour}\"/>"));
        }
        let (x, y) = (left + 10.0, top + 16.0 + 16.0 * number as f64);
        line(format_args!("<text x=\"{x}\" y=\"{y}\" fill=\"{colour}\">{name}</text>"));
    }
}

/// A round number, four of which are no less than the largest value.
fn step(largest: f64) -> f64 {
    let least = (largest / 4.0).max(0.01);
    let unit = 10.0_f64.powf(least.log10().floor());
    let factors = [1.0, 2.0, 2.5, 5.0];
    factors.into_iter().map(|it| it * unit).find(|it| *it >= least).unwrap_or(10.0 * unit)
}
