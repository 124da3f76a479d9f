//! Containers, those in trouble first.

use std::cmp::Reverse;
use std::fmt::{self, Write};

use super::destinations::more;
use super::{Ago, Escaped, Exact, LONGEST_ERROR, Shape, begin_table, end_table, last_error};
use crate::status::Report;
use crate::status::numbers::{Bytes, Count, Of, Rate, Span};
use crate::status::verdict::short;
use crate::status::verdict::trouble::Trouble;
use crate::streams::view::{ContainerView, LaneView, RingView};

/// Containers that are shown: more would be slow to load again every few seconds, and too many to read.
const MOST: usize = 100;

/// The bar's length, in the units that it is drawn in.
const LENGTH: u64 = 1_000;

pub(super) fn section(out: &mut String, report: &Report) -> fmt::Result {
    let (view, now) = (&report.view, report.now);
    out.write_str("<section aria-labelledby=\"containers\">\n<h2 id=\"containers\">Containers</h2>\n")?;
    let open = view.containers.len() + view.unlisted;
    let (took, may) = (view.rings_bytes, view.rings_budget_bytes);
    write!(out, "<p>{}", Of(open as u64, "container"))?;
    // No budget is in force while RING_BUDGET cannot be used.
    if may > 0 && may < u64::MAX {
        let (took, may) = (Exact(took, Bytes(took)), Exact(may, Bytes(may)));
        write!(out, "; all logs, those of stopped containers too, take {took} of {may} on disk")?;
    }
    out.write_str("</p>\n")?;
    if view.containers.is_empty() {
        return out.write_str("</section>\n");
    }
    let mut all: Vec<_> =
        view.containers.iter().map(|container| (Trouble::of_container(container, now), container)).collect();
    // Those of a level are as they came: furthest behind first, then by name.
    all.sort_by_key(|(trouble, _)| Reverse(trouble.level));
    let has_several = view.containers.iter().any(|container| container.destinations.len() > 1);
    let mut columns = vec![("Container", ""), ("State", ""), ("Lines/s", "number"), ("Log on disk", "ring")];
    if has_several {
        columns.push(("Destination", ""));
    }
    columns.extend([("Waiting", "number"), ("Last push", "words"), ("Lost", "number")]);
    begin_table(out, "", "Containers", &columns)?;
    for (trouble, container) in all.iter().take(MOST) {
        rows(out, container, *trouble, has_several, now)?;
    }
    end_table(out)?;
    more(out, open - all.len().min(MOST))?;
    out.write_str("</section>\n")
}

fn rows(out: &mut String, container: &ContainerView, trouble: Trouble, has_several: bool, now: i64) -> fmt::Result {
    let ContainerView { id, name, image, running, lines_per_second, destinations, .. } = container;
    let rows = destinations.len().max(1);
    let scope = if rows > 1 { "rowgroup" } else { "row" };
    write!(
        out,
        "<tbody role=\"rowgroup\">\n<tr role=\"row\">\n\
         <th role=\"rowheader\" scope=\"{scope}\" rowspan=\"{rows}\" class=\"name\"><bdi>{}</bdi>\
         <span class=\"quiet\">{} <bdi>{}</bdi></span></th>\n",
        Escaped(name),
        Escaped(id),
        Escaped(image)
    )?;
    let (level, shape, word) = (trouble.level.as_str(), Shape(trouble.level), trouble.word);
    let runs = if *running { "running" } else { "stopped" };
    write!(
        out,
        "<td role=\"cell\" rowspan=\"{rows}\" data-label=\"State\"><span class=\"state {level}\">{shape}{word}</span>\
         <span class=\"quiet\">{runs}</span>"
    )?;
    if let Some(reason) = &container.unusable {
        write!(out, "<span class=\"bad\">{}</span>", Escaped(reason.chars().take(LONGEST_ERROR).collect::<String>()))?;
    }
    write!(
        out,
        "</td>\n\
         <td role=\"cell\" rowspan=\"{rows}\" class=\"number\" data-label=\"Lines/s\">"
    )?;
    match lines_per_second {
        Some(rate) => write!(out, "<span title=\"{rate:.3}\">{}</span>", Rate(*rate))?,
        None => out.write_str("<span class=\"quiet\" title=\"not known in the first seconds\">–</span>")?,
    }
    out.write_str("</td>\n")?;
    ring(out, container, trouble, rows, now)?;
    for (at, lane) in destinations.iter().enumerate() {
        if at > 0 {
            out.write_str("</tr>\n<tr role=\"row\">\n")?;
        }
        if has_several {
            let (url, short) = (Escaped(&lane.destination), Escaped(short(&lane.destination)));
            writeln!(out, "<td role=\"cell\" data-label=\"Destination\"><span title=\"{url}\">{short}</span></td>")?;
        }
        cells(out, lane, now)?;
    }
    if destinations.is_empty() {
        let columns = if has_several { 4 } else { 3 };
        writeln!(
            out,
            "<td role=\"cell\" colspan=\"{columns}\">its options cannot be used; lines are buffered on disk</td>"
        )?;
    }
    out.write_str("</tr>\n</tbody>\n")
}

