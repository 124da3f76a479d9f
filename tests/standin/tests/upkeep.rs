//! Looking, waiting, leaving and coming back.

use super::*;

#[test]
fn what_was_pushed_can_be_looked_at() {
    let loki = Standin::start();
    assert_eq!(status(&loki, "one"), 204);
    let entries = loki.entries();
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].tenant, "fake");
    assert_eq!(entries[0].line, b"one");
    assert_eq!(entries[0].metadata, []);
    // As sent: what Loki adds is for queries.
    assert_eq!(entries[0].labels, [("container_name".into(), "web".into())].into());
    assert_eq!(loki.count(&[("service_name", "web")]), 1);
    let requests = loki.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].status_answered, Some(204));
    assert_eq!(requests[0].streams, [("{container_name=\"web\"}".to_owned(), 1)]);
    assert_eq!(requests[0].header("Content-Type"), Some("application/x-protobuf"));
    assert!(requests[0].compressed_bytes > 0 && requests[0].uncompressed_bytes > 0);
    assert!(requests[0].is_push());
    loki.forget();
    assert!(loki.entries().is_empty() && loki.requests().is_empty());
}

#[test]
fn waiting_ends_when_it_is_so_or_when_patience_ends() {
    let loki = Standin::start();
    let url = loki.url();
    let pusher = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(50));
        push(&url, &[], line("one")).map(|reply| reply.status)
    });
    assert!(loki.wait_for(|state| state.count(&[]) == 1, PATIENCE));
    assert_eq!(pusher.join().expect("it did not panic").ok(), Some(204));
    let begun = Instant::now();
    assert!(!loki.wait_for(|state| state.count(&[]) == 2, MOMENT));
    assert!(begun.elapsed() >= MOMENT);
}

#[test]
fn away_and_back_on_the_same_port() {
    let loki = Standin::start();
    let mut idle = TcpStream::connect(loki.url().trim_start_matches("http://")).expect("it listens");
    idle.set_read_timeout(Some(PATIENCE)).expect("a time limit can be set");
    assert_eq!(status(&loki, "before"), 204);
    for _ in 0..3 {
        loki.go_away();
        loki.go_away();
        assert_eq!(fails(&loki, "lost"), ErrorKind::ConnectionRefused);
        loki.come_back();
        loki.come_back();
        assert_eq!(status(&loki, "kept"), 204);
    }
    assert_eq!(texts(&loki), ["before", "kept", "kept", "kept"]);
    // Connections that were open are not any more.
    let ended = idle.write_all(b"GET").and_then(|()| idle.read(&mut [0]));
    assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
    let (url, port) = (loki.url(), loki.port());
    drop(loki);
    assert!(send(&url, "GET", "/ready", &[], b"").is_err(), "dropping it stops it");
    let again = Standin::builder().port(port).start();
    assert_eq!(status(&again, "x"), 204);
}

/// A connection to it on which nothing was said yet, and a request that fits its buffers.
fn idle(loki: &Standin) -> (TcpStream, Vec<u8>) {
    let idle = TcpStream::connect(loki.url().trim_start_matches("http://")).expect("it listens");
    idle.set_read_timeout(Some(MOMENT)).expect("a time limit can be set");
    let body = snappy(line("lost"));
    let head = format!("POST /loki/api/v1/push HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n", body.len());
    (idle, [head.as_bytes(), b"Content-Type: application/x-protobuf\r\n\r\n", &body].concat())
}

/// Nothing comes, and the connection stays.
fn is_silent(connection: &mut TcpStream) -> bool {
    let read = connection.read(&mut [0]).map_err(|error| error.kind());
    matches!(read, Err(ErrorKind::WouldBlock | ErrorKind::TimedOut))
}

/// The answer when the server is back and does not know the connection.
fn is_reset(connection: &mut TcpStream) -> bool {
    connection.set_read_timeout(Some(PATIENCE)).expect("a time limit can be set");
    connection.read(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::ConnectionReset)
}

