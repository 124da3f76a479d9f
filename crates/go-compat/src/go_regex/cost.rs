//! What a regular expression costs, in memory and for each byte it looks at, found from its syntax before it is compiled.
//!
//! The engine is linear in a text, but its factor is the size of the expression: `(a|b)*a(a|b){100}` keeps 100 places in mind
//! for each byte. And finding all matches may look at the same bytes again for each match. Both are charged here, so that a
//! short option cannot make a line cost minutes.

use regex_syntax::hir::{Class, Hir, HirKind};
use regex_syntax::utf8::Utf8Sequences;

use super::MOST_REMEMBERED;
use crate::work::{self, EXPRESSIONS};

/// Bytes of a state, forwards, backwards and for texts that are not UTF-8.
const STATE: usize = 200;

/// See the module.
#[derive(Debug, Clone)]
pub struct Cost {
    /// Places in the expression that may be waited at together.
    pub places: usize,
    /// States of the compiled program.
    pub states: usize,
    /// Bytes outside of [`Cost::runs`] that a match can have at most.
    fixed: usize,
    /// Bytes of which a match may have any number.
    runs: [bool; 256],
}

/// What a part of an expression comes to.
#[derive(Debug, Default, Clone, Copy)]
struct Part {
    places: usize,
    states: usize,
    /// The longest match in bytes; `None`: it has no end.
    longest: Option<usize>,
    /// Bytes outside of runs.
    fixed: usize,
}

// === impl Cost ===

impl Cost {
    /// The cost of an expression in the syntax of the crate; that of one that does not parse is of no account.
    pub fn of(pattern: &str, utf8: bool) -> Self {
        let parsed = regex_syntax::ParserBuilder::new().utf8(utf8).build().parse(pattern);
        let mut runs = [false; 256];
        let part = parsed.map(|hir| measure(&hir, &mut runs)).unwrap_or_default();
        Self { places: part.places.max(1), states: part.states, fixed: part.fixed, runs }
    }

    /// Takes the memory of the compiled expression from what those of the options may take together.
    ///
    /// # Errors
    /// When there is not so much left.
    pub fn keep(&self) -> Result<(), String> {
        let bytes = self.states.saturating_mul(STATE).saturating_add(4 * MOST_REMEMBERED);
        let most = EXPRESSIONS >> 20;
        work::current(|work| work.grow(bytes))
            .map_err(|_| format!("with it, all expressions together could take more than {most} MiB of memory"))
    }

    /// How far a search may have looked that found a match that ends at `end`: until it knew that no longer one is there.
    pub fn looked_at(&self, text: &[u8], end: usize) -> usize {
        let rest = text.get(end..).unwrap_or_default();
        let mut others = 0;
        let stop = rest.iter().position(|byte| {
            others += usize::from(!self.runs[usize::from(*byte)]);
            others > self.fixed
        });
        stop.map_or(rest.len(), |at| at + 1)
    }
}

fn measure(hir: &Hir, runs: &mut [bool; 256]) -> Part {
    match hir.kind() {
        HirKind::Empty => Part { longest: Some(0), states: 1, ..Part::default() },
        HirKind::Look(_) => Part { places: 1, states: 1, longest: Some(0), fixed: 0 },
        HirKind::Literal(literal) => {
            let length = literal.0.len();
            Part { places: length, states: length, longest: Some(length), fixed: length }
        }
        HirKind::Class(class) => {
            let (states, longest) = class_size(class);
            Part { places: 1, states, longest: Some(longest), fixed: longest }
        }
        HirKind::Capture(capture) => {
            let part = measure(&capture.sub, runs);
            Part { states: part.states.saturating_add(2), ..part }
        }
        HirKind::Repetition(repetition) => {
            let part = measure(&repetition.sub, runs);
            let times = repetition.max.unwrap_or(repetition.min.saturating_add(1)) as usize;
            if repetition.max.is_none() && part.longest != Some(0) {
                bytes_of(&repetition.sub, runs);
            }
            let longest = repetition.max.and(part.longest).map(|longest| longest.saturating_mul(times));
            Part {
                places: part.places.saturating_add(1).saturating_mul(times),
                states: part.states.saturating_add(2).saturating_mul(times),
                longest,
                fixed: if repetition.max.is_none() { part.fixed } else { part.fixed.saturating_mul(times) },
            }
        }
        HirKind::Concat(parts) => fold(parts, runs, usize::saturating_add),
        HirKind::Alternation(parts) => {
            let all = fold(parts, runs, usize::max);
            Part { states: all.states.saturating_add(parts.len()), ..all }
        }
    }
}

