//! Small worlds, every one of them: three messages, two consumers, all interleavings of what they can do up to a depth. Each step
//! is compared with the naive model, and with what is promised whatever the model says.

use super::model::{Ams, Model, Seen};
use crate::domain::id::{Fence, Offset};
use crate::domain::subscription::testing::{World, acknowledge, granted, seconds, up_to};
use crate::domain::subscription::{AckMode, Command, GroupId, HolderId, LeaseRequest, Reply, Targets};

/// A world and what the two consumers hold in hand.
#[derive(Clone)]
struct Node {
    world: World,
    model: Model,
    hands: [Vec<(Offset, Fence)>; 2],
}

/// What a consumer can do, or what happens to both.
#[derive(Clone, Copy, Debug)]
enum Move {
    Lease(usize),
    Acknowledge(usize),
    Extend(usize),
    Release(usize),
    TimePasses,
    Expire,
    Seek,
}

const MOVES: [Move; 11] = [
    Move::Lease(0),
    Move::Lease(1),
    Move::Acknowledge(0),
    Move::Acknowledge(1),
    Move::Extend(0),
    Move::Extend(1),
    Move::Release(0),
    Move::Release(1),
    Move::TimePasses,
    Move::Expire,
    Move::Seek,
];

impl Node {
    /// Whether a move would do something that an earlier one in the list does not.
    fn makes_sense(&self, step: Move) -> bool {
        match step {
            Move::Acknowledge(who) | Move::Extend(who) | Move::Release(who) => !self.hands[who].is_empty(),
            Move::Expire => {
                self.world.state.next_deadline(self.world.observer).is_some_and(|deadline| deadline <= self.world.now)
            }
            _ => true,
        }
    }

    fn command(&self, step: Move) -> Option<Command> {
        // The first consumer takes two messages at a time and speaks of all it has; the second takes one and speaks of one.
        let hand = |who: usize| {
            let of = if who == 0 { self.hands[0].clone() } else { self.hands[1].iter().take(1).copied().collect() };
            Targets::Leased(of)
        };
        Some(match step {
            Move::Lease(who) => Command::Lease(LeaseRequest {
                holder: HolderId(who as u128 + 1),
                group: GroupId(who as u128 + 1),
                ..up_to(if who == 0 { 2 } else { 1 })
            }),
            Move::Acknowledge(who) => acknowledge(hand(who)),
            Move::Extend(who) => {
                Command::Extend { targets: hand(who), duration: seconds(15), grace: None, worker: None }
            }
            Move::Release(who) => {
                let not_before = if who == 0 { self.world.now } else { self.world.now.plus(seconds(5)) };
                Command::Release { targets: hand(who), not_before, worker: None }
            }
            Move::Expire => Command::Expire,
            Move::Seek => Command::Seek { to: Offset(0) },
            Move::TimePasses => return None,
        })
    }

    fn step(&mut self, step: Move) {
        let Some(command) = self.command(step) else { return self.world.wait(10) };
        let acknowledged: Vec<Offset> =
            (0..3).map(Offset).filter(|offset| self.world.state.acknowledged(*offset)).collect();
        let busy: Vec<Offset> = (0..3)
            .map(Offset)
            .filter(|offset| {
                self.world.state.lease(*offset).is_some_and(|lease| lease.live(self.world.now, self.world.observer))
            })
            .collect();
        let fence = Fence(self.world.state.fence.0 + 1);
        let reply = self.world.ask(&command);
        let seen = Seen { now: self.world.now, messages: &self.world.messages, settings: &self.world.settings };
        self.model.judge(&command, &reply, fence, &seen);
        self.model.compare(&self.world);
        if let (Move::Lease(who), Ok(reply @ Reply::Leased { .. })) = (step, &reply) {
            for (offset, fence) in granted(reply) {
                assert!(!busy.contains(&offset), "{offset} is leased to two");
                assert!(!acknowledged.contains(&offset), "{offset} was acknowledged");
                self.hands[who].retain(|(held, _)| *held != offset);
                self.hands[who].push((offset, fence));
            }
        }
        if !matches!(step, Move::Seek) {
            assert!(acknowledged.iter().all(|offset| self.world.state.acknowledged(*offset)));
        }
    }
}

fn explore(node: &Node, depth: u32, seen: &mut u64) {
    for step in MOVES.into_iter().filter(|step| node.makes_sense(*step)) {
        let mut after = node.clone();
        after.step(step);
        *seen += 1;
        if depth > 1 {
            explore(&after, depth - 1, seen);
        } else {
            assert_eq!(after.world.replayed(), after.world.state);
        }
    }
}

#[test]
fn every_small_world_of_individual_leases_keeps_its_promises() {
    let world = World::with_messages(AckMode::Individual, 3);
    let mut seen = 0;
    explore(&Node { world, model: Model::default(), hands: Default::default() }, 6, &mut seen);
    println!("{seen} worlds");
    assert!(seen > 10_000, "{seen} is not all there is");
}

#[test]
fn every_small_world_of_a_cumulative_cursor_behaves_as_ams() {
    fn explore(world: &World, model: Ams, depth: u32, worlds: &mut u64) {
        for step in 0..9_u64 {
            let (mut world, mut model) = (world.clone(), model);
            let seen = Seen { now: world.now, messages: &world.messages.clone(), settings: &world.settings.clone() };
            match step {
                0..3 => assert_eq!(world.pull(step as u32 + 1), model.pull(step as u32 + 1, &seen)),
                3..6 => {
                    let asked = world.ask(&acknowledge(Targets::Through(Offset(step - 3)))).map(drop);
                    assert_eq!(asked, model.acknowledge(step - 3, &seen));
                }
                6 => world.wait(6),
                _ => {
                    let to = (step - 7) * 3;
                    world.ask(&Command::Seek { to: Offset(to) }).unwrap();
                    model.seek(to);
                }
            }
            *worlds += 1;
            assert_eq!(world.state.floor().0, model.offset);
            if depth > 1 {
                explore(&world, model, depth - 1, worlds);
            } else {
                assert_eq!(world.replayed(), world.state);
            }
        }
    }
    let mut worlds = 0;
    explore(&World::with_messages(AckMode::Cumulative, 3), Ams::default(), 5, &mut worlds);
    assert!(worlds > 50_000, "{worlds} is not all there is");
}
