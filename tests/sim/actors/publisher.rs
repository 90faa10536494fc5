//! Publishers: a few messages at a time, some of them delayed, some with an end.

use super::patience;
use crate::audit::logs::Mark;
use crate::dice::Dice;
use crate::world::{World, name};
use angelia::broker::NewMessage;
use std::time::Duration;

/// Publishes to a topic until the run is over.
pub(crate) async fn publish(world: &World, called: &str, mut dice: Dice) {
    while !world.is_over() {
        request(world, called, &mut dice).await;
        tokio::time::sleep(dice.millis(10, 500)).await;
    }
}

async fn request(world: &World, called: &str, dice: &mut Dice) {
    let node = world.node(dice);
    let named = name(called);
    let topic = node.broker.topic(world.project.get(), &named);
    let Some(Ok(topic)) = world.ask(&node, &format!("topic {called}"), None, topic).await else { return };
    // A client may know a topic for a while before it uses it.
    if dice.chance(10) {
        tokio::time::sleep(dice.millis(100, 2_000)).await;
    }
    let now = node.clock.wall();
    let messages: Vec<(Option<Duration>, Option<Duration>)> = (0..dice.between(1, 4))
        .map(|_| {
            let delay = dice.chance(8).then(|| dice.millis(1, 3_000));
            (delay, dice.chance(12).then(|| dice.millis(200, 6_000)))
        })
        .collect();
    let after = |by: Duration| now + u64::try_from(by.as_micros()).unwrap();
    let times = messages.iter().map(|(delay, ttl)| (delay.map_or(0, after), ttl.map_or(u64::MAX, after)));
    let number = {
        let mut audit = world.audit();
        audit.logs.learn(&topic);
        audit.logs.asked(&topic, times.collect())
    };
    let mut batch = node.broker.batch();
    for (index, (delay, ttl)) in messages.into_iter().enumerate() {
        let text = Mark { request: number, index }.text();
        batch.push(&NewMessage { payload: text.as_bytes(), delay, ttl, ..NewMessage::default() }).unwrap();
    }
    let answer = node.broker.publish(&topic, batch);
    let answer = world.ask(&node, &format!("publish {number} to {called}"), patience(dice), answer).await;
    let mut audit = world.audit();
    let verdict = audit.logs.answered(number, answer.as_ref());
    audit.judge("answer to a publish", verdict);
}
