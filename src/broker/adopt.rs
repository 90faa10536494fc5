//! Taking over what another service kept: things that have identities and times already, and logs that have offsets.
//!
//! Made as everything else is, whole or not at all; what was broken off is the sweeper's. Never used while anybody is served.

use super::Broker;
use super::codec::message::{BatchBuilder, Record, Totals};
use crate::domain::project::Project;
use crate::domain::schema::Schema;
use crate::domain::subscription::Subscription;
use crate::domain::topic::Topic;
use crate::domain::{Error, Offset, Result, Timestamp};
use crate::storage::{self, Append, Batch, LogId, Purpose, Time};
use std::sync::Arc;

impl Broker {
    /// Takes over a project; [`Error::AlreadyExists`].
    pub(crate) async fn adopt_project(&self, project: Project) -> Result<Arc<Project>> {
        self.make(project, async { Ok(()) }).await
    }

    /// Takes over a schema, whose rules nobody checks; [`Error::AlreadyExists`].
    pub(crate) async fn adopt_schema(&self, schema: Schema) -> Result<Arc<Schema>> {
        self.make(schema, async { Ok(()) }).await
    }

    /// Takes over a topic with its messages: the first one gets the offset `first`, and each batch its own time. A batch that cannot be
    /// read ends it, and there is no topic. [`Error::AlreadyExists`].
    pub(crate) async fn adopt_topic(
        &self,
        topic: Topic,
        first: Offset,
        batches: impl Iterator<Item = Result<(Timestamp, BatchBuilder)>> + Send,
    ) -> Result<Arc<Topic>> {
        let log = LogId(topic.log.0);
        self.make(topic, async {
            self.create_log(log, storage::Offset(first.0)).await?;
            let (mut next, mut totals) = (first, Totals::default());
            for batch in batches {
                let (at, mut batch) = batch?;
                let mut record = Record::merge(&mut batch, std::iter::empty());
                let stored = self.adopt_batch(log, next, &mut record, &totals, at).await?;
                next = next.plus(u64::from(record.count));
                totals = record.totals(&totals, stored);
            }
            Ok(())
        })
        .await
    }

    async fn adopt_batch(
        &self,
        log: LogId,
        next: Offset,
        record: &mut Record,
        totals: &Totals,
        at: Timestamp,
    ) -> Result<Timestamp> {
        let batch =
            Batch { count: record.count, time: Time(at.0), nonce: self.inner.nonce(), payload: record.behind(totals) };
        let appended = self.inner.store.append(log, storage::Offset(next.0), batch, Purpose::Growth).await;
        match appended.map_err(super::documents::failed)? {
            Append::Appended { time, .. } => Ok(Timestamp(time.0)),
            Append::Conflict { .. } | Append::Closed => Err(Error::Changed),
        }
    }

    /// Takes over a subscription that stands at an offset of its topic, or at the nearest there is; one whose topic does not exist stands
    /// nowhere. [`Error::AlreadyExists`].
    pub(crate) async fn adopt_subscription(
        &self,
        subscription: Subscription,
        floor: Offset,
    ) -> Result<Arc<Subscription>> {
        let (project, topic) = (subscription.project, subscription.topic.clone());
        let (log, settings) = (subscription.log, subscription.settings.clone());
        self.make(subscription, async {
            self.create_log(LogId(log.0), storage::Offset(0)).await?;
            match self.topic_now(project, &topic).await {
                Ok(topic) => self.attach(log, &topic, &settings, |first, next| floor.clamp(first, next)).await,
                Err(Error::NotFound(_)) => Ok(()),
                Err(error) => Err(error),
            }
        })
        .await
    }
}
