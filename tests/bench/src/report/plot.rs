//! A plot of some curves, as a picture in SVG.

use std::fmt::Write as _;

/// Size of the picture, in its own units.
const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 360.0;

/// Where the curves are, from the picture's edges: room for the labels.
const LEFT: f64 = 70.0;
const RIGHT: f64 = 150.0;
const TOP: f64 = 30.0;
const BOTTOM: f64 = 50.0;

/// About as many marks as an axis has.
const N_MARKS: f64 = 5.0;

/// Told apart without colour vision, too (Okabe and Ito).
const COLOURS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];

/// One direction of a plot.
#[derive(Debug, Clone)]
pub(crate) struct Axis {
    label: &'static str,
    is_log: bool,
}

impl Axis {
    /// Even steps, from zero.
    pub(crate) fn linear(label: &'static str) -> Self {
        Self { label, is_log: false }
    }

    /// Each step is ten times the one before.
    pub(crate) fn log(label: &'static str) -> Self {
        Self { label, is_log: true }
    }
}

/// Curves over a common axis.
#[derive(Debug, Clone)]
pub(crate) struct Plot {
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    x: Axis,
    y: Axis,
    curves: Vec<(String, Vec<(f64, f64)>)>,
}

impl Plot {
    /// A plot without curves; `id` names its file.
    pub(crate) fn new(id: &'static str, title: &'static str, x: Axis, y: Axis) -> Self {
        Self { id, title, x, y, curves: vec![] }
    }

    /// With one more curve. Points that its axes cannot show are left out.
    #[must_use]
    pub(crate) fn curve(mut self, name: impl Into<String>, points: Vec<(f64, f64)>) -> Self {
        self.curves.push((name.into(), points));
        self
    }

    /// The picture.
    pub(super) fn svg(&self) -> String {
        let all = || self.curves.iter().flat_map(|(_, points)| points);
        let x = Scale::of(&self.x, all().map(|(x, _)| *x), LEFT, WIDTH - RIGHT);
        // The picture's y grows downwards.
        let y = Scale::of(&self.y, all().map(|(_, y)| *y), HEIGHT - BOTTOM, TOP);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
             font-family=\"sans-serif\" font-size=\"12\">\n\
             <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n"
        );
        let mut text = |x: f64, y: f64, anchor: &str, turn: &str, text: &str| {
            // Writing to a string cannot fail.
            let _ = writeln!(
                svg,
                "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\"{turn}>{}</text>",
                escape(text)
            );
        };
        text(LEFT, TOP - 12.0, "start", "", self.title);
        text((LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 10.0, "middle", "", self.x.label);
        let turn = format!(" transform=\"rotate(-90 14 {:.1})\"", HEIGHT / 2.0);
        text(14.0, HEIGHT / 2.0, "middle", &turn, self.y.label);
        for (mark, label) in x.marks() {
            text(mark, HEIGHT - BOTTOM + 18.0, "middle", "", &label);
        }
        for (mark, label) in y.marks() {
            text(LEFT - 8.0, mark + 4.0, "end", "", &label);
        }
        for (number, (name, _)) in self.curves.iter().enumerate() {
            text(WIDTH - RIGHT + 24.0, TOP + 10.0 + 18.0 * number as f64, "start", "", name);
        }
        let mut line = |x1: f64, y1: f64, x2: f64, y2: f64, colour: &str, width: f64| {
            let _ = writeln!(
                svg,
                "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" \
                 stroke=\"{colour}\" stroke-width=\"{width}\"/>"
            );
        };
        for (mark, _) in x.marks() {
            line(mark, TOP, mark, HEIGHT - BOTTOM, "#dddddd", 1.0);
        }
        for (mark, _) in y.marks() {
            line(LEFT, mark, WIDTH - RIGHT, mark, "#dddddd", 1.0);
        }
        for number in 0..self.curves.len() {
            let at = TOP + 6.0 + 18.0 * number as f64;
            line(WIDTH - RIGHT + 6.0, at, WIDTH - RIGHT + 20.0, at, colour(number), 3.0);
        }
        for (number, (_, points)) in self.curves.iter().enumerate() {
            let places: Vec<_> =
                points.iter().filter_map(|(a, b)| Some((x.place(*a)?, y.place(*b)?))).collect();
            let path: Vec<_> = places.iter().map(|(a, b)| format!("{a:.1},{b:.1}")).collect();
            let colour = colour(number);
            let _ = writeln!(
                svg,
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
                path.join(" ")
            );
            for (a, b) in places {
                let _ = writeln!(
                    svg,
                    "<circle cx=\"{a:.1}\" cy=\"{b:.1}\" r=\"2.5\" fill=\"{colour}\"/>"
                );
            }
        }
        svg + "</svg>\n"
    }
}

