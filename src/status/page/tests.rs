//! The page as text. What a browser makes of it is looked at by the tests of the whole program.

use super::*;
use crate::streams::view::{ContainerView, DestinationView, LaneView, RingView, View};

const NOW: i64 = 1_790_000_000_000_000_000;
const SCRIPTED: &str = "<script>alert(1)</script>";

fn container(name: &str) -> ContainerView {
    let lane = LaneView { destination: "http://loki:3100".into(), up: true, ..LaneView::default() };
    ContainerView {
        id: "0123456789ab".into(),
        name: name.into(),
        image: "busybox:1".into(),
        running: true,
        ring: RingView { bytes: 40, limit_bytes: 100, ..RingView::default() },
        destinations: vec![lane],
        ..ContainerView::default()
    }
}

fn report(containers: Vec<ContainerView>) -> Report {
    let view = View { adopted: true, containers, ..View::default() };
    Report { version: "1.2.3", host: "host-1".into(), now: NOW, view, ..Report::default() }
}

#[test]
fn text_from_outside_is_text_wherever_it_stands() {
    let mut container = container(SCRIPTED);
    container.image = SCRIPTED.into();
    let error = Some(ErrorView { at: NOW, text: format!("Loki answered 500: {SCRIPTED}\" onclick=\"") });
    let lane = &mut container.destinations[0];
    (lane.destination, lane.last_error, lane.up, lane.lag_lines) = (SCRIPTED.into(), error.clone(), false, 3);
    let mut report = report(vec![container]);
    report.host = SCRIPTED.into();
    report.settings.insert("NO_PROXY", SCRIPTED.into());
    report.view.destinations = vec![DestinationView {
        url: SCRIPTED.into(),
        tenant: Some(SCRIPTED.into()),
        last_error: error,
        waiting_lines: 3,
        ..DestinationView::default()
    }];
    let page = html(&report).unwrap();
    // The host stands in the title and in the header, the URL in the sentence and in its row.
    assert!(page.matches("&lt;script&gt;alert(1)&lt;/script&gt;").count() >= 9, "{page}");
    assert!(!page.contains(SCRIPTED) && !page.contains("\" onclick"));
    assert_eq!(page.matches("<script").count(), 1, "its own");
}

#[test]
fn the_policy_allows_what_is_in_the_page_and_nothing_else() {
    let page = html(&report(Vec::new())).unwrap();
    let between = |begin: &str, end: &str| page.split_once(begin).unwrap().1.split_once(end).unwrap().0.to_owned();
    for (of, text) in [("style", between("<style>", "</style>")), ("script", between("<script>", "</script>"))] {
        let hash = STANDARD.encode(digest::digest(&digest::SHA256, text.as_bytes()));
        assert!(policy().contains(&format!("{of}-src 'sha256-{hash}'")), "{of}: {}", policy());
    }
    assert!(policy().starts_with("default-src 'none'; ") && policy().ends_with("; frame-ancestors 'none'"));
    let refused = regex::Regex::new(r#"<[^>]*\s(style|on\w+)="#).unwrap();
    assert!(!refused.is_match(&page), "nothing that the policy would refuse: {page}");
    assert!(
        !page.contains("src=") && !page.contains("href=\"http") && !page.contains("url("),
        "nothing from elsewhere"
    );
}

#[test]
fn those_in_trouble_come_first_and_a_thousand_are_bounded() {
    let mut all: Vec<_> = (0..998).map(|at| container(&format!("web-{at:03}"))).collect();
    let mut late = container("late");
    (late.destinations[0].lag_lines, late.destinations[0].lag_seconds) = (5, 90.0);
    let mut losing = container("losing");
    losing.destinations[0].last_dropped = Some(NOW);
    losing.destinations[0].dropped_lines = [("given_up", 1_200)].into();
    all.extend([late, losing]);
    let mut report = report(all);
    report.view.unlisted = 500;
    let page = html(&report).unwrap();
    let place = |name: &str| page.find(&format!("<bdi>{name}</bdi>")).unwrap_or(usize::MAX);
    assert!(place("losing") < place("late") && place("late") < place("web-000"));
    assert!(place("web-097") < page.len() && place("web-098") == usize::MAX, "a hundred are shown");
    assert!(page.contains("<p>and 1,400 more; <a href=\"status.json\">"), "of 1,500");
    assert!(page.contains("1,200 given up") && page.contains(">lost lines<"));
    assert!(page.len() < 256 * 1024, "{} bytes", page.len());
}

#[test]
fn a_container_with_several_destinations_has_a_row_for_each() {
    let mut web = container("web");
    let mut other = web.destinations[0].clone();
    (other.destination, other.up, other.lag_lines, other.lag_bytes) =
        ("http://other:3100/loki/api/v1/push".into(), false, 1_234, 25);
    web.destinations.push(other);
    let page = html(&report(vec![web])).unwrap();
    assert_eq!(page.matches("rowspan=\"2\"").count(), 4, "name, state, rate and ring are the container's");
    assert!(page.contains("scope=\"rowgroup\"") && page.contains("/loki/api/v1/push\">http://other:3100</span>"));
    assert!(page.contains("<span>1,234 lines</span>"));
    // The bar is a thousand units long, and shows the one that is furthest behind.
    assert!(page.contains("class=\"kept\" width=\"400\"") && page.contains("class=\"waiting\" width=\"250\""));
    assert!(page.contains("aria-label=\"25 B of 100 B wait for Loki\""));
    let unusable = Some("tag: <template>".to_owned());
    let without = ContainerView { destinations: Vec::new(), unusable, ..container("web") };
    let without = html(&report(vec![without])).unwrap();
    assert!(without.contains("its options cannot be used; lines are buffered on disk"));
    assert!(without.contains("<span class=\"bad\">tag: &lt;template"), "{without}");
}

#[test]
fn long_errors_are_cut_and_old_ones_are_quiet() {
    let shown = |at: i64, success: Option<i64>, text: &str| {
        let mut out = String::new();
        last_error(&mut out, Some(&ErrorView { at, text: text.into() }), success, NOW).unwrap();
        out
    };
    let long = shown(NOW, None, &"ä".repeat(1_000));
    assert!(long.contains(&format!("{}…</span>", "ä".repeat(LONGEST_ERROR))) && long.contains("class=\"bad\""));
    let old = shown(NOW - 60_000_000_000, Some(NOW), "it was so");
    assert!(old.contains("class=\"quiet\"") && old.contains(">1 min ago</time>: it was so</span>"), "{old}");
    assert!(old.contains("title=\"2026-09-21T"), "the exact time: {old}");
}
