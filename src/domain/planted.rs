//! Bugs planted on purpose, to show that the simulation would catch them.
//!
//! Compiled only with the feature `planted`, which no release may have, and asleep until one is chosen for the thread. Knows
//! nothing of where the bugs are: each place asks.

use std::cell::Cell;

#[cfg(not(debug_assertions))]
compile_error!("the feature `planted` puts bugs into the product: it is for tests of debug builds alone");

/// A bug that can be chosen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bug {
    /// A publish is answered before the store has answered.
    AcknowledgeEarly,
    /// An acknowledgement counts whatever its fence is.
    SkipFence,
    /// When acknowledged runs grow together, the last one is lost.
    LoseRange,
    /// Events whose append had an unknown outcome are applied twice.
    ApplyTwice,
    /// A subscription that is loaded from a snapshot forgets its floor.
    ForgetTrimmedFloor,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::AcknowledgeEarly, Self::SkipFence, Self::LoseRange, Self::ApplyTwice, Self::ForgetTrimmedFloor];
}

thread_local! {
    static CHOSEN: Cell<Option<Bug>> = const { Cell::new(None) };
    static DOUBTED: Cell<bool> = const { Cell::new(false) };
}

/// Chooses the bug of this thread from now on.
pub fn choose(bug: Option<Bug>) {
    CHOSEN.set(bug);
}

/// Whether this bug is chosen.
#[must_use]
pub fn is(bug: Bug) -> bool {
    CHOSEN.get() == Some(bug)
}

/// Notes that the last append's outcome was unknown for a while.
pub fn doubt() {
    DOUBTED.set(true);
}

/// Whether it was, since the last time that somebody asked.
#[must_use]
pub fn doubted() -> bool {
    DOUBTED.replace(false)
}
