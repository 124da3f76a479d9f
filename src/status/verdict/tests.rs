//! Reports and the sentences that they come to.

use super::trouble::Trouble;
use super::*;
use crate::streams::view::{ContainerView, DestinationView, ErrorView, LaneView, RingView};

const SECOND: i64 = 1_000_000_000;
const NOW: i64 = 1_790_000_000 * SECOND;
const URL: &str = "http://loki:3100/loki/api/v1/push";

const IN_TWO_HOURS: &str = "; the first ring, that of web, is full in about 2 h at the present rate.";

fn report() -> Report {
    let view = View { adopted: true, ..View::default() };
    Report { now: NOW, uptime_seconds: 7_500, view, ..Report::default() }
}

/// A destination that took lines two seconds ago.
fn destination(url: &str) -> DestinationView {
    DestinationView { url: url.into(), up: true, last_success: Some(NOW - 2 * SECOND), ..DestinationView::default() }
}

fn away(url: &str, seconds: f64, waiting: (u64, u64)) -> DestinationView {
    DestinationView {
        up: false,
        down_seconds: seconds,
        waiting_lines: waiting.0,
        waiting_containers: waiting.1,
        last_error: Some(ErrorView { at: NOW - SECOND, text: "Loki answered 503: the ring is unhealthy".into() }),
        ..destination(url)
    }
}

/// A container that has sent all it wrote.
fn container(name: &str) -> ContainerView {
    let lane = LaneView {
        destination: URL.into(),
        up: true,
        room_bytes: 90_000_000,
        batch_wait_seconds: 1.0,
        last_sent: Some(NOW - 2 * SECOND),
        ..LaneView::default()
    };
    let ring = RingView { bytes: 10_000_000, limit_bytes: 100_000_000, ..RingView::default() };
    ContainerView { name: name.into(), running: true, ring, destinations: vec![lane], ..ContainerView::default() }
}

/// The same with lines that wait, and room for this many bytes and seconds.
fn waiting(name: &str, lines: u64, room: u64, full_in: Option<f64>) -> ContainerView {
    let mut container = container(name);
    let lane = &mut container.destinations[0];
    (lane.up, lane.lag_lines, lane.lag_bytes, lane.lag_seconds) = (false, lines, 100 * lines, 200.0);
    (lane.room_bytes, lane.full_in_seconds) = (room, full_in);
    container
}

/// What a report comes to: its level, and its findings with theirs.
fn judged(change: impl FnOnce(&mut View)) -> (Verdict, Vec<(Level, String)>) {
    let mut report = report();
    change(&mut report.view);
    let verdict = Verdict::of(&report);
    let findings = verdict.findings.iter().map(|finding| (finding.level, finding.text.clone())).collect();
    (verdict, findings)
}

