//! For tests: a topic, a subscription and a clock in one hand, that asks as the broker does and checks every answer's contract.

use super::event::{Event, NodeId, Nonce};
use super::*;
use crate::domain::error::Error;
use crate::domain::id::{Fence, Incarnation, LogRef, Offset, Timestamp};
use crate::domain::limits::NEED_MAX;
use crate::domain::message::Header;
use proptest::prelude::*;
use std::ops::Range;

/// Seconds as an instant.
pub(crate) fn at(seconds: u64) -> Timestamp {
    Timestamp(seconds * 1_000_000)
}

/// Offsets `first..next`.
pub(crate) fn run(first: u64, next: u64) -> Run {
    Run { first: Offset(first), next: Offset(next) }
}

/// Seconds.
pub(crate) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A request for up to so many messages, without any other wish.
pub(crate) fn up_to(messages_max: u32) -> LeaseRequest {
    LeaseRequest {
        holder: HolderId(0),
        group: GroupId(0),
        messages_max,
        bytes_max: u64::MAX,
        duration: None,
        grace: None,
        except_producer: None,
        early: false,
        worker: None,
    }
}

/// An acknowledgement by no worker.
pub(crate) fn acknowledge(targets: Targets) -> Command {
    Command::Acknowledge { targets, worker: None }
}

/// So many random cases, and no file left behind for those that fail: they become tests of their own.
pub(crate) fn cases(count: u32) -> ProptestConfig {
    ProptestConfig { cases: count, failure_persistence: None, ..ProptestConfig::default() }
}

/// A topic, a subscription, a clock.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) state: State,
    /// All events so far.
    pub(crate) events: Vec<Event>,
    pub(crate) settings: Settings,
    pub(crate) incarnation: Incarnation,
    pub(crate) first: Offset,
    /// All messages of the incarnation, also those that retention took.
    pub(crate) messages: Vec<Header>,
    pub(crate) now: Timestamp,
    /// Which node judges.
    pub(crate) observer: Observer,
    /// What the last command had to load.
    pub(crate) needs: Vec<Range<Offset>>,
}

impl World {
    /// An empty topic with a subscription of 10 s ack deadline, at 1,000 s.
    pub(crate) fn new(mode: AckMode) -> Self {
        let settings = Settings {
            mode,
            ack_deadline: seconds(10),
            max_attempts: None,
            dead_letter_topic: None,
            dead_letter_ttl: None,
        };
        let mut world = Self {
            state: State::default(),
            events: Vec::new(),
            settings,
            incarnation: Incarnation(1),
            first: Offset(0),
            messages: Vec::new(),
            now: at(1_000),
            observer: Observer { node: NodeId(1), skew: seconds(10) },
            needs: Vec::new(),
        };
        world.ask(&Command::Attach { floor: Offset(0) }).unwrap();
        world
    }

    /// The same with plain messages of 10 bytes.
    pub(crate) fn with_messages(mode: AckMode, count: usize) -> Self {
        let mut world = Self::new(mode);
        world.messages = vec![Header::plain(10, 10); count];
        world
    }

    pub(crate) fn next(&self) -> Offset {
        Offset(self.messages.len() as u64)
    }

    pub(crate) fn header(&mut self, offset: u64) -> &mut Header {
        &mut self.messages[offset as usize]
    }

    pub(crate) fn wait(&mut self, by: u64) {
        self.now = self.now.plus(seconds(by));
    }

    /// The topic is deleted and made again.
    pub(crate) fn remake_topic(&mut self) {
        self.incarnation.0 += 1;
        self.messages.clear();
        self.first = Offset(0);
    }

    /// Asks without changing anything; loads headers as needed.
    pub(crate) fn decide(&mut self, command: &Command) -> Result<Decision, Error> {
        let mut headers = Headers::default();
        self.needs.clear();
        loop {
            let view = View {
                log: LogRef(u128::from(self.incarnation.0)),
                incarnation: self.incarnation,
                first: self.first,
                next: self.next(),
                settings: &self.settings,
                headers: &headers,
                observer: self.observer,
            };
            match decide(&self.state, command, self.now, &view)? {
                Decision::Need(range) => {
                    self.check_need(&range, &headers, matches!(command, Command::Lease(_) | Command::Pop(_)));
                    let span = self.messages[range.start.0 as usize..range.end.0 as usize].to_vec();
                    headers.insert(range.start, Span::Each(span));
                    self.needs.push(range);
                }
                done @ Decision::Done { .. } => return Ok(done),
            }
        }
    }

    fn check_need(&self, range: &Range<Offset>, headers: &Headers, delivery: bool) {
        assert!(range.start < range.end && range.end.since(range.start) <= NEED_MAX, "{range:?}");
        assert!(self.first <= range.start && range.end <= self.next(), "{range:?}");
        let same_topic = self.incarnation == self.state.incarnation();
        for offset in (range.start.0..range.end.0).map(Offset) {
            assert!(headers.span(offset).is_none(), "{offset} is known");
            let given_out =
                delivery && self.state.lease(offset).is_some_and(|lease| lease.live(self.now, self.observer));
            let of_use = !self.state.acknowledged(offset) && !given_out;
            assert!(!same_topic || of_use, "{offset} is of no use");
        }
    }

