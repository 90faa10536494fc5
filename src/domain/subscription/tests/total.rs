//! `apply` on anything.

use crate::domain::subscription::testing::{any_event, cases};
use crate::domain::subscription::{State, apply};
use proptest::prelude::*;

proptest! {
    #![proptest_config(cases(500))]

    #[test]
    fn any_events_leave_a_sound_state(events in prop::collection::vec(any_event(), 0..25)) {
        let mut state = State::default();
        for event in &events {
            apply(&mut state, event);
            prop_assert!(state.is_sound(), "after {event:?}: {state:?}");
        }
    }
}
