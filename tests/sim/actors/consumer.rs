//! Consumers: those who lease messages one by one, and those who follow a line.

use super::{patience, subscription};
use crate::dice::Dice;
use crate::world::{Node, World};
use angelia::broker::PullRequest;
use angelia::domain::subscription::{Subscription, Targets};
use angelia::domain::{Error, Fence, Offset};
use std::time::Duration;

type Leased = Vec<(Offset, Fence)>;

/// Leases, then acknowledges, gives back, keeps, forgets, or confuses something, until the run is over.
pub(crate) async fn consume(world: &World, called: &str, mut dice: Dice) {
    let mut old = Leased::new();
    while !world.is_over() {
        if let Some((node, of)) = subscription(world, &mut dice, called).await {
            let leased = lease(world, &node, &of, &mut dice).await;
            settle(world, &of, leased, &mut old, &mut dice).await;
        }
        tokio::time::sleep(dice.millis(5, 250)).await;
    }
}

async fn lease(world: &World, node: &Node, of: &Subscription, dice: &mut Dice) -> Leased {
    let since = world.audit().version(of);
    let request = PullRequest {
        messages_max: u32::try_from(dice.between(1, 5)).unwrap(),
        wait: dice.chance(50).then(|| dice.millis(0, 2_000)),
        duration: Some(dice.millis(300, 3_000)),
        grace: dice.chance(10).then(|| dice.millis(100, 2_000)),
        ..PullRequest::default()
    };
    let answer = node.broker.pull(of, request);
    match world.ask(node, &format!("pull {}", of.name), patience(dice), answer).await {
        Some(Ok(deliveries)) => {
            world.audit().pulled(of, since, &deliveries);
            deliveries.iter().map(|delivery| (delivery.published.offset, delivery.fence)).collect()
        }
        _ => Leased::new(),
    }
}

/// Does something with what was leased: mostly the right thing.
async fn settle(world: &World, of: &Subscription, mut leased: Leased, old: &mut Leased, dice: &mut Dice) {
    if leased.is_empty() {
        leased.clone_from(old);
        if leased.is_empty() || dice.chance(50) {
            return;
        }
    }
    match dice.below(12) {
        // Forgotten: maybe remembered later.
        0 => old.clone_from(&leased),
        1 => release(world, of, &leased, dice).await,
        2 => {
            extend(world, of, &leased, dice).await;
            tokio::time::sleep(dice.millis(0, 2_000)).await;
            acknowledge(world, of, &leased, dice).await;
        }
        3 => {
            // Late.
            tokio::time::sleep(dice.millis(500, 4_000)).await;
            acknowledge(world, of, &leased, dice).await;
        }
        4 => {
            // With a fence from before the one that was given, or one that nobody will ever have.
            let before = |fence: Fence, by| fence.0.checked_sub(by).map_or(Fence(u64::MAX), Fence);
            let wrong: Leased = leased.iter().map(|(at, fence)| (*at, before(*fence, dice.between(1, 3)))).collect();
            confuse(world, of, &wrong, dice).await;
        }
        5 => {
            // Twice, and in part.
            let part: Leased = leased.iter().copied().take(1 + leased.len() / 2).collect();
            acknowledge(world, of, &part, dice).await;
            acknowledge(world, of, &leased, dice).await;
            old.clone_from(&leased);
        }
        _ => {
            tokio::time::sleep(dice.millis(0, 200)).await;
            acknowledge(world, of, &leased, dice).await;
        }
    }
}

async fn acknowledge(world: &World, of: &Subscription, leased: &Leased, dice: &mut Dice) {
    let node = world.node(dice);
    let targets = Targets::Leased(leased.clone());
    let since = {
        let mut audit = world.audit();
        audit.will_acknowledge(of, &targets);
        audit.version(of)
    };
    let answer = node.broker.acknowledge(of, targets.clone(), None);
    let answer = world.ask(&node, &format!("acknowledge {leased:?} on {}", of.name), patience(dice), answer).await;
    world.audit().acknowledged(of, since, &targets, answer.as_ref());
}

/// Names fences that were not given: what was not acknowledged anyway must be refused, and nothing changes.
async fn confuse(world: &World, of: &Subscription, wrong: &Leased, dice: &mut Dice) {
    let node = world.node(dice);
    let targets = Targets::Leased(wrong.clone());
    let since = world.audit().version(of);
    let answer = node.broker.acknowledge(of, targets.clone(), None);
    // Not announced to the auditor: it may not come true, but for what is acknowledged by then.
    let answer = world.ask(&node, &format!("confuse {wrong:?} on {}", of.name), None, answer).await;
    if let Some(Ok(())) = answer {
        world.audit().acknowledged(of, since, &targets, answer.as_ref());
    }
}

async fn release(world: &World, of: &Subscription, leased: &Leased, dice: &mut Dice) {
    let node = world.node(dice);
    world.audit().will_release(of, &plain(leased));
    let delay = dice.pick(&[Duration::ZERO, Duration::from_millis(700)]);
    let answer = node.broker.release(of, Targets::Leased(leased.clone()), delay, None);
    world.ask(&node, &format!("release {leased:?} on {}", of.name), patience(dice), answer).await;
}

