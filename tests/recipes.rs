//! Each page of `examples/recipes` is run as it is: containers with its options print its lines, and Loki must then
//! have what the page shows. Its queries are parsed. Where `LOKI_URL` names a real Loki (for pages with tenants
//! `LOKI_URL_TENANTS`, one with `auth_enabled`), the lines go there as well, and the queries must return what the page
//! shows.
//!
//! - [`page`] the content of a page; [`moment`] its times, which are moved to the present
//! - [`play`] containers and their entries; [`ask`] queries

mod ask;
mod moment;
mod page;
mod play;

use std::fs;

use crate::harness::compose::file;

macro_rules! recipes {
    ($($test:ident: $name:literal,)*) => {
        const PAGES: &[&str] = &[$($name),*];
        $(#[test]
        fn $test() {
            play::page($name);
        })*
    };
}

recipes! {
    a_fastapi_service: "fastapi",
    errors_with_traces_and_context: "errors-and-traces",
    slow_queries_of_postgresql: "postgres",
    a_django_service_without_noise_and_addresses: "django",
    models_that_are_served: "model-serving",
    several_tenants: "tenants",
    a_high_volume: "high-volume",
    a_low_latency: "low-latency",
}

#[test]
fn every_recipe_is_played_and_stands_in_the_index() {
    let index = fs::read_to_string(file("examples/README.md")).expect("there is an index");
    let names = |folder: &str| {
        let entries = fs::read_dir(file(folder)).expect("the folder is there").flatten();
        let mut names: Vec<_> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    };
    let mut played: Vec<String> = PAGES.iter().map(|name| format!("{name}.md")).collect();
    played.sort();
    let recipes = names("examples/recipes");
    assert_eq!(recipes, played, "each page has a test");
    for page in recipes {
        assert!(index.contains(&format!("](recipes/{page})")), "examples/README.md does not lead to {page}");
    }
    for example in names("examples").iter().filter(|name| !matches!(name.as_str(), "README.md" | "recipes")) {
        assert!(index.contains(&format!("]({example})")), "examples/README.md does not lead to {example}");
    }
}

#[test]
fn what_a_page_says_of_waiting_was_measured() {
    let measured = fs::read_to_string(file("docs/performance.md")).expect("the page is there");
    let row = measured.lines().find(|line| line.starts_with("| 100ms | ")).expect("it was measured");
    let figures: Vec<&str> = row.split('|').map(str::trim).filter(|cell| cell.ends_with(" ms")).collect();
    let page = fs::read_to_string(file("examples/recipes/low-latency.md")).expect("the page is there");
    for figure in &figures[..2] {
        assert!(page.contains(figure), "low-latency.md does not say {figure}");
    }
}
