//! What a connection follows: each queue that it subscribed to is read by a task of its own, which waits while the connection takes nothing.
//! Nothing is stored, and everything ends with the connection.

use super::frame;
use crate::api::zaqar::Zaqar;
use crate::api::zaqar::sockets::Following;
use crate::api::zaqar::websocket::transport::{Kind, Message};
use crate::domain::push::{Notify, Shared};
use crate::domain::{Error, Name, Result, SubscriptionId};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use uuid::Uuid;

/// Most queues that a connection follows at a time.
const FOLLOWED_MAX: usize = 256;

/// One connection's.
#[derive(Debug)]
pub(super) struct Followed {
    /// Who the subscriber is, for those who look at its subscriptions.
    name: String,
    /// What it is told as: as it spoke when it subscribed last.
    kind: Kind,
    tell: mpsc::Sender<Bytes>,
    told: mpsc::Receiver<Bytes>,
}

impl Default for Followed {
    fn default() -> Self {
        // One waits here, and one in each task.
        let (tell, told) = mpsc::channel(1);
        Self { name: format!("websocket:{}", Uuid::new_v4()), kind: Kind::Text, tell, told }
    }
}

impl Followed {
    /// Has the connection told what is posted to a queue from now on, for so long; `kind` is how it asked.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`] when it is told already; [`Error::Invalid`] when it follows too many; storage.
    pub(super) async fn begin(
        &mut self,
        zaqar: &Arc<Zaqar>,
        project: &str,
        queue: &Name,
        (options, ttl): (Shared, Duration),
        kind: Kind,
    ) -> Result<SubscriptionId> {
        if self.tell.strong_count() > FOLLOWED_MAX {
            let why = format!("are more than {FOLLOWED_MAX}, the most that one connection may have");
            return Err(Error::Invalid { what: "subscriptions", why });
        }
        let notify = Notify { subscriber: self.name.clone(), options, ttl, since: zaqar.now() };
        let mut following = Following::begin(zaqar, project, queue, notify).await?;
        let (id, tell) = (following.id(), self.tell.clone());
        self.kind = kind;
        actix_web::rt::spawn(async move {
            loop {
                let told = tokio::select! {
                    told = following.next() => told,
                    () = tell.closed() => None,
                };
                let Some(told) = told else { break };
                if tell.send(told).await.is_err() {
                    break;
                }
            }
        });
        Ok(id)
    }

    /// The next thing to tell. Harmless to drop.
    pub(super) async fn next(&mut self) -> Message {
        match self.told.recv().await {
            Some(told) => frame::message(self.kind, told),
            None => std::future::pending().await,
        }
    }
}
