//! Whole configurations. The lines beside each message are those that Telegraf 1.37 writes of it,
//! without the times of receipt.

use serde_json::Value as Json;

use super::{ImportError, Imported, Kind, import};
use crate::{
    decode::Decoder,
    ingest::{Incoming, preview::Previewer},
    point::{Received, Timestamp},
    settings::Settings,
};

fn imported(text: &str) -> Imported {
    let variables = |name: &str| (name == "SITE").then(|| "north".to_owned());
    import(&[("telegraf.conf".into(), text.into())], &variables).expect("a configuration")
}

/// An input with these options.
fn input(options: &str) -> Imported {
    imported(&format!("[agent]\nomit_hostname = true\n[[inputs.mqtt_consumer]]\nqos = 1\n{options}"))
}

/// What forebay would take of the fragment.
fn settings(imported: &Imported) -> Settings {
    let settings: Settings = toml::from_str(&imported.sources).expect(&imported.sources);
    for (name, source) in &settings.source {
        assert!(Decoder::check(name, source).is_ok(), "{}", imported.sources);
    }
    assert_eq!(settings.source.len(), imported.count);
    settings
}

/// Rows as lines: `table,symbol=x field=1,text=t time`.
fn lines(imported: &Imported, topic: &str, payload: &str) -> Vec<String> {
    let mut previewer = Previewer::new(&settings(imported), None).expect("sound sources");
    let received = Received { wall: Timestamp(1_790_000_000_000_000_000), since_boot_ns: 1 };
    let message = Incoming { topic, payload: payload.as_bytes(), received, ..Incoming::default() };
    let told = previewer.preview(&message).expect("a source takes it");
    assert!(told.set_aside.is_empty(), "{:?}\n{}", told.set_aside, imported.sources);
    let json = told.as_json();
    let value = |value: &Json| {
        value.as_str().map_or_else(|| value.to_string().trim_end_matches(".0").to_owned(), str::to_owned)
    };
    let pairs = |object: &Json| {
        let object = object.as_object().cloned().unwrap_or_default();
        object.iter().map(|(name, own)| format!("{name}={}", value(own))).collect::<Vec<_>>()
    };
    let row = |row: &Json| {
        let key = [vec![value(&row["table"])], pairs(&row["symbols"])].concat().join(",");
        let time = row["time"].as_str().map_or(String::new(), |time| format!(" {time}"));
        format!("{key} {}{time}", pairs(&row["fields"]).join(","))
    };
    json["rows"].as_array().map(|rows| rows.iter().map(row).collect()).unwrap_or_default()
}

fn remarks(imported: &Imported, kind: Kind) -> String {
    let of_kind = imported.remarks.iter().filter(|remark| remark.kind == kind);
    let told = of_kind.map(|remark| format!("{}:{} {}", remark.place.line, remark.place.path, remark.what));
    told.collect::<Vec<_>>().join("\n")
}

