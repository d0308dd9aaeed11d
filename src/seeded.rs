//! What switches a deliberate mistake on, in unit tests and for their thread alone: to show that a test would find it.

/// Defines `is_on` and, in tests, `with` for a module's enumeration of mistakes. Outside of unit tests none is ever on, which costs nothing.
macro_rules! switch {
    ($bug:ty) => {
        /// Whether the bug is switched on.
        #[cfg(not(test))]
        #[inline]
        pub const fn is_on(_: $bug) -> bool {
            false
        }

        #[cfg(test)]
        thread_local! {
            static ON: std::cell::Cell<Option<$bug>> = const { std::cell::Cell::new(None) };
        }

        /// Whether the bug is switched on.
        #[cfg(test)]
        pub fn is_on(bug: $bug) -> bool {
            ON.get() == Some(bug)
        }

        /// Runs with a bug, in this thread alone.
        #[cfg(test)]
        pub fn with<T>(bug: Option<$bug>, run: impl FnOnce() -> T) -> T {
            ON.set(bug);
            let result = run();
            ON.set(None);
            result
        }
    };
}

pub(crate) use switch;
