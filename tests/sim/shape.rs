//! What a seed means: how many brokers, which faults, which actors, how long.

use crate::dice::Dice;
use angelia::storage::faulty::{Odds, Operation};
use std::time::Duration;

/// The wall time at which every run begins, in microseconds.
pub(crate) const START: u64 = 1_700_000_000_000_000;

/// The settings of one run.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub(crate) seed: u64,
    pub(crate) brokers: usize,
    /// How far each broker's clock is off.
    pub(crate) skews: Vec<i64>,
    /// How long the actors go on.
    pub(crate) lasts: Duration,
    pub(crate) append: Odds,
    pub(crate) others: Odds,
    /// About how often a broker dies.
    pub(crate) crash_every: Option<Duration>,
    pub(crate) retention: Option<Duration>,
    pub(crate) snapshot_every: u32,
    pub(crate) history: Duration,
    /// Whether topics and subscriptions are removed and made again.
    pub(crate) admin: bool,
    /// Whether subscriptions are moved.
    pub(crate) seeks: bool,
    /// Whether two workers compete.
    pub(crate) workers: bool,
    pub(crate) maintenance: Duration,
    pub(crate) publishers: u64,
    pub(crate) consumers: u64,
}

impl Shape {
    pub(crate) fn of(seed: u64) -> Self {
        let mut dice = Dice::new(seed.wrapping_mul(0x5851_F42D_4C95_7F2D));
        let brokers = usize::try_from(dice.between(1, 3)).unwrap();
        let skewed = dice.chance(25);
        let skews =
            (0..brokers).map(|_| if skewed { i64::try_from(dice.below(1_000_000)).unwrap() - 500_000 } else { 0 });
        let skews = skews.collect();
        let hard = dice.pick(&[0_u16, 10, 30, 60, 120, 250]);
        // Some answers come later than leases last.
        let delay_max = if dice.chance(15) { dice.millis(500, 4_000) } else { dice.millis(1, 150) };
        let delay = dice.pick(&[0_u16, 100, 300, 700]);
        let odds = |refuse, unknown| Odds { refuse, lose_request: unknown, lose_reply: unknown, delay, delay_max };
        Self {
            seed,
            brokers,
            skews,
            lasts: dice.millis(8_000, 24_000),
            append: odds(hard / 2, hard),
            others: odds(hard / 4, hard / 4),
            crash_every: dice.chance(50).then(|| dice.millis(2_000, 8_000)),
            retention: dice.chance(40).then(|| dice.millis(4_000, 10_000)),
            snapshot_every: u32::try_from(dice.pick(&[3_u64, 10, 40, 256])).unwrap(),
            history: dice.pick(&[Duration::ZERO, Duration::ZERO, Duration::from_secs(3)]),
            admin: dice.chance(50),
            seeks: dice.chance(50),
            workers: dice.chance(30),
            maintenance: Duration::from_millis(1_500),
            publishers: dice.between(1, 4),
            consumers: dice.between(1, 3),
        }
    }

    /// Brokers without faults, for histories.
    pub(crate) fn calm(brokers: usize) -> Self {
        Self {
            seed: 1,
            brokers,
            skews: vec![0; brokers],
            lasts: Duration::ZERO,
            append: Odds::default(),
            others: Odds::default(),
            crash_every: None,
            retention: None,
            snapshot_every: 256,
            history: Duration::ZERO,
            admin: false,
            seeks: false,
            workers: false,
            maintenance: Duration::from_millis(1_500),
            publishers: 0,
            consumers: 0,
        }
    }

    /// How far two clocks may be apart.
    pub(crate) fn skew(&self) -> Duration {
        let apart = self.skews.iter().max().unwrap_or(&0) - self.skews.iter().min().unwrap_or(&0);
        Duration::from_micros(apart.unsigned_abs() + 20_000)
    }

    pub(crate) const fn odds(&self, operation: Operation) -> Odds {
        match operation {
            Operation::Append => self.append,
            _ => self.others,
        }
    }
}
