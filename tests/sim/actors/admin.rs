//! Those who move subscriptions, look at figures, remove and make things again, and kill brokers.

use super::{patience, subscription};
use crate::dice::Dice;
use crate::world::{SUBSCRIPTIONS, World, name, new_subscription};
use angelia::broker::Progress;
use angelia::domain::subscription::Subscription;
use angelia::domain::{Error, Offset};
use std::sync::Arc;

/// Seeks to and fro, purges now and then, and asks for what is out of bounds.
pub(crate) async fn seek(world: &World, mut dice: Dice) {
    while !world.is_over() {
        tokio::time::sleep(dice.millis(500, 6_000)).await;
        let (called, _) = dice.pick(&SUBSCRIPTIONS);
        let Some((node, of)) = subscription(world, &mut dice, called).await else { continue };
        let progress = world.ask(&node, "progress", None, node.broker.progress(&of)).await;
        let Some(Ok(Progress { first, next, .. })) = progress else { continue };
        let since = world.audit().version(&of);
        match dice.below(5) {
            0 => {
                world.audit().will_purge(&of);
                let purged = node.broker.purge(&of);
                world.ask(&node, &format!("purge {called}"), patience(&mut dice), purged).await;
            }
            1 => {
                let answer = node.broker.seek(&of, next.plus(1_000_000));
                let answer = world.ask(&node, &format!("seek {called} out of bounds"), None, answer).await;
                let verdict = if matches!(answer, Some(Ok(()))) { Err("taken".to_owned()) } else { Ok(()) };
                world.audit().judge("seek out of bounds", verdict);
            }
            _ => {
                let to = dice.between(first.0, next.0.max(first.0));
                world.audit().will_seek(&of, to);
                let answer = node.broker.seek(&of, Offset(to));
                let answer = world.ask(&node, &format!("seek {called} to {to}"), patience(&mut dice), answer).await;
                world.audit().moved(&of, since, to, answer.as_ref());
            }
        }
    }
}

/// Looks at figures and at messages.
pub(crate) async fn look(world: &World, mut dice: Dice) {
    while !world.is_over() {
        tokio::time::sleep(dice.millis(50, 600)).await;
        let (called, _) = dice.pick(&SUBSCRIPTIONS);
        let Some((node, of)) = subscription(world, &mut dice, called).await else { continue };
        figures(world, &node, &of, dice.chance(50)).await;
        browse(world, &mut dice).await;
    }
}

async fn figures(world: &World, node: &crate::world::Node, of: &Arc<Subscription>, progress: bool) {
    let since = world.audit().version(of);
    if progress {
        let answer = world.ask(node, &format!("progress {}", of.name), None, node.broker.progress(of)).await;
        if let Some(Ok(progress)) = answer {
            world.audit().progress(of, since, &progress);
        }
    } else {
        let answer = world.ask(node, &format!("statistics {}", of.name), None, node.broker.statistics(of)).await;
        if let Some(Ok(statistics)) = answer {
            world.audit().statistics(of, since, &statistics);
        }
    }
}

async fn browse(world: &World, dice: &mut Dice) {
    let node = world.node(dice);
    let called = name(dice.pick(&["a", "b"]));
    let topic = world.ask(&node, "topic", None, node.broker.topic(world.project.get(), &called)).await;
    let Some(Ok(topic)) = topic else { return };
    world.audit().logs.learn(&topic);
    let Some(Ok(bounds)) = world.ask(&node, "bounds", None, node.broker.topic_bounds(&topic)).await else { return };
    let from = Offset(dice.between(bounds.first.0, bounds.next.0.max(bounds.first.0)));
    let found = node.broker.browse(&topic, from, 20, u64::MAX);
    if let Some(Ok(messages)) = world.ask(&node, "browse", None, found).await {
        let mut audit = world.audit();
        let verdict = audit.logs.read(topic.log.0, &messages);
        audit.judge("browse", verdict);
        let known = audit.logs.topics.get(&topic.log.0).map_or(0, crate::audit::logs::TopicLog::next);
        let verdict = if bounds.next.0 <= known { Ok(()) } else { Err(format!("{bounds:?} with an end at {known}")) };
        audit.judge("bounds", verdict);
    }
}

/// Removes a topic or a subscription and makes it again.
pub(crate) async fn administrate(world: &World, mut dice: Dice) {
    let project = world.project.get();
    while !world.is_over() {
        tokio::time::sleep(dice.millis(1_000, 5_000)).await;
        let node = world.node(&mut dice);
        if dice.chance(50) {
            let topic = name("b");
            let Some(Ok(known)) = world.ask(&node, "topic", None, node.broker.topic(project, &topic)).await else {
                let made = node.broker.create_topic(project, world.new_topic("b"));
                world.ask(&node, "create topic b", None, made).await;
                continue;
            };
            world.audit().logs.learn(&known);
            let gone = world.ask(&node, "delete topic b", None, node.broker.delete_topic(project, &topic)).await;
            if matches!(gone, Some(Ok(()))) && world.audit().logs.topics[&known.log.0].closed {
                world.audit().logs.removed(&known);
            }
        } else {
            let (called, topic) = dice.pick(&[("tries", "b"), ("other", "b"), ("work", "a")]);
            let old = name(called);
            let gone = node.broker.delete_subscription(project, &old);
            world.ask(&node, &format!("delete subscription {called}"), None, gone).await;
            tokio::time::sleep(dice.millis(0, 1_000)).await;
            let made = node.broker.create_subscription(project, new_subscription(called, topic));
            let made = world.ask(&node, &format!("create subscription {called}"), None, made).await;
            if let Some(Ok(made)) = made {
                world.audit().learn(&made);
            }
        }
        refused(world, &mut dice).await;
    }
}

/// What cannot be is refused.
async fn refused(world: &World, dice: &mut Dice) {
    let node = world.node(dice);
    let again = node.broker.create_topic(world.project.get(), world.new_topic("a"));
    let again = world.ask(&node, "create topic a again", None, again).await;
    let nobody = node.broker.create_subscription(world.project.get(), new_subscription("nobody", "nowhere"));
    let nobody = world.ask(&node, "create subscription on nothing", None, nobody).await;
    let taken = matches!(again, Some(Ok(_))) || matches!(nobody, Some(Ok(_)));
    let strange = matches!(again, Some(Err(Error::NotFound(_))));
    let verdict = if taken || strange { Err(format!("{again:?} {nobody:?}")) } else { Ok(()) };
    world.audit().judge("what cannot be made", verdict);
}

/// Kills brokers.
pub(crate) async fn crash(world: &World, mut dice: Dice) {
    let Some(every) = world.shape.crash_every else { return };
    while !world.is_over() {
        tokio::time::sleep(every.mul_f64(0.5 + dice.below(1_000) as f64 / 1_000.0)).await;
        let index = usize::try_from(dice.below(world.shape.brokers as u64)).unwrap();
        world.crash(index).await;
    }
}
