//! The bare loop: rows that are in memory, written with questdb-rs and nothing else.
//!
//! One thread fills a buffer while another has the one before under way, so that encoding overlaps with sending. Several
//! such pairs share the rows by device, each over a connection of its own.

use std::{
    ops::Range,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
    time::{Instant, SystemTime},
};

use questdb::ingress::{Buffer, Sender, TimestampMicros};

use super::backlog::{Backlog, Reading, devices};

/// An answer: when, and to how many rows.
type Answer = (Instant, u64);

/// What one pair of threads did.
struct Share {
    /// When its first request began to be sent.
    began: Instant,
    answers: Vec<Answer>,
}

/// `role bare CONF TABLE ROWS BASE_US BATCH PAIRS`: prints `ready`, then writes the rows, then says in one line of JSON when.
pub fn run(arguments: &[String]) {
    let text = |n: usize| arguments.get(n).map_or("", String::as_str);
    let number = |n: usize| text(n).parse::<u64>().expect("a number");
    let (conf, table) = (text(0).to_owned(), text(1).to_owned());
    let backlog = Backlog { rows: number(2), base_us: number(3) as i64 };
    let (batch, pairs) = (number(4) as usize, number(5) as usize);
    let mut shares: Vec<Vec<Reading>> = vec![Vec::new(); pairs];
    for n in 0..backlog.rows {
        let reading = backlog.reading(n);
        shares[reading.device % pairs].push(reading);
    }
    let senders: Vec<Sender> = shares.iter().map(|_| Sender::from_conf(&conf).expect("QuestDB is there")).collect();
    println!("ready");
    let work = |(share, sender): (Vec<Reading>, Sender)| {
        let table = table.clone();
        thread::spawn(move || write(&share, sender, &table, batch))
    };
    let threads: Vec<_> = shares.into_iter().zip(senders).map(work).collect();
    let shares: Vec<Share> = threads.into_iter().map(|thread| thread.join().expect("it ends")).collect();
    print(shares);
}

fn print(shares: Vec<Share>) {
    let began = shares.iter().map(|share| share.began).min().expect("a share");
    let mut answers: Vec<Answer> = shares.into_iter().flat_map(|share| share.answers).collect();
    answers.sort_unstable();
    let (now, unix) = (Instant::now(), SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970"));
    let at = |time: Instant| unix.saturating_sub(now - time).as_micros();
    let (first, last) = (answers.first().expect("an answer"), answers.last().expect("an answer"));
    let (began, first_us, last_us) = (at(began), at(first.0), at(last.0));
    println!(r#"{{"began_us":{began},"first_us":{first_us},"first_rows":{},"last_us":{last_us}}}"#, first.1);
}

fn write(rows: &[Reading], sender: Sender, table: &str, batch: usize) -> Share {
    let devices = devices();
    let (full, to_send) = sync_channel::<(Buffer, u64)>(0);
    let (empty, to_fill) = sync_channel::<Buffer>(2);
    (0..2).for_each(|_| empty.send(sender.new_buffer()).expect("room"));
    let sending = thread::spawn(move || send(sender, &to_send, &empty));
    for Range { start, end } in (0..rows.len()).step_by(batch).map(|start| start..(start + batch).min(rows.len())) {
        let mut buffer = to_fill.recv().expect("the sender runs");
        rows[start..end].iter().for_each(|row| put(&mut buffer, table, row, &devices).expect("a valid row"));
        full.send((buffer, (end - start) as u64)).expect("the sender runs");
    }
    drop(full);
    sending.join().expect("the sender ends")
}

fn send(mut sender: Sender, full: &Receiver<(Buffer, u64)>, empty: &SyncSender<Buffer>) -> Share {
    let (mut began, mut answers) = (None, Vec::new());
    while let Ok((mut buffer, rows)) = full.recv() {
        began.get_or_insert_with(Instant::now);
        sender.flush(&mut buffer).expect("QuestDB takes it");
        answers.push((Instant::now(), rows));
        let _ = empty.send(buffer);
    }
    Share { began: began.expect("a request"), answers }
}

fn put(buffer: &mut Buffer, table: &str, row: &Reading, devices: &[(String, String)]) -> questdb::Result<()> {
    let (device, site) = &devices[row.device];
    buffer
        .table(table)?
        .symbol("device", device)?
        .symbol("site", site)?
        .column_i64("seq", row.seq)?
        .column_f64("temperature", row.temperature)?
        .column_f64("humidity", row.humidity)?
        .column_bool("ok", row.ok)?
        .at(TimestampMicros::new(row.time_us))
}
