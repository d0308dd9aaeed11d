//! Files that others may touch: whether a name still leads to an open file, putting one back under its name, and reading one that may be
//! anything.

pub mod place;
pub mod put_back;
pub mod read;
