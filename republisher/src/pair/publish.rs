//! Publishing a window: topics side by side, the requests of one topic one after the other.

use super::Pair;
use crate::window::{Queue, Request, Window};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use std::collections::VecDeque;

/// What came of one request.
enum Outcome {
    /// The target has answered to keep it.
    Kept,
    /// It is too large in one piece.
    Halves([Request; 2]),
    /// The pair was told to stop before that.
    GivenUp,
}

impl Pair {
    /// Publishes everything of the window, however long it takes. True for each entry that needs nothing more; false only for
    /// those that could not be published before the pair was told to stop.
    pub(super) async fn publish(&self, window: &Window) -> Vec<bool> {
        let mut done = vec![true; window.entries.len()];
        let all = window.queues.iter().flat_map(|queue| &queue.requests).flat_map(|request| &request.messages);
        for (_, entry) in all {
            set(&mut done, *entry, false);
        }
        let mut waiting = window.queues.iter();
        let mut running: FuturesUnordered<_> =
            waiting.by_ref().take(self.plan.parallel_topics).map(|queue| self.publish_queue(queue)).collect();
        while let Some(kept) = running.next().await {
            for entry in kept {
                set(&mut done, entry, true);
            }
            if let Some(queue) = waiting.next() {
                running.push(self.publish_queue(queue));
            }
        }
        done
    }

    /// Publishes a topic's requests in order; the entries that are kept.
    async fn publish_queue(&self, queue: &Queue) -> Vec<usize> {
        let mut kept = Vec::new();
        let mut requests: VecDeque<Request> = queue.requests.iter().cloned().collect();
        while let Some(request) = requests.pop_front() {
            match self.publish_request(&queue.topic, &request).await {
                Outcome::Kept => {
                    self.metrics.published.inc_by(request.messages.len() as u64);
                    kept.extend(request.messages.iter().map(|(_, entry)| *entry));
                }
                Outcome::Halves([first, second]) => {
                    requests.push_front(second);
                    requests.push_front(first);
                }
                Outcome::GivenUp => break,
            }
        }
        kept
    }

    /// Publishes until there is an answer. A try that has begun is never broken off: it may have been kept.
    async fn publish_request(&self, topic: &str, request: &Request) -> Outcome {
        let mut backoff = self.backoff();
        let mut may_create = self.plan.create_topics;
        while !self.stop.is_cancelled() {
            let failure = match self.target.publish(topic, request.body.clone(), request.messages.len()).await {
                Ok(()) => {
                    self.metrics.problem.set(0);
                    return Outcome::Kept;
                }
                Err(failure) => failure,
            };
            if failure.is(413)
                && let Some(halves) = request.halves()
            {
                return Outcome::Halves(halves);
            }
            if failure.is(404) && std::mem::take(&mut may_create) {
                match self.target.create_topic(topic).await {
                    Ok(()) => tracing::info!(pair = self.plan.name, topic, "created the topic"),
                    Err(failure) => self.pause("create", &self.target, &failure, &mut backoff).await,
                }
                continue;
            }
            may_create = self.plan.create_topics;
            self.pause("publish", &self.target, &failure, &mut backoff).await;
        }
        Outcome::GivenUp
    }
}

fn set(done: &mut [bool], entry: usize, value: bool) {
    if let Some(place) = done.get_mut(entry) {
        *place = value;
    }
}
