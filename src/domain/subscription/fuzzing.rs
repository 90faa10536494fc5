//! The fuzz target of the subscription: commands and events in any order leave a sound state, and what is promised about
//! deliveries holds of every decision.

use super::{
    AckMode, Command, Decision, Event, GiveUpReason, Grant, GroupId, Headers, HolderId, LeaseRequest, NodeId, Nonce,
    Observer, Phase, Reply, Settings, Span, State, Targets, View, apply, decide,
};
use crate::domain::error::Error;
use crate::domain::id::{Fence, Incarnation, LogRef, Name, Offset, ProducerId, Timestamp};
use crate::domain::limits::NEED_MAX;
use crate::domain::message::Header;
use std::ops::Range;
use std::time::Duration;

/// Reads stored events.
pub(crate) type ReadEvents<'a> = &'a dyn Fn(&[u8]) -> Vec<Event>;
/// Looks at a state.
pub(crate) type LookAt<'a> = &'a dyn Fn(&State);

/// The input, byte by byte; zeros for what is missing.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn next(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    fn byte(&mut self) -> u8 {
        self.next().unwrap_or_default()
    }

    fn small(&mut self) -> u64 {
        u64::from(self.byte())
    }

    /// Small numbers mostly, now and then one of any size.
    fn number(&mut self) -> u64 {
        match self.byte() {
            255 => u64::from_le_bytes(std::array::from_fn(|_| self.byte())),
            small => u64::from(small),
        }
    }

    fn bytes(&mut self) -> &'a [u8] {
        let length = usize::from(self.byte());
        let (taken, rest) = self.0.split_at_checked(length).unwrap_or((self.0, &[]));
        self.0 = rest;
        taken
    }
}

/// The world around a subscription.
struct World {
    state: State,
    settings: Settings,
    log: LogRef,
    incarnation: Incarnation,
    first: Offset,
    next: Offset,
    now: Timestamp,
}

/// Plays a life from bytes: each step is a change of the world, stored events, or a command with what it needs.
pub(crate) fn life(data: &[u8], read_events: ReadEvents<'_>, look_at: LookAt<'_>) {
    let mut input = Input(data);
    let mut world = World::new(&mut input);
    while let Some(step) = input.next() {
        match step {
            0..=24 => world.next = world.next.plus(u64::from(step)),
            25..=34 => world.now = world.now.plus(Duration::from_millis(input.small() * 250)),
            35..=38 => world.now = Timestamp(world.now.0.saturating_sub(input.small() * 1_000_000)),
            39..=44 => world.first = world.first.plus(input.small()).min(world.next),
            45..=48 => world.made_again(&mut input),
            49..=70 => {
                for event in read_events(input.bytes()) {
                    apply(&mut world.state, &event);
                    look_at(&world.state);
                }
            }
            _ => {
                let command = world.command(step, &mut input);
                world.obey(&command, look_at);
            }
        }
    }
}

/// What is known of a message: most are plain, some wait, some end.
fn header(offset: Offset) -> Header {
    let mut header = Header::plain(10, 16);
    match offset.0 % 7 {
        1 => header.visible_at = Timestamp(offset.0 % 64 * 2_000_000),
        2 => header.expires_at = Timestamp(offset.0 % 64 * 3_000_000),
        3 => header.producer = ProducerId(1),
        _ => {}
    }
    header
}

impl World {
    fn new(input: &mut Input<'_>) -> Self {
        let kind = input.byte();
        let settings = Settings {
            mode: if kind & 1 == 0 { AckMode::Individual } else { AckMode::Cumulative },
            ack_deadline: Duration::from_secs(u64::from(kind >> 4)),
            max_attempts: (kind & 2 != 0).then_some(2),
            dead_letter_topic: (kind & 4 != 0).then(|| Name::new("dead").ok()).flatten(),
            dead_letter_ttl: None,
        };
        let first = Offset(if kind & 8 == 0 { 0 } else { u64::MAX - 600 });
        Self {
            state: State::default(),
            settings,
            log: LogRef(1),
            incarnation: Incarnation(1),
            first,
            next: first,
            now: Timestamp(10_000_000),
        }
    }

    fn made_again(&mut self, input: &mut Input<'_>) {
        self.incarnation = Incarnation(self.incarnation.0.saturating_add(1));
        self.log = LogRef(self.log.0 + 1);
        (self.first, self.next) = (Offset(0), Offset(input.small()));
    }

    fn offset(&self, input: &mut Input<'_>) -> Offset {
        self.state.floor().plus(input.number())
    }

    fn targets(&self, input: &mut Input<'_>) -> Targets {
        match input.byte() % 5 {
            0 => Targets::Through(self.offset(input)),
            1 => Targets::Group(GroupId(u128::from(input.byte() % 3))),
            2 => Targets::Offsets((0..input.byte() % 8).map(|_| self.offset(input)).collect()),
            _ => {
                let pair = |_| {
                    let offset = self.offset(input);
                    let granted = self.state.lease(offset).map(|lease| lease.fence);
                    (offset, granted.filter(|_| input.byte() < 200).unwrap_or(Fence(input.number())))
                };
                Targets::Leased((0..4).map(pair).collect())
            }
        }
    }

    fn worker(&self, input: &mut Input<'_>) -> Option<Fence> {
        match input.byte() {
            0..=200 => None,
            201..=240 => self.state.worker().map(|worker| worker.lease.fence),
            _ => Some(Fence(input.number())),
        }
    }

