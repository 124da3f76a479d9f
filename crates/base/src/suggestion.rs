//! Suggestions for a mistyped name.

/// Returns `did you mean regex?`, or else the list of known names.
pub fn hint<'n>(typed: &str, known: impl Iterator<Item = &'n str> + Clone) -> String {
    match nearest(&typed.to_lowercase(), known.clone(), |letters| (letters / 3).max(1)) {
        Some((_, near)) => format!("did you mean {near}?"),
        None => format!("known are {}", known.collect::<Vec<_>>().join(", ")),
    }
}

/// The name with the fewest typing errors, and their number, if `allowed` permits that many for its length.
///
/// A swap of two neighbours is one error.
pub fn nearest<'n>(
    typed: &str,
    known: impl Iterator<Item = &'n str>,
    allowed: impl Fn(usize) -> usize,
) -> Option<(usize, &'n str)> {
    // A text much longer than any name is not compared.
    if typed.chars().nth(LONGEST).is_some() {
        return None;
    }
    let distances = known.map(|name| (strsim::osa_distance(typed, name), name));
    distances.min_by_key(|(distance, _)| *distance).filter(|(distance, near)| *distance <= allowed(near.len()))
}

/// Characters of the longest text that is compared.
const LONGEST: usize = 64;
