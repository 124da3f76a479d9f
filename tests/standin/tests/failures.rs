//! Failures that were ordered.

use super::*;

#[test]
fn statuses_in_the_order_given_then_health() {
    let loki = Standin::start();
    for code in [401, 403, 404, 413, 429, 500, 503, 260, 204] {
        loki.fail(Failure::Status { code, body: format!("no: {code}") }, Times::Next(1));
    }
    for code in [401, 403, 404, 413, 429, 500, 503, 260, 204] {
        let reply = push(&loki.url(), &[], line("lost")).expect("a push is answered");
        let text = if code == 204 { String::new() } else { format!("no: {code}") };
        assert_eq!((reply.status, reply.text()), (code, text));
    }
    assert!(texts(&loki).is_empty(), "not even the 204 stored anything");
    assert_eq!(status(&loki, "kept"), 204);
    assert_eq!(texts(&loki), ["kept"]);
    loki.fail(Failure::Redirect { to: "http://127.0.0.1:1/".into() }, Times::UntilHealed);
    for _ in 0..3 {
        let reply = push(&loki.url(), &[], line("lost")).expect("a push is answered");
        assert_eq!((reply.status, reply.header("location")), (301, Some("http://127.0.0.1:1/")));
    }
    loki.heal();
    assert_eq!(status(&loki, "kept too"), 204);
}

#[test]
fn one_container_fails_and_another_does_not() {
    let loki = Standin::start();
    let failure = Failure::Status { code: 500, body: String::new() };
    loki.fail_only(&[("container_name", "db")], failure, Times::UntilHealed);
    assert_eq!(status(&loki, "kept"), 204);
    let mut streams = line("lost");
    streams.extend(line("lost, too"));
    streams[1].labels = b"{host=\"h\", container_name=\"db\"}".to_vec();
    let reply = push(&loki.url(), &[], streams).expect("a push is answered");
    assert_eq!(reply.status, 500);
    assert_eq!(texts(&loki), ["kept"]);
}

#[test]
fn silence_and_delay() {
    let loki = Standin::start();
    loki.fail(Failure::Hang, Times::Next(1));
    loki.fail(Failure::StoreThenHang, Times::Next(1));
    loki.fail(Failure::Delay(MOMENT), Times::Next(1));
    no_answer(&loki, "lost");
    no_answer(&loki, "kept");
    let begun = Instant::now();
    assert_eq!(status(&loki, "late"), 204);
    assert!(begun.elapsed() >= MOMENT);
    assert_eq!(texts(&loki), ["kept", "late"]);
    let answers: Vec<Option<u16>> = loki.pushes().iter().map(|it| it.status_answered).collect();
    assert_eq!(answers, [None, None, Some(204)]);
}

#[test]
fn resets() {
    let loki = Standin::start();
    loki.fail(Failure::Reset { after_bytes: 0 }, Times::Next(1));
    loki.fail(Failure::Reset { after_bytes: 10 }, Times::Next(1));
    loki.fail(Failure::StoreThenReset, Times::Next(1));
    for text in ["lost", "lost", "kept"] {
        assert_eq!(fails(&loki, text), ErrorKind::ConnectionReset);
    }
    assert_eq!(texts(&loki), ["kept"]);
    let answers: Vec<Option<u16>> = loki.pushes().iter().map(|it| it.status_answered).collect();
    assert_eq!(answers, [None, None, None]);
    assert_eq!(status(&loki, "kept too"), 204);
}

#[test]
fn an_error_after_the_data_was_stored() {
    let loki = Standin::start();
    let failure = Failure::StoreThenStatus { code: 500, body: "who knows".into() };
    loki.fail(failure, Times::Next(1));
    assert_eq!(status(&loki, "kept"), 500);
    assert_eq!(texts(&loki), ["kept"]);
}

#[test]
fn a_slow_reader_takes_its_time() {
    let loki = Standin::start();
    loki.fail(Failure::SlowRead { bytes_per_second: 2 << 20 }, Times::Next(1));
    let noise = (0u32..2 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8);
    let body: Vec<u8> = noise.collect();
    let begun = Instant::now();
    let reply = send(&loki.url(), "POST", "/loki/api/v1/push", &PROTOBUF, &body);
    assert_eq!(reply.map(|reply| reply.status).ok(), Some(400), "it is not a push at all");
    assert!(begun.elapsed() >= Duration::from_millis(800), "{:?}", begun.elapsed());
    assert_eq!(loki.pushes()[0].compressed_bytes, body.len());
}

#[test]
fn orders_over_http() {
    let loki = Standin::start();
    let post = |path: &str, order: Value| {
        let body = order.to_string();
        send(&loki.url(), "POST", path, &[], body.as_bytes()).expect("an order is answered")
    };
    let order = json!({"kind": "status", "code": 429, "body": "slow down"});
    assert_eq!(post("/standin/fail", order).status, 204);
    assert_eq!(status(&loki, "lost"), 429);
    assert_eq!(post("/standin/heal", json!({})).status, 204);
    assert_eq!(status(&loki, "kept"), 204);
    let reply = post("/standin/fail", json!({"kind": "nonsense"}));
    assert_eq!(reply.status, 400);
    assert!(reply.text().starts_with("\"kind\" must be status, proxy, "), "{}", reply.text());
    for kind in ["refuse", "deaf", "vanish"] {
        assert_eq!(post("/standin/fail", json!({"kind": kind})).status, 400, "for how long?");
    }
    let (record, _) = begin(&loki.url(), "GET", "/standin/requests?last=2", &[], b"").expect("it listens");
    let record = read_reply(record).expect("it is answered");
    let record: Value = serde_json::from_slice(&record.body).expect("it is JSON");
    let seen = |request: &Value| (request["status"].clone(), request["answer"].clone());
    let seen: Vec<_> = record.as_array().expect("a list").iter().map(seen).collect();
    assert_eq!(seen, [(json!(429), json!("slow down")), (json!(204), json!(""))]);
    assert_eq!(record[1]["streams"][0]["labels"], "{container_name=\"web\"}");
    assert_eq!(send(&loki.url(), "GET", "/standin/x", &[], b"").map(|it| it.status).ok(), Some(404));
    // Connections are refused for a while.
    assert_eq!(post("/standin/fail", json!({"kind": "refuse", "ms": 700})).status, 204);
    let ready = || send(&loki.url(), "GET", "/ready", &[], b"").is_ok();
    let until = |wanted: bool| {
        let begun = Instant::now();
        while ready() != wanted && begun.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(10));
        }
        begun.elapsed() < PATIENCE
    };
    assert!(until(false), "it goes");
    assert!(until(true), "it comes back");
    assert_eq!(texts(&loki), ["kept"], "with what it had");
}
