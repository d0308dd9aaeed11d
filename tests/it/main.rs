//! forebay against the real mosquitto, QuestDB and systemd. One file a story; `support` has the servers.

mod support;

mod harness;
