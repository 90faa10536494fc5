//! Messages that are done with unacknowledged: given up, or copied to a dead-letter topic in two steps, so that a crash between
//! them leaves a trace to go on from. Individual mode.

use super::decide::Draft;
use super::event::{Event, Run};
use super::{Command, Decision, Reply};
use crate::domain::error::Error;
use crate::domain::id::Offset;

const APPLIED: Reply = Reply::Targets { applied: 1, already: 0, superseded: 0 };
const ALREADY: Reply = Reply::Targets { applied: 0, already: 1, superseded: 0 };
const REFUSED: Reply = Reply::Targets { applied: 0, already: 0, superseded: 1 };

/// Judges the commands about one message that nobody will acknowledge. A message done with already is success.
pub(super) fn decide(draft: Draft<'_>, command: &Command) -> Result<Decision, Error> {
    let offset = match command {
        Command::GiveUp { offset, .. }
        | Command::StartDeadLetter { offset, .. }
        | Command::FinishDeadLetter { offset, .. } => *offset,
        _ => return Err(Error::WrongAckMode),
    };
    if draft.state.acknowledged(offset) {
        return draft.done(ALREADY);
    }
    if offset >= draft.view.next {
        return draft.done(REFUSED);
    }
    match command {
        Command::StartDeadLetter { target, tail, nonce, .. } => {
            // A second start would forget the nonce that a first copy may already bear; only another target asks for a new one.
            match started(&draft, offset) {
                Some(letter) if letter.target == *target && letter.nonce == *nonce => draft.done(ALREADY),
                Some(letter) if letter.target == *target => draft.done(REFUSED),
                // Sought back, or given more attempts, since it was found to be exhausted.
                None if has_attempts_left(&draft, offset) => draft.done(REFUSED),
                _ => {
                    let (target, tail, nonce) = (*target, *tail, *nonce);
                    draft.done_with(Event::DeadLetterStarted { offset, target, tail, nonce }, APPLIED)
                }
            }
        }
        Command::FinishDeadLetter { copy, .. } => match started(&draft, offset) {
            Some(_) => draft.done_with(Event::DeadLettered { offset, copy: *copy }, APPLIED),
            None => draft.done(REFUSED),
        },
        Command::GiveUp { reason, .. } => {
            draft.done_with(Event::GivenUp { runs: vec![Run::one(offset)], reason: *reason }, APPLIED)
        }
        _ => Err(Error::WrongAckMode),
    }
}

/// Whether a message may be given out again, as far as its attempts go.
fn has_attempts_left(draft: &Draft<'_>, offset: Offset) -> bool {
    draft.view.settings.max_attempts.is_some_and(|most| draft.state.attempts(offset) < most)
}

fn started(draft: &Draft<'_>, offset: Offset) -> Option<super::state::DeadLetter> {
    let letters = draft.state.dead_letters();
    let place = letters.binary_search_by_key(&offset, |letter| letter.offset).ok()?;
    letters.get(place).copied()
}
