//! Which lane a table belongs to.

/// How many lanes there are. Each table belongs to one of them, so that its rows keep their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lanes(usize);

impl Lanes {
    /// So many lanes, but at least one.
    #[must_use]
    pub const fn new(count: usize) -> Self {
        Self(if count == 0 { 1 } else { count })
    }

    /// How many there are.
    #[must_use]
    pub const fn count(self) -> usize {
        self.0
    }

    /// The lane of a table, by the hash of its name ([`crate::ring::table_hash`]).
    #[must_use]
    pub const fn of(self, table_hash: u32) -> usize {
        table_hash as usize % self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_table_has_one_lane_of_those_there_are() {
        assert_eq!(Lanes::new(0), Lanes::new(1));
        assert_eq!(Lanes::new(1).of(u32::MAX), 0);
        let lanes = Lanes::new(3);
        assert_eq!([0, 1, 2, 3, u32::MAX].map(|hash| lanes.of(hash)), [0, 1, 2, 0, 0]);
        assert_eq!(lanes.count(), 3);
    }
}
