//! Nothing acknowledged is lost: the ring against a plain model, on a medium that may do to it whatever a disk may.
//!
//! One number is one run: `FOREBAY_CRASH_SEED=n` repeats it. `FOREBAY_CRASH_IMAGES=n` asks for so many images in all (the long mode).

mod check;
mod examine;
mod life;
mod media;
mod model;
mod start;

use std::{
    panic::catch_unwind,
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use self::life::{Plan, Profile, run};
use super::seeded::{self, Bug};

/// Images checked in an ordinary run of the tests.
const IMAGES: u64 = 2_000_000;
/// Threads that check.
const THREADS: u64 = 2;

const HONEST: Plan = Plan { profile: Profile::Honest, lives: 12, images_a_point: 6, alike: false };
const ALIKE: Plan = Plan { alike: true, ..HONEST };
const ROT: Plan = Plan { profile: Profile::Rot, lives: 6, images_a_point: 2, alike: false };
const MEMORY: Plan = Plan { profile: Profile::Memory, lives: 12, images_a_point: 1, alike: false };
const LIES: Plan = Plan { profile: Profile::Lies, lives: 6, images_a_point: 4, alike: false };

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{name}={value} is no number")))
}

/// Runs from one seed after the other until so many images are checked; panics with the seed of the first that fails.
fn check_images(name: &str, plan: Plan, images: u64) {
    if let Some(seed) = variable("FOREBAY_CRASH_SEED") {
        let (images, verdict) = run(seed, plan);
        println!("{name}: seed {seed}, {images} images: {verdict:?}");
        return verdict.unwrap_or_else(|why| panic!("{name}: seed {seed}: {why}"));
    }
    let (checked, next) = (AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while checked.load(Ordering::Relaxed) < images {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let panicked = |_| (0, Err("it panicked; the message is above".into()));
                    let (count, verdict) = catch_unwind(|| run(seed, plan)).unwrap_or_else(panicked);
                    if let Err(why) = verdict {
                        panic!("{name}: {why}\nafter {count} images; repeat it with FOREBAY_CRASH_SEED={seed}");
                    }
                    checked.fetch_add(count, Ordering::Relaxed);
                }
            });
        }
    });
    println!("{name}: {} images of {} runs", checked.into_inner(), next.into_inner());
}

fn images() -> u64 {
    variable("FOREBAY_CRASH_IMAGES").unwrap_or(IMAGES)
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_invented() {
    check_images("power cuts", HONEST, images() / 2);
}

#[test]
fn records_that_fit_where_others_lay_are_not_mistaken_for_them() {
    check_images("power cuts, records alike", ALIKE, images() / 8);
}

#[test]
fn memory_mode_outlives_the_process_and_recovers_from_anything() {
    check_images("kills without syncs", MEMORY, images() / 8);
}

#[test]
fn damage_costs_what_it_touches_and_is_told() {
    check_images("damage", ROT, images() / 4);
}

#[test]
fn a_sync_that_lies_costs_what_it_lied_about() {
    check_images("lies", LIES, images() / 4);
}

/// Images until a bug is found, and what was found.
fn caught(bug: Bug, plan: Plan) -> Option<(u64, String)> {
    const MOST: u64 = 2_000_000;
    let (mut images, mut seed) = (0, 0);
    while images < MOST {
        let (count, verdict) = seeded::with(Some(bug), || run(seed, plan));
        images += count.max(1);
        if let Err(why) = verdict {
            return Some((images, why));
        }
        seed += 1;
    }
    None
}

#[test]
fn every_seeded_bug_is_caught() {
    let bugs = [
        (Bug::AckBeforeSync, HONEST),
        (Bug::IgnoreFailedSync, HONEST),
        (Bug::HeaderBeforeData, HONEST),
        (Bug::FreeBeforeTail, HONEST),
        (Bug::NoRingId, HONEST),
        (Bug::NoGeneration, ALIKE),
        (Bug::TrustUnsyncedEnd, HONEST),
        (Bug::EndAtDamage, ROT),
        (Bug::UnalignedCommit, HONEST),
        (Bug::WrapOffByOne, HONEST),
        (Bug::KeepCutMessage, HONEST),
        (Bug::SettleOneMore, HONEST),
        (Bug::OneSlot, HONEST),
        (Bug::DurableAhead, HONEST),
        (Bug::AckRefusedBeforeSync, HONEST),
        (Bug::StateLeftBehind, HONEST),
        (Bug::HeldLeftBehind, HONEST),
        (Bug::AckNoteBeforeSync, HONEST),
        (Bug::UnsealedNotCounted, HONEST),
    ];
    let mut missed = Vec::new();
    for (bug, plan) in bugs {
        match caught(bug, plan) {
            Some((images, why)) => println!("{bug:?}: caught after {images} images: {why}"),
            None => missed.push(bug),
        }
    }
    assert!(missed.is_empty(), "not caught: {missed:?}");
}
