//! Who is at work among the nodes that share a store, judged by their heartbeats, and which of them is to do what.
//!
//! A node is judged by how long its beat has not changed, measured by the observer's own monotonic clock: no two clocks are compared. Its
//! wall clock is compared with the others' only to find the one that is wrong. Owns these judgements; never sends or reads a beat.

use super::id::Timestamp;
use super::subscription::NodeId;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// How often a node beats.
pub const BEAT_EVERY: Duration = Duration::from_secs(1);
/// A node whose beat has not changed for so long is not at work any more.
pub const DEAD_AFTER: Duration = Duration::from_secs(3);
/// A node that has not managed to beat for so long begins nothing: shorter than [`DEAD_AFTER`], so that it stops before others go on.
pub const STALE_AFTER: Duration = Duration::from_millis(2_500);
/// What one look counts at most: while nobody could beat because the store did not answer, nobody is dead.
const LOOK_MAX: Duration = Duration::from_millis(1_500);
/// Beats that tell a node's clock. The quickest of them counts, for a beat that was long under way tells too little.
const BEATS: usize = 8;

/// What a node says of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Heartbeat {
    /// Who: another one after each start.
    pub node: NodeId,
    /// Its count.
    pub beat: u64,
    /// When, by its clock.
    pub at: Timestamp,
    /// Whether it is about to stop: it finishes what it has and takes nothing more.
    pub leaving: bool,
    /// Where it takes notices: `host:port`, or empty.
    pub address: String,
}

#[derive(Debug)]
struct Member {
    last: Heartbeat,
    /// For how long the last beat has been the last.
    silent: Duration,
    /// For each of the newest beats its wall clock less the observer's monotonic clock, in microseconds. None for the first one seen: nobody
    /// knows how old that was.
    clock: VecDeque<i128>,
}

impl Member {
    fn is_alive(&self) -> bool {
        self.silent < DEAD_AFTER
    }

    fn works(&self) -> bool {
        self.is_alive() && !self.last.leaving
    }
}

/// The nodes as one of them sees them.
#[derive(Debug)]
pub struct Membership {
    own: NodeId,
    members: BTreeMap<NodeId, Member>,
    looked: Option<Duration>,
    /// For how long was looked in all.
    watched: Duration,
}

impl Membership {
    /// What a node sees that has not looked yet: itself.
    #[must_use]
    pub const fn new(own: NodeId) -> Self {
        Self { own, members: BTreeMap::new(), looked: None, watched: Duration::ZERO }
    }

    /// Takes in all beats that there are, at a monotonic time. O(n log n).
    pub fn look(&mut self, beats: Vec<Heartbeat>, now: Duration) {
        let step = self.looked.map_or(Duration::ZERO, |before| now.saturating_sub(before).min(LOOK_MAX));
        self.looked = Some(now);
        self.watched = self.watched.saturating_add(step);
        let mut before = std::mem::take(&mut self.members);
        for beat in beats {
            let member = match before.remove(&beat.node) {
                Some(member) if member.last.beat == beat.beat => {
                    Member { silent: member.silent.saturating_add(step), ..member }
                }
                Some(Member { mut clock, .. }) => {
                    clock.truncate(BEATS - 1);
                    clock.push_front(i128::from(beat.at.0) - micros(now));
                    Member { last: beat, silent: Duration::ZERO, clock }
                }
                None => Member { last: beat, silent: Duration::ZERO, clock: VecDeque::new() },
            };
            self.members.insert(member.last.node, member);
        }
    }

    /// The nodes that take work, in the order of their ids.
    #[must_use]
    pub fn working(&self) -> Vec<NodeId> {
        self.members.values().filter(|member| member.works()).map(|member| member.last.node).collect()
    }

    /// The other nodes that are alive, with where they take notices.
    pub fn others(&self) -> impl Iterator<Item = (NodeId, &str)> {
        let alive = self.members.values().filter(|member| member.is_alive() && member.last.node != self.own);
        alive.map(|member| (member.last.node, member.last.address.as_str()))
    }

    /// Whether this work is the observer's: one node of those that work does each.
    #[must_use]
    pub fn is_ours(&self, work: u128) -> bool {
        let working = self.members.values().filter(|member| member.works()).map(|member| member.last.node);
        chosen(working, work) == Some(self.own)
    }

    /// Whether a node is surely not at work any more.
    #[must_use]
    pub fn is_gone(&self, node: NodeId) -> bool {
        match self.members.get(&node) {
            Some(member) => !member.is_alive(),
            // It may have come just now.
            None => node != self.own && self.watched >= DEAD_AFTER,
        }
    }

    /// The nodes whose last beat is so long ago that nobody needs it any more.
    pub fn forgotten(&self, after: Duration) -> impl Iterator<Item = NodeId> {
        self.members.values().filter(move |member| member.silent >= after).map(|member| member.last.node)
    }

    /// By how many microseconds the observer's wall clock is ahead of the middle of all clocks; negative when it is late.
    #[must_use]
    pub fn ahead(&self, wall: Timestamp, now: Duration) -> i128 {
        let others = self.members.values().filter(|member| member.is_alive() && member.last.node != self.own);
        let own = i128::from(wall.0) - micros(now);
        let mut clocks: Vec<i128> = others.filter_map(|member| member.clock.iter().copied().max()).collect();
        clocks.push(own);
        clocks.sort_unstable();
        let half = (clocks.len() - 1) / 2;
        let middle = clocks.iter().skip(half).take(if clocks.len().is_multiple_of(2) { 2 } else { 1 });
        let (sum, count) = middle.fold((0, 0), |(sum, count), clock| (sum + clock, count + 1));
        own - sum / count.max(1)
    }
}