#[test]
fn json_with_topic_parsing() {
    let imported = input(
        r#"
        topics = ["plant/+/+/temp", "plant/+/+/hum"]
        topic_tag = ""
        data_format = "json"
        json_string_fields = ["s"]
        name_prefix = "p_"
        tags = { owner = "me" }
        [[inputs.mqtt_consumer.topic_parsing]]
        topic = "plant/+/+/+"
        measurement = "_/_/_/measurement"
        tags = "_/line/device/_"
        "#,
    );
    assert_eq!(imported.count, 2, "{}", imported.sources);
    assert_eq!(
        lines(&imported, "plant/l1/d7/temp", r#"{"value":21.5,"n":{"a":1,"b":[2,3]},"s":"x"}"#),
        ["p_temp,device=d7,line=l1,owner=me n_a=1,n_b_0=2,n_b_1=3,s=x,value=21.5"]
    );
    assert_eq!(
        lines(&imported, "plant/l2/d8/hum", r#"[{"value":1},{"value":2}]"#),
        ["p_hum,device=d8,line=l2,owner=me value=1", "p_hum,device=d8,line=l2,owner=me value=2"]
    );
}

#[test]
fn a_measurement_of_a_level_is_the_table_and_a_symbol() {
    let imported = input(
        "topics = [\"plant/#\"]\ntopic_tag = \"\"\ndata_format = \"json\"\n[[inputs.mqtt_consumer.topic_parsing]]\n\
         topic = \"plant/+/+\"\nmeasurement = \"_/_/measurement\"\ntags = \"_/line/_\"\n",
    );
    assert_eq!(lines(&imported, "plant/l1/temp", r#"{"v":1}"#), ["temp,line=l1,measurement=temp v=1"]);
    assert_eq!(lines(&imported, "plant/l1/x/temp", r#"{"v":1}"#), ["mqtt_consumer v=1"]);
    assert!(remarks(&imported, Kind::Changed).contains("kept as the symbol measurement"));
}

#[test]
fn the_whole_topic_is_a_tag_where_series_would_meet() {
    let alone = input("topics = [\"a/+/+\"]\ndata_format = \"json\"\n");
    assert_eq!(lines(&alone, "a/x/y", r#"{"v":1}"#), ["mqtt_consumer,level2=x,level3=y v=1"]);
    assert!(alone.sources.contains("#tags = { topic = \"a/{level2}/{level3}\" }"), "{}", alone.sources);
    let several = input("topics = [\"a/b\", \"c/+\"]\ndata_format = \"value\"\ndata_type = \"float\"\n");
    assert_eq!(lines(&several, "a/b", "1"), ["mqtt_consumer,topic=a/b value=1"]);
    assert_eq!(lines(&several, "c/d", "1"), ["mqtt_consumer,level2=d,topic=c/d value=1"]);
    let left_out = input("topics = [\"a/+\"]\ndata_format = \"json\"\ntagexclude = [\"topic\"]\n");
    assert_eq!(lines(&left_out, "a/x", r#"{"v":1}"#), ["mqtt_consumer v=1"]);
}

#[test]
fn json_with_tags_time_query_and_filters() {
    let imported = input(
        r#"
        topics = ["${SITE}/+"]
        topic_tag = ""
        name_override = "plant"
        data_format = "json"
        json_query = "data"
        tag_keys = ["id", "meta_unit", "flag"]
        json_string_fields = ["state", "meta_*"]
        json_time_key = "ts"
        json_time_format = "2006-01-02 15:04:05"
        json_timezone = "Europe/Berlin"
        fieldexclude = ["secret", "x_*"]
        "#,
    );
    let payload = r#"{"data":{"id":"d1","flag":true,"meta":{"unit":"l","fw":"1.2"},"ts":"2026-03-01 12:00:00","v":1.25,"state":"ON","secret":7,"x":{"y":1}}}"#;
    assert_eq!(
        lines(&imported, "north/a", payload),
        ["plant,flag=true,id=d1,meta_unit=l meta_fw=1.2,state=ON,v=1.25 2026-03-01T11:00:00Z"]
    );
    let only = input(
        "topics = [\"a\"]\ntopic_tag = \"\"\ndata_format = \"json\"\nfieldinclude = [\"temp_*\", \"hum\"]\ntag_keys = [\"id\"]\n",
    );
    assert_eq!(
        lines(&only, "a", r#"{"id":"i","temp":{"c":1},"temp_f":2,"hum":3,"x":4}"#),
        ["mqtt_consumer,id=i hum=3,temp_c=1,temp_f=2"]
    );
}

#[test]
fn the_program_that_is_offered_drops_what_telegraf_drops() {
    for strings in ["\"state\"", "\"st*\""] {
        let mut imported = input(&format!(
            "topics = [\"a\"]\ntopic_tag = \"\"\ndata_format = \"json\"\ntag_keys = [\"id\", \"n_unit\"]\njson_string_fields = [{strings}]\n"
        ));
        let payload = r#"{"id":"i","n":{"unit":"C","t":"x"},"state":"ON","other":"y","ok":true,"v":1}"#;
        assert_eq!(lines(&imported, "a", payload), ["mqtt_consumer,id=i,n_unit=C n_t=x,ok=1,other=y,state=ON,v=1"]);
        imported.sources = imported.sources.replace("#jq =", "jq =");
        assert_eq!(lines(&imported, "a", payload), ["mqtt_consumer,id=i,n_unit=C state=ON,v=1"], "{strings}");
    }
}

#[test]
fn json_v2_with_fields_alone() {
    let imported = input(
        r#"
        topics = ["v2/+"]
        topic_tag = ""
        data_format = "json_v2"
        [[inputs.mqtt_consumer.json_v2]]
        measurement_name = "fields"
        timestamp_path = "head.ts"
        timestamp_format = "unix"
        [[inputs.mqtt_consumer.json_v2.field]]
        path = "body.temp"
        type = "float"
        [[inputs.mqtt_consumer.json_v2.field]]
        path = "body.count"
        rename = "n"
        type = "int"
        [[inputs.mqtt_consumer.json_v2.field]]
        path = "body.state"
        [[inputs.mqtt_consumer.json_v2.tag]]
        path = "head.dev id"
        "#,
    );
    let payload = r#"{"head":{"ts":1772366400,"dev id":"x"},"body":{"temp":"21.5","count":7,"state":"ON","zzz":9}}"#;
    assert_eq!(lines(&imported, "v2/1", payload), ["fields,dev_id=x n=7,state=ON,temp=21.5 2026-03-01T12:00:00Z"]);
}

#[test]
fn json_v2_with_an_object_and_what_stands_beside_it() {
    let imported = input(
        r#"
        topics = ["v2/+"]
        topic_tag = ""
        data_format = "json_v2"
        [[inputs.mqtt_consumer.json_v2]]
        measurement_name = "obj"
        timestamp_path = "time"
        timestamp_format = "unix_ms"
        [[inputs.mqtt_consumer.json_v2.field]]
        path = "head.rssi"
        [[inputs.mqtt_consumer.json_v2.tag]]
        path = "head.dev"
        rename = "device"
        [[inputs.mqtt_consumer.json_v2.object]]
        path = "list"
        included_keys = ["a", "in_val"]
        tags = ["id"]
        "#,
    );
    let payload = r#"{"time":1772366400000,"head":{"rssi":-70,"dev":"x"},"list":[{"id":"p","a":1,"b":2,"in":{"val":1.5,"o":2}},{"id":"q","a":3}]}"#;
    assert_eq!(
        lines(&imported, "v2/1", payload),
        [
            "obj,device=x,id=p a=1,in_val=1.5,rssi=-70 2026-03-01T12:00:00Z",
            "obj,device=x,id=q a=3,rssi=-70 2026-03-01T12:00:00Z"
        ]
    );
    let array = input(
        "topics = [\"a\"]\ntopic_tag = \"\"\ndata_format = \"json_v2\"\n[[inputs.mqtt_consumer.json_v2]]\nmeasurement_name = \"arr\"\n\
         [[inputs.mqtt_consumer.json_v2.field]]\npath = \"list.#.temp\"\ntype = \"int\"\n[[inputs.mqtt_consumer.json_v2.tag]]\npath = \"dev\"\n",
    );
    assert_eq!(
        lines(&array, "a", r#"{"dev":"d","list":[{"temp":1,"x":9},{"temp":2}]}"#),
        ["arr,dev=d temp=1", "arr,dev=d temp=2"]
    );
}

#[test]
fn a_member_names_the_table() {
    let by_key = input(
        "topics = [\"k\"]\ntopic_tag = \"\"\ndata_format = \"json\"\njson_name_key = \"h_kind\"\ntag_keys = [\"id\"]\njson_query = \"a.b\"\n",
    );
    let payload = r#"{"a":{"b":[{"h":{"kind":"pump"},"id":"a","v":1},{"id":"b","v":2}]}}"#;
    assert_eq!(lines(&by_key, "k", payload), ["pump,id=a v=1", "mqtt_consumer,id=b v=2"]);
    let by_path = "topics = [\"a\"]\ntopic_tag = \"\"\ndata_format = \"json_v2\"\n[[inputs.mqtt_consumer.json_v2]]\nmeasurement_name_path = \"kind\"\n\
         timestamp_path = \"head.t\"\ntimestamp_format = \"unix\"\n[[inputs.mqtt_consumer.json_v2.tag]]\npath = \"head.site\"\n\
         [[inputs.mqtt_consumer.json_v2.object]]\npath = \"in.list\"\n";
    let payload = r#"{"kind":"kk","head":{"site":"n","t":1772366400},"in":{"list":[{"v":1},{"v":2,"w":3}]}}"#;
    let of_member = ["kk,site=n v=1 2026-03-01T12:00:00Z", "kk,site=n v=2,w=3 2026-03-01T12:00:00Z"];
    let of_option = of_member.map(|line| line.replace("kk", "mine"));
    assert_eq!(lines(&input(by_path), "a", payload), of_member);
    assert_eq!(lines(&input(&format!("name_override = \"mine\"\n{by_path}")), "a", payload), of_option);
}

#[test]
fn several_objects_and_names_that_are_not_joined_are_for_a_program() {
    let two = input(
        "topics = [\"tele/+/SENSOR\"]\ntopic_tag = \"\"\ndata_format = \"json_v2\"\n[[inputs.mqtt_consumer.json_v2]]\nmeasurement_name = \"tasmota\"\n\
         timestamp_path = \"Time\"\ntimestamp_format = \"2006-01-02T15:04:05\"\ntimestamp_timezone = \"Europe/Berlin\"\n\
         [[inputs.mqtt_consumer.json_v2.tag]]\npath = \"TempUnit\"\n[[inputs.mqtt_consumer.json_v2.object]]\npath = \"AM2301\"\noptional = true\n\
         [[inputs.mqtt_consumer.json_v2.object]]\npath = \"DS18B20\"\noptional = true\ntags = [\"Id\"]\n\
         [[inputs.mqtt_consumer.topic_parsing]]\ntopic = \"tele/+/SENSOR\"\ntags = \"_/device/_\"\n",
    );
    let payload = r#"{"Time":"2026-03-01T12:00:00","DS18B20":{"Id":"01","Temperature":18.5},"TempUnit":"C"}"#;
    assert_eq!(
        lines(&two, "tele/attic/SENSOR", payload),
        ["tasmota,Id=01,TempUnit=C,device=attic Temperature=18.5 2026-03-01T11:00:00Z"]
    );
    let flat = input(
        "topics = [\"a\"]\ntopic_tag = \"\"\ndata_format = \"json_v2\"\n[[inputs.mqtt_consumer.json_v2]]\n[[inputs.mqtt_consumer.json_v2.object]]\n\
         path = \"@this\"\ndisable_prepend_keys = true\ntags = [\"id\"]\nexcluded_keys = [\"x\"]\n",
    );
    let payload = r#"{"id":"p","a":1,"in":{"val":1.5,"ok":true},"x":5}"#;
    assert_eq!(lines(&flat, "a", payload), ["mqtt_consumer,id=p a=1,ok=1,val=1.5"]);
}

#[test]
fn texts_are_changed_by_a_program() {
    let imported = input(
        "topics = [\"a\"]\ntopic_tag = \"\"\ndata_format = \"json\"\njson_string_fields = [\"*\"]\ntag_keys = [\"n_unit\"]\n\
         [[processors.strings]]\n[[processors.strings.uppercase]]\nfield = \"state\"\n[[processors.strings.trim]]\nfield = \"s\"\ncutset = \"-.\"\n\
         [[processors.strings.replace]]\ntag = \"n_unit\"\nold = \"deg \"\nnew = \"\"\n",
    );
    let payload = r#"{"state":"on","s":"--a.b.","n":{"unit":"deg C"},"v":1}"#;
    assert_eq!(lines(&imported, "a", payload), ["mqtt_consumer,n_unit=C s=a.b,state=ON,v=1"]);
}

#[test]
fn plain_values_and_pivots() {
    let imported = input(
        r#"
        topics = ["b/+/+"]
        topic_tag = ""
        data_format = "value"
        data_type = "float"
        value_field_name = "reading"
        [[inputs.mqtt_consumer.topic_parsing]]
        topic = "b/+/+"
        tags = "_/room/kind"
        [[processors.rename]]
        [[processors.rename.replace]]
        field = "reading"
        dest = "val"
        [[processors.rename.replace]]
        tag = "kind"
        dest = "metric"
        [[processors.rename.replace]]
        measurement = "mqtt_consumer"
        dest = "rooms"
        "#,
    );
    assert_eq!(lines(&imported, "b/r1/co2", " 612\n"), ["rooms,metric=co2,room=r1 val=612"]);
    let pivot = input(
        "topics = [\"s/+/+\"]\ndata_format = \"value\"\ndata_type = \"float\"\n[[inputs.mqtt_consumer.topic_parsing]]\ntopic = \"s/+/+\"\n\
         measurement = \"measurement/_/_\"\ntags = \"_/device/field\"\n[[processors.pivot]]\ntag_key = \"field\"\nvalue_key = \"value\"\n",
    );
    assert_eq!(lines(&pivot, "s/d1/rpm", "45"), ["s,device=d1 rpm=45"]);
}

#[test]
fn line_protocol() {
    let imported = input(
        "topics = [\"telegraf/+/+\"]\ntopic_tag = \"\"\nname_prefix = \"edge_\"\nfieldexclude = [\"usage_guest*\"]\ntagexclude = [\"secret\"]\n\
         [[inputs.mqtt_consumer.topic_parsing]]\ntopic = \"telegraf/+/+\"\ntags = \"_/gateway/_\"\n",
    );
    let payload = "cpu,host=a,secret=s usage=1.5,n=2i,t=\"x\",usage_guest=1 1772366400000000000\nmem,host=a used=3i 1772366401000000000";
    assert_eq!(
        lines(&imported, "telegraf/pi/cpu", payload),
        [
            "edge_cpu,gateway=pi,host=a n=2,t=x,usage=1.5 2026-03-01T12:00:00Z",
            "edge_mem,gateway=pi,host=a used=3 2026-03-01T12:00:01Z"
        ]
    );
    let fixed =
        input("topics = [\"t\"]\ntopic_tag = \"\"\nname_override = \"all\"\ninflux_timestamp_precision = \"1s\"\n");
    assert_eq!(
        lines(&fixed, "t", "cpu,host=a u=1 1772366400"),
        ["all,host=a,measurement=cpu u=1 2026-03-01T12:00:00Z"]
    );
}

#[test]
fn csv() {
    let imported = input(
        r#"
        topics = ["logger/+"]
        topic_tag = ""
        data_format = "csv"
        csv_column_names = ["time", "id", "temp", "skip", "bat"]
        csv_column_types = ["string", "string", "float", "string", "int"]
        csv_delimiter = ";"
        csv_tag_columns = ["id"]
        csv_timestamp_column = "time"
        csv_timestamp_format = "02.01.2006 15:04:05"
        csv_timezone = "Europe/Berlin"
        csv_skip_values = ["n/a"]
        fieldexclude = ["skip"]
        "#,
    );
    assert_eq!(
        lines(&imported, "logger/1", "01.07.2025 14:00:00;a;21.5;x;3\n01.07.2025 14:01:00;b;n/a;x;4\n"),
        ["mqtt_consumer,id=a bat=3,temp=21.5 2025-07-01T12:00:00Z", "mqtt_consumer,id=b bat=4 2025-07-01T12:01:00Z"]
    );
}

#[test]
fn processors_go_by_their_order_and_their_filters() {
    let imported = input(
        r#"
        topics = ["cv/+/+"]
        topic_tag = ""
        data_format = "json"
        tag_keys = ["id", "seen"]
        json_string_fields = ["*"]
        [[inputs.mqtt_consumer.topic_parsing]]
        topic = "cv/+/+"
        tags = "_/Site/kind"
        [[processors.rename]]
        order = 2
        [[processors.rename.replace]]
        field = "n"
        dest = "number"
        [[processors.rename.replace]]
        tag = "ID"
        dest = "device"
        [[processors.strings]]
        order = 1
        [[processors.strings.lowercase]]
        tag_key = "Site"
        [[processors.strings.uppercase]]
        tag_key = "id"
        [[processors.strings.trim_prefix]]
        measurement = "*"
        prefix = "mqtt_"
        [[processors.converter]]
        order = 3
        [processors.converter.tags]
        string = ["seen"]
        measurement = ["kind"]
        [processors.converter.fields]
        tag = ["channel"]
        integer = ["number"]
        float = ["txt"]
        timestamp = ["when"]
        timestamp_format = "unix_ms"
        [[processors.converter]]
        namepass = ["nothing"]
        [processors.converter.fields]
        string = ["v"]
        [[processors.scale]]
        [[processors.scale.scaling]]
        factor = 0.5
        offset = 1.0
        fields = ["v"]
        [[processors.starlark]]
        source = "x"
        "#,
    );
    let payload = r#"{"id":"a","seen":"yes","n":7,"channel":3,"txt":"2.5","when":1772366400000,"v":1.5}"#;
    assert_eq!(
        lines(&imported, "cv/north/pumps", payload),
        ["pumps,channel=3,device=a,kind=pumps,site=north number=7,seen=yes,txt=2.5,v=1.75 2026-03-01T12:00:00Z"]
    );
    assert!(remarks(&imported, Kind::NoCounterpart).contains("processor starlark"), "{}", imported.sources);
}

#[test]
fn secrets_are_never_printed() {
    let imported = input(
        "servers = [\"tcp://me:hunter2@b:1883\"]\nusername = \"me\"\npassword = \"hunter2\"\ntls_key_pwd = \"hunter2\"\ntopics = [\"a\"]\ndata_format = \"json\"\n",
    );
    let all = format!("{imported:?}");
    assert!(!all.contains("hunter2") && imported.sources.contains("#password_file = "), "{all}");
    assert!(imported.sources.contains("#url = \"mqtt://b:1883\"\n"), "{}", imported.sources);
}

#[test]
fn nothing_goes_without_a_word() {
    let imported = imported(
        r#"
[agent]
hostname = "gw7"
[global_tags]
dc = "eu"
[[inputs.cpu]]
[[inputs.mqtt_consumer]]
servers = ["tcp://a:1883", "tcp://b:1883"]
topics = ["${PLANT}/+"]
qos = 2
data_format = "json"
json_query = "a.#(x==1).y"
metricpass = "true"
made_up = 1
insecure_skip_verify = true
[[inputs.mqtt_consumer]]
servers = ["tcp://c:1883"]
topics = ["b/+"]
data_format = "grok"
[[aggregators.minmax]]
[[processors.enum]]
[[outputs.influxdb_v2]]
urls = ["http://db:9000"]
token = "secret-token"
"#,
    );
    let lost = remarks(&imported, Kind::NoCounterpart);
    for part in [
        "inputs.mqtt_consumer[0].servers",
        "inputs.mqtt_consumer[0].json_query",
        "inputs.mqtt_consumer[0].metricpass",
        "14:inputs.mqtt_consumer[0].made_up",
        "inputs.mqtt_consumer[0].insecure_skip_verify",
        "inputs.mqtt_consumer[1].data_format",
        "inputs.mqtt_consumer[1] forebay has one broker",
        "aggregators.minmax[0]",
        "processors.enum[0]",
        "inputs of other kinds stay with Telegraf (cpu)",
    ] {
        assert!(lost.contains(part), "{part} in {lost}");
    }
    assert!(remarks(&imported, Kind::Changed).contains("inputs.mqtt_consumer[0].qos"));
    let notes = remarks(&imported, Kind::Note);
    assert!(notes.contains("9:PLANT") && notes.contains("http::addr=db:9000;"), "{notes}");
    assert!(!format!("{imported:?}").contains("secret-token"));
    assert!(imported.count == 0 && imported.sources.contains("#topic = \"${PLANT}/{level2}\""), "{}", imported.sources);
}

#[test]
fn what_is_no_configuration_is_refused_with_its_place() {
    let of = |text: &str| import(&[("f".into(), text.into())], &|_| None);
    assert!(matches!(of("[agent]\n= 1"), Err(ImportError::Document(error)) if error.line == 2));
    assert!(matches!(of("[source.x]\ntopic = \"a\"\n"), Err(ImportError::Other { .. })));
    assert_eq!(of("[[inputs.cpu]]\n").expect("a configuration").count, 0);
    let many = "[[inputs.mqtt_consumer]]\n".repeat(1_001);
    assert!(matches!(of(&many), Err(ImportError::TooMany { .. })));
}
