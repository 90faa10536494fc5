//! Which node pushes which subscription. Only ever speed: the worker lease in the subscription's own log decides.

use crate::domain::SubscriptionId;
use crate::domain::subscription::NodeId;
use std::fmt::Debug;
use tokio::sync::Notify;

/// Says which subscriptions this node should take. Asked when a subscription changes, now and then, and before each delivery; several nodes
/// may say yes, and one of them should.
pub trait Placement: Debug + Send + Sync {
    /// Whether this node should take it.
    fn is_ours(&self, subscription: SubscriptionId) -> bool;
    /// Whether a node is surely not at work any more, so that what it held may be taken at once.
    fn is_gone(&self, node: NodeId) -> bool;
    /// Told when the answers may have changed. One waits for it.
    fn moved(&self) -> &Notify;
}

/// Takes every subscription, and waits for every other node.
#[derive(Debug, Default)]
pub struct Everything(Notify);

impl Placement for Everything {
    fn is_ours(&self, _subscription: SubscriptionId) -> bool {
        true
    }

    fn is_gone(&self, _node: NodeId) -> bool {
        false
    }

    fn moved(&self) -> &Notify {
        &self.0
    }
}
