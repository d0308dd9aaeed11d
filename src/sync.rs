//! Locks that go on after a panic: the one place that says what a poisoned lock means.
//!
//! A panic ends the released program at once, so only tests ever see a poisoned lock. They go on
//! with the value as it is: the panic itself is what makes them fail.

use std::{
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

/// Takes the lock, and waits for it as long as another thread holds it.
pub fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes the lock unless another thread holds it.
pub fn try_lock<T: ?Sized>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    match mutex.try_lock() {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

/// Takes a lock that other readers may hold too.
pub fn read<T: ?Sized>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

/// Takes the lock alone, and waits for it as long as a reader or a writer holds it.
pub fn write<T: ?Sized>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

/// Gives the lock back until the condition variable is notified or the time is over, and takes it
/// again. It may also return early without a reason, so the caller looks at the value.
pub fn wait<'a, T>(rung: &Condvar, guard: MutexGuard<'a, T>, at_most: Duration) -> MutexGuard<'a, T> {
    rung.wait_timeout(guard, at_most).unwrap_or_else(PoisonError::into_inner).0
}

/// Gives the lock back until the condition variable is notified, and takes it again. It may also return early without a
/// reason, so the caller looks at the value.
pub fn wait_untimed<'a, T>(rung: &Condvar, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
    rung.wait(guard).unwrap_or_else(PoisonError::into_inner)
}

/// Gives the lock back while `goes_on` holds, at most for the time given, and takes it again.
pub fn wait_while<'a, T>(
    rung: &Condvar,
    guard: MutexGuard<'a, T>,
    at_most: Duration,
    goes_on: impl FnMut(&mut T) -> bool,
) -> MutexGuard<'a, T> {
    rung.wait_timeout_while(guard, at_most, goes_on).unwrap_or_else(PoisonError::into_inner).0
}

/// A value behind a lock that some hold for long work, in slices. Between two of them they give
/// way: a lock that is given back and taken again at once does not become anybody else's, as who
/// waits for it has to wake up first.
#[derive(Debug, Default)]
pub struct Sliced<T> {
    value: Mutex<T>,
    /// How many wait for the lock.
    waiting: AtomicUsize,
    /// How many have got it after they had to wait.
    came: AtomicUsize,
}

impl<T> Sliced<T> {
    /// A value that nobody holds.
    pub const fn new(value: T) -> Self {
        Self { value: Mutex::new(value), waiting: AtomicUsize::new(0), came: AtomicUsize::new(0) }
    }

    /// Takes the lock, and waits for it as long as another thread holds it.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        if let Some(guard) = try_lock(&self.value) {
            return guard;
        }
        self.waiting.fetch_add(1, Ordering::AcqRel);
        let guard = lock(&self.value);
        self.came.fetch_add(1, Ordering::AcqRel);
        self.waiting.fetch_sub(1, Ordering::AcqRel);
        guard
    }

    /// Lets one in who waits, if any, and takes the lock again.
    pub fn give_way<'a>(&'a self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        let came = self.came.load(Ordering::Acquire);
        drop(guard);
        while self.waiting.load(Ordering::Acquire) > 0 && self.came.load(Ordering::Acquire) == came {
            thread::yield_now();
        }
        self.lock()
    }
}

#[cfg(test)]
mod tests {
    use std::{panic::AssertUnwindSafe, sync::Arc};

    use super::*;

    fn poisoned() -> Mutex<u32> {
        let mutex = Mutex::new(7);
        let panicked = std::panic::catch_unwind(AssertUnwindSafe(|| {
            let _guard = lock(&mutex);
            panic!("on purpose");
        }));
        assert!(panicked.is_err() && mutex.is_poisoned());
        mutex
    }

    #[test]
    fn a_poisoned_lock_is_taken_with_the_value_it_holds() {
        let mutex = poisoned();
        assert_eq!(*lock(&mutex), 7);
        assert_eq!(try_lock(&mutex).map(|value| *value), Some(7));
    }

    #[test]
    fn a_lock_that_is_held_is_not_waited_for() {
        let mutex = Mutex::new(7);
        let held = lock(&mutex);
        assert!(try_lock(&mutex).is_none());
        drop(held);
        assert!(try_lock(&mutex).is_some());
    }

    #[test]
    fn who_waits_comes_between_two_slices() {
        let sliced = Sliced::new(Vec::new());
        thread::scope(|scope| {
            let mut guard = sliced.lock();
            for round in 0..100 {
                scope.spawn(|| sliced.lock().push("other"));
                while sliced.waiting.load(Ordering::Acquire) == 0 {
                    thread::yield_now();
                }
                guard = sliced.give_way(guard);
                assert_eq!(guard.len(), round + 1);
            }
            guard = sliced.give_way(guard);
            assert_eq!(guard.len(), 100, "nobody waits");
        });
    }

    #[test]
    fn a_wait_ends_when_it_is_rung_or_when_its_time_is_over() {
        let shared = Arc::new((Mutex::new(false), Condvar::new()));
        let other = Arc::clone(&shared);
        let thread = thread::spawn(move || {
            *lock(&other.0) = true;
            other.1.notify_all();
        });
        let rung = wait_while(&shared.1, lock(&shared.0), Duration::from_secs(30), |rung| !*rung);
        assert!(*rung);
        assert!(*wait(&shared.1, rung, Duration::from_millis(1)), "nobody rings: the time ends it");
        thread.join().unwrap();
    }
}
