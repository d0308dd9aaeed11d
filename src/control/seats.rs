//! Who may be connected. A newcomer for whom there is no seat gets that of whoever has kept the server waiting longest, so that
//! silent and slow clients, however many, keep nobody out. Each may do so for a moment; where all are new, newcomers wait as long.

use std::{
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{
            AtomicU8, AtomicU64,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures_util::task::AtomicWaker;

use crate::sync::lock;

/// What a client has to send a request's head, whoever else wants its seat.
pub(super) const GRACE: Duration = Duration::from_millis(100);
/// A transfer that has stood still for less than this is under way, not stalled.
pub(super) const STALLED_AFTER: Duration = Duration::from_secs(1);

/// Not waited for.
const NEVER: u64 = 0;
/// A head is due, and nobody has looked for it yet.
const DUE: u64 = u64::MAX;

/// The seats of one listener.
#[derive(Debug)]
pub(super) struct Seats {
    limit: usize,
    /// Of the limit, those that only administrators get.
    reserved: usize,
    epoch: Instant,
    taken: Mutex<Vec<Arc<Seat>>>,
}

/// What the server waits for the client to do, and since when. Written by the connection's task, read by whoever looks for a seat.
#[derive(Debug)]
pub(super) struct Seat {
    admin: bool,
    epoch: Instant,
    /// Nanoseconds since the epoch, one more; or [`NEVER`], or [`DUE`].
    head_since: AtomicU64,
    body_since: AtomicU64,
    reader_since: AtomicU64,
    /// A [`Told`], or [`NOTHING`].
    told: AtomicU8,
    task: AtomicWaker,
}

const NOTHING: u8 = 0;

/// What a connection is told to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Told {
    /// To finish the answer under way: the daemon stops.
    Stop = 1,
    /// To end: its seat is another's, or it has been silent for too long.
    Leave = 2,
}

impl Seat {
    /// The next thing the client does is to send a request's head.
    pub fn head_is_due(&self) {
        self.body_since.store(NEVER, Relaxed);
        self.head_since.store(DUE, Relaxed);
    }

    /// There was nothing more to do for the connection's task.
    pub fn is_waiting(&self) {
        if self.head_since.load(Relaxed) == DUE {
            self.head_since.store(self.now(), Relaxed);
        }
    }

    /// A request's head is there.
    pub fn head_came(&self) {
        self.head_since.store(NEVER, Relaxed);
    }

    /// More of a request's body is waited for, or no more.
    pub fn awaits_body(&self, awaits: bool) {
        self.set(&self.body_since, awaits);
    }

    /// The client is waited for to take what it is sent, or no more. A head is due only then.
    pub fn awaits_reader(&self, awaits: bool) {
        self.set(&self.reader_since, awaits);
        if !awaits && self.head_since.load(Relaxed) != NEVER {
            self.head_since.store(DUE, Relaxed);
        }
    }

    /// Ready once the connection is told something. To be asked whenever the connection's task
    /// runs: that costs next to nothing.
    pub fn poll_told(&self, cx: &Context<'_>) -> Poll<Told> {
        self.task.register(cx.waker());
        match self.told.load(Acquire) {
            NOTHING => Poll::Pending,
            told if told == Told::Stop as u8 => Poll::Ready(Told::Stop),
            _ => Poll::Ready(Told::Leave),
        }
    }

    fn tell(&self, told: Told) {
        self.told.fetch_max(told as u8, Release);
        self.task.wake();
    }

    /// Whether a head has been waited for as long as that, and nothing else is waited for.
    fn is_silent_for(&self, limit: Duration) -> bool {
        let since = self.head_since.load(Relaxed);
        since != NEVER
            && since != DUE
            && self.reader_since.load(Relaxed) == NEVER
            && self.now().saturating_sub(since) >= limit.as_nanos() as u64
    }

    fn set(&self, since: &AtomicU64, awaits: bool) {
        if !awaits {
            since.store(NEVER, Relaxed);
        } else if since.load(Relaxed) == NEVER {
            since.store(self.now(), Relaxed);
        }
    }

    fn now(&self) -> u64 {
        self.epoch.elapsed().as_nanos() as u64 + 1
    }

    /// From when on the client has to make room, in nanoseconds since the epoch; none while it is not waited for.
    fn gives_way_at(&self) -> Option<u64> {
        // Who still takes an answer owes no head.
        let owes_head = self.reader_since.load(Relaxed) == NEVER;
        let head = owes_head.then_some((&self.head_since, GRACE));
        let others = [(&self.body_since, STALLED_AFTER), (&self.reader_since, STALLED_AFTER)];
        let waits = head.into_iter().chain(others);
        let waits = waits.filter_map(|(since, patience)| {
            let since = Some(since.load(Relaxed)).filter(|since| *since != NEVER)?;
            // Its moment begins when somebody looks, which is about to happen.
            let since = if since == DUE { self.now() } else { since };
            Some(since + patience.as_nanos() as u64)
        });
        waits.min()
    }
}

/// What there is for a newcomer.
#[derive(Debug)]
pub(super) enum Offer {
    /// A seat.
    Seat(Taken),
    /// One in so long at the latest.
    Wait(Duration),
    /// None: all are being served.
    Full,
}

/// A seat taken; dropping it frees the seat.
#[derive(Debug)]
pub(super) struct Taken {
    seats: Arc<Seats>,
    seat: Arc<Seat>,
}

impl Taken {
    pub fn seat(&self) -> &Arc<Seat> {
        &self.seat
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.seats.lock().retain(|seat| !Arc::ptr_eq(seat, &self.seat));
    }
}

impl Seats {
    /// So many seats, of which the last `reserved` are for administrators.
    pub fn new(limit: usize, reserved: usize) -> Arc<Self> {
        let reserved = reserved.min(limit / 2);
        Arc::new(Self { limit, reserved, epoch: Instant::now(), taken: Mutex::default() })
    }

    /// A seat, if need be another's.
    pub fn take(self: &Arc<Self>, admin: bool) -> Offer {
        let mut taken = self.lock();
        let others = taken.iter().filter(|seat| !seat.admin).count();
        if taken.len() >= self.limit || (!admin && others >= self.limit - self.reserved) {
            let Some((at, when)) = first_to_go(&taken, admin) else { return Offer::Full };
            let left = Duration::from_nanos(when.saturating_sub(self.epoch.elapsed().as_nanos() as u64));
            if left > Duration::ZERO {
                return Offer::Wait(left);
            }
            taken.swap_remove(at).tell(Told::Leave);
        }
        let [head_since, body_since, reader_since] = [DUE, NEVER, NEVER].map(AtomicU64::new);
        let (told, task) = (AtomicU8::new(NOTHING), AtomicWaker::new());
        let seat = Arc::new(Seat { admin, epoch: self.epoch, head_since, body_since, reader_since, told, task });
        taken.push(Arc::clone(&seat));
        drop(taken);
        Offer::Seat(Taken { seats: Arc::clone(self), seat })
    }

    /// Ends the connections that have not sent a request's head for so long.
    pub fn end_silent(&self, limit: Duration) {
        self.lock().iter().filter(|seat| seat.is_silent_for(limit)).for_each(|seat| seat.tell(Told::Leave));
    }

    /// Has every connection finish what is under way.
    pub fn stop(&self) {
        self.lock().iter().for_each(|seat| seat.tell(Told::Stop));
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Seat>>> {
        lock(&self.taken)
    }
}

/// Who has to make room first, and when. Administrators do so only for each other.
fn first_to_go(taken: &[Arc<Seat>], admin: bool) -> Option<(usize, u64)> {
    let waited_for = taken.iter().enumerate().filter(|(_, seat)| admin || !seat.admin);
    let waited_for = waited_for.filter_map(|(at, seat)| Some((seat.gives_way_at()?, at)));
    waited_for.min().map(|(when, at)| (at, when))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seats that have been there for a minute.
    fn seats(limit: usize, reserved: usize) -> Arc<Seats> {
        let epoch = Instant::now().checked_sub(Duration::from_mins(1)).unwrap();
        Arc::new(Seats { limit, reserved, epoch, taken: Mutex::default() })
    }

    fn seat(offer: Offer) -> Taken {
        match offer {
            Offer::Seat(taken) => taken,
            other => panic!("a seat, not {other:?}"),
        }
    }

    /// Whether a seat was given to another.
    fn is_lost(taken: &Taken) -> bool {
        !taken.seats.lock().iter().any(|seat| Arc::ptr_eq(seat, &taken.seat))
    }

    /// Its head has been waited for since so many seconds after the epoch.
    fn silent(taken: &Taken, since_s: u64) {
        taken.seat.head_since.store(since_s * 1_000_000_000, Relaxed);
    }

    #[test]
    fn a_newcomer_takes_the_seat_of_whoever_is_waited_for_longest() {
        let seats = seats(3, 0);
        let [busy, first, second] = [(); 3].map(|()| seat(seats.take(false)));
        busy.seat.head_came();
        silent(&first, 1);
        silent(&second, 2);
        let third = seat(seats.take(false));
        assert!(is_lost(&first) && !is_lost(&second) && !is_lost(&busy));
        second.seat.head_came();
        third.seat.head_came();
        assert!(matches!(seats.take(false), Offer::Full), "all are being served");
        drop(second);
        seat(seats.take(false));
    }

    #[test]
    fn a_client_has_a_moment_to_send_its_head_and_that_begins_when_it_is_looked_for() {
        let seats = seats(1, 0);
        let one = seat(seats.take(false));
        one.seat.head_since.store(DUE, Relaxed);
        assert!(matches!(seats.take(false), Offer::Wait(_)), "nobody has looked what it sent, however long ago");
        one.seat.is_waiting();
        assert!(matches!(seats.take(false), Offer::Wait(left) if left <= GRACE));
        silent(&one, 59);
        one.seat.is_waiting();
        seat(seats.take(false));
        assert!(is_lost(&one));
    }

    #[test]
    fn who_sends_no_head_is_ended_and_who_takes_an_answer_is_not() {
        let seats = seats(4, 0);
        let all = [(); 4].map(|()| seat(seats.take(false)));
        let [silent_one, busy, reader, fresh] = &all;
        silent(silent_one, 1);
        busy.seat.head_came();
        silent(reader, 1);
        reader.seat.awaits_reader(true);
        fresh.seat.is_waiting();
        let told = |taken: &Taken| taken.seat.poll_told(&Context::from_waker(std::task::Waker::noop()));
        seats.end_silent(Duration::from_secs(10));
        assert_eq!(told(silent_one), Poll::Ready(Told::Leave));
        assert!([busy, reader, fresh].into_iter().all(|taken| told(taken).is_pending()));
        seats.stop();
        assert_eq!(told(busy), Poll::Ready(Told::Stop));
        assert_eq!(told(silent_one), Poll::Ready(Told::Leave), "it is to go all the same");
    }

    #[test]
    fn a_transfer_that_stands_still_costs_the_seat_once_it_has_done_so_for_a_while() {
        let seats = seats(1, 0);
        for wait in [Seat::awaits_body, Seat::awaits_reader] {
            let one = seat(seats.take(false));
            one.seat.head_came();
            wait(&one.seat, true);
            let Offer::Wait(left) = seats.take(false) else { panic!("it has only begun") };
            assert!(left <= STALLED_AFTER && left > STALLED_AFTER / 2, "{left:?}");
            for since in [&one.seat.body_since, &one.seat.reader_since] {
                let long = since.load(Relaxed).min(1);
                since.store(long, Relaxed);
            }
            wait(&one.seat, true);
            let _other = seat(seats.take(false));
            assert!(is_lost(&one), "waiting on does not begin anew");
        }
    }

    #[test]
    fn others_leave_seats_for_administrators_and_take_none_of_theirs() {
        let seats = seats(4, 2);
        let admin = seat(seats.take(true));
        let others = [(); 2].map(|()| seat(seats.take(false)));
        silent(&admin, 1);
        silent(&others[0], 2);
        let third = seat(seats.take(false));
        assert!(is_lost(&others[0]) && !is_lost(&admin));
        others[1].seat.head_came();
        third.seat.head_came();
        assert!(matches!(seats.take(false), Offer::Full) && !is_lost(&admin));
        let second = seat(seats.take(true));
        let instead = seat(seats.take(true));
        assert!(is_lost(&admin) && !is_lost(&second) && !is_lost(&instead));
    }
}
