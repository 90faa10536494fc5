//! Random commands, judged twice: by the state machine, and by a naive model.

use super::model::{Ams, Model, Seen};
use crate::domain::id::{Fence, LogRef, Name, Offset, ProducerId, Timestamp};
use crate::domain::message::Header;
use crate::domain::subscription::testing::{World, acknowledge, at, cases, granted, seconds, up_to};
use crate::domain::subscription::{AckMode, Command, GroupId, HolderId, LeaseRequest, Nonce, Reply, Targets};
use proptest::prelude::*;
use std::time::Duration;

/// What happens beside commands.
#[derive(Clone, Debug)]
enum Step {
    Publish(Vec<Header>),
    Wait(u64),
    /// The topic is deleted and made again.
    Remake,
    /// Retention takes so many messages.
    Trim(u64),
    Ask(Command),
    /// A command about the so-many-th of all leases granted so far, and the following ones.
    AskAbout(usize, usize, About),
}

#[derive(Clone, Copy, Debug)]
enum About {
    Acknowledge,
    Extend(u64, Option<u64>),
    Release(u64),
}

fn headers() -> impl Strategy<Value = Header> {
    let instant = || prop_oneof![3 => Just(None), 1 => (990..1_040_u64).prop_map(Some)];
    (instant(), instant(), 0..3_u128, 0..30_u32).prop_map(|(visible, end, producer, bytes)| Header {
        visible_at: visible.map_or(Timestamp::EPOCH, at),
        expires_at: end.map_or(Timestamp::NEVER, at),
        producer: ProducerId(producer),
        bytes,
        text_bytes: bytes,
    })
}

fn requests() -> impl Strategy<Value = LeaseRequest> {
    let wish = || prop::option::of(0..30_u64);
    (0..6_u32, 0..90_u64, wish(), wish(), 0..3_u128, prop::option::of(1..3_u128), any::<bool>()).prop_map(
        |(messages_max, bytes_max, duration, grace, group, except, early)| LeaseRequest {
            holder: HolderId(group),
            group: GroupId(group),
            bytes_max,
            duration: duration.map(seconds),
            grace: grace.map(seconds),
            except_producer: except.map(ProducerId),
            early,
            ..up_to(messages_max)
        },
    )
}

fn steps() -> impl Strategy<Value = Step> {
    let offset = || (0..14_u64).prop_map(Offset);
    let about = prop_oneof![
        3 => Just(About::Acknowledge),
        1 => (0..30_u64, prop::option::of(0..30_u64)).prop_map(|(by, grace)| About::Extend(by, grace)),
        1 => (995..1_050_u64).prop_map(About::Release),
    ];
    prop_oneof![
        3 => prop::collection::vec(headers(), 1..5).prop_map(Step::Publish),
        3 => (0..15_u64).prop_map(Step::Wait),
        1 => prop_oneof![9 => (0..3_u64).prop_map(Step::Trim), 1 => Just(Step::Remake)],
        6 => requests().prop_map(|request| Step::Ask(Command::Lease(request))),
        1 => requests().prop_map(|request| Step::Ask(Command::Pop(request))),
        5 => (any::<prop::sample::Index>(), 1..5_usize, about)
            .prop_map(|(index, count, about)| Step::AskAbout(index.index(1_000), count, about)),
        1 => prop::collection::vec(offset(), 0..4).prop_map(|o| Step::Ask(acknowledge(Targets::Offsets(o)))),
        1 => (1..3_u128).prop_map(|group| Step::Ask(acknowledge(Targets::Group(GroupId(group))))),
        1 => prop::collection::vec(offset(), 1..4).prop_map(|o| Step::Ask(acknowledge(Targets::Free(o)))),
        1 => (0..3_u128, prop::collection::vec(offset(), 1..4))
            .prop_map(|(group, o)| Step::Ask(acknowledge(Targets::Held(GroupId(group), o)))),
        2 => Just(Step::Ask(Command::Expire)),
        1 => (0..100_u64).prop_map(|to| Step::Ask(Command::Seek { to: Offset(to) })),
        1 => prop_oneof![9 => Just(Command::Expire), 1 => Just(Command::Purge)].prop_map(Step::Ask),
        1 => offset().prop_map(|offset| Step::Ask(Command::StartDeadLetter {
            offset,
            target: LogRef(9),
            tail: Offset(0),
            nonce: Nonce { writer: 1, sequence: offset.0 },
        })),
        1 => offset().prop_map(|offset| Step::Ask(Command::FinishDeadLetter { offset, copy: Offset(0) })),
    ]
}

fn about(leases: &[(Offset, Fence)], index: usize, count: usize, about: About) -> Command {
    let index = index.checked_rem(leases.len()).unwrap_or(0);
    let targets = Targets::Leased(leases.iter().skip(index).take(count).copied().collect());
    match about {
        About::Acknowledge => acknowledge(targets),
        About::Extend(by, grace) => {
            Command::Extend { targets, duration: seconds(by), grace: grace.map(seconds), worker: None }
        }
        About::Release(until) => Command::Release { targets, not_before: at(until), worker: None },
    }
}

