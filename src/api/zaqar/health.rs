//! Whether the service works: a glance for load balancers, and the trial of every operation for administrators.

use super::error::{Failure, Refusal};
use super::request::{Answer, Call, Success};
use super::{Zaqar, ids};
use crate::broker::queue::{BrowseRequest, ClaimRequest, DeadLetterPolicy, Queue};
use crate::broker::{NewMessage, NewProject, NewTopic};
use crate::domain::message::PayloadForm;
use crate::domain::{Error, Name, Offset, Result};
use bytes::Bytes;
use std::time::Duration;
use uuid::Uuid;

/// Where trials are made: no client's project has such a name.
const PROJECT: &str = "zaqar:#health";
/// How many messages a trial posts, and how long they would live.
const MESSAGES: u64 = 100;
const TTL: Duration = Duration::from_secs(600);
const CLAIM: u32 = 10;

/// 204 while the store works.
pub(crate) fn ping(call: &Call<'_>) -> Answer {
    if call.zaqar.broker.is_usable() {
        Ok(Success::nothing())
    } else {
        Err(Failure::later("The store is down.").into())
    }
}

/// Tries every operation in a queue of its own and tells how each went.
pub(crate) async fn health(call: &Call<'_>) -> Answer {
    let mut trial = Trial { zaqar: call.zaqar, steps: Vec::new() };
    let whole = trial.run().await;
    if let Err(error) = &whole {
        tracing::error!(cause = %error, "the trial of operations failed");
    }
    let steps: Vec<_> = trial.steps.iter().map(Step::shown).collect();
    if steps.is_empty() {
        return Err(whole
            .err()
            .map_or_else(|| Refusal::from(Failure::later("Health status could not be read.")), Refusal::from));
    }
    let reachable = call.zaqar.broker.is_usable();
    let body = format!("{{\"storage_reachable\": {reachable}, \"operation_status\": {{{}}}}}", steps.join(", "));
    Ok(Success::json(body.into_bytes()))
}

/// How one operation went.
struct Step {
    name: &'static str,
    took: Duration,
    /// Where the log tells why it failed.
    failed: Option<Uuid>,
}

impl Step {
    fn shown(&self) -> String {
        let reference = self.failed.map_or_else(|| "null".to_owned(), |id| format!("\"{id}\""));
        let (name, succeeded, seconds) = (self.name, self.failed.is_none(), self.took.as_secs_f64());
        format!("\"{name}\": {{\"succeeded\": {succeeded}, \"seconds\": {seconds:.6}, \"ref\": {reference}}}")
    }
}

struct Trial<'a> {
    zaqar: &'a Zaqar,
    steps: Vec<Step>,
}

impl Trial<'_> {
    /// Ends at the first operation that fails.
    async fn run(&mut self) -> Result<()> {
        let broker = &self.zaqar.broker;
        let (project, name) = (Name::new(PROJECT)?, Name::new(&Uuid::new_v4().to_string())?);
        let new = NewProject { name: project.clone(), description: String::new(), created_by: None };
        let project = match broker.create_project(new).await {
            Err(Error::AlreadyExists(_)) => broker.project(&project).await?.id,
            made => made?.id,
        };
        let retention = self.zaqar.options().retention;
        let new = NewTopic { name: name.clone(), retention, schema: None, created_by: None };
        let empty = Bytes::from_static(b"{}");
        let made = broker.create_queue(project, new, empty, DeadLetterPolicy::default());
        let (queue, _) = self.step("create_queue", made).await?;
        let used = self.use_queue(&queue).await;
        let deleted = self.step("delete_queue", broker.delete_queue(project, &name)).await;
        used.and(deleted.map(drop))
    }

    async fn use_queue(&mut self, queue: &Queue) -> Result<()> {
        let broker = &self.zaqar.broker;
        let mut batch = broker.batch();
        for _ in 0..MESSAGES {
            let form = PayloadForm::Json;
            batch.push(&NewMessage { payload: b"{}", form, ttl: Some(TTL), ..NewMessage::default() })?;
        }
        self.step("post_messages", broker.publish(&queue.topic, batch)).await?;
        let id = ids::fresh_claim();
        let request = ClaimRequest { id, messages_max: CLAIM, ttl: TTL, grace: TTL };
        self.step("claim_messages", broker.claim(queue, request)).await?;
        let page = BrowseRequest { messages_max: CLAIM as usize, delayed: true, ..BrowseRequest::default() };
        self.step("list_messages", broker.browse_queue(queue, page)).await?;
        self.step("delete_messages", broker.delete_message(queue, Offset(MESSAGES - 1), None)).await?;
        self.step("delete_claim", broker.release_claim(queue, id)).await?;
        let all: Vec<_> = (0..MESSAGES).map(Offset).collect();
        self.step("bulk_delete_messages", broker.delete_messages(queue, &all)).await
    }

    async fn step<T>(&mut self, name: &'static str, work: impl Future<Output = Result<T>>) -> Result<T> {
        let clock = self.zaqar.broker.clock();
        let started = clock.monotonic();
        let done = work.await;
        let took = clock.monotonic().saturating_sub(started);
        let failed = done.as_ref().err().map(|error| {
            let id = Uuid::new_v4();
            tracing::error!(reference = %id, operation = name, cause = %error, "an operation failed in a trial");
            id
        });
        self.steps.push(Step { name, took, failed });
        done
    }
}
