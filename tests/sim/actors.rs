//! Who lives in a run: publishers, consumers of both sorts, those who move, look, administrate, and death.

mod admin;
mod consumer;
mod publisher;

pub(crate) use admin::{administrate, crash, look, seek};
pub(crate) use consumer::{consume, follow, work};
pub(crate) use publisher::publish;

use crate::dice::Dice;
use crate::world::{Node, World, name};
use angelia::domain::subscription::Subscription;
use std::sync::Arc;
use std::time::Duration;

/// A subscription as some broker knows it.
async fn subscription(world: &World, dice: &mut Dice, called: &str) -> Option<(Node, Arc<Subscription>)> {
    let node = world.node(dice);
    let called = name(called);
    let found = node.broker.subscription(world.project.get(), &called);
    let found = world.ask(&node, &format!("subscription {called}"), None, found).await?.ok()?;
    world.audit().learn(&found);
    Some((node, found))
}

/// How long a client waits for an answer: some go away early.
fn patience(dice: &mut Dice) -> Option<Duration> {
    dice.chance(5).then(|| dice.millis(0, 400))
}
