//! Where pages lead to is there.

use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::compose::file;

/// Pages that people read.
fn pages() -> Vec<PathBuf> {
    let mut pages = Vec::new();
    for folder in ["", "docs", "deploy", "examples", "examples/recipes"] {
        let entries = fs::read_dir(file(folder)).expect("the folder is there").flatten();
        pages.extend(entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|it| it == "md")));
    }
    pages
}

/// How a heading is called in a link, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let kept = |letter: &char| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_');
    heading.trim_start_matches('#').trim().to_lowercase().chars().filter(kept).collect::<String>().replace(' ', "-")
}

fn headings(page: &Path) -> Vec<String> {
    let text = fs::read_to_string(page).unwrap_or_else(|error| panic!("{}: {error}", page.display()));
    let mut in_block = false;
    let mut found = Vec::new();
    for line in text.lines() {
        in_block ^= line.trim_start().starts_with("```");
        if !in_block && line.starts_with('#') {
            found.push(anchor(line));
        }
    }
    found
}

#[test]
fn every_link_of_a_page_leads_somewhere() {
    let mut followed = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap_or_else(|error| panic!("{}: {error}", page.display()));
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.contains("://") && !target.contains(char::is_whitespace)) {
            let (path, part) = target.split_once('#').map_or((target, None), |(path, part)| (path, Some(part)));
            let to = match path {
                "" => page.clone(),
                path => page.parent().expect("a page is in a folder").join(path),
            };
            assert!(to.exists(), "{} leads to {target}, which is not there", page.display());
            if let Some(part) = part {
                let headings = headings(&to);
                assert!(headings.iter().any(|heading| heading == part), "{}: {target}: {headings:#?}", page.display());
            }
            followed += 1;
        }
    }
    assert!(followed > 40, "{followed}");
}