    /// Asks, applies the events one by one, checks the state after each.
    pub(crate) fn ask(&mut self, command: &Command) -> Result<Reply, Error> {
        let Decision::Done { events, reply } = self.decide(command)? else { unreachable!() };
        for event in events {
            apply(&mut self.state, &event);
            assert!(self.state.is_sound(), "after {event:?}: {:?}", self.state);
            self.events.push(event);
        }
        Ok(reply)
    }

    /// Asks and answers the events that this made.
    pub(crate) fn events_of(&mut self, command: &Command) -> Vec<Event> {
        let before = self.events.len();
        self.ask(command).unwrap();
        self.events[before..].to_vec()
    }

    /// What a lease command gives: offset and fence of each message.
    pub(crate) fn lease(&mut self, request: LeaseRequest) -> Vec<(Offset, Fence)> {
        granted(&self.ask(&Command::Lease(request)).unwrap())
    }

    /// The offsets that a lease command gives.
    pub(crate) fn pull(&mut self, messages_max: u32) -> Vec<u64> {
        self.lease(up_to(messages_max)).iter().map(|(offset, _)| offset.0).collect()
    }

    /// The state that all events so far lead to.
    pub(crate) fn replayed(&self) -> State {
        let mut state = State::default();
        self.events.iter().for_each(|event| apply(&mut state, event));
        state
    }
}

/// Offset and fence of each message in a lease reply.
pub(crate) fn granted(reply: &Reply) -> Vec<(Offset, Fence)> {
    let Reply::Leased { grants, .. } = reply else { panic!("{reply:?}") };
    grants.iter().flat_map(|grant| (grant.first.0..grant.next.0).map(|o| (Offset(o), grant.fence))).collect()
}

/// Any event, sensible or not.
pub(crate) fn any_event() -> impl Strategy<Value = Event> {
    let number = || prop_oneof![4 => 0..12_u64, 1 => any::<u64>(), 1 => Just(u64::MAX)];
    let offset = move || number().prop_map(Offset);
    let instant = move || number().prop_map(Timestamp);
    let fence = move || number().prop_map(Fence);
    let id = || prop_oneof![Just(0), 0..3_u128, any::<u128>()];
    let runs = move || prop::collection::vec((offset(), offset()).prop_map(|(first, next)| Run { first, next }), 0..4);
    let mode = prop_oneof![Just(AckMode::Cumulative), Just(AckMode::Individual)];
    let reason = prop_oneof![
        Just(GiveUpReason::Attempts),
        Just(GiveUpReason::Refused),
        Just(GiveUpReason::Operator),
        Just(GiveUpReason::Expired)
    ];
    let nonce = (id(), number()).prop_map(|(writer, sequence)| Nonce { writer, sequence });
    let leased = (runs(), fence(), instant(), id(), id(), id(), instant(), number());
    prop_oneof![
        (id(), number(), offset(), mode).prop_map(|(log, incarnation, floor, mode)| Event::Attached {
            log: LogRef(log),
            incarnation: Incarnation(incarnation),
            floor,
            mode
        }),
        (offset(), instant(), any::<u32>(), number()).prop_map(|(end, at, messages, bytes)| Event::WindowSet {
            end,
            at,
            messages,
            bytes
        }),
        (offset(), instant()).prop_map(|(floor, at)| Event::AcknowledgedThrough { floor, at }),
        leased.prop_map(|(runs, fence, deadline, holder, group, node, at, bytes)| {
            Event::Leased {
                runs,
                fence,
                deadline,
                holder: HolderId(holder),
                group: GroupId(group),
                node: NodeId(node),
                at,
                bytes,
            }
        }),
        (runs(), instant()).prop_map(|(runs, at)| Event::Acknowledged { runs, at }),
        (runs(), instant()).prop_map(|(runs, deadline)| Event::Extended { runs, deadline }),
        (runs(), instant()).prop_map(|(runs, not_before)| Event::Released { runs, not_before }),
        runs().prop_map(|runs| Event::Expired { runs }),
        (runs(), reason).prop_map(|(runs, reason)| Event::GivenUp { runs, reason }),
        offset().prop_map(|floor| Event::Purged { floor }),
        offset().prop_map(|floor| Event::Sought { floor }),
        (id(), fence(), instant()).prop_map(|(node, fence, deadline)| Event::WorkerLeased {
            node: NodeId(node),
            fence,
            deadline
        }),
        fence().prop_map(|fence| Event::WorkerReleased { fence }),
        (offset(), id(), offset(), nonce).prop_map(|(offset, target, tail, nonce)| Event::DeadLetterStarted {
            offset,
            target: LogRef(target),
            tail,
            nonce
        }),
        (offset(), offset()).prop_map(|(offset, copy)| Event::DeadLettered { offset, copy }),
        (offset(), number()).prop_map(|(before, unacknowledged)| Event::Forgotten { before, unacknowledged }),
        (runs(), instant()).prop_map(|(runs, until)| Event::LifetimeExtended { runs, until }),
        (runs(), instant(), id(), instant()).prop_map(|(runs, deadline, node, at)| Event::Renewed {
            runs,
            deadline,
            node: NodeId(node),
            at
        }),
    ]
}
