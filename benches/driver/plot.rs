//! A line through some points, as SVG that reads well on light and on dark ground.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// The picture and the part of it that the points are in, in pixels.
const SIZE: (f64, f64) = (640.0, 320.0);
const AREA: (f64, f64, f64, f64) = (64.0, 40.0, 616.0, 264.0);

/// What is drawn; both axes begin at zero.
pub struct Plot {
    title: &'static str,
    x: &'static str,
    y: &'static str,
}

// === impl Plot ===

impl Plot {
    pub fn new(title: &'static str, x: &'static str, y: &'static str) -> Self {
        Self { title, x, y }
    }

    /// Prints the points as a table, and draws them into `benches/plots/<name>.svg`.
    pub fn write(&self, name: &str, points: &[(f64, f64)]) {
        println!("| {} | {} |\n| --- | --- |", self.x, self.y);
        for (x, y) in points {
            println!("| {x} | {y:.3} |");
        }
        println!();
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/plots");
        let path = folder.join(format!("{name}.svg"));
        fs::create_dir_all(&folder).and_then(|()| fs::write(&path, self.svg(points))).expect("a plot can be written");
    }

    fn svg(&self, points: &[(f64, f64)]) -> String {
        let (left, top, right, bottom) = AREA;
        let end = |of: fn(&(f64, f64)) -> f64| round_up(points.iter().map(of).fold(f64::MIN_POSITIVE, f64::max));
        let (most_x, most_y) = (end(|point| point.0), end(|point| point.1));
        let place = |x: f64, y: f64| (left + x / most_x * (right - left), bottom - y / most_y * (bottom - top));
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\" font-family=\"sans-serif\" font-size=\"12\" \
             fill=\"#777\">\n<text x=\"{left}\" y=\"22\" font-size=\"15\">{}</text>\n",
            SIZE.0, SIZE.1, self.title
        );
        for step in 0..=4 {
            let share = f64::from(step) / 4.0;
            let (x, y) = place(share * most_x, share * most_y);
            let _ = write!(
                svg,
                "<path d=\"M{left} {y:.1}H{right}\" stroke=\"#777\" stroke-opacity=\"0.3\"/>\n\
                 <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\n\
                 <text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n",
                left - 8.0,
                y + 4.0,
                short(share * most_y),
                bottom + 18.0,
                short(share * most_x)
            );
        }
        let _ = writeln!(svg, "<text x=\"{right}\" y=\"{}\" text-anchor=\"end\">{}</text>", bottom + 38.0, self.x);
        let _ = writeln!(svg, "<text x=\"{left}\" y=\"{}\" text-anchor=\"end\">{}</text>", top - 6.0, self.y);
        let line: Vec<String> =
            points.iter().map(|&(x, y)| place(x, y)).map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"#3b82f6\" stroke-width=\"2\"/>",
            line.join(" ")
        );
        for &(x, y) in points {
            let (x, y) = place(x, y);
            let _ = writeln!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\" fill=\"#3b82f6\"/>");
        }
        svg + "</svg>\n"
    }
}

/// The next number with one digit that counts, and its quarters are short: 1, 2, 4 or 8 times a power of ten.
fn round_up(value: f64) -> f64 {
    let power = 10f64.powf(value.log10().floor());
    [1.0, 2.0, 4.0, 8.0, 10.0].map(|digit| digit * power).into_iter().find(|end| *end >= value).unwrap_or(10.0 * power)
}

fn short(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
