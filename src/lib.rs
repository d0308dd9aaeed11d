//! forebay: sensor readings from MQTT, durable on the gateway's disk before they are acknowledged, then QuestDB.
//!
//! The map of the modules, the way of one reading and the threads are in docs/ARCHITECTURE.md; the ring file's bytes are in docs/ring-format.md.

pub mod cli;
pub mod clock;
pub mod config;
pub mod control;
pub mod daemon;
pub mod decode;
pub mod devices;
pub mod discover;
pub mod entry;
pub mod files;
pub mod flush;
pub mod ingest;
pub mod jq;
pub mod lanes;
pub mod latest;
pub mod limits;
pub mod lines;
pub mod lookup;
pub mod marks;
pub mod moment;
pub mod mqtt;
pub mod names;
pub mod observe;
pub mod point;
pub mod questdb;
pub mod republish;
pub mod requeue;
pub mod ring;
mod seeded;
pub mod settings;
pub mod shown;
pub mod since;
pub mod sync;
pub mod tally;
pub mod telegraf;
pub mod verify;
