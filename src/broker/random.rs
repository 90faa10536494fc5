//! Where the broker takes identities from that nobody else may have: the system, or a seed, so that a run can be repeated exactly.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use uuid::Uuid;

/// A source of random numbers. Clones draw from the same one.
#[derive(Clone, Debug, Default)]
pub enum Random {
    /// The operating system's.
    #[default]
    System,
    /// Numbers that follow from a seed; for tests alone, since they can be foretold.
    Seeded(Arc<AtomicU64>),
}

impl Random {
    /// A source whose numbers follow from the seed.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self::Seeded(Arc::new(AtomicU64::new(seed)))
    }

    /// The next number; 122 bits of it are random.
    #[must_use]
    pub fn id(&self) -> u128 {
        match self {
            Self::System => Uuid::new_v4().as_u128(),
            Self::Seeded(state) => uuid::Builder::from_u128(u128::from(draw(state)) << 64 | u128::from(draw(state)))
                .with_version(uuid::Version::Random)
                .into_uuid()
                .as_u128(),
        }
    }
}

/// The generator of Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (2014).
fn draw(state: &AtomicU64) -> u64 {
    const STEP: u64 = 0x9E37_79B9_7F4A_7C15;
    let mut mixed = state.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_tells_all_numbers_and_the_system_none() {
        let row = |random: &Random| [random.id(), random.id(), random.id()];
        assert_eq!(row(&Random::seeded(1)), row(&Random::seeded(1)));
        assert_ne!(row(&Random::seeded(1)), row(&Random::seeded(2)));
        assert_ne!(row(&Random::System), row(&Random::System));
    }
}
