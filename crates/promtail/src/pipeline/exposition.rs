//! Metrics in Prometheus' text format.

use std::fmt::Write;

use super::entry::Labels;
use super::registry::{Families, Family, Kind, Series};
use go_compat::number::general;

/// The text of all families, sorted by name.
pub fn text(families: &Families) -> String {
    let mut out = String::new();
    for (name, family) in families {
        // Writing to a String does not fail.
        let _ = write_family(&mut out, name, family);
    }
    out
}

fn write_family(out: &mut String, name: &str, family: &Family) -> std::fmt::Result {
    let kind = match family.kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram(_) => "histogram",
    };
    let shown = if is_plain(name) { name.to_owned() } else { format!("\"{}\"", escape(name, true)) };
    if !family.help.is_empty() {
        writeln!(out, "# HELP {shown} {}", escape(&family.help, false))?;
    }
    writeln!(out, "# TYPE {shown} {kind}")?;
    for (labels, series) in &family.series {
        match &family.kind {
            Kind::Histogram(bounds) => write_histogram(out, name, labels, bounds, series)?,
            _ => sample(out, name, labels, None, series.value)?,
        }
    }
    Ok(())
}

fn write_histogram(out: &mut String, name: &str, labels: &Labels, bounds: &[f64], series: &Series) -> std::fmt::Result {
    let bucket = format!("{name}_bucket");
    let mut total = 0;
    for (bound, count) in bounds.iter().zip(&series.buckets) {
        total += count;
        sample(out, &bucket, labels, Some(&general(*bound)), total as f64)?;
    }
    if bounds.last().is_none_or(|bound| bound.is_finite()) {
        sample(out, &bucket, labels, Some("+Inf"), series.count as f64)?;
    }
    sample(out, &format!("{name}_sum"), labels, None, series.value)?;
    sample(out, &format!("{name}_count"), labels, None, series.count as f64)
}

fn sample(out: &mut String, name: &str, labels: &Labels, le: Option<&str>, value: f64) -> std::fmt::Result {
    // A name outside the classic format stands among the labels, in quotes.
    let mut pairs = if is_plain(name) { Vec::new() } else { vec![format!("\"{}\"", escape(name, true))] };
    for (label, text) in labels.iter() {
        let label = if is_plain(label) { label.to_string() } else { format!("\"{}\"", escape(label, true)) };
        pairs.push(format!("{label}=\"{}\"", escape(text, true)));
    }
    pairs.extend(le.map(|le| format!("le=\"{le}\"")));
    if is_plain(name) {
        out.push_str(name);
    }
    if !pairs.is_empty() {
        write!(out, "{{{}}}", pairs.join(","))?;
    }
    writeln!(out, " {}", general(value))
}

fn is_plain(name: &str) -> bool {
    name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b':')
        && !name.starts_with(|c: char| c.is_ascii_digit())
}

fn escape(text: &str, quotes: bool) -> String {
    let text = text.replace('\\', "\\\\").replace('\n', "\\n");
    if quotes { text.replace('"', "\\\"") } else { text }
}

#[cfg(test)]
mod tests {
    use super::super::registry::{Change, Definition, Registry};
    use super::*;

    #[test]
    fn all_kinds_are_written() {
        let registry = Registry::default();
        let labels: Labels = [("b", "x\"\\\n")].into_iter().collect();
        let define = |name: &str, help: &str, kind| Definition {
            name: name.to_owned(),
            help: help.to_owned(),
            kind,
            max_idle: i64::MAX,
        };
        registry.change(&define("c", "counts\nlines", Kind::Counter), &labels, Change::Add(2.0), 0);
        registry.change(&define("g.x", "", Kind::Gauge), &Labels::default(), Change::Set(-1.5), 0);
        let histogram = define("h", "spread", Kind::Histogram(vec![1.0, 2.5]));
        for value in [0.5, 2.5, 7.0] {
            registry.change(&histogram, &Labels::default(), Change::Observe(value), 0);
        }
        assert_eq!(
            text(&registry.collect(0)),
            "# HELP c counts\\nlines\n# TYPE c counter\nc{b=\"x\\\"\\\\\\n\"} 2\n\
             # TYPE \"g.x\" gauge\n{\"g.x\"} -1.5\n\
             # HELP h spread\n# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"2.5\"} 2\nh_bucket{le=\"+Inf\"} 3\n\
             h_sum 10\nh_count 3\n"
        );
    }
}
