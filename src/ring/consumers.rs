//! Settlement by consumer: what each output owes the log. There is one output today, QuestDB; the format has room for more.

use super::{ledger::Outcome, marks::Mark};

/// Most consumers whose books a ring keeps: as many as fit into a header's sector and a commit's.
pub const MAX_CONSUMERS: usize = 4;

/// Which output a consumer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct ConsumerId(pub u16);

impl ConsumerId {
    /// The output to QuestDB.
    pub const QUESTDB: Self = Self(1);
}

/// The books of one consumer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Consumer {
    /// Which it is.
    pub id: ConsumerId,
    /// Where resending begins after a start.
    pub safe: Mark,
    /// What became of the rows before its settled watermark.
    pub outcome: Outcome,
}

impl Consumer {
    /// The later of two books of one consumer, mark by mark: both only move on.
    #[must_use]
    pub fn later(self, other: Self) -> Self {
        let rank = |books: &Self| (books.outcome.settled, books.outcome.rows());
        let outcome = if rank(&other) > rank(&self) { other.outcome } else { self.outcome };
        Self { outcome, safe: self.safe.max(other.safe), ..self }
    }
}

/// The books of all consumers. A consumer that this program does not have keeps its place: its books are written as they were read,
/// and hold no space back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Consumers {
    list: [Consumer; MAX_CONSUMERS],
    count: usize,
}

impl Consumers {
    /// The books of QuestDB alone.
    #[must_use]
    pub fn questdb(safe: Mark, outcome: Outcome) -> Self {
        let mut books = Self::default();
        books.put(Consumer { id: ConsumerId::QUESTDB, safe, outcome });
        books
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> &[Consumer] {
        &self.list[..self.count]
    }

    /// The books of one consumer.
    #[must_use]
    pub fn get(&self, id: ConsumerId) -> Option<&Consumer> {
        self.all().iter().find(|consumer| consumer.id == id)
    }

    /// Where resending to QuestDB begins.
    #[must_use]
    pub fn safe(&self) -> Mark {
        self.get(ConsumerId::QUESTDB).map(|consumer| consumer.safe).unwrap_or_default()
    }

    /// What QuestDB has been given.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        self.get(ConsumerId::QUESTDB).map(|consumer| consumer.outcome).unwrap_or_default()
    }

    /// Enters the books of a consumer in place of what is known of it; false where there is no room for one more.
    pub fn put(&mut self, consumer: Consumer) -> bool {
        if let Some(known) = self.list[..self.count].iter_mut().find(|known| known.id == consumer.id) {
            *known = consumer;
            return true;
        }
        let Some(free) = self.list.get_mut(self.count) else { return false };
        *free = consumer;
        self.count += 1;
        true
    }

    /// The same books, with no place to resend from before the tail: that of QuestDB moves with it.
    #[must_use]
    pub fn not_before(self, tail: Mark) -> Self {
        let mut books = self;
        if let Some(consumer) = books.get(ConsumerId::QUESTDB).copied() {
            books.put(Consumer { safe: consumer.safe.max(tail), ..consumer });
        }
        books
    }

    /// The later books of each consumer.
    #[must_use]
    pub fn later(self, other: Self) -> Self {
        let mut books = self;
        for consumer in other.all() {
            books.put(books.get(consumer.id).map_or(*consumer, |known| known.later(*consumer)));
        }
        books
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::marks::{Pos, Seq},
        *,
    };

    fn consumer(id: u16, n: u64) -> Consumer {
        let mark = Mark { pos: Pos(n), seq: Seq(n) };
        Consumer { id: ConsumerId(id), safe: mark, outcome: Outcome { settled: mark, stored: n, ..Outcome::default() } }
    }

    #[test]
    fn each_consumer_keeps_books_of_its_own_up_to_the_limit() {
        let mut books = Consumers::default();
        assert!((1..=MAX_CONSUMERS as u16).all(|id| books.put(consumer(id, 5))));
        assert!(!books.put(consumer(9, 5)));
        assert!(books.put(consumer(2, 7)));
        let later = books.later(Consumers::questdb(consumer(1, 6).safe, consumer(1, 6).outcome));
        let settled = later.all().iter().map(|books| books.outcome.stored).collect::<Vec<_>>();
        assert_eq!(settled, [6, 7, 5, 5]);
    }
}
