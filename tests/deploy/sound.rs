//! Dashboards have nothing in them that Grafana would stumble over, and nothing that is of one installation only.

use std::collections::BTreeSet;

use serde_json::Value;

use super::boards::{Board, DRIVER, LOGS, text};

/// Columns of Grafana's grid.
const COLUMNS: u64 = 24;

fn each(check: impl Fn(&Board)) {
    for name in [DRIVER, LOGS] {
        check(&Board::read(name));
    }
}

/// Left, top, right and bottom of a panel.
fn place(panel: &Value) -> [u64; 4] {
    let [x, y, w, h] = ["x", "y", "w", "h"].map(|key| {
        let number = panel["gridPos"][key].as_u64();
        number.unwrap_or_else(|| panic!("{} has no {key}", panel["title"]))
    });
    [x, y, x + w, y + h]
}

#[test]
fn a_dashboard_is_known_by_a_name_and_not_by_a_number() {
    let mut uids = BTreeSet::new();
    for name in [DRIVER, LOGS] {
        let board = Board::read(name);
        assert!(board.json["id"].is_null(), "{name} has the id of an installation");
        // That of Grafana 11.
        assert_eq!(board.json["schemaVersion"], 39, "{name}");
        assert!(uids.insert(text(&board.json["uid"]).to_owned()), "{name} has the uid of another one");
    }
    each(|board| {
        for link in board.json["links"].as_array().expect("links") {
            let (_, uid) = text(&link["url"]).rsplit_once('/').expect("a path");
            assert!(uids.contains(uid), "{}: a link goes to {uid}, which is not there", board.name);
        }
    });
}

#[test]
fn each_panel_has_a_number_a_title_a_data_source_and_a_unit() {
    each(|board| {
        let mut ids = BTreeSet::new();
        for panel in board.panels() {
            let title = text(&panel["title"]);
            let id = panel["id"].as_u64().unwrap_or_else(|| panic!("{title} has no number"));
            assert!(ids.insert(id), "{}: {title} has the number of another panel", board.name);
            if panel["type"] == "row" {
                continue;
            }
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
            if panel["type"] != "logs" {
                let unit = panel["fieldConfig"]["defaults"]["unit"].as_str();
                assert!(unit.is_some_and(|unit| !unit.is_empty()), "{}: {title} has no unit", board.name);
            }
            let targets = panel["targets"].as_array().expect("targets");
            let names: BTreeSet<_> = targets.iter().map(|target| text(&target["refId"])).collect();
            assert_eq!(names.len(), targets.len(), "{title} has two queries of one name");
        }
    });
}

#[test]
fn panels_are_within_the_grid_and_not_on_top_of_each_other() {
    each(|board| {
        let places: Vec<_> = board.panels().iter().map(|panel| (text(&panel["title"]), place(panel))).collect();
        for (at, (title, a)) in places.iter().enumerate() {
            assert!(a[0] < a[2] && a[1] < a[3] && a[2] <= COLUMNS, "{}: {title} is at {a:?}", board.name);
            for (other, b) in &places[..at] {
                let apart = a[2] <= b[0] || b[2] <= a[0] || a[3] <= b[1] || b[3] <= a[1];
                assert!(apart, "{}: {title} is on top of {other}", board.name);
            }
        }
    });
}

#[test]
fn variables_that_are_used_are_there_and_the_other_way_round() {
    each(|board| {
        let there: BTreeSet<&str> = board.variables().iter().map(|variable| text(&variable["name"])).collect();
        let whole = board.json.to_string();
        let after = whole.split('$').skip(1).map(|rest| rest.trim_start_matches('{'));
        let names = after.map(|rest| rest.split(|c: char| c != '_' && !c.is_ascii_alphanumeric()).next().unwrap_or(""));
        let used: BTreeSet<&str> = names.filter(|name| !name.starts_with("__")).collect();
        assert_eq!(used, there, "{}", board.name);
        for variable in board.variables().iter().filter(|variable| variable["includeAll"] == true) {
            // Without one Grafana would list all values, of which there may be hundreds.
            assert!(variable["allValue"].is_string(), "{}: {}", board.name, variable["name"]);
        }
    });
}