#[test]
fn deaf_it_accepts_connections_and_reads_nothing_of_them() {
    let loki = Standin::start();
    let (mut known, request) = idle(&loki);
    assert_eq!(status(&loki, "before"), 204);
    loki.go_deaf();
    let (mut new, _) = idle(&loki);
    for connection in [&mut known, &mut new] {
        connection.write_all(&request).expect("it fits the buffers");
        assert!(is_silent(connection));
    }
    // More than any buffer on the way holds without a reader.
    new.set_write_timeout(Some(MOMENT)).expect("a time limit can be set");
    let stuck = new.write_all(&[0; 16 << 20]).expect_err("nothing is read");
    assert_eq!(stuck.kind(), ErrorKind::WouldBlock);
    loki.come_back();
    assert!(is_reset(&mut known) && is_reset(&mut new));
    assert_eq!(status(&loki, "after"), 204);
    assert_eq!(texts(&loki), ["before", "after"]);
    assert_eq!(loki.requests().len(), 2, "a request that was not read is not recorded");
}

#[test]
fn when_it_vanished_nobody_can_connect_or_is_refused() {
    let loki = Standin::start();
    let (mut known, request) = idle(&loki);
    let address = loki.url().trim_start_matches("http://").parse().expect("an address");
    for _ in 0..2 {
        loki.vanish();
        let error = TcpStream::connect_timeout(&address, MOMENT).expect_err("packets vanish");
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    }
    known.write_all(&request).expect("it fits the buffers");
    assert!(is_silent(&mut known));
    // The kernel asks again when a second has passed.
    let connecting = std::thread::spawn(move || TcpStream::connect_timeout(&address, PATIENCE));
    assert!(is_silent(&mut known) && !connecting.is_finished());
    loki.come_back();
    assert!(connecting.join().expect("it did not panic").is_ok(), "a connection begun meanwhile comes about");
    assert!(is_reset(&mut known));
    assert_eq!(status(&loki, "kept"), 204);
    assert_eq!(texts(&loki), ["kept"]);
}

#[test]
fn from_any_manner_to_any_other() {
    let loki = Standin::start();
    let turns: [fn(&Standin); 4] = [Standin::come_back, Standin::go_away, Standin::go_deaf, Standin::vanish];
    for first in turns {
        for second in turns {
            first(&loki);
            second(&loki);
        }
    }
    loki.go_away();
    assert_eq!(fails(&loki, "lost"), ErrorKind::ConnectionRefused);
    loki.come_back();
    assert_eq!(status(&loki, "kept"), 204);
}

#[test]
fn a_client_that_goes_away_is_on_record() {
    let loki = Standin::start();
    let head = "POST /loki/api/v1/push HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf";
    let host = loki.url();
    let mut client = TcpStream::connect(host.trim_start_matches("http://")).expect("it listens");
    client.write_all(head.as_bytes()).expect("it fits the buffers");
    drop(client);
    assert!(loki.wait_for(|state| state.requests().len() == 1, PATIENCE));
    assert!(loki.entries().is_empty());
}

#[test]
fn limits_can_change_while_it_runs() {
    let loki = Standin::start();
    loki.change_limits(|limits| limits.max_line_size = 3);
    assert_eq!(status(&loki, "four"), 400);
    loki.change_limits(|limits| limits.max_line_size = 4);
    assert_eq!(status(&loki, "four"), 204);
    loki.change_limits(|limits| limits.max_recv_msg_size = 10);
    assert_eq!(status(&loki, "five!"), 413);
}

#[test]
fn garbage_does_not_end_it() {
    let loki = Standin::start();
    let host = loki.url();
    for garbage in [&b"\0\xff\r\n\r\n"[..], b"GET", b"POST /loki/api/v1/push HTTP/9.9\r\n\r\n"] {
        let mut client = TcpStream::connect(host.trim_start_matches("http://")).expect("it listens");
        client.write_all(garbage).expect("it fits the buffers");
    }
    for seed in 0..200u32 {
        let byte = |n: u32| ((n + 1).wrapping_mul(seed.wrapping_mul(2_654_435_761) | 1) >> 7) as u8;
        let body: Vec<u8> = (0..seed % 64).map(byte).collect();
        let kind = if seed % 2 == 0 { "application/json" } else { "application/x-protobuf" };
        let body = if seed % 4 == 1 { super::super::client::compress(&body) } else { body };
        let path = "/loki/api/v1/push";
        let reply = send(&host, "POST", path, &[("Content-Type", kind)], &body);
        assert!(reply.is_ok_and(|reply| reply.status >= 400), "{kind} {body:?}");
    }
    assert_eq!(status(&loki, "kept"), 204);
}
