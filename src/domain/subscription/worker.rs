//! The worker lease: at most one node pushes a subscription's messages at a time.

use super::decide::Draft;
use super::event::{Event, NodeId};
use super::{Decision, Reply, WorkerLease};
use crate::domain::error::Error;
use crate::domain::id::Fence;
use crate::domain::limits::LEASE_MAX;
use std::time::Duration;

/// Makes a node the worker, or lets it stay. A node that still is keeps its fence, also after the deadline as long as nobody
/// took over; another takes over at the deadline plus `skew`, for the holder's clock may be late, or at once from the node `over`.
pub(super) fn acquire(
    draft: Draft<'_>,
    node: NodeId,
    duration: Duration,
    skew: Duration,
    over: Option<NodeId>,
) -> Result<Decision, Error> {
    let fence = match draft.state.worker() {
        Some(worker) if worker.node == node => worker.lease.fence,
        Some(worker) if over != Some(worker.node) && draft.now < worker.lease.deadline.plus(skew) => {
            return Err(Error::NotTheWorker);
        }
        _ => draft.next_fence(),
    };
    let deadline = draft.now.plus(duration.min(LEASE_MAX));
    draft.done_with(Event::WorkerLeased { node, fence, deadline }, Reply::Worker(WorkerLease { fence, deadline }))
}

/// Ends a worker's hold, if it is still the worker.
pub(super) fn release(draft: Draft<'_>, fence: Fence) -> Result<Decision, Error> {
    if draft.state.worker().is_some_and(|worker| worker.lease.fence == fence) {
        return draft.done_with(Event::WorkerReleased { fence }, Reply::Done);
    }
    draft.done(Reply::Done)
}
