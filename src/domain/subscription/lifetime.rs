//! How long a message lives: its own end, or later when a lease with grace asked for it. Never shortened.

use super::decide::Draft;
use super::event::Run;
use super::headers::Span;
use super::runs;
use crate::domain::id::{Offset, Timestamp};
use crate::domain::limits::NEED_MAX;
use std::ops::Range;

/// Which of these messages would expire before an instant. `Err` names headers that are needed to tell.
pub(super) fn extended(draft: &Draft<'_>, leased: &[Run], before: Timestamp) -> Result<Vec<Run>, Range<Offset>> {
    let headers = draft.view.headers;
    let mut short = Vec::new();
    for run in leased {
        let mut at = run.first;
        while at < run.next {
            let extended = draft.state.lifetime(at).unwrap_or_default();
            if extended < before {
                match (headers.get(at), headers.span(at)) {
                    (Some(header), _) if header.expires_at >= before => {}
                    (Some(_), _) => runs::push(&mut short, Run::one(at)),
                    (None, Some((_, Span::Expired { by, .. }))) if *by < before => runs::push(&mut short, Run::one(at)),
                    (None, _) => return Err(at..at.plus(NEED_MAX).min(run.next).min(headers.unknown_until(at))),
                }
            }
            at = at.plus(1);
        }
    }
    Ok(short)
}
