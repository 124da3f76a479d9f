//! The status page: one file of HTML, made here, with nothing from elsewhere.
//!
//! It says first how things are, in a sentence, and shows then what that is made of. A few lines of script fetch it again
//! and change what has changed; without script the browser loads it again. Its policy lets nothing run, and nothing be
//! fetched, but these lines and this style, by their hashes; and text from outside is written by [`Escaped`] alone.

mod containers;
mod destinations;
mod options;

#[cfg(test)]
mod tests;

use std::fmt::{self, Display, Write};
use std::sync::OnceLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring_crypto::digest;

use super::Report;
use super::escaped::Escaped;
use super::numbers::{Bytes, Count, Span};
use super::verdict::{Fact, Level, NOTHING, Verdict, seconds_since};
use crate::streams::view::ErrorView;

const STYLE: &str = include_str!("page/style.css");
const SCRIPT: &str = include_str!("page/refresh.js");

/// Characters of an error that are shown of it.
const LONGEST_ERROR: usize = 200;

/// A number with the exact one in its title.
struct Exact<T>(u64, T);

/// How long ago something was, with the exact time in its title; a dash for never.
struct Ago {
    at: Option<i64>,
    now: i64,
}

/// A level as a shape: it can be told without its colour.
struct Shape(Level);

// === the page ===

/// The `Content-Security-Policy` that it needs.
pub fn policy() -> &'static str {
    static POLICY: OnceLock<String> = OnceLock::new();
    POLICY.get_or_init(|| {
        let hash = |text: &str| STANDARD.encode(digest::digest(&digest::SHA256, text.as_bytes()));
        let (style, script) = (hash(STYLE), hash(SCRIPT));
        format!(
            "default-src 'none'; style-src 'sha256-{style}'; script-src 'sha256-{script}'; connect-src 'self'; \
             img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
    })
}

/// The page.
///
/// # Errors
/// None: a string takes everything.
pub fn html(report: &Report) -> Result<String, fmt::Error> {
    let verdict = Verdict::of(report);
    let mut out = String::with_capacity(64 * 1024);
    let host = Escaped(&report.host);
    let colour = match verdict.level {
        Level::Ok => "%2317692e",
        Level::Warning => "%23d08700",
        Level::Critical => "%23c62828",
    };
    let title = Escaped(verdict.brief());
    write!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title}: loki-rs on {host}</title>\n\
         <link rel=\"icon\" href=\"data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'>\
         <circle cx='8' cy='8' r='7' fill='{colour}'/></svg>\">\n\
         <noscript><meta http-equiv=\"refresh\" content=\"5\"></noscript>\n<style>{STYLE}</style>\n</head>\n<body>\n\
         <header>\n<p><strong>loki-rs</strong> on <bdi>{host}</bdi></p>\n\
         <p class=\"live\"><label><input type=\"checkbox\" id=\"live\" checked> refresh every 5 s</label></p>\n</header>\n\
         <p class=\"stale\" id=\"stale\" role=\"alert\" hidden></p>\n<main>\n"
    )?;
    headline(&mut out, &verdict)?;
    destinations::section(&mut out, report)?;
    containers::section(&mut out, report)?;
    options::section(&mut out, report)?;
    out.write_str("</main>\n")?;
    footer(&mut out, report)?;
    write!(out, "<script>{SCRIPT}</script>\n</body>\n</html>\n")?;
    Ok(out)
}

fn headline(out: &mut String, verdict: &Verdict) -> fmt::Result {
    let Verdict { level, wrong, kept, lost, findings, .. } = verdict;
    let word = match level {
        Level::Ok => "Well",
        Level::Warning => "Warning",
        Level::Critical => "Critical",
    };
    let (class, shape, text) = (level.as_str(), Shape(*level), Escaped(verdict.headline()));
    write!(
        out,
        "<section class=\"verdict {class}\" aria-labelledby=\"verdict\">\n<p class=\"level\">{shape}{word}</p>\n\
         <h1 id=\"verdict\">{text}</h1>\n"
    )?;
    if let [_, more @ ..] = &findings[..]
        && !more.is_empty()
    {
        out.write_str("<ul class=\"findings\">\n")?;
        for finding in more {
            writeln!(out, "<li>{}</li>", Escaped(&finding.text))?;
        }
        out.write_str("</ul>\n")?;
    }
    let of_wrong = if wrong.what == NOTHING { "ok" } else { class };
    let of_loss = if lost.what == NOTHING { "ok" } else { "critical" };
    let facts = [("What is wrong", wrong, of_wrong), ("What is kept", kept, "plain"), ("What is lost", lost, of_loss)];
    out.write_str("<dl class=\"facts\">\n")?;
    for (name, Fact { what, detail }, class) in facts {
        let (what, detail) = (Escaped(what), Escaped(detail));
        writeln!(
            out,
            "<div class=\"{class}\"><dt>{name}</dt><dd><strong>{what}</strong> <span>{detail}</span></dd></div>"
        )?;
    }
    // Numbers change all the time; this is read aloud when it changes.
    write!(out, "</dl>\n<p class=\"hidden\" role=\"status\">{word}: {}</p>\n</section>\n", Escaped(verdict.brief()))
}

