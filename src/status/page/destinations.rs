//! Where lines go, and whether they get there.

use std::fmt::{self, Write};

use super::{Ago, Escaped, Exact, Shape, begin_table, end_table, last_error};
use crate::status::Report;
use crate::status::numbers::{Count, Of, Span};
use crate::status::verdict::{Level, short};
use crate::streams::view::DestinationView;

/// Rows of the table. A URL and a tenant are options of a container, so there can be any number.
const MOST: usize = 50;

pub(super) fn section(out: &mut String, report: &Report) -> fmt::Result {
    out.write_str("<section aria-labelledby=\"destinations\">\n<h2 id=\"destinations\">Destinations</h2>\n")?;
    let mut all: Vec<&DestinationView> = report.view.destinations.iter().collect();
    if all.is_empty() {
        return out.write_str("<p>None: no container that logs now has one.</p>\n</section>\n");
    }
    all.sort_by_key(|destination| destination.up);
    let columns = [("Destination", ""), ("State", ""), ("Waiting", "number"), ("Last push", "words")];
    begin_table(out, "flat", "Destinations", &columns)?;
    out.write_str("<tbody role=\"rowgroup\">\n")?;
    all.iter().take(MOST).try_for_each(|destination| row(out, destination, report.now))?;
    out.write_str("</tbody>\n")?;
    end_table(out)?;
    more(out, all.len().saturating_sub(MOST))?;
    out.write_str("</section>\n")
}

/// What is not shown.
pub(super) fn more(out: &mut String, more: usize) -> fmt::Result {
    match more {
        0 => Ok(()),
        more => {
            writeln!(out, "<p>and {} more; <a href=\"status.json\">status.json</a> has them</p>", Count(more as u64))
        }
    }
}

fn row(out: &mut String, destination: &DestinationView, now: i64) -> fmt::Result {
    let DestinationView { url, tenant, up, down_seconds, waiting_lines, waiting_containers, .. } = destination;
    write!(
        out,
        "<tr role=\"row\">\n<th role=\"rowheader\" scope=\"row\" class=\"name\"><span title=\"{}\">{}</span>",
        Escaped(url),
        Escaped(short(url))
    )?;
    if let Some(tenant) = tenant {
        write!(out, "<span class=\"quiet\">tenant <bdi>{}</bdi></span>", Escaped(tenant))?;
    }
    out.write_str("</th>\n<td role=\"cell\" data-label=\"State\">")?;
    match (up, destination.last_success) {
        (true, Some(_)) => write!(out, "<span class=\"state ok\">{}takes lines</span>", Shape(Level::Ok))?,
        (true, None) => out.write_str("<span class=\"quiet\">nothing sent yet</span>")?,
        (false, _) => {
            let since = Exact(*down_seconds as u64, Span(*down_seconds));
            let shape = Shape(Level::Warning);
            write!(out, "<span class=\"state warning\">{shape}takes no lines</span><span>for {since}</span>")?;
        }
    }
    out.write_str("</td>\n<td role=\"cell\" class=\"number\" data-label=\"Waiting\">")?;
    write!(out, "<span>{}</span>", Of(*waiting_lines, "line"))?;
    if *waiting_lines > 0 {
        write!(out, "<span class=\"quiet\">of {}</span>", Of(*waiting_containers, "container"))?;
    }
    let last = Ago { at: destination.last_success, now };
    write!(out, "</td>\n<td role=\"cell\" class=\"words\" data-label=\"Last push\"><span>{last}</span>")?;
    last_error(out, destination.last_error.as_ref(), destination.last_success, now)?;
    out.write_str("</td>\n</tr>\n")
}