fn colour(number: usize) -> &'static str {
    COLOURS[number % COLOURS.len()]
}

/// Where values are on one axis.
struct Scale {
    is_log: bool,
    /// The values at the ends of the axis.
    low: f64,
    high: f64,
    /// Their places.
    begin: f64,
    end: f64,
}

impl Scale {
    fn of(axis: &Axis, values: impl Iterator<Item = f64>, begin: f64, end: f64) -> Self {
        let is_log = axis.is_log;
        let shown = values.filter(|value| value.is_finite() && (!is_log || *value > 0.0));
        let (low, high) = shown.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
            (low.min(value), high.max(value))
        });
        let (low, high) = if low > high { (1.0, 10.0) } else { (low, high) };
        let (low, high) = if is_log {
            let (low, high) = (low.log10().floor(), high.log10().ceil());
            (10f64.powf(low), 10f64.powf(high.max(low + 1.0)))
        } else {
            let (low, high) = (low.min(0.0), high.max(0.0));
            (low, if high > low { high * 1.05 } else { low + 1.0 })
        };
        Self { is_log, low, high, begin, end }
    }

    fn place(&self, value: f64) -> Option<f64> {
        let share = if self.is_log {
            (value.log10() - self.low.log10()) / (self.high.log10() - self.low.log10())
        } else {
            (value - self.low) / (self.high - self.low)
        };
        share.is_finite().then_some(self.begin + share * (self.end - self.begin))
    }

    /// Places of round values, with those.
    fn marks(&self) -> Vec<(f64, String)> {
        let mut values = vec![];
        if self.is_log {
            let mut value = self.low;
            while value <= self.high * 1.001 {
                values.push(value);
                value *= 10.0;
            }
        } else {
            let rough = (self.high - self.low) / N_MARKS;
            let power = 10f64.powf(rough.log10().floor());
            let steps = [1.0, 2.0, 5.0].map(|it| it * power);
            let step = steps.into_iter().find(|it| *it >= rough).unwrap_or(10.0 * power);
            let mut number = (self.low / step).ceil();
            while number * step <= self.high {
                values.push(number * step);
                number += 1.0;
            }
        }
        values.into_iter().filter_map(|it| Some((self.place(it)?, short(it)))).collect()
    }
}

/// A value in few characters.
fn short(value: f64) -> String {
    let (value, unit) = match value.abs() {
        it if it >= 1e9 => (value / 1e9, "G"),
        it if it >= 1e6 => (value / 1e6, "M"),
        it if it >= 1e4 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    // Steps of tenths show what floats leave behind them.
    let text = format!("{value:.4}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    format!("{text}{unit}")
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_begin_and_end_at_their_places() {
        let values = || [2.0, 500.0].into_iter();
        let log = Scale::of(&Axis::log("x"), values(), 10.0, 40.0);
        let at: Vec<_> = [1.0, 10.0, 1000.0].map(|it| log.place(it).unwrap().round()).into();
        assert_eq!(at, [10.0, 20.0, 40.0]);
        assert_eq!(log.place(0.0), None);
        let linear = Scale::of(&Axis::linear("x"), values(), 100.0, 0.0);
        assert_eq!(linear.place(0.0), Some(100.0));
        assert!(linear.place(500.0).unwrap() > 0.0);
    }

    #[test]
    fn marks_are_round_and_few() {
        let scale = Scale::of(&Axis::linear("x"), [0.0, 87.0].into_iter(), 0.0, 100.0);
        let labels: Vec<_> = scale.marks().into_iter().map(|(_, label)| label).collect();
        assert_eq!(labels, ["0", "20", "40", "60", "80"]);
        let scale = Scale::of(&Axis::log("x"), [1.0, 10_000.0].into_iter(), 0.0, 100.0);
        let labels: Vec<_> = scale.marks().into_iter().map(|(_, label)| label).collect();
        assert_eq!(labels, ["1", "10", "100", "1000", "10k"]);
    }

    #[test]
    fn picture_has_each_curve_and_no_live_markup() {
        let plot = Plot::new("id", "a < b & c", Axis::log("n"), Axis::linear("ms"))
            .curve("one", vec![(1.0, 2.0), (10.0, 3.0), (0.0, 1.0)])
            .curve("two", vec![]);
        let svg = plot.svg();
        assert!(svg.contains("a &lt; b &amp; c") && svg.contains(">one<") && svg.contains(">two<"));
        // The point that a logarithm has no place for is left out.
        assert_eq!(svg.matches("<circle").count(), 2);
    }
}
