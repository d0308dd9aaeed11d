//! Takes images of what a crash leaves at a point of a run, and checks each.

use std::sync::Arc;

use fastrand::Rng;

use super::{
    check::{self, Harm, Verdict},
    life::{Plan, Profile, Shared, Stage},
    media::{CrashMedia, Leaves},
    model::Model,
};
use crate::sync::lock;

/// Takes images of what a crash at this point leaves, and checks each.
pub fn look(stage: &Shared, media: &CrashMedia) {
    let mut stage = lock(stage);
    if stage.failure.is_some() {
        return;
    }
    let Stage { model, rng, plan, images, page_bytes, .. } = &mut *stage;
    let mut found = Ok(());
    for number in 0..plan.images_a_point {
        let leaves = match number {
            0 => Leaves::Oldest,
            1 => Leaves::Newest,
            _ => Leaves::Any { garbage_in: 64 },
        };
        let image = media.after_power_cut(leaves, rng);
        *images += 1;
        found = examine(image, model, rng, *plan, *page_bytes, images);
        if found.is_err() {
            break;
        }
    }
    if let Err(why) = found {
        stage.failure = Some(why);
    }
}

fn examine(mut image: Vec<u8>, model: &Model, rng: &mut Rng, plan: Plan, page_bytes: u64, images: &mut u64) -> Verdict {
    if plan.profile == Profile::Rot {
        let harm = Harm::inflict(&mut image, rng);
        return examine_damaged(image, model, &harm, page_bytes, images);
    }
    if model.has_lied || plan.profile == Profile::Memory {
        return examine_damaged(
            image,
            model,
            &Harm { unsynced: plan.profile == Profile::Memory, ..Harm::default() },
            page_bytes,
            images,
        );
    }
    // A crash during the recovery is a crash like any other.
    let crash_at = (rng.u8(0..16) == 0).then(|| (rng.usize(..12), rng.u64(..)));
    let media = Arc::new(CrashMedia::with(image, page_bytes));
    let (opened, second) = check::open(media, crash_at)?;
    opened.check(model)?;
    if let Some(second) = second {
        *images += 1;
        let media = Arc::new(CrashMedia::with(second, page_bytes));
        check::open(media, None)?.0.check(model).map_err(|why| format!("after a crash in recovery: {why}"))?;
    }
    Ok(())
}

fn examine_damaged(image: Vec<u8>, model: &Model, harm: &Harm, page_bytes: u64, images: &mut u64) -> Verdict {
    let media = Arc::new(CrashMedia::with(image, page_bytes));
    if !check::is_a_ring(&media) {
        return Ok(());
    }
    let (opened, _) = check::open(Arc::clone(&media), None)?;
    opened.check_damaged(model, harm)?;
    // Another start finds the same, and counts no loss twice. Where a sync has lied, what an earlier life had left may pass as what was lied
    // about, and the more easily the more the header vouches for; nothing else may be concerned.
    *images += 1;
    let (again, _) = check::open(media, None)?;
    if model.has_lied {
        return again.check_damaged(model, harm).map_err(|why| format!("at the second recovery: {why}"));
    }
    if again.found != opened.found || again.report.lost_rows != 0 {
        let lost = again.report.lost_rows;
        return Err(format!("a second recovery found something else than the first, or lost {lost} rows more"));
    }
    Ok(())
}
