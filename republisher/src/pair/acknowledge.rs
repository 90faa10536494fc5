//! Settling a window: publish it at the pair's rate, then acknowledge what was published and nothing else.

use super::Pair;
use crate::ams::{AckMode, Failure};
use crate::clock;
use crate::window::{Identity, Window};
use std::time::Duration;
use tokio::time::Instant;

/// What was published and is not acknowledged, and why, if somebody refused.
pub(super) type Unsettled = (Vec<Identity>, Option<Failure>);

impl Pair {
    /// Publishes and acknowledges. After an error the messages come again; those named in it need not be published again.
    pub(super) async fn settle(&self, window: &Window, mode: AckMode) -> Result<(), Unsettled> {
        let begun = clock::now();
        let done = self.publish(window).await;
        let published = |done: &[bool]| {
            let kept = window.entries.iter().zip(done).filter(|(_, done)| **done);
            kept.map(|(entry, _)| entry.identity.clone()).collect()
        };
        let ids = acknowledged(window, &done, mode);
        if !ids.is_empty() {
            // Cumulative: the last id stands for all before it.
            let sent = if mode == AckMode::Cumulative { ids.get(ids.len() - 1..).unwrap_or_default() } else { &ids };
            if let Err(failure) = self.source.acknowledge(&self.plan.subscription, sent).await {
                return Err((published(&done), Some(failure)));
            }
            self.metrics.acknowledged.inc_by(ids.len() as u64);
        }
        if done.contains(&false) {
            return Err((published(&done), None));
        }
        self.keep_rate(window, begun).await;
        Ok(())
    }

    /// Waits until the messages of the window have taken the time that the rate gives them.
    async fn keep_rate(&self, window: &Window, begun: Instant) {
        if self.plan.rate > 0 {
            let sent = window.entries.len().saturating_sub(window.known);
            let whole = Duration::from_secs_f64(sent as f64 / f64::from(self.plan.rate));
            self.sleep(whole.saturating_sub(begun.elapsed())).await;
        }
    }

    /// Gives leased messages back, so that they need not wait for their deadline. Tried once: a lease ends by itself.
    pub(super) async fn give_back(&self, mode: AckMode, ids: &[&str]) {
        if mode == AckMode::Individual
            && !ids.is_empty()
            && let Err(failure) = self.source.release(&self.plan.subscription, ids).await
        {
            tracing::warn!(pair = self.plan.name, "messages stay leased until their deadline: {failure}");
        }
    }
}

/// The ack ids of what is done: all of them, or in cumulative mode those before the first that is not.
fn acknowledged<'w>(window: &'w Window, done: &[bool], mode: AckMode) -> Vec<&'w str> {
    let all = window.entries.iter().zip(done);
    let wanted = all.take_while(|(_, done)| **done || mode == AckMode::Individual).filter(|(_, done)| **done);
    wanted.map(|(entry, _)| &*entry.ack_id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::window::Entry;

    #[test]
    fn only_what_was_published_is_acknowledged() {
        let entry = |id: &str| Entry { ack_id: id.into(), identity: id.into() };
        let window = Window { entries: ["a", "b", "c", "d"].map(entry).into(), ..Window::default() };
        let done = [true, true, false, true];
        assert_eq!(acknowledged(&window, &done, AckMode::Cumulative), ["a", "b"]);
        assert_eq!(acknowledged(&window, &done, AckMode::Individual), ["a", "b", "d"]);
        assert!(acknowledged(&window, &[false; 4], AckMode::Cumulative).is_empty());
    }
}
