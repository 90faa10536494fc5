//! Which node pushes which subscription. Only ever speed: the worker lease in the subscription's own log decides.

use crate::domain::SubscriptionId;
use std::fmt::Debug;

/// Says which subscriptions this node should take. Asked when a subscription changes and now and then; several nodes may say yes, and
/// one of them should.
pub trait Placement: Debug + Send + Sync {
    /// Whether this node should take it.
    fn is_ours(&self, subscription: SubscriptionId) -> bool;
}

/// Takes every subscription.
#[derive(Clone, Copy, Debug, Default)]
pub struct Everything;

impl Placement for Everything {
    fn is_ours(&self, _subscription: SubscriptionId) -> bool {
        true
    }
}
