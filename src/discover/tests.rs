//! What the pages' messages come to.
