//! Text from outside, in HTML.

use std::fmt::{self, Display, Write};

/// Anything, written so that it is text wherever it stands in HTML: between tags, and in an attribute with quotes.
///
/// What a browser would not show, or would turn round what comes behind it, is shown as a replacement character.
#[derive(Clone, Copy, Debug)]
pub struct Escaped<T>(pub T);

struct Escaping<'a, 'b>(&'a mut fmt::Formatter<'b>);

// === impl Escaped ===

impl<T: Display> Display for Escaped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaping(f), "{}", self.0)
    }
}

// === impl Escaping ===

impl Write for Escaping<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|char| self.write_char(char))
    }

    fn write_char(&mut self, char: char) -> fmt::Result {
        match char {
            '&' => self.0.write_str("&amp;"),
            '<' => self.0.write_str("&lt;"),
            '>' => self.0.write_str("&gt;"),
            '"' => self.0.write_str("&quot;"),
            '\'' => self.0.write_str("&#39;"),
            '\n' | '\t' => self.0.write_char(char),
            // Marks of direction, overrides and isolates.
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                self.0.write_char('\u{fffd}')
            }
            char if char.is_control() => self.0.write_char('\u{fffd}'),
            char => self.0.write_char(char),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_outside_is_a_tag_or_ends_an_attribute() {
        for (text, expected) in [
            ("plain ünïcode 日本", "plain ünïcode 日本"),
            ("<script>alert('1')</script>", "&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;"),
            ("\" onload=\"x", "&quot; onload=&quot;x"),
            ("&lt;", "&amp;lt;"),
            ("a\0b\u{1b}[31m\u{202e}c\nd", "a\u{fffd}b\u{fffd}[31m\u{fffd}c\nd"),
        ] {
            assert_eq!(Escaped(text).to_string(), expected);
        }
    }
}