    fn request(&self, input: &mut Input<'_>) -> LeaseRequest {
        let wish = input.byte();
        LeaseRequest {
            holder: HolderId(u128::from(wish & 1)),
            group: GroupId(u128::from(wish >> 1 & 3) % 3),
            messages_max: u32::try_from(input.number()).unwrap_or(u32::MAX),
            bytes_max: input.number(),
            duration: (wish & 8 != 0).then(|| Duration::from_secs(input.number())),
            grace: (wish & 16 != 0).then(|| Duration::from_secs(input.number())),
            except_producer: (wish & 32 != 0).then_some(ProducerId(1)),
            early: wish & 64 != 0,
            worker: self.worker(input),
        }
    }

    fn command(&self, step: u8, input: &mut Input<'_>) -> Command {
        match step % 16 {
            0 => Command::Attach { floor: self.offset(input) },
            1..=3 => Command::Lease(self.request(input)),
            4 => Command::Pop(self.request(input)),
            5 | 6 => Command::Acknowledge { targets: self.targets(input), worker: self.worker(input) },
            7 => {
                let (duration, wish) = (Duration::from_secs(input.number()), input.byte());
                let grace = (wish & 1 != 0).then(|| Duration::from_secs(u64::from(wish)));
                Command::Extend { targets: self.targets(input), duration, grace, worker: self.worker(input) }
            }
            8 => {
                let not_before = Timestamp(self.now.0.saturating_add(input.number() * u64::from(input.byte() & 1)));
                Command::Release { targets: self.targets(input), not_before, worker: self.worker(input) }
            }
            9 => Command::Expire,
            10 => Command::GiveUp { offset: self.offset(input), reason: GiveUpReason::Operator },
            11 if input.byte() < 128 => Command::Purge,
            11 => Command::Seek { to: Offset(self.first.0.saturating_add(input.number())) },
            12 => Command::AcquireWorker {
                node: NodeId(u128::from(input.byte() % 3)),
                duration: Duration::from_secs(input.number()),
                skew: Duration::from_secs(u64::from(input.byte() % 16)),
                over: None,
            },
            13 => Command::ReleaseWorker { fence: Fence(input.number()) },
            14 => Command::StartDeadLetter {
                offset: self.offset(input),
                target: LogRef(9),
                tail: Offset(input.number()),
                nonce: Nonce { writer: 1, sequence: input.small() },
            },
            _ => Command::FinishDeadLetter { offset: self.offset(input), copy: Offset(input.number()) },
        }
    }

    /// Decides with all that is asked for, checks the decision against the state before, and applies it.
    fn obey(&mut self, command: &Command, look_at: LookAt<'_>) {
        let mut headers = Headers::default();
        let decided = loop {
            match self.judge(command, &headers) {
                Ok(Decision::Need(range)) => self.load(&mut headers, range),
                Ok(Decision::Done { events, reply }) => break Some((events, reply)),
                Err(_) => break None,
            }
        };
        let Some((events, reply)) = decided else { return };
        let early = matches!(command, Command::Lease(wish) | Command::Pop(wish) if wish.early);
        let before = self.state.clone();
        for event in &events {
            apply(&mut self.state, event);
            look_at(&self.state);
        }
        if let Reply::Leased { grants, .. } = &reply
            && before.incarnation() == self.incarnation
        {
            for grant in grants {
                self.check_grant(&before, grant, early);
            }
        }
    }

    fn judge(&self, command: &Command, headers: &Headers) -> Result<Decision, Error> {
        let Self { log, incarnation, first, next, settings, .. } = self;
        let observer = Observer { node: NodeId(1), skew: Duration::from_secs(10) };
        let (log, incarnation, first, next) = (*log, *incarnation, *first, *next);
        let view = View { log, incarnation, first, next, settings, headers, observer };
        decide(&self.state, command, self.now, &view)
    }

    /// Gives the first part of what is needed, as the contract allows.
    fn load(&self, headers: &mut Headers, range: Range<Offset>) {
        assert!(range.start < range.end, "nothing is needed: {range:?}");
        assert!(self.first <= range.start && range.end <= self.next, "{range:?} is not within the topic");
        assert!(range.end.since(range.start) <= NEED_MAX, "{range:?} is too long");
        assert!(headers.get(range.start).is_none(), "{range:?} was given before");
        let count = range.end.since(range.start).min(256);
        let each = (0..count).map(|place| header(range.start.plus(place))).collect();
        headers.insert(range.start, Span::Each(each));
    }

    /// A grant lies within the topic, of messages neither acknowledged nor leased to others until later, nor ended, nor hidden.
    fn check_grant(&self, before: &State, grant: &Grant, early: bool) {
        assert!(grant.first < grant.next, "an empty grant");
        assert!(self.first <= grant.first && grant.next <= self.next, "{grant:?} is not within the topic");
        for offset in (grant.first.0..grant.next.0).map(Offset) {
            assert!(!before.acknowledged(offset), "{offset} was acknowledged");
            if before.mode() == Some(AckMode::Cumulative) {
                continue;
            }
            let held = before.lease(offset).filter(|lease| matches!(lease.phase, Phase::Held { .. }));
            assert!(held.is_none_or(|lease| lease.until <= self.now), "{offset} was leased until later");
            assert!(early || header(offset).visible_at <= self.now, "{offset} is not visible yet");
            let lives = before.lifetime(offset).unwrap_or_default().max(header(offset).expires_at);
            assert!(self.now < lives, "{offset} has ended");
        }
    }
}
