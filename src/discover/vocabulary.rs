//! Words that levels and members are named by.

/// Words for what is measured.
#[rustfmt::skip]
pub(super) const QUANTITIES: &[&str] = &[
    "temperature", "temperatur", "temp", "humidity", "hum", "rh", "feuchte", "pressure", "druck",
    "power", "leistung", "voltage", "volt", "volts", "spannung", "current", "strom", "energy",
    "energie", "kwh", "wh", "watt", "watts", "amps", "co2", "voc", "tvoc", "pm25", "pm10", "pm1",
    "pm", "lux", "illuminance", "brightness", "battery", "batt", "rssi", "snr", "lqi",
    "linkquality", "level", "fuellstand", "flow", "durchfluss", "speed", "rpm", "torque", "ph",
    "frequency", "freq", "weight", "distance", "noise", "uv", "dew", "dewpoint", "moisture",
    "soil", "rain", "wind", "consumption", "production", "state", "status", "mode", "setpoint",
    "value", "position", "door", "window", "motion", "occupancy", "contact", "presence", "light",
    "counter", "count", "total", "uptime", "latitude", "longitude", "altitude", "heading",
    "conductivity", "salinity", "turbidity", "oxygen", "gas", "smoke", "leak", "vibration",
    "acceleration", "angle", "load", "force", "concentration", "radiation", "irradiance",
    "target", "mass", "volume", "area", "heat", "heating", "cooling", "valve", "pump", "fan",
    "alarm", "fault", "error",
];

/// Words of names that identify.
#[rustfmt::skip]
pub(super) const IDENTITIES: &[&str] = &[
    "id", "ids", "ident", "uid", "uuid", "guid", "eui", "deveui", "mac", "bdaddr", "serial", "sn",
    "imei", "name", "sensor", "device", "node", "nodeid", "address", "addr", "channel", "port",
    "unit", "slave", "station", "gateway", "machine", "gw", "dev", "maschine", "anlage", "linie",
    "halle", "meter", "tag", "probe", "asset", "equipment", "location", "loc", "room", "zone",
    "site", "area", "building", "floor", "line", "plant", "hall", "silo", "barn", "stall",
    "field", "vehicle", "truck", "key", "code", "label", "component", "module", "bus", "register",
    "deviceid", "sensorid", "devicename", "hostname", "host", "source", "src", "sender", "camera",
    "phase", "index", "kanal", "geraet", "raum", "ort", "chan", "ch", "inverter", "battery_id",
    "string", "position_id",
];

/// Words of names whose value is a state.
#[rustfmt::skip]
pub(super) const STATES: &[&str] = &[
    "state", "status", "mode", "action", "event", "value", "val", "alarm", "error", "fault",
    "message", "msg", "text", "payload", "result", "reason", "command", "cmd", "output", "input",
    "power", "relay", "switch", "quality", "health", "running", "program", "operation",
];

/// Names that are a time's, and nothing else.
#[rustfmt::skip]
pub(super) const FIRST_TIMES: &[&str] = &[
    "ts", "timestamp", "time", "t", "datetime", "date_time", "zeit", "zeitstempel", "datum",
    "tst", "epoch", "unixtime", "unix_time", "utc", "sampletime", "sample_time", "measured_at",
    "measurement_time", "measurementtime", "sourcetimestamp", "source_timestamp", "time_stamp",
    "timestamputc", "frame_time", "when",
];

/// Words for one thing, whose name the level behind them is.
#[rustfmt::skip]
pub(super) const SINGLE: &[&str] = &[
    "device", "gateway", "room", "line", "site", "sensor", "node", "machine", "building", "floor",
    "zone", "application", "station", "meter", "vehicle", "user", "area", "hall", "barn", "silo",
    "plant", "tank",
];

/// What is known of the words of levels.
#[rustfmt::skip]
pub(super) const ROOMS: &[&str] = &[
    "kitchen", "bath", "bathroom", "living", "livingroom", "bedroom", "hall", "hallway", "garage",
    "attic", "cellar", "basement", "office", "kueche", "küche", "bad", "wohnzimmer",
    "schlafzimmer", "flur", "keller", "buero", "büro", "garden", "garten", "garage", "corridor",
    "lobby", "stairs", "nursery", "kinderzimmer", "laundry", "toilet", "room",
];

/// Names of sites.
#[rustfmt::skip]
pub(super) const SITES: &[&str] = &[
    "north", "south", "east", "west", "nord", "sued", "süd", "ost", "site",
];

/// Beginnings of names, and what they are names of.
#[rustfmt::skip]
pub(super) const STEMS: &[(&str, &str)] = &[
    ("dev", "device"), ("device", "device"), ("gw", "gateway"), ("gateway", "gateway"),
    ("node", "node"), ("line", "line"), ("linie", "line"), ("l", "line"), ("hall", "hall"),
    ("halle", "hall"), ("barn", "barn"), ("stall", "barn"), ("silo", "silo"),
    ("sensor", "sensor"), ("meter", "meter"), ("machine", "machine"), ("press", "press"),
    ("pump", "pump"), ("tank", "tank"), ("room", "room"), ("r", "room"), ("floor", "floor"),
    ("zone", "zone"), ("site", "site"), ("plant", "plant"), ("unit", "unit"),
    ("inverter", "inverter"), ("truck", "vehicle"), ("station", "station"), ("esp", "device"),
    ("rack", "rack"), ("cell", "cell"),
];
