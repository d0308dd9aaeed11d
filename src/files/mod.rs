//! Files that others may touch: whether a name still leads to an open file, putting one back under
//! its name, reading one that may be anything, and why one may not be opened.

pub mod access;
pub mod place;
pub mod put_back;
pub mod read;
