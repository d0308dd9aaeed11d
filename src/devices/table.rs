//! The families: a line each, with the signs of their messages, and their topics without readings.

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
    family!("advantech", topics: ["Advantech/+/Device_Status"], members: [["s", "t", "q", "c"]]),
    family!("ahoydtu", topics: ["inverter/total/YieldTotal", "inverter/+/ch0/YieldTotal", "inverter/+/ch0/P_AC", "inverter/+/radio_stat", "inverter/comm_disabled"], members: [["P_AC", "YieldDay", "YieldTotal"], ["U_DC", "I_DC", "P_DC"]]),
    family!("chirpstack", topics: [], members: [["deduplicationId", "deviceInfo.devEui"]]),
    family!("dsmr-reader", topics: ["dsmr/reading/electricity_delivered_1", "dsmr/reading/electricity_currently_delivered", "dsmr/meter-stats/electricity_tariff"], members: [["electricity_delivered_1", "electricity_currently_delivered"], ["read_at", "delivered", "currently_delivered"]]),
    family!("emonhub", topics: ["emonhub/rx/+/values", "emon/emonpi/+", "emon/emonpi2/+", "emon/emontx4/+", "emon/emontx/+"], members: [["MSG", "Vrms", "time"]]),
    family!("ems-esp", topics: ["ems-esp/heartbeat", "ems-esp/boiler_data", "ems-esp/thermostat_data", "ems-esp/tapwater_active"], members: []),
    family!("esphome", topics: ["esphome/discover/+", "esphome/ping/+", "{device}/status", "{device}/debug"], members: []),
    family!("evcc", topics: ["evcc/updated", "evcc/loadpoints", "evcc/loadpoints/+/chargePower", "evcc/site/pvPower", "evcc/site/homePower"], members: []),
    family!("frigate", topics: ["frigate/available", "frigate/reviews", "frigate/tracked_object_update"], members: [["type", "before.camera", "after.camera"], ["cameras", "detectors", "service"]]),
    family!("homeassistant", topics: ["homeassistant/sun/sun/state", "homeassistant/zone/+/state", "homeassistant/+/+/last_updated", "homeassistant/+/+/last_changed", "statestream/+/+/state"], members: []),
    family!("homie", topics: ["homie/+/$state", "homie/+/$homie", "homie/+/+/$properties", "homie/5/+/$state", "homie/5/+/$description"], members: []),
    family!("kepware", topics: [], members: [["values.0.id", "values.0.v", "values.0.q", "values.0.t"]]),
    family!("meshtastic", topics: ["msh/+/2/stat/+", "msh/+/+/2/stat/+", "msh/+/2/e/+/+", "msh/+/+/2/e/+/+"], members: [["from", "to", "type", "payload", "timestamp"]]),
    family!("neuron", topics: ["/neuron/+/state/update"], members: [["timestamp", "node", "group", "values"], ["timestamp", "node", "group", "tags"]]),
    family!("opcua-pubsub", topics: ["opcua/json/data/#", "opcua/json/metadata/#"], members: [["MessageId", "MessageType", "Messages.0.Payload"]]),
    family!("opendtu", topics: ["solar/dtu/status", "solar/dtu/uptime", "solar/+/status/reachable", "solar/+/status/producing", "solar/+/0/yieldtotal"], members: []),
    family!("openmqttgateway", topics: ["home/+/BTtoMQTT/+", "home/+/RTL_433toMQTT/#", "home/+/CLIMAtoMQTT/#", "home/+/SYStoMQTT"], members: []),
    family!("owntracks", topics: [], members: [["_type", "lat", "lon", "tst"], ["_type", "tst", "tid"], ["_type", "event", "tst", "wtst"]]),
    family!("rtl_433", topics: ["rtl_433/+/availability", "rtl_433/+/states"], members: [["time", "model"]]),
    family!("ruuvi-gateway", topics: ["ruuvi/+/gw_status"], members: [["gw_mac", "rssi", "aoa"]]),
    family!("shelly", topics: [], members: [["src", "method", "params.ts"]]),
    family!("shelly1", topics: ["shellies/announce", "shellies/+/announce", "shellies/+/info", "shellies/+/sensor/+", "shellies/+/relay/+", "shellies/+/emeter/+/+"], members: []),
    family!("solar-assistant", topics: ["solar_assistant/+/+/state"], members: []),
    family!("tasmota", topics: ["tele/+/LWT", "tele/+/STATE", "tele/+/INFO1", "+/tele/LWT", "+/tele/STATE", "tasmota/discovery/#"], members: [["Time"]]),
    family!("telegraf", topics: ["telegraf/+/cpu", "telegraf/+/mem", "telegraf/+/system", "telegraf/+/disk", "telegraf/+/diskio", "telegraf/+/net", "telegraf/+/swap", "telegraf/+/processes", "telegraf/+/kernel", "telegraf/+/internal", "telegraf/+/modbus", "telegraf/+/opcua", "telegraf/+/snmp"], members: []),
    family!("thethingsstack", topics: [], members: [["end_device_ids.device_id", "uplink_message"]]),
    family!("thingsboard", topics: ["v1/gateway/telemetry", "v1/gateway/connect", "v1/devices/me/telemetry", "v1/devices/me/attributes"], members: [["ts", "values"]]),
    family!("victron", topics: ["N/+/heartbeat", "N/+/full_publish_completed", "N/+/system/0/#", "N/+/battery/+/#", "N/+/solarcharger/+/#", "N/+/vebus/+/#"], members: []),
    family!("wirenboard", topics: ["/devices/+/meta/#", "/devices/+/controls/+", "/devices/+/controls/+/meta"], members: []),
    family!("zigbee2mqtt", topics: ["zigbee2mqtt/bridge/#"], members: [["linkquality"], ["last_seen"]]),
    family!("zwave-js-ui", topics: ["zwave/_CLIENTS/#", "zwave/_EVENTS_/#", "zwave/+/lastActive", "zwave/driver/status"], members: []),
];