/// All parts together; `lengths` says what two lengths come to.
fn fold(parts: &[Hir], runs: &mut [bool; 256], lengths: fn(usize, usize) -> usize) -> Part {
    let none = Part { longest: Some(0), ..Part::default() };
    parts.iter().map(|part| measure(part, runs)).fold(none, |all, part| Part {
        places: all.places.saturating_add(part.places),
        states: all.states.saturating_add(part.states),
        longest: all.longest.zip(part.longest).map(|(one, other)| lengths(one, other)),
        fixed: lengths(all.fixed, part.fixed),
    })
}

/// States of a class, and the bytes of its longest character.
fn class_size(class: &Class) -> (usize, usize) {
    match class {
        Class::Bytes(_) => (1, 1),
        Class::Unicode(class) => {
            let states = class.iter().flat_map(|range| Utf8Sequences::new(range.start(), range.end()));
            let longest = class.iter().map(|range| range.end().len_utf8()).max().unwrap_or_default();
            (states.map(|sequence| sequence.len()).sum(), longest)
        }
    }
}

/// Adds every byte that a part may match.
fn bytes_of(hir: &Hir, to: &mut [bool; 256]) {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => {}
        HirKind::Literal(literal) => literal.0.iter().for_each(|byte| to[usize::from(*byte)] = true),
        HirKind::Class(Class::Bytes(class)) => {
            class.iter().for_each(|range| to[usize::from(range.start())..=usize::from(range.end())].fill(true));
        }
        HirKind::Class(Class::Unicode(class)) => {
            for range in class.iter() {
                let (start, end) = (u32::from(range.start()).min(0x80), u32::from(range.end()).min(0x80));
                to[start as usize..=end.min(0x7F) as usize].fill(true);
                if end >= 0x80 {
                    to[0x80..].fill(true);
                }
            }
        }
        HirKind::Capture(capture) => bytes_of(&capture.sub, to),
        HirKind::Repetition(repetition) => bytes_of(&repetition.sub, to),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => parts.iter().for_each(|part| bytes_of(part, to)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_is_found_from_the_syntax() {
        for (pattern, places, states) in [
            ("", 1, 1),
            ("abc", 3, 3),
            ("[a-z]+", 4, 6),
            ("(a|b)*a(a|b){100}", 203, 506),
            ("[^\n]{900}", 1_800, 27_000),
        ] {
            let cost = Cost::of(pattern, true);
            assert_eq!((cost.places, cost.states), (places, states), "{pattern}");
        }
        assert!(Cost::of("\\pL{100}", true).states > 100_000);
        assert!(Cost::of("(((a{100}){100}){100}){100}", true).states > 1_000_000);
    }

    #[test]
    fn a_search_looks_on_until_no_longer_match_is_possible() {
        let mail = Cost::of("[a-z.]+@[a-z.]+", true);
        let text = b"a@b.c and then much more of this and that";
        assert_eq!(mail.looked_at(text, 5), " and then much ".len());
        let all = Cost::of("(?s:.)*x|a", true);
        assert_eq!(all.looked_at(text, 5), text.len() - 5);
        assert_eq!(Cost::of("abc", true).looked_at(text, 3), 4);
        assert_eq!(Cost::of("é*", true).looked_at("éééa".as_bytes(), 0), 7);
    }
}
