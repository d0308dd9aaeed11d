//! The families: a line each, with the signs of their messages.

use super::{Family, Signs};

/// A family whose file is `conf/devices/NAME.toml`.
macro_rules! family {
    ($name:literal, topics: [$($topic:literal),*], members: [$([$($path:literal),*]),*]) => {
        Family {
            name: $name,
            text: include_str!(concat!("../../conf/devices/", $name, ".toml")),
            signs: Signs { topics: &[$($topic),*], members: &[$(&[$($path),*]),*] },
        }
    };
}

/// In the order of their names.
#[rustfmt::skip]
pub(super) const FAMILIES: &[Family] = &[
    family!("chirpstack", topics: [], members: [["deduplicationId", "deviceInfo.devEui"]]),
    family!("esphome", topics: ["esphome/discover/+", "esphome/ping/+"], members: []),
    family!("homeassistant", topics: ["homeassistant/sun/sun/state", "homeassistant/zone/+/state", "homeassistant/+/+/last_updated", "homeassistant/+/+/last_changed", "statestream/+/+/state"], members: []),
    family!("kepware", topics: [], members: [["values.0.id", "values.0.v", "values.0.q", "values.0.t"]]),
    family!("opcua-pubsub", topics: ["opcua/json/data/#", "opcua/json/metadata/#"], members: [["MessageId", "MessageType", "Messages.0.Payload"]]),
    family!("shelly", topics: [], members: [["src", "method", "params.ts"], ["id", "source", "output"], ["id", "aenergy"], ["id", "tC", "tF"]]),
    family!("shelly1", topics: ["shellies/announce", "shellies/+/announce", "shellies/+/info", "shellies/+/sensor/+", "shellies/+/relay/+", "shellies/+/emeter/+/+"], members: []),
    family!("tasmota", topics: ["tele/+/LWT", "tele/+/STATE", "tele/+/INFO1", "+/tele/LWT", "+/tele/STATE", "tasmota/discovery/#"], members: [["Time"]]),
    family!("telegraf", topics: ["telegraf/+/cpu", "telegraf/+/mem", "telegraf/+/system", "telegraf/+/disk", "telegraf/+/diskio", "telegraf/+/net", "telegraf/+/swap", "telegraf/+/processes", "telegraf/+/kernel", "telegraf/+/internal", "telegraf/+/modbus", "telegraf/+/opcua", "telegraf/+/snmp"], members: []),
    family!("thethingsstack", topics: [], members: [["end_device_ids.device_id", "uplink_message"]]),
    family!("zigbee2mqtt", topics: ["zigbee2mqtt/bridge/#"], members: [["linkquality"], ["last_seen"]]),
];