/// Topics of a family that hold no readings, or the same readings again, and that no pattern of its
/// sources matches: what its sources exclude needs no line here. `{x}` is a level that was heard as
/// `x` on a topic that the family's sources take.
#[rustfmt::skip]
pub(super) const HOUSEKEEPING: &[(&str, &[&str])] = &[
    ("advantech", &["Advantech/+/Device_Status", "Advantech/+/ctl/#"]),
    ("ahoydtu", &["inverter/mqtt", "inverter/status", "inverter/uptime", "inverter/version", "inverter/device", "inverter/wifi_rssi", "inverter/ip_addr", "inverter/free_heap", "inverter/heap_frag", "inverter/sunrise", "inverter/sunset", "inverter/comm_start", "inverter/comm_stop", "inverter/comm_disabled", "inverter/dis_night_comm", "inverter/ctrl/#", "inverter/setup/#", "inverter/{inverter}/radio_stat", "inverter/{inverter}/last_success", "inverter/{inverter}/ack_pwr_limit", "inverter/{inverter}/firmware", "inverter/{inverter}/hardware", "inverter/{inverter}/alarm/#"]),
    ("chirpstack", &["application/+/device/+/event/+", "application/+/device/+/command/+", "+/gateway/+/event/+", "+/gateway/+/state/+", "+/gateway/+/command/+", "gateway/+/event/+", "gateway/+/state/+", "gateway/+/command/+"]),
    ("dsmr-reader", &["dsmr/raw", "dsmr/meter-stats/#", "dsmr/day-consumption/#", "dsmr/current-month/#", "dsmr/current-year/#"]),
    ("emonhub", &["emonhub/rx/#", "emonhub/tx/#"]),
    ("ems-esp", &["ems-esp/heartbeat", "ems-esp/status", "ems-esp/info", "ems-esp/response"]),
    ("esphome", &["esphome/discover/#", "esphome/ping/#", "{device}/status", "{device}/debug", "{device}/+/+/command"]),
    ("evcc", &["evcc/#"]),
    ("frigate", &["frigate/#"]),
    ("homeassistant", &["homeassistant/status", "homeassistant/+/+/+", "statestream/+/+/+"]),
    ("homie", &["homie/#"]),
    ("kepware", &["iotgateway/write"]),
    ("meshtastic", &["msh/#"]),
    ("neuron", &["/neuron/#"]),
    ("opcua-pubsub", &["opcua/json/metadata/#", "opcua/json/status/#", "opcua/json/connection/#", "opcua/json/application/#", "opcua/json/endpoints/#"]),
    ("opendtu", &["solar/{serial}/name"]),
    ("openmqttgateway", &["home/{gateway}/LWT", "home/{gateway}/SYStoMQTT", "home/{gateway}/RLStoMQTT", "home/{gateway}/version", "home/{gateway}/commands/#"]),
    ("owntracks", &["owntracks/{user}/{device}/#"]),
    ("rtl_433", &["rtl_433/{host}/devices/#", "rtl_433/{host}/states", "rtl_433/{host}/availability"]),
    ("shelly", &["{device}/online", "{device}/announce", "{device}/command/#", "{device}/rpc/#", "{device}/status/#", "{device}/events/#", "{device}/debug/#"]),
    ("shelly1", &["shellies/#"]),
    ("solar-assistant", &["solar_assistant/#"]),
    ("tasmota", &["tele/+/STATE", "tele/+/LWT", "tele/+/INFO1", "tele/+/INFO2", "tele/+/INFO3", "tele/+/UPTIME", "stat/#", "cmnd/#", "+/tele/STATE", "+/tele/LWT", "+/tele/INFO1", "+/tele/INFO2", "+/tele/INFO3", "+/tele/UPTIME", "{device}/stat/#", "{device}/cmnd/#", "tasmota/discovery/#"]),
    ("thethingsstack", &["v3/+/devices/+/join", "v3/+/devices/+/down/#", "v3/+/devices/+/service/#", "v3/+/devices/+/location/#"]),
    ("thingsboard", &["v1/gateway/connect", "v1/gateway/disconnect", "v1/gateway/attributes/#", "v1/gateway/rpc", "v1/devices/+/attributes/#", "v1/devices/+/rpc/#"]),
    ("victron", &["N/{portal}/#", "R/{portal}/#", "W/{portal}/#"]),
    ("wirenboard", &["/devices/{device}/#"]),
    ("zwave-js-ui", &["zwave/#"]),
];
