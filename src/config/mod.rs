//! Settings: what there is to set, the layers they come from, and their validation.

pub mod settings;
pub mod units;

pub use settings::Settings;
pub use units::Bytes;
