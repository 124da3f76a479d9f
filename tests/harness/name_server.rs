//! A name server that can be silent: every name it is asked for is 127.0.0.1.

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// Bytes of a query's header, which are the first of its answer's too.
const HEADER: usize = 12;

/// A name server on a loopback address, for as long as the process lives.
pub struct NameServer {
    address: &'static str,
    silent: Arc<AtomicBool>,
}

// === impl NameServer ===

impl NameServer {
    /// Serves on port 53 of a loopback address that is its own.
    pub fn start(address: &'static str) -> NameServer {
        let socket = UdpSocket::bind((address, 53)).unwrap_or_else(|error| panic!("{address}:53: {error}"));
        let silent = Arc::new(AtomicBool::new(false));
        let server = NameServer { address, silent: silent.clone() };
        thread::spawn(move || {
            let mut query = [0; 512];
            while let Ok((len, from)) = socket.recv_from(&mut query) {
                if !silent.load(Ordering::Relaxed)
                    && let Some(answer) = answer(&query[..len])
                {
                    let _ = socket.send_to(&answer, from);
                }
            }
        });
        server
    }

    /// What `resolv.conf` says for it.
    pub fn resolv_conf(&self) -> String {
        format!("nameserver {}\n", self.address)
    }

    /// Takes queries and answers none.
    pub fn fall_silent(&self) {
        self.silent.store(true, Ordering::Relaxed);
    }

    /// Answers again.
    pub fn speak(&self) {
        self.silent.store(false, Ordering::Relaxed);
    }
}

/// The answer to a query with one question (RFC 1035, 4.1): an address for type A, nothing for any other.
fn answer(query: &[u8]) -> Option<Vec<u8>> {
    let name_end = HEADER + query.get(HEADER..)?.iter().position(|byte| *byte == 0)? + 1;
    let question = query.get(HEADER..name_end + 4)?;
    let has_address = question.ends_with(&[0, 1, 0, 1]);
    let mut answer = query[..2].to_vec();
    // A response, recursion available, no error; one question, one answer or none.
    answer.extend([0x81, 0x80, 0, 1, 0, u8::from(has_address), 0, 0, 0, 0]);
    answer.extend(question);
    if has_address {
        // The name of the question, type A, class IN, no time to live, four bytes.
        answer.extend([0xc0, HEADER as u8, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 127, 0, 0, 1]);
    }
    Some(answer)
}

#[test]
fn a_query_for_an_address_is_answered_and_others_have_no_address() {
    let query =
        |kind: u8| [b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x04loki\x07example\0\0" as &[u8], &[kind, 0, 1]].concat();
    let address = answer(&query(1)).unwrap();
    assert_eq!(address[..8], [0x12, 0x34, 0x81, 0x80, 0, 1, 0, 1]);
    assert!(address.ends_with(&[127, 0, 0, 1]));
    assert_eq!(answer(&query(28)).unwrap()[6..8], [0, 0]);
    assert_eq!(answer(b"short"), None);
}
