use proptest::prelude::*;

use super::*;

const KIB: usize = 1024;

fn account(limit: usize) -> Arc<Account> {
    Arc::new(Account::new(limit, LARGEST))
}

#[test]
fn a_pipe_grows_while_it_is_busy_and_shrinks_when_it_is_calm() {
    let (start, account) = (Instant::now(), account(64 * LARGEST));
    let mut size = Size::new(USUAL, &account, start);
    // Seconds, bytes read (0: the pipe is empty), and the expected resize of the pipe in KiB.
    for (at, read, becomes) in [
        (0, 100, 64),
        (0, 60 * KIB, 64),
        (0, 0, 64),
        (1, 60 * KIB, 64),
        (1, 0, 64),
        (2, 60 * KIB, 64),
        (2, 60 * KIB, 256),
        (2, 60 * KIB, 256),
        (2, 200 * KIB, 1024),
        (3, 1024 * KIB, 1024),
        (7, 20 * KIB, 1024),
        (8, 100, 1024),
        (11, 100, 1024),
        (12, 100, 64),
        (13, 100, 64),
    ] {
        let now = start + Duration::from_secs(at);
        let resize = match read {
            0 => {
                size.emptied();
                size.calmed(now)
            }
            read => size.read(read, || now),
        };
        if let Resize::To(bytes) = resize {
            size.became(bytes);
        }
        assert_eq!(size.bytes(), becomes * KIB, "after {read} bytes in second {at}");
        assert_eq!(account.taken(), size.bytes());
        assert_eq!(size.calm_at().is_some(), becomes > 64);
    }
    drop(size);
    assert_eq!(account.taken(), 0, "a stream that ends gives its pages back");
}

#[test]
fn a_resize_that_the_kernel_refuses_is_retried() {
    let (start, account) = (Instant::now(), account(64 * LARGEST));
    let mut size = Size::new(USUAL, &account, start);
    size.read(USUAL, || start);
    assert_eq!(size.read(USUAL, || start), Resize::To(4 * USUAL));
    size.failed(start);
    assert_eq!((size.read(USUAL, || start), account.taken()), (Resize::Keep, USUAL));
    assert_eq!(size.read(USUAL, || start + CALM), Resize::To(4 * USUAL));
    size.became(4 * USUAL);
    // The pipe holds more bytes than its new size.
    assert_eq!(size.calmed(start + CALM * 2), Resize::To(USUAL));
    size.failed(start + CALM * 2);
    assert_eq!((size.calmed(start + CALM * 2), account.taken()), (Resize::Keep, 4 * USUAL));
    assert_eq!(size.calmed(start + CALM * 3), Resize::To(USUAL));
}

#[test]
fn a_pipe_that_the_last_process_has_grown_is_counted_and_shrinks() {
    let (start, account) = (Instant::now(), account(USUAL));
    let mut size = Size::new(LARGEST, &account, start);
    assert_eq!((account.taken(), size.calmed(start)), (LARGEST, Resize::Keep));
    assert_eq!(size.calmed(start + CALM), Resize::To(USUAL));
}

#[test]
fn a_pipe_that_stays_empty_never_reads_the_clock() {
    let account = account(LARGEST);
    let mut size = Size::new(USUAL, &account, Instant::now());
    for bytes in [1, 100, 16 * KIB - 1].repeat(10) {
        assert_eq!(size.read(bytes, || panic!("it is calm")), Resize::Keep);
    }
}

proptest! {
    #[test]
    fn all_pipes_together_stay_within_their_limit(
        limit in 0..40 * USUAL,
        reads in proptest::collection::vec((0..8_usize, 0..2 * LARGEST, 0..4000_u64, any::<bool>()), 0..400),
    ) {
        let account = account(limit);
        let mut now = Instant::now();
        let mut pipes: Vec<_> = (0..8).map(|_| Size::new(USUAL, &account, now)).collect();
        for (at, bytes, later, is_taken) in reads {
            now += Duration::from_millis(later);
            let resize = pipes[at].read(bytes, || now);
            if let Resize::To(bytes) = resize {
                prop_assert!((USUAL..=LARGEST).contains(&bytes));
                if is_taken { pipes[at].became(bytes) } else { pipes[at].failed(now) }
            }
            let all: usize = pipes.iter().map(Size::bytes).sum();
            prop_assert_eq!(account.taken(), all);
            prop_assert!(all <= limit.max(8 * USUAL), "{} of {}", all, limit);
        }
        // All of them become calm, one after the other.
        for pipe in &mut pipes {
            if let Resize::To(bytes) = pipe.calmed(now + CALM) {
                pipe.became(bytes);
            }
        }
        prop_assert_eq!(account.taken(), 8 * USUAL);
    }
}
