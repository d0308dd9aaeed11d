//! forebay against the real mosquitto, QuestDB and systemd. One file a story; `support` has the servers.

mod support;

mod access;
mod batch_memory;
mod broker_outage;
mod clock;
mod command_line;
mod config_reload;
mod counted;
mod crash;
mod cut_requests;
mod damage;
mod database_outage;
mod failed_sync;
mod forecast;
mod harness;
mod latest_api;
mod latest_lookup;
mod latest_values;
mod limits;
mod monitoring;
mod openapi;
mod page;
mod quarantine_tools;
mod replay;
mod republish;
mod ring_full;
mod ring_tools;
mod rubbish;
mod systemd;
mod terminal;
mod throughput;
mod trouble;
mod verify;
mod write;
mod write_clients;