fn footer(out: &mut String, report: &Report) -> fmt::Result {
    let Report { version, uptime_seconds, process, now, .. } = report;
    let up = Exact(*uptime_seconds, Span(*uptime_seconds as f64));
    write!(out, "<footer>\n<p>loki-rs {}</p>\n<p>up {up}</p>\n", Escaped(version))?;
    if let Some(process) = process {
        writeln!(out, "<p>{} of memory</p>", Exact(process.resident_bytes, Bytes(process.resident_bytes)))?;
    }
    write!(
        out,
        "<p>as of {}</p>\n<p><a href=\"metrics\">metrics</a></p>\n<p><a href=\"status.json\">status.json</a></p>\n\
         </footer>\n",
        timestamp(*now)
    )
}

/// A table's head. The roles say what the elements are also where a narrow screen shows them as blocks.
fn begin_table(out: &mut String, class: &str, name: &str, columns: &[(&str, &str)]) -> fmt::Result {
    write!(
        out,
        "<div class=\"scroll\">\n<table class=\"{class}\" role=\"table\" aria-label=\"{name}\">\n\
         <thead role=\"rowgroup\"><tr role=\"row\">"
    )?;
    for (column, class) in columns {
        write!(out, "<th role=\"columnheader\" scope=\"col\" class=\"{class}\">{column}</th>")?;
    }
    out.write_str("</tr></thead>\n")
}

fn end_table(out: &mut String) -> fmt::Result {
    out.write_str("</table>\n</div>\n")
}

/// Something that went wrong, in words. It is of interest still if nothing went well since.
fn last_error(out: &mut String, error: Option<&ErrorView>, success: Option<i64>, now: i64) -> fmt::Result {
    let Some(ErrorView { at, text }) = error else { return Ok(()) };
    let class = if success.is_none_or(|success| *at >= success) { "bad" } else { "quiet" };
    let (ago, clipped) = (Ago { at: Some(*at), now }, text.chars().take(LONGEST_ERROR).collect::<String>());
    let dots = if clipped.len() < text.len() { "…" } else { "" };
    write!(out, "<span class=\"{class}\">error {ago}: {}{dots}</span>", Escaped(clipped))
}

/// RFC 3339 to the second.
fn timestamp(at: i64) -> String {
    let at = jiff::Timestamp::from_second(at.div_euclid(1_000_000_000)).unwrap_or_default();
    format!("<time datetime=\"{at}\">{}</time>", at.strftime("%Y-%m-%d %H:%M:%S UTC"))
}

// === impl Exact ===

impl<T: Display> Display for Exact<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<span title=\"{}\">{}</span>", Count(self.0), self.1)
    }
}

// === impl Ago ===

impl Display for Ago {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(at) = self.at else { return f.write_str("never") };
        let exact = jiff::Timestamp::from_nanosecond(i128::from(at)).unwrap_or_default();
        let ago = Span(seconds_since(at, self.now));
        write!(f, "<time datetime=\"{exact}\" title=\"{exact}\">{ago} ago</time>")
    }
}

// === impl Shape ===

impl Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = match self.0 {
            // A tick, a triangle and a cross.
            Level::Ok => "M6.2 13.4.9 8.1l1.8-1.8 3.5 3.5 7.1-7.2 1.8 1.8z",
            Level::Warning => "M8 1.2 15.6 14.6H.4zM7.1 6v4.6h1.8V6zm0 5.7v1.7h1.8v-1.7z",
            Level::Critical => "M3 1.2 8 6.2l5-5L14.8 3l-5 5 5 5-1.8 1.8-5-5-5 5L1.2 13l5-5-5-5z",
        };
        write!(f, "<svg viewBox=\"0 0 16 16\" aria-hidden=\"true\"><path fill-rule=\"evenodd\" d=\"{path}\"/></svg>")
    }
}