/// Which of these nodes does a piece of work, the same for everybody who asks with the same nodes; when a node comes or goes, only its own
/// work moves (rendezvous hashing, Thaler and Ravishankar 1998).
#[must_use]
pub fn chosen(nodes: impl IntoIterator<Item = NodeId>, work: u128) -> Option<NodeId> {
    nodes.into_iter().max_by_key(|node| (weight(node.0, work), *node))
}

fn weight(node: u128, work: u128) -> u64 {
    [node, node >> 64, work, work >> 64]
        .into_iter()
        .fold(0, |sum, part| mixed(sum ^ (part & u128::from(u64::MAX)) as u64))
}

/// The finishing steps of splitmix64: each bit of the outcome depends on each bit of the number.
const fn mixed(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

fn micros(time: Duration) -> i128 {
    i128::try_from(time.as_micros()).unwrap_or(i128::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i128 = 1_000_000;

    fn beat(node: u128, beat: u64, at: u64) -> Heartbeat {
        let at = Timestamp(at * 1_000_000);
        Heartbeat { node: NodeId(node), beat, at, leaving: false, address: format!("n{node}:1") }
    }

    fn after(tenths: u64) -> Duration {
        Duration::from_millis(tenths * 100)
    }

    /// Looks twice a second up to `end` tenths; nodes beat each second until the second that is given.
    fn watch(ends: &[(u128, u64)], end: u64) -> Membership {
        let mut seen = Membership::new(NodeId(1));
        for now in (0..=end).step_by(5) {
            let beats = ends.iter().map(|(node, last)| beat(*node, (now / 10).min(*last), (now / 10).min(*last)));
            seen.look(beats.collect(), after(now));
        }
        seen
    }

    fn nodes(ids: &[u128]) -> Vec<NodeId> {
        ids.iter().map(|id| NodeId(*id)).collect()
    }

    #[test]
    fn work_is_shared_out_evenly_and_only_that_of_a_lost_node_moves() {
        let all = nodes(&[11, 12, 13]);
        let before: Vec<_> = (0..3_000).map(|work| chosen(all.iter().copied(), work).unwrap()).collect();
        for node in &all {
            let share = before.iter().filter(|chosen| *chosen == node).count();
            assert!((850..1_150).contains(&share), "{node:?} has {share} of 3000");
        }
        for (work, node) in (0..).zip(before) {
            let left = chosen(nodes(&[11, 13]), work).unwrap();
            assert!(node == NodeId(12) || left == node, "work {work} moved from {node:?} to {left:?}");
        }
        assert_eq!(chosen([], 1), None);
    }

    #[test]
    fn a_node_whose_beat_stands_still_for_three_seconds_is_gone() {
        assert_eq!(watch(&[(1, 99), (2, 2)], 49).working(), nodes(&[1, 2]));
        let seen = watch(&[(1, 99), (2, 2)], 50);
        assert_eq!(seen.working(), nodes(&[1]));
        assert!(seen.is_gone(NodeId(2)) && !seen.is_gone(NodeId(1)));
        assert!((0..99).all(|work| seen.is_ours(work)));
    }

    #[test]
    fn while_the_store_answers_nobody_no_node_is_gone() {
        let mut seen = watch(&[(1, 99), (2, 2)], 25);
        // One look after a minute of silence.
        seen.look(vec![beat(1, 3, 62), beat(2, 2, 2)], after(625));
        assert_eq!(seen.working(), nodes(&[1, 2]));
    }

    #[test]
    fn a_stranger_is_gone_only_for_who_has_looked_for_long_enough() {
        assert!(!watch(&[(1, 99)], 25).is_gone(NodeId(9)));
        assert!(watch(&[(1, 99)], 30).is_gone(NodeId(9)));
    }

    #[test]
    fn a_leaving_node_takes_nothing_but_is_not_gone() {
        let mut seen = watch(&[(1, 99), (2, 99)], 20);
        seen.look(vec![beat(1, 3, 3), Heartbeat { leaving: true, ..beat(2, 3, 3) }], after(25));
        assert_eq!(seen.working(), nodes(&[1]));
        assert!(!seen.is_gone(NodeId(2)));
        assert_eq!(seen.others().collect::<Vec<_>>(), [(NodeId(2), "n2:1")]);
    }

    #[test]
    fn a_clock_is_measured_against_the_middle_of_all() {
        // Everybody's wall clock shows the same as the monotonic one here.
        let seen = watch(&[(1, 99), (2, 99), (3, 99)], 50);
        for (wall, ahead) in [(5, 0), (14, 9), (0, -5)] {
            let found = seen.ahead(Timestamp(wall * 1_000_000), after(50));
            assert!((found - ahead * SECOND).abs() <= SECOND / 2, "{wall}: {found}");
        }
        // Of two clocks nobody knows which one is right.
        assert_eq!(watch(&[(1, 99), (2, 99)], 50).ahead(Timestamp(13_000_000), after(50)), 4 * SECOND);
        assert_eq!(Membership::new(NodeId(1)).ahead(Timestamp(13), after(50)), 0);
    }

    #[test]
    fn beats_of_nodes_that_are_long_gone_can_be_forgotten() {
        let seen = watch(&[(1, 99), (2, 2)], 100);
        assert_eq!(seen.forgotten(after(60)).collect::<Vec<_>>(), nodes(&[2]));
        assert_eq!(seen.forgotten(after(90)).count(), 0);
    }
}