async fn extend(world: &World, of: &Subscription, leased: &Leased, dice: &mut Dice) {
    let node = world.node(dice);
    world.audit().will_extend(of, &plain(leased));
    let answer = node.broker.extend(of, Targets::Leased(leased.clone()), dice.millis(100, 3_000), None);
    world.ask(&node, &format!("extend {leased:?} on {}", of.name), patience(dice), answer).await;
}

fn plain(leased: &Leased) -> Vec<(u64, u64)> {
    leased.iter().map(|(at, fence)| (at.0, fence.0)).collect()
}

/// Pulls at the floor and acknowledges up to somewhere in the window, mostly its end.
pub(crate) async fn follow(world: &World, called: &str, mut dice: Dice) {
    while !world.is_over() {
        if let Some((node, of)) = subscription(world, &mut dice, called).await {
            let since = world.audit().version(&of);
            let messages_max = u32::try_from(dice.between(1, 6)).unwrap();
            let wait = dice.chance(30).then(|| dice.millis(0, 1_000));
            let answer = node.broker.pull(&of, PullRequest { messages_max, wait, ..PullRequest::default() });
            let answer = world.ask(&node, &format!("pull {called}"), patience(&mut dice), answer).await;
            if let Some(Ok(deliveries)) = answer {
                world.audit().pulled(&of, since, &deliveries);
                tokio::time::sleep(dice.millis(0, 300)).await;
                if let Some(last) = deliveries.last() {
                    through(world, &of, last.published.offset, deliveries.len() as u64, &mut dice).await;
                }
            }
        }
        tokio::time::sleep(dice.millis(5, 300)).await;
    }
}

async fn through(world: &World, of: &Subscription, last: Offset, count: u64, dice: &mut Dice) {
    let node = world.node(dice);
    let to = match dice.below(10) {
        0 => last.0.saturating_sub(dice.below(count)),
        1 => {
            tokio::time::sleep(dice.millis(2_000, 5_000)).await;
            last.0
        }
        2 => return beyond(world, of, last, dice).await,
        _ => last.0,
    };
    let targets = Targets::Through(Offset(to));
    let since = {
        let mut audit = world.audit();
        audit.will_acknowledge(of, &targets);
        audit.version(of)
    };
    let answer = node.broker.acknowledge(of, targets.clone(), None);
    let answer = world.ask(&node, &format!("acknowledge to {to} on {}", of.name), patience(dice), answer).await;
    world.audit().acknowledged(of, since, &targets, answer.as_ref());
}

/// Acknowledges what was not given, and by the other mode's words: refused, and nothing changes.
async fn beyond(world: &World, of: &Subscription, last: Offset, dice: &mut Dice) {
    let node = world.node(dice);
    let far = Targets::Through(last.plus(1_000_000));
    let answer = node.broker.acknowledge(of, far, None);
    let far = world.ask(&node, "acknowledge beyond", None, answer).await;
    let other = Targets::Leased(vec![(last, Fence(1))]);
    let answer = node.broker.acknowledge(of, other, None);
    let other = world.ask(&node, "acknowledge by the other mode", None, answer).await;
    let refused = |answer: &Option<Result<(), Error>>| !matches!(answer, Some(Ok(())));
    let verdict = if refused(&far) && refused(&other) { Ok(()) } else { Err(format!("{far:?} {other:?}")) };
    world.audit().judge("bad acknowledgements", verdict);
}

/// Wants to be the only worker for a while, and pulls as that.
pub(crate) async fn work(world: &World, called: &str, mut dice: Dice) {
    while !world.is_over() {
        tokio::time::sleep(dice.millis(200, 2_000)).await;
        let Some((node, of)) = subscription(world, &mut dice, called).await else { continue };
        let acquired = node.broker.acquire_worker(&of, dice.millis(200, 3_000), None);
        let acquired = world.ask(&node, &format!("work on {called}"), None, acquired).await;
        let Some(Ok(hold)) = acquired else { continue };
        for _ in 0..dice.between(1, 4) {
            tokio::time::sleep(dice.millis(0, 1_000)).await;
            let since = world.audit().version(&of);
            let request = PullRequest { messages_max: 2, worker: Some(hold.fence), ..PullRequest::default() };
            let answer =
                world.ask(&node, &format!("pull {called} as worker"), None, node.broker.pull(&of, request)).await;
            if let Some(Ok(deliveries)) = answer {
                world.audit().worked(&of, since, hold.fence.0);
                world.audit().pulled(&of, since, &deliveries);
                let leased: Leased = deliveries.iter().map(|given| (given.published.offset, given.fence)).collect();
                acknowledge(world, &of, &leased, &mut dice).await;
            }
        }
        if dice.chance(50) {
            let released = node.broker.release_worker(&of, hold.fence);
            world.ask(&node, &format!("end work on {called}"), None, released).await;
        }
    }
}