fn lost(lines: &[(&'static str, u64)], bytes: u64, ago: i64) -> LostView {
    let last = Some(NOW - ago * SECOND);
    LostView { lines: lines.iter().copied().collect(), no_room_bytes: bytes, last }
}

#[test]
fn all_is_well_as_long_as_nothing_is_wrong() {
    for (containers, unlisted, expected) in [
        (vec![], 0, "All is well: no container logs through the plugin now."),
        (vec![container("web")], 0, "All is well: Loki takes the lines of 1 container."),
        (vec![container("web")], 1_999, "All is well: Loki takes the lines of 2,000 containers."),
    ] {
        let (verdict, findings) = judged(|view| {
            (view.containers, view.unlisted) = (containers, unlisted);
            view.destinations = vec![destination(URL)];
        });
        assert_eq!((verdict.level, verdict.text.as_str(), findings.len()), (Level::Ok, expected, 0));
        assert_eq!(verdict.headline(), expected);
        assert_eq!(verdict.wrong, Fact { what: "nothing".into(), detail: "Loki took lines 2 s ago".into() });
        assert_eq!(verdict.kept.what, "nothing waits");
        let lost = Fact { what: "nothing".into(), detail: "since the plugin began 2 h 5 min ago".into() };
        assert_eq!(verdict.lost, lost);
    }
}

#[test]
fn an_outage_says_since_when_what_is_kept_and_for_how_long_there_is_room() {
    let hours = Some(7_300.0);
    let start =
        "Loki at http://loki:3100 has taken no lines for 3 min 20 s: 12,345 lines of 4 containers wait, kept on disk";
    for (containers, level, end) in [
        (vec![waiting("web", 12_000, 90_000_000, None)], Level::Warning, "."),
        (
            vec![waiting("db", 12_000, 90_000_000, Some(90_000.0)), waiting("web", 345, 50_000_000, hours)],
            Level::Warning,
            IN_TWO_HOURS,
        ),
        (
            vec![waiting("web", 12_000, 90_000_000, Some(3_000.0))],
            Level::Critical,
            "; the first ring, that of web, is full in about 50 min at the present rate.",
        ),
        (
            vec![waiting("web", 12_000, 10_000_000, Some(9_000.0)), waiting("db", 345, 50_000_000, hours)],
            Level::Critical,
            "; the ring of web is full, or nearly so: its oldest lines go first.",
        ),
        (
            ["a", "b", "c", "d", "e"].map(|name| waiting(name, 100, 1, None)).to_vec(),
            Level::Critical,
            "; the rings of a, b, c and 2 more are full, or nearly so: their oldest lines go first.",
        ),
    ] {
        let listed = containers.len();
        let (verdict, findings) = judged(|view| {
            view.containers = containers;
            view.destinations = vec![away(URL, 200.4, (12_345, 4)), destination("http://other:3100")];
        });
        assert_eq!(findings, [(level, format!("{start}{end}"))]);
        assert_eq!((verdict.level, &verdict.text), (level, &findings[0].1));
        assert_eq!(verdict.wrong.what, "Loki takes no lines");
        assert_eq!(verdict.wrong.detail, "Loki answered 503: the ring is unhealthy");
        assert_eq!(verdict.kept.what, "12,345 lines");
        // Four, as far as the destination knows, and those that are listed.
        let end = format!(" of {} containers, on disk, to be sent", listed.max(4));
        assert!(verdict.kept.detail.ends_with(&end), "{}", verdict.kept.detail);
        assert_eq!(verdict.lost.what, "nothing");
    }
}

#[test]
fn the_documentation_shows_such_a_sentence() {
    let page = include_str!("../../../docs/monitoring.md").replace("\n> ", " ");
    let (_, findings) = judged(|view| {
        view.containers = vec![waiting("web", 345, 50_000_000, Some(7_300.0))];
        view.destinations = vec![away(URL, 200.4, (12_345, 4))];
    });
    assert!(findings[0].1.ends_with(IN_TWO_HOURS) && page.contains(&findings[0].1), "{findings:?}");
}

#[test]
fn several_destinations_that_are_away_are_told_by_their_urls() {
    let red = DestinationView { tenant: Some("red".into()), ..away(URL, 30.0, (1, 1)) };
    let blue = DestinationView { tenant: Some("blue".into()), ..away(URL, 90.0, (0, 0)) };
    let (_, findings) = judged(|view| view.destinations = vec![red.clone(), blue.clone()]);
    let text = "Loki at http://loki:3100 has taken no lines for 1 min 30 s: 1 line waits, kept on disk.";
    assert_eq!(findings, [(Level::Warning, text.to_owned())], "all tenants of it");
    let green = DestinationView { tenant: Some("green".into()), ..destination(URL) };
    let (_, findings) = judged(|view| view.destinations = vec![blue, green, red]);
    assert!(
        findings[0].1.starts_with("Loki at http://loki:3100 has taken no lines of the tenant blue, red for "),
        "{findings:?}"
    );

    let urls: Vec<_> = (0..5).map(|at| format!("http://loki-{at}:3100")).collect();
    let (verdict, findings) =
        judged(|view| view.destinations = urls.iter().map(|url| away(url, 1.0, (0, 0))).collect());
    assert_eq!(findings[2].1, "Loki at http://loki-2:3100 has taken no lines for 1 s: nothing waits for it.");
    assert_eq!(findings[3..], [(Level::Warning, "2 destinations more take no lines either.".to_owned())]);
    assert!(verdict.text.starts_with("Loki at http://loki-0:3100 ") && verdict.text.ends_with(" either."));
    assert_eq!(verdict.headline(), findings[0].1);
}

#[test]
fn what_is_lost_is_told_with_its_reasons_for_as_long_as_it_is_news() {
    let full = "the ring was full before Loki took them (max-size, max-file)";
    for (loss, level, sentence, what) in [
        (
            lost(&[("overwritten", 1)], 0, 5),
            Level::Critical,
            format!("1 line was lost, the last 5 s ago: {full}."),
            "1 line",
        ),
        (
            lost(&[("overwritten", 1_200), ("refused", 34)], 0, 300),
            Level::Critical,
            format!(
                "1,234 lines were lost, the last 5 min ago: 1,200 lines because {full}; 34 lines because Loki refuses them for good."
            ),
            "1,234 lines",
        ),
        (
            lost(&[("given_up", 2)], 1_500, 7_200),
            Level::Warning,
            "2 lines and 1.5 kB were lost, the last 2 h ago: 2 lines because they were tried as often as loki-retries says; \
             1.5 kB because neither disk nor memory had room."
                .into(),
            "2 lines and 1.5 kB",
        ),
        (
            lost(&[], 1_500, 60),
            Level::Critical,
            "1.5 kB were lost, the last 1 min ago: neither disk nor memory had room.".into(),
            "1.5 kB",
        ),
        (lost(&[("over_budget", 7), ("damaged", 2), ("misaddressed", 1)], 0, 90_000), Level::Ok, String::new(), "10 lines"),
    ] {
        let (verdict, findings) = judged(|view| view.lost = loss);
        assert_eq!(verdict.level, level);
        assert_eq!(findings, Vec::from_iter((level > Level::Ok).then_some((level, sentence))));
        assert_eq!(verdict.lost.what, what, "it is shown for ever");
        assert_eq!(verdict.wrong.what, "nothing", "it was, and is no more");
        assert_eq!(verdict.brief().ends_with(" lost"), level > Level::Ok);
    }
}

#[test]
fn other_trouble_is_told_behind_its_cause() {
    let in_memory =
        |name| ContainerView { ring: RingView { in_memory: true, ..RingView::default() }, ..container(name) };
    let unusable = |name| ContainerView {
        destinations: Vec::new(),
        unusable: Some("loki-timeout: \"soon\" is not a duration".into()),
        ..container(name)
    };
    let late = |name, seconds, wait| {
        let mut container = waiting(name, 1_000, 1, None);
        let lane = &mut container.destinations[0];
        (lane.up, lane.lag_seconds, lane.batch_wait_seconds) = (true, seconds, wait);
        container
    };
    let limited = |name| {
        let mut container = late(name, 300.0, 1.0);
        let text = "Loki answered 429: Ingestion rate limit exceeded.".into();
        container.destinations[0].last_error = Some(ErrorView { at: NOW, text });
        container
    };
    for (containers, level, expected) in [
        (
            vec![in_memory("web"), container("db")],
            Level::Critical,
            "The disk takes no lines of web: they are in memory, 4 MiB a container at most.",
        ),
        (
            vec![unusable("web"), unusable("db")],
            Level::Warning,
            "Lines of web, db are buffered on disk and not sent, because options or a file that they name cannot be used; \
             of web: loki-timeout: \"soon\" is not a duration.",
        ),
        (
            vec![late("web", 300.0, 1.0)],
            Level::Warning,
            "web is 5 min behind, though http://loki:3100 answers: 1,000 lines to be sent, kept on disk.",
        ),
        (
            vec![late("web", 61.0, 0.0), limited("db")],
            Level::Warning,
            "2 ways to Loki are behind: db is 5 min behind, the furthest, though http://loki:3100 answers: \
             2,000 lines in all to be sent, kept on disk. \
             Last error: Loki answered 429: Ingestion rate limit exceeded.",
        ),
        // Lines that wait for others are not late.
        (vec![late("web", 59.0, 1.0), late("db", 650.0, 300.0)], Level::Ok, ""),
    ] {
        let (_, findings) = judged(|view| view.containers = containers);
        assert_eq!(findings, Vec::from_iter((level > Level::Ok).then_some((level, expected.to_owned()))));
    }
    let (verdict, findings) = judged(|view| {
        (view.adopted, view.lost) = (false, lost(&[("refused", 1)], 0, 5));
        view.containers = vec![late("web", 300.0, 1.0), unusable("db"), in_memory("cache")];
        view.destinations = vec![away(URL, 5.0, (3, 1))];
    });
    let beginnings = ["Loki at", "The disk", "1 line was", "Lines of db", "web is", "The plugin has just begun"];
    assert!(findings.iter().zip(beginnings).all(|((_, text), begin)| text.starts_with(begin)), "{findings:?}");
    assert_eq!((findings.len(), verdict.level), (6, Level::Critical));
}

#[test]
fn a_setting_that_cannot_be_used_comes_first() {
    let reason = "RING_BUDGET: \"ten\" is not a size above zero (try 20m, 512k, 1g)";
    for (bad, expected) in [
        (1, format!("New containers are refused, because a setting of the plugin cannot be used: {reason}.")),
        (
            2,
            format!("New containers are refused, because 2 settings of the plugin cannot be used: {reason}; {reason}."),
        ),
    ] {
        let (verdict, findings) = judged(|view| {
            view.bad_settings = vec![reason.to_owned(); bad];
            view.destinations = vec![away(URL, 5.0, (3, 1))];
        });
        assert_eq!((findings.len(), &findings[0]), (2, &(Level::Critical, expected)));
        assert_eq!(verdict.wrong.what, "new containers are refused");
    }
}

#[test]
fn streams_that_are_read_for_nothing_are_not_well() {
    for (streams, expected) in [
        (1, "1 stream is not logged, and what comes of it is lost until the container is restarted."),
        (2, "2 streams are not logged, and what comes of them is lost until the container is restarted."),
    ] {
        let (verdict, findings) = judged(|view| view.unlogged_streams = streams);
        assert_eq!(findings, [(Level::Critical, expected.to_owned())]);
        assert_eq!(verdict.wrong.what, "a container is not logged");
    }
}

#[test]
fn a_container_has_its_worst_trouble() {
    let lane = |change: fn(&mut LaneView)| {
        let mut container = container("web");
        change(&mut container.destinations[0]);
        container
    };
    let overflows = |lane: &mut LaneView| {
        (lane.up, lane.lag_lines, lane.room_bytes) = (false, 1, 40_000_000);
        lane.dropped_lines = [("overwritten", 1)].into();
    };
    let table: [(ContainerView, (Level, &str)); 9] = [
        (lane(overflows), (Level::Critical, "ring full")),
        (lane(|_| {}), (Level::Ok, "well")),
        (lane(|lane| (lane.up, lane.lag_lines) = (false, 0)), (Level::Ok, "well")),
        (lane(|lane| (lane.up, lane.lag_lines) = (false, 1)), (Level::Warning, "waits")),
        (lane(|lane| (lane.up, lane.lag_lines, lane.room_bytes) = (false, 1, 9)), (Level::Critical, "ring full")),
        (lane(|lane| (lane.lag_lines, lane.lag_seconds) = (1, 99.0)), (Level::Warning, "behind")),
        (lane(|lane| lane.last_dropped = Some(NOW - SECOND)), (Level::Critical, "lost lines")),
        (lane(|lane| lane.last_dropped = Some(NOW - 7_200 * SECOND)), (Level::Warning, "lost lines")),
        (lane(|lane| lane.last_dropped = Some(NOW - 90_000 * SECOND)), (Level::Ok, "well")),
    ];
    for (container, (level, word)) in table {
        assert_eq!(Trouble::of_container(&container, NOW), Trouble { level, word }, "{container:?}");
    }
    let mut both = lane(|lane| (lane.up, lane.lag_lines) = (false, 1));
    both.ring.in_memory = true;
    assert_eq!(Trouble::of_container(&both, NOW).word, "in memory");
    both.ring.in_memory = false;
    both.unusable = Some("a file is missing".into());
    both.destinations[0].up = true;
    assert_eq!(Trouble::of_container(&both, NOW).word, "not sent");
}
