//! What to do about a reason why something was set aside. Pure.
//!
//! Reasons are kept as text, and entries of earlier versions hold earlier wordings, so a reason's
//! kind is told by words of it. The test makes each kind happen: a changed wording fails there.

use std::collections::BTreeMap;

use super::OTHER_REASONS;

/// Words by which a kind of reason is known (all of them are in it), and what to do.
type Known = (&'static [&'static str], &'static str);

/// What a value that its column does not take asks for.
const COLUMN: &str = "Give the field its type in [source.NAME.fields] or change the column's type in QuestDB, then run \
                      forebay quarantine requeue.";

/// The narrower kinds come first.
const KNOWN: &[Known] = &[
    // Of the whole payload.
    (&["a bare value needs format"], "Set format = \"plain\" in [source.NAME] if the payload is one bare value."),
    (
        &["invalid JSON: "],
        "Look at a payload with forebay quarantine show ID, and have the device send one whole JSON document a message.",
    ),
    (&["not UTF-8 ("], "Have the device send text as UTF-8; binary payloads are not read."),
    (&["readings in one message"], "Have the device send fewer readings in one message."),
    (&["[mqtt] max_payload"], "Raise max_payload in [mqtt], or have the device send smaller messages."),
    (&[" and an object is expected"], "Have the device send an object for each reading of the array."),
    // Of the MQTT packet.
    (&["the packet ends before"], "Update or replace the MQTT client of the device: its packets are cut off."),
    (&["its topic is no UTF-8"], "Have the device publish to a topic that is UTF-8."),
    (&["it has no topic"], "Have the device publish to a topic with a name."),
    (&["it has a QoS of"], "Update or replace the MQTT client of the device: there is no QoS of 3."),
    // Of the topic.
    (
        &["no [source] has a topic pattern"],
        "Add a [source.NAME] whose topic matches, reload forebay, then run forebay quarantine requeue.",
    ),
    (
        &["at topic: the level for"],
        "Have the device publish to a topic without an empty level, or change topic in [source.NAME].",
    ),
    (
        &["the topic or a tag says otherwise of"],
        "Rename the placeholder in the topic of [source.NAME], or its tag, to keep both values.",
    ),
    // Of a member.
    (
        &["but the source wants type"],
        "Change the member's type in [source.NAME.fields] (\"string\" holds everything), reload forebay, then run \
         forebay quarantine requeue.",
    ),
    (
        &["the source's symbol must be a single value"],
        "Take the member out of symbols in [source.NAME], or have the device send a single value.",
    ),
    (
        &["the source's typed field must be a single value"],
        "Take the member out of [source.NAME.fields]: its parts become fields then, as NAME_PART.",
    ),
    (&["nested deeper than"], "Have the device send a flatter document."),
    (&["more than", " fields"], "Have the device spread its fields over several messages."),
    (&["more than", " symbols"], "Have the device send each symbol once."),
    (&["the timestamp appears twice"], "Have the device send one timestamp a reading."),
    (&["appears twice (after flattening"], "Rename one of the two members at the device."),
    (
        &["has an escape that is none"],
        "Look at the payload with forebay quarantine show ID, and have the device send its text as UTF-8.",
    ),
    (
        &["leads to nothing in it"],
        "Set rows in [source.NAME] to where the readings stand in a payload, or leave such topics out with exclude.",
    ),
    (
        &["zip needs arrays of one length"],
        "Have the device send arrays of one length, or name others in zip of [source.NAME].",
    ),
    (&["it has a value, and no name at"], "Set name in [source.NAME] to the member that names the field."),
    (&["look at columns and delimiter"], "Set columns and delimiter in [source.NAME] as the payload has them."),
    (&["a quote in it is not closed"], "Have the device close the quotes of its cells."),
    (&["at payload: jq: "], "Change jq in [source.NAME]; forebay decode runs it on a payload."),
    (&["and does not unpack"], "Look at the payload with forebay quarantine show ID: it is cut or damaged."),
    (&["unpacked it has more than"], "Have the device send smaller messages."),
    (&["tables in one message"], "Have the device send rows of fewer tables in one message."),
    (&["it is not UTF-8"], "Have the device send its text as UTF-8."),
    (&[" name ", " bytes; "], "Shorten the name at the device."),
    (&["symbol ", " bytes; "], "Shorten the value at the device, or take the member out of symbols in [source.NAME]."),
    (
        &["further ahead of the clock"],
        "Check the device's clock and the timestamp's unit and zone in [source.NAME]; only if such times are right, raise \
         max_future in [latest].",
    ),
    // Of the limits.
    (
        &["[limits] columns_per_table"],
        "If the names are real columns, raise columns_per_table in [limits]; else have the device send fixed names.",
    ),
    (
        &["[limits] new_columns_per_minute"],
        "If the names are real columns, raise new_columns_per_minute in [limits]; else have the device send fixed names.",
    ),
    (
        &["[limits] tables_per_source"],
        "If the tables are wanted, raise tables_per_source in [limits]; else use fewer placeholders in the table of \
         [source.NAME].",
    ),
    // Of the table in QuestDB.
    (
        &["create_tables is false"],
        "Create the table in QuestDB or set create_tables = true in [questdb], then run forebay quarantine requeue.",
    ),
    (
        &["has no designated timestamp"],
        "Rename or drop the table in QuestDB, so that forebay makes it, then run forebay quarantine requeue.",
    ),
    (
        &["deduplicates without"],
        "Run in QuestDB the ALTER that the reason ends with (forebay quarantine show ID), or set allow_narrow_keys = \
         true in [source.NAME], then run forebay quarantine requeue.",
    ),
    (
        &["which takes no rows"],
        "Rename the view in QuestDB or change table in [source.NAME], then run forebay quarantine requeue.",
    ),
    (
        &["is no WAL table"],
        "Run in QuestDB the ALTER that the reason names (forebay quarantine show ID) and restart QuestDB, then run \
         forebay quarantine requeue.",
    ),
    (
        &["non-WAL table"],
        "Run ALTER TABLE … SET TYPE WAL in QuestDB and restart it, then run forebay quarantine requeue.",
    ),
    (
        &["creating new columns is disabled"],
        "Add the column in QuestDB or let it create columns (line.auto.create.new.columns), then run forebay \
         quarantine requeue.",
    ),
    (
        &["refuses the statement"],
        "Put right in QuestDB what the message says (forebay quarantine show ID has it whole), then run forebay \
         quarantine requeue.",
    ),
    // Of a column in QuestDB.
    (&["cast error from protocol type"], COLUMN),
    (&["cannot hold its value"], COLUMN),
    (&["is no column name"], "Rename the member at the device."),
    (
        &["is negative"],
        "Check the device's clock and the timestamp's unit in [source.NAME]: QuestDB takes no time before 1970.",
    ),
    // Of the ring's own records.
    (&["is malformed"], "Run forebay ring verify and look at the disk's health: the record is damaged."),
    // What is counted together.
    (&[OTHER_REASONS], "forebay quarantine ls --summary lists them."),
    // What QuestDB says of a row besides.
    (&["table: "], "Put right in QuestDB what it says of the table, then run forebay quarantine requeue."),
];

/// One sentence about what to do where something was set aside for `reason`, whole or as it is
/// counted; none where nothing general can be said.
#[must_use]
pub fn advice_for(reason: &str) -> Option<&'static str> {
    // Of several faults the first is the one that is counted.
    let first = reason.split("; at ").next().unwrap_or(reason);
    KNOWN.iter().find(|(words, _)| words.iter().all(|word| first.contains(word))).map(|(_, advice)| *advice)
}

/// The same for counted reasons, by reason.
#[must_use]
pub fn by_reason(reasons: &[(String, u64)]) -> BTreeMap<String, &'static str> {
    reasons.iter().filter_map(|(reason, _)| Some((reason.clone(), advice_for(reason)?))).collect()
}

#[cfg(test)]
mod tests;
