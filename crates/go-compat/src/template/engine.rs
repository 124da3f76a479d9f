//! What every use of the template engine needs: an end to what it writes, and to what goes wrong in it.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use gotmpl::TemplateError;

use super::syntax::MAIN;
use crate::work::{self, Excess, Work};

/// Characters of a message.
const MAX_MESSAGE: usize = 500;

/// Takes what a template writes, up to a number of bytes.
#[derive(Debug)]
pub struct Output {
    pub text: String,
    /// Whether it was to take more.
    pub overflowed: bool,
    limit: usize,
}

// === impl Output ===

impl Output {
    /// Takes at most `limit` bytes.
    pub fn up_to(limit: usize) -> Self {
        Self { text: String::new(), overflowed: false, limit }
    }
}

impl fmt::Write for Output {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.text.len() + text.len() > self.limit {
            self.overflowed = true;
            return Err(fmt::Error);
        }
        work::current(|work| work.bytes(text.len())).map_err(|_| fmt::Error)?;
        self.text.push_str(text);
        Ok(())
    }
}

/// Keeps a panic of the engine from taking a stream with it; `None` if there was one.
pub fn contained<T>(work: impl FnOnce() -> T) -> Option<T> {
    // What the closure touches is dropped with it, so a torn state cannot be seen.
    catch_unwind(AssertUnwindSafe(work)).ok()
}

/// Runs a template at the cost of `work`. What ends it for one of our bounds, of which Go has none or a larger one, counts as too much.
pub fn executed(
    template: &gotmpl::Template,
    output: &mut Output,
    data: &gotmpl::Value,
    work: &mut Work,
) -> Result<(), TemplateError> {
    let done = work::charging(work, || template.execute_template_fmt(output, MAIN, data));
    match &done {
        Err(TemplateError::RangeIterLimit | TemplateError::RecursionLimit) => _ = work.exceed(Excess::Work),
        Err(_) if output.overflowed => _ = work.exceed(Excess::Size),
        _ => {}
    }
    done
}

/// What the engine says of a text, without what it puts in front.
pub fn plain_message(error: &gotmpl::TemplateError) -> String {
    clipped(error.to_string().trim_start_matches("template: "))
}

/// The engine repeats what was typed, and that may be long.
pub fn clipped(message: &str) -> String {
    message.chars().take(MAX_MESSAGE).collect()
}