/// What the ring takes, and how much of what it may take waits.
fn ring(out: &mut String, container: &ContainerView, trouble: Trouble, rows: usize, now: i64) -> fmt::Result {
    let RingView { bytes, limit_bytes, oldest_line, .. } = container.ring;
    let waiting = container.destinations.iter().map(|lane| lane.lag_bytes).max().unwrap_or_default();
    let length = |bytes: u64| (LENGTH * bytes.min(limit_bytes)).checked_div(limit_bytes).unwrap_or_default();
    write!(
        out,
        "<td role=\"cell\" rowspan=\"{rows}\" class=\"ring\" data-label=\"Log on disk\">\
         <svg class=\"bar {}\" viewBox=\"0 0 {LENGTH} 1\" preserveAspectRatio=\"none\" role=\"img\" \
         aria-label=\"{} of {} wait for Loki\"><rect class=\"of\" width=\"{LENGTH}\" height=\"1\"/>\
         <rect class=\"kept\" width=\"{}\" height=\"1\"/><rect class=\"waiting\" width=\"{}\" height=\"1\"/></svg>",
        trouble.level.as_str(),
        Bytes(waiting),
        Bytes(limit_bytes),
        length(bytes),
        length(waiting)
    )?;
    let (bytes, limit) = (Exact(bytes, Bytes(bytes)), Exact(limit_bytes, Bytes(limit_bytes)));
    write!(out, "<span>{bytes} of {limit}</span>")?;
    if oldest_line.is_some() {
        write!(out, "<span class=\"quiet\">oldest line {}</span>", Ago { at: oldest_line, now })?;
    }
    out.write_str("</td>\n")
}

/// A container's way to one destination.
fn cells(out: &mut String, lane: &LaneView, now: i64) -> fmt::Result {
    let LaneView { lag_lines, lag_bytes, lag_seconds, last_sent, last_error: error, .. } = lane;
    write!(out, "<td role=\"cell\" class=\"number\" data-label=\"Waiting\"><span>{}</span>", Of(*lag_lines, "line"))?;
    if *lag_lines > 0 {
        let (bytes, age) = (Exact(*lag_bytes, Bytes(*lag_bytes)), Exact(*lag_seconds as u64, Span(*lag_seconds)));
        write!(out, "<span class=\"quiet\">{bytes}, {age} old</span>")?;
    }
    let last = Ago { at: *last_sent, now };
    write!(out, "</td>\n<td role=\"cell\" class=\"words\" data-label=\"Last push\"><span>{last}</span>")?;
    last_error(out, error.as_ref(), *last_sent, now)?;
    out.write_str("</td>\n<td role=\"cell\" class=\"number\" data-label=\"Lost\">")?;
    for (reason, lines) in &lane.dropped_lines {
        let reason = reason.replace('_', " ");
        write!(out, "<span class=\"bad\">{} {}</span>", Count(*lines), Escaped(reason))?;
    }
    if lane.dropped_lines.is_empty() {
        out.write_str("<span>0</span>")?;
    }
    for (how, lines) in &lane.changed_lines {
        write!(out, "<span class=\"quiet\">{} {}</span>", Count(*lines), Escaped(how))?;
    }
    out.write_str("</td>\n")
}