/// Brings a random command into the world as it is.
fn fit(command: Command, world: &World) -> Command {
    let (first, next) = (world.first.0, world.next().0);
    let within = |offset: Offset| Offset(offset.0.min(next.saturating_sub(1)));
    match command {
        Command::Seek { to } => Command::Seek { to: Offset(first + to.0 % (next - first + 1)) },
        Command::StartDeadLetter { offset, target, tail, .. } => {
            let offset = within(offset);
            let nonce = Nonce { writer: 1, sequence: offset.0 };
            Command::StartDeadLetter { offset, target, tail, nonce }
        }
        other => other,
    }
}

fn ask_both(world: &mut World, model: &mut Model, command: &Command) -> Vec<(Offset, Fence)> {
    let fence = Fence(world.state.fence.0 + 1);
    model.forget_below(world.first.0.max(model.first));
    let reply = world.ask(command);
    let seen = Seen { now: world.now, messages: &world.messages, settings: &world.settings };
    // Extending by nothing is releasing.
    match command {
        Command::Extend { targets, duration, .. } if duration.is_zero() => {
            let release = Command::Release { targets: targets.clone(), not_before: Timestamp::EPOCH, worker: None };
            model.judge(&release, &reply, fence, &seen);
        }
        command => model.judge(command, &reply, fence, &seen),
    }
    model.compare(world);
    if matches!(reply, Ok(Reply::Leased { .. })) { granted(&reply.unwrap()) } else { Vec::new() }
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn individual_mode_agrees_with_a_naive_model(
        max_attempts in prop::option::of(1..4_u32),
        dead_letters in any::<bool>(),
        steps in prop::collection::vec(steps(), 1..60),
    ) {
        let mut world = World::new(AckMode::Individual);
        world.settings.max_attempts = max_attempts;
        world.settings.dead_letter_topic = dead_letters.then(|| Name::new("dead").unwrap());
        let (mut model, mut leases) = (Model::default(), Vec::new());
        for step in steps {
            let command = match step {
                Step::Publish(headers) => { world.messages.extend(headers); continue }
                Step::Wait(by) => { world.wait(by); continue }
                Step::Remake => {
                    world.remake_topic();
                    model.remake_topic();
                    continue;
                }
                Step::Trim(count) => {
                    world.first = world.first.plus(count).min(world.next());
                    continue;
                }
                Step::Ask(command) => fit(command, &world),
                Step::AskAbout(index, count, what) => about(&leases, index, count, what),
            };
            if world.messages.is_empty() && matches!(command, Command::StartDeadLetter { .. }) {
                continue;
            }
            leases.extend(ask_both(&mut world, &mut model, &command));
        }
        prop_assert_eq!(world.replayed(), world.state);
    }
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn cumulative_mode_agrees_with_a_naive_model(
        steps in prop::collection::vec((0..9_u8, 0..12_u64, prop::option::weighted(0.2, 990..1_060_u64)), 1..80),
    ) {
        let mut world = World::new(AckMode::Cumulative);
        let mut model = Ams::default();
        for (step, number, end) in steps {
            let first = world.first.0;
            match step {
                0 | 1 => world.messages.push(Header {
                    expires_at: end.map_or(Timestamp::NEVER, at),
                    ..Header::plain(10, 10)
                }),
                2 => world.now = world.now.plus(Duration::from_millis(number * 1_234)),
                3 if number == 0 => world.first = world.first.plus(1).min(world.next()),
                4 if number < 3 => {
                    let to = first + number % (world.next().0 - first + 1);
                    world.ask(&Command::Seek { to: Offset(to) }).unwrap();
                    model.seek(to);
                }
                5 | 6 => {
                    let mut candidate = model;
                    if first > candidate.offset {
                        candidate.seek(first);
                    }
                    let seen = Seen { now: world.now, messages: &world.messages, settings: &world.settings };
                    let expected = candidate.acknowledge(number, &seen);
                    prop_assert_eq!(world.ask(&acknowledge(Targets::Through(Offset(number)))).map(drop), expected.clone());
                    if expected.is_ok() {
                        model = candidate;
                    }
                }
                _ => {
                    if first > model.offset {
                        model.seek(first);
                    }
                    let seen = Seen { now: world.now, messages: &world.messages, settings: &world.settings };
                    let expected = model.pull(number as u32 / 2, &seen);
                    prop_assert_eq!(world.pull(number as u32 / 2), expected);
                }
            }
            prop_assert_eq!(world.state.floor().0, model.offset);
        }
        prop_assert_eq!(world.replayed(), world.state);
    }
}
