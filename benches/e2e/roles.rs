//! The contenders that are not forebay, each a process started with `role NAME …`. A role prints `ready` once it may be
//! published to, and one JSON line when it is done; then it stays until it is killed, so that it can be measured.

use std::{
    sync::mpsc::{Receiver, RecvTimeoutError, sync_channel},
    thread,
    time::{Duration, Instant, SystemTime},
};

use questdb::ingress::{Buffer, Sender, TimestampMicros};
use rumqttc::v5::{
    AsyncClient, Event, EventLoop, Incoming, MqttOptions,
    mqttbytes::{QoS, v5::Publish},
};

/// The naive program flushes after so many rows, unless it is told another number, or so long.
const NAIVE_ROWS: usize = 10_000;
const NAIVE_LINGER: Duration = Duration::from_secs(1);
/// Rows between the naive program's two threads: as good as unbounded here.
const NAIVE_QUEUE: usize = 1_000_000;
/// forebay's default `mqtt.receive_maximum`.
const RECEIVE_MAXIMUM: u16 = 2_000;
/// A reader that hears nothing for so long has lost the rest (QoS 0).
const IDLE: Duration = Duration::from_secs(3);

/// Runs the role and waits to be killed.
pub fn run(arguments: &[String]) {
    let text = |n: usize| arguments.get(n).map_or("", String::as_str);
    let number = |n: usize| text(n).parse::<u64>().unwrap_or(0);
    match text(0) {
        "reader" => reader(number(1) as u16, text(2), number(3) as u8, number(4)),
        "naive" => naive(number(1) as u16, text(2), number(3) as u8, number(4), (text(5), number(6) as usize)),
        other => panic!("unknown role {other}"),
    }
    loop {
        thread::park();
    }
}

fn done(messages: u64) {
    let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    println!(r#"{{"messages":{messages},"end_us":{}}}"#, unix.as_micros());
}

fn connect(port: u16, topic: &str, qos: u8) -> (AsyncClient, EventLoop) {
    let mut options = MqttOptions::new(format!("bench-{}", std::process::id()), "127.0.0.1", port);
    options.set_keep_alive(Duration::from_mins(1));
    options.set_receive_maximum(Some(RECEIVE_MAXIMUM));
    options.set_outgoing_inflight_upper_limit(16);
    options.set_max_packet_size(Some(256 * 1024));
    let mut network = options.network_options();
    network.set_tcp_nodelay(true);
    options.set_network_options(network);
    let (client, events) = AsyncClient::new(options, usize::from(RECEIVE_MAXIMUM) + 100);
    let qos = if qos == 0 { QoS::AtMostOnce } else { QoS::AtLeastOnce };
    client.try_subscribe(topic, qos).expect("room for a subscription");
    (client, events)
}

/// Hands each publish to `handle` until `messages` came or nothing comes any more; how many came.
fn receive(port: u16, topic: &str, qos: u8, messages: u64, mut handle: impl FnMut(&Publish)) -> u64 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let (_client, mut events) = connect(port, topic, qos);
        let mut received = 0;
        while received < messages {
            // With a timer for each message the reader would measure timers; one is set only while nothing came yet or
            // the messages may have been dropped.
            let event = if qos == 0 && received > 0 {
                match tokio::time::timeout(IDLE, events.poll()).await {
                    Ok(event) => event,
                    Err(_) => break,
                }
            } else {
                events.poll().await
            };
            match event.expect("the broker stays") {
                Event::Incoming(Incoming::SubAck(_)) => println!("ready"),
                Event::Incoming(Incoming::Publish(publish)) => {
                    handle(&publish);
                    received += 1;
                }
                _ => {}
            }
        }
        // The acknowledgements of the last messages are still to be written.
        let _ = tokio::time::timeout(Duration::from_millis(1), events.poll()).await;
        received
    })
}

/// Only acknowledges (rumqttc does so at once by default).
fn reader(port: u16, topic: &str, qos: u8, messages: u64) {
    let received = receive(port, topic, qos, messages, |publish| {
        std::hint::black_box(publish);
    });
    done(received);
}

/// One decoded reading of the naive program.
struct Row {
    site: String,
    device: String,
    ts_ms: i64,
    seq: i64,
    temperature: f64,
    humidity: f64,
    ok: bool,
}

/// Acknowledges at once, decodes, keeps rows in memory and flushes every so many rows or 1 s from a
/// second thread.
fn naive(port: u16, topic: &str, qos: u8, messages: u64, (conf, most): (&str, usize)) {
    let table = topic.split('/').next().unwrap_or_default().to_owned();
    let (rows, incoming) = sync_channel::<Row>(NAIVE_QUEUE);
    let conf = conf.to_owned();
    let most = if most == 0 { NAIVE_ROWS } else { most };
    let flusher = thread::spawn(move || flush_loop((&conf, most), &table, &incoming));
    let received = receive(port, topic, qos, messages, |publish| rows.send(decode(publish)).expect("the flusher runs"));
    drop(rows);
    flusher.join().expect("the flusher ends in order");
    done(received);
}

fn decode(publish: &Publish) -> Row {
    let topic = std::str::from_utf8(&publish.topic).expect("UTF-8");
    let mut levels = topic.split('/').skip(1).map(str::to_owned);
    let value: serde_json::Value = serde_json::from_slice(&publish.payload).expect("JSON");
    Row {
        site: levels.next().expect("a site"),
        device: levels.next().expect("a device"),
        ts_ms: value["ts"].as_i64().expect("ts"),
        seq: value["seq"].as_i64().expect("seq"),
        temperature: value["temperature"].as_f64().expect("temperature"),
        humidity: value["humidity"].as_f64().expect("humidity"),
        ok: value["ok"].as_bool().expect("ok"),
    }
}

fn flush_loop((conf, most): (&str, usize), table: &str, incoming: &Receiver<Row>) {
    let mut sender = Sender::from_conf(conf).expect("QuestDB is there");
    let mut rows: Vec<Row> = Vec::with_capacity(most);
    let mut buffer = sender.new_buffer();
    let mut due = Instant::now() + NAIVE_LINGER;
    loop {
        let next = incoming.recv_timeout(due.saturating_duration_since(Instant::now()));
        let ended = matches!(next, Err(RecvTimeoutError::Disconnected));
        if let Ok(row) = next {
            rows.push(row);
            if rows.len() < most {
                continue;
            }
        }
        for row in rows.drain(..) {
            put(&mut buffer, table, &row);
        }
        if !buffer.is_empty() {
            sender.flush(&mut buffer).expect("QuestDB takes it");
        }
        if ended {
            return;
        }
        due = Instant::now() + NAIVE_LINGER;
    }
}

fn put(buffer: &mut Buffer, table: &str, row: &Row) {
    let mut write = || -> questdb::Result<()> {
        buffer
            .table(table)?
            .symbol("device", &row.device)?
            .symbol("site", &row.site)?
            .column_i64("seq", row.seq)?
            .column_f64("temperature", row.temperature)?
            .column_f64("humidity", row.humidity)?
            .column_bool("ok", row.ok)?
            .at(TimestampMicros::new(row.ts_ms * 1_000))
    };
    write().expect("a valid row");
}
