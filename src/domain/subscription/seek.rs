//! Moving the floor at will. Each move is a new epoch: what was given out before can't be acknowledged after it.

use super::decide::Draft;
use super::event::Event;
use super::{Decision, Reply, View};
use crate::domain::error::Error;
use crate::domain::id::Offset;

/// Refuses an offset outside the topic's bounds; both bounds are inside.
pub(super) fn check_bounds(offset: Offset, view: &View<'_>) -> Result<(), Error> {
    let (first, next) = (view.first, view.next);
    if (first..=next).contains(&offset) { Ok(()) } else { Err(Error::OffsetOutOfBounds { first, next }) }
}

/// Delivery goes on at `to`, as if nothing from there on had been given out or acknowledged.
pub(super) fn seek(draft: Draft<'_>, to: Offset) -> Result<Decision, Error> {
    check_bounds(to, draft.view)?;
    draft.done_with(Event::Sought { floor: to }, Reply::Done)
}

/// Everything there is counts as acknowledged. Nothing to do when it is and nothing can be acknowledged either.
pub(super) fn purge(draft: Draft<'_>) -> Result<Decision, Error> {
    let floor = draft.view.next;
    if draft.state.floor() >= floor && draft.state.window().is_none() {
        return draft.done(Reply::Done);
    }
    draft.done_with(Event::Purged { floor }, Reply::Done)
}
