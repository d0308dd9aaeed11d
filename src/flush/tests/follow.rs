//! Requests that follow the one in flight.

use super::{super::outside::NotStored, *};

impl Bench {
    /// One whose lane has sent a row and knows the server; its batches don't depend on what is measured.
    fn under_way() -> Self {
        let mut bench = Self::new();
        bench.lane.policy = Box::new(policy::Hybrid);
        let end = bench.row(0, "device");
        bench.settle(end);
        bench
    }

    /// Sends row 1, has row 2 follow, and leaves row 3; where row 3 ends.
    fn hand_over_two(&mut self) -> Pos {
        let end = [1, 2, 3].map(|number| self.row(number, "device"))[2];
        self.cycle(1).unwrap();
        self.cycle(1).unwrap();
        assert_eq!(self.lane.flight.len(), 2);
        end
    }
}

#[test]
fn what_follows_leaves_by_itself_once_the_request_before_is_stored() {
    let mut bench = Bench::under_way();
    bench.hand_over_two();
    let deadline = Instant::now() + DEADLINE;
    while bench.stored(2) == 0 {
        assert!(Instant::now() < deadline);
        std::thread::yield_now();
    }
    assert_eq!((bench.sent([1, 2]), bench.lane.flight.len()), ([1, 1], 2));
    bench.run_out();
    assert_eq!((bench.sent([1, 2]), bench.ring.ledger().stored), ([1, 1], 4));
}

#[test]
fn what_follows_a_request_that_is_not_stored_does_not_leave() {
    let mut bench = Bench::under_way();
    bench.database.seen().refuse = Some(" x=1i ");
    let end = bench.hand_over_two();
    bench.lane.receive().unwrap();
    assert_eq!((bench.stored(2), bench.lane.flight.len()), (0, 0));
    bench.settle(end);
    let ledger = bench.ring.ledger();
    assert_eq!((bench.stored(2), ledger.stored, ledger.quarantined), (1, 3, 1));
}

#[test]
fn what_follows_does_not_leave_for_another_server() {
    let mut bench = Bench::under_way();
    bench.row(1, "device");
    let end = bench.row(2, "device");
    bench.cycle(1).unwrap();
    // Another lane finds the server restarted before the next look.
    let marks = bench.ring.marks();
    let (span, buffer) = (bench.lane.flight[0].span, bench.lane.link.buffer(1));
    let seen = bench.lane.rewinds_seen;
    bench.lane.shared.ask_rewind(marks.safe, || {});
    let shared = Arc::clone(&bench.lane.shared);
    assert!(bench.lane.link.follow(buffer, Box::new(move || shared.is_same_server_as(seen))));
    assert!(span.end.pos < end);
    let answers: Vec<_> = (0..2).map(|_| bench.lane.link.wait(DEADLINE).unwrap().result).collect();
    assert_eq!(answers, [Ok(()), Err(NotStored::Unsent)]);
}
