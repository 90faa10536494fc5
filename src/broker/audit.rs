//! The audit topic: one message for each administrative call, in a topic that nobody but the service writes to, changes or removes.
//!
//! Off unless a topic is named. A call's message is durable before the call is answered, unless the log does not take it within
//! [`PATIENCE`]: then the call goes on, the message goes to the service's own log, and is counted as lost. What is in a message is the dialects'
//! affair.

use super::Broker;
use super::catalog::{NewProject, NewTopic};
use super::codec::message::NewMessage;
use crate::domain::message::{Attributes, PayloadForm};
use crate::domain::topic::Retention;
use crate::domain::{Error, Name, ProjectId, Resource, Result};
use std::sync::OnceLock;
use std::time::Duration;

/// How long a call waits for its message to be durable.
const PATIENCE: Duration = Duration::from_secs(1);

/// Where calls are told.
#[derive(Debug, Default)]
pub(super) struct Audit {
    topic: OnceLock<(ProjectId, Name)>,
}

impl Broker {
    /// Names the audit topic, and makes it and its project where there is none. Once, before the broker is used.
    ///
    /// # Errors
    /// Storage.
    pub async fn open_audit(&self, project: Name, topic: Name, retention: Retention) -> Result<()> {
        let description = "made for the audit topic".to_owned();
        let new = NewProject { name: project.clone(), description, created_by: None };
        match self.create_project(new).await {
            Ok(_) | Err(Error::AlreadyExists(_)) => {}
            Err(error) => return Err(error),
        }
        let project = self.project(&project).await?.id;
        let new = NewTopic { name: topic.clone(), retention, schema: None, created_by: None };
        match self.create_topic(project, new).await {
            Ok(_) | Err(Error::AlreadyExists(_)) => {}
            Err(error) => return Err(error),
        }
        // It is named only once.
        let _ = self.inner.audit.topic.set((project, topic));
        Ok(())
    }

    /// Whether calls are told.
    #[must_use]
    pub fn is_audited(&self) -> bool {
        self.inner.audit.topic.get().is_some()
    }

    /// Tells a call: a JSON text, and attributes to choose by.
    pub async fn audit(&self, told: Vec<u8>, attributes: Attributes) {
        let Some((project, topic)) = self.inner.audit.topic.get() else { return };
        let stored = async {
            let topic = self.topic(*project, topic).await?;
            let mut batch = self.batch();
            batch.push(&NewMessage {
                payload: &told,
                form: PayloadForm::Binary,
                attributes,
                ..NewMessage::default()
            })?;
            self.topic_actor(&topic)?.publish(self, batch, None).await
        };
        let why = match tokio::time::timeout(PATIENCE, stored).await {
            Ok(Ok(_)) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the log did not take it in time".to_owned(),
        };
        self.inner.metrics.audit_lost.inc();
        tracing::error!(call = %String::from_utf8_lossy(&told), why, "an administrative call is not in the audit topic");
    }

    /// Fails for the audit topic.
    pub(super) fn refuse_audit(&self, project: ProjectId, topic: &Name) -> Result<()> {
        match self.inner.audit.topic.get() {
            Some((own, name)) if *own == project && name == topic => Err(Error::Protected(Resource::Topic)),
            _ => Ok(()),
        }
    }

    /// Fails for the audit topic's project.
    pub(super) fn refuse_audit_project(&self, project: ProjectId) -> Result<()> {
        match self.inner.audit.topic.get() {
            Some((own, _)) if *own == project => Err(Error::Protected(Resource::Project)),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
#[path = "audit_tests.rs"]
mod tests;
