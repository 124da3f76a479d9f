//! The pages that people read, for tests that hold them to the program.

use std::fs;
use std::path::PathBuf;

use super::compose::file;

/// The text of one page, such as `docs/labels.md`.
pub fn page(name: &str) -> String {
    fs::read_to_string(file(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// `README.md` and all of `docs/`, one after the other.
pub fn all() -> String {
    let entries = fs::read_dir(file("docs")).expect("docs/ is there").flatten().map(|entry| entry.path());
    let mut paths: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|it| it == "md")).collect();
    paths.sort();
    paths.insert(0, file("README.md"));
    let read = |path: &PathBuf| fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    paths.iter().map(read).collect::<Vec<_>>().join("\n")
}

/// The part of all pages between the marks of this name, which is there once.
pub fn marked(name: &str) -> String {
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->"));
    let all = all();
    assert_eq!(all.matches(&begin).count(), 1, "pages with {begin}");
    let (_, rest) = all.split_once(&begin).expect("it was counted");
    rest.split_once(&end).unwrap_or_else(|| panic!("no page has {end}")).0.to_owned()
}

/// What follows a heading on a page, to the next of any kind.
pub fn section(name: &str, heading: &str) -> String {
    let page = page(name);
    let (_, rest) = page.split_once(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("{name} has no {heading}"));
    rest.split("\n#").next().unwrap_or_default().to_owned()
}

/// Cells of the rows of a table, without its head.
pub fn rows(table: &str) -> Vec<Vec<String>> {
    let rows = table.lines().filter(|line| line.starts_with('|')).skip(2);
    let cells = |row: &str| row.trim_matches('|').split(" |").map(|cell| cell.trim().to_owned()).collect();
    rows.map(cells).collect()
}

/// What is between backticks, outside blocks.
pub fn spans(text: &str) -> Vec<&str> {
    text.lines().filter(|line| !line.starts_with("```")).flat_map(|line| line.split('`').skip(1).step_by(2)).collect()
}
