//! Locks that go on after a panic: the one place that says what a poisoned lock means.
//!
//! A panic ends the released program at once, so only tests ever see a poisoned lock. They go on
//! with the value as it is: the panic itself is what makes them fail.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError},
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

#[cfg(test)]
mod tests {
    use std::{panic::AssertUnwindSafe, sync::Arc, thread};

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
