//! From the ring to QuestDB: lanes, the batcher's model and policy, the breaker, isolation of bad rows, quarantine.

pub mod breaker;
pub mod isolate;
pub mod model;
pub mod policy;
pub mod quarantine;
pub mod status;

pub use quarantine::Quarantine;
pub use status::{FlushStatus, LaneStatus, QuarantineStatus};
