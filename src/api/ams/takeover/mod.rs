//! Taking over the data of an ARGO Messaging Service (`ams-v1.md` §3.4 and §12): its collections, exported by `mongoexport` into
//! `projects.json`, `users.json`, `schemas.json`, `topics.json` and `subscriptions.json`, and its messages, exported by `ams-migrate` into
//! `<project uuid>.<topic>.topic.data`, all in one folder.
//!
//! Offsets, identities, tokens, times and cursors stay as they are. A topic without messages begins where its farthest subscription stands.
//! Pending acknowledgements, counters, daily counts, registrations and role tables are left out. Broken off, it may be done again: what is
//! there already is left as it is. Never used while anybody is served.

mod records;
#[cfg(test)]
mod tests;

use crate::auth::{Auth, Token};
use crate::broker::Broker;
use crate::domain::acl::RoleName;
use crate::domain::project::{Project, Quota};
use crate::domain::push::{Mattermost, Push, Shared, Target, Webhook};
use crate::domain::retry::RetryPolicy;
use crate::domain::schema::{Rules, Schema, SchemaKind};
use crate::domain::subscription::{AckMode, Settings, Subscription};
use crate::domain::topic::{Retention, Topic};
use crate::domain::user::{Membership, Profile, User};
use crate::domain::{
    Error, Incarnation, LogRef, Offset, ProjectId, SchemaId, SubscriptionId, Timestamp, TopicId, UserId,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use records::{Messages, Row, collection};
use serde_json::Value;
use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

/// The role that may do everything; whoever moves a service seldom means to carry it along.
const ADMIN: &str = "_admin_";

/// How much was taken over; what was there before does not count.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Taken {
    /// Projects.
    pub projects: u64,
    /// Users.
    pub users: u64,
    /// Schemas.
    pub schemas: u64,
    /// Topics.
    pub topics: u64,
    /// Subscriptions.
    pub subscriptions: u64,
}

/// What is taken over, and how.
pub struct Takeover<'a> {
    /// Where to.
    pub broker: &'a Broker,
    /// Its users.
    pub auth: &'a Auth,
    /// Where from.
    pub folder: &'a Path,
    /// Whether `_admin_` comes along.
    pub keep_admin: bool,
    /// What new topics keep.
    pub retention: Retention,
}

impl Takeover<'_> {
    /// Takes everything over.
    ///
    /// # Errors
    /// What is wrong, with its file and line.
    pub async fn run(&self) -> Result<Taken, String> {
        let mut taken = Taken::default();
        for row in collection(self.folder, "projects")? {
            let made = self.broker.adopt_project(project(&row)?).await;
            taken.projects += is_new(&row, made)?;
        }
        for row in collection(self.folder, "users")? {
            let token = Token::new(row.text("token"));
            let made = match self.auth.user_by_token(&token).await {
                Ok(Some(_)) => continue,
                Ok(None) => self.auth.adopt_user(self.user(&row)?, &token).await,
                Err(error) => Err(error),
            };
            taken.users += is_new(&row, made)?;
        }
        for row in collection(self.folder, "schemas")? {
            let made = self.broker.adopt_schema(schema(&row)?).await;
            taken.schemas += is_new(&row, made)?;
        }
        let subscriptions = collection(self.folder, "subscriptions")?;
        let mut farthest = HashMap::<(String, String), u64>::new();
        for row in &subscriptions {
            let place = (row.text("project_uuid").to_owned(), row.text("topic").to_owned());
            let offset = farthest.entry(place).or_default();
            *offset = row.number("offset").max(*offset);
        }
        for row in collection(self.folder, "topics")? {
            taken.topics += self.topic(&row, &farthest).await?;
        }
        for row in &subscriptions {
            let floor = Offset(row.number("offset"));
            let made = self.broker.adopt_subscription(self.subscription(row)?, floor).await;
            taken.subscriptions += is_new(row, made)?;
        }
        Ok(taken)
    }

    async fn topic(&self, row: &Row, farthest: &HashMap<(String, String), u64>) -> Result<u64, String> {
        let (uuid, name) = (row.text("project_uuid").to_owned(), row.text("name").to_owned());
        let topic = Topic {
            id: TopicId(self.identity(row)),
            project: row.parsed("project_uuid", ProjectId::parse)?,
            name: row.name("name")?,
            log: LogRef(self.identity(row)),
            incarnation: Incarnation::default(),
            retention: self.retention,
            schema: Some(row.text("schema_uuid")).filter(|text| !text.is_empty()).and_then(SchemaId::parse),
            metadata: Bytes::new(),
            sealed: false,
            acl: row.texts("acl").filter_map(UserId::parse).collect(),
            created_at: row.time("created_on"),
            created_by: None,
        };
        let messages = Messages::open(&self.folder.join(format!("{uuid}.{name}.topic.data")))?;
        let first = match &messages {
            Some(messages) => messages.first,
            None => farthest.get(&(uuid, name)).copied().unwrap_or(0),
        };
        // What a file's line is wrong by is told in full; the broker only learns that there is nothing to take.
        let mut wrong = None;
        let batches = messages.into_iter().flatten().map(|batch| {
            batch.map_err(|why| {
                wrong = Some(why);
                Error::Damaged("the file of messages".to_owned())
            })
        });
        let made = self.broker.adopt_topic(topic, Offset(first), batches).await;
        match wrong {
            Some(why) => Err(why),
            None => is_new(row, made),
        }
    }

    fn user(&self, row: &Row) -> Result<User, String> {
        let mut memberships = Vec::new();
        for member in row.rows("projects") {
            let project = member.get("project_uuid").and_then(Value::as_str).and_then(ProjectId::parse);
            let project = project.ok_or_else(|| row.wrong("a project_uuid makes no sense"))?;
            let roles = member.get("roles").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
            memberships.push(Membership { project, roles: self.roles(roles) });
        }
        let text = |field| row.text(field).to_owned();
        Ok(User {
            id: row.parsed("uuid", UserId::parse)?,
            name: row.name("name")?,
            profile: Profile {
                first_name: text("first_name"),
                last_name: text("last_name"),
                organization: text("organization"),
                description: text("description"),
                email: text("email"),
            },
            memberships,
            service_roles: self.roles(row.texts("service_roles")),
            created_at: row.time("created_on"),
            modified_at: row.time("modified_on"),
            created_by: UserId::parse(row.text("created_by")),
        })
    }

    fn roles<'a>(&self, names: impl Iterator<Item = &'a str>) -> Vec<RoleName> {
        names.filter(|name| self.keep_admin || *name != ADMIN).map(RoleName::new).collect()
    }

    fn subscription(&self, row: &Row) -> Result<Subscription, String> {
        let settings = Settings {
            mode: AckMode::Cumulative,
            ack_deadline: Duration::from_secs(row.number("ack")),
            max_attempts: None,
            dead_letter_topic: None,
            dead_letter_ttl: None,
        };
        Ok(Subscription {
            id: SubscriptionId(self.identity(row)),
            project: row.parsed("project_uuid", ProjectId::parse)?,
            name: row.name("name")?,
            topic: row.name("topic")?,
            log: LogRef(self.identity(row)),
            settings,
            push: push(row),
            acl: row.texts("acl").filter_map(UserId::parse).collect(),
            created_at: row.time("created_on"),
            created_by: None,
        })
    }

    /// An identity for what had none, in the order in which things were made.
    fn identity(&self, row: &Row) -> u128 {
        self.broker.fresh_identity(row.time("created_on").max(Timestamp(1_000)))
    }
}

fn project(row: &Row) -> Result<Project, String> {
    Ok(Project {
        id: row.parsed("uuid", ProjectId::parse)?,
        name: row.name("name")?,
        description: row.text("description").to_owned(),
        created_by: UserId::parse(row.text("created_by")),
        created_at: row.time("created_on"),
        modified_at: row.time("modified_on"),
        quota: Quota::default(),
    })
}

fn schema(row: &Row) -> Result<Schema, String> {
    let kind = row.parsed("type", |kind| match kind {
        "json" => Some(SchemaKind::Json),
        "avro" => Some(SchemaKind::Avro),
        _ => None,
    })?;
    let payload = row.parsed("raw_schema", |text| String::from_utf8(STANDARD.decode(text).ok()?).ok())?;
    Ok(Schema {
        id: row.parsed("uuid", SchemaId::parse)?,
        project: row.parsed("project_uuid", ProjectId::parse)?,
        name: row.name("name")?,
        rules: Rules { kind, payload, attributes: None },
        revision: 1,
        created_at: Timestamp::EPOCH,
        created_by: None,
    })
}

/// Where a subscription is pushed to, if it is.
fn push(row: &Row) -> Option<Push> {
    let text = |field| row.text(field).to_owned();
    let header = Some(text("authorization_header")).filter(|header| !header.is_empty());
    let target = match row.text("push_type") {
        "mattermost" => Target::Mattermost(Mattermost {
            url: text("mattermost_url"),
            username: text("mattermost_username"),
            channel: text("mattermost_channel"),
        }),
        _ if row.text("push_endpoint").is_empty() => return None,
        _ => Target::Webhook(Webhook {
            endpoint: text("push_endpoint"),
            messages_max: i64::try_from(row.number("max_messages")).unwrap_or(i64::MAX),
            authorization: header.filter(|_| row.text("authorization_type") != "disabled").map(Shared),
            hash: Shared(text("verification_hash")),
        }),
    };
    let retry = match row.text("retry_policy") {
        "slowstart" => RetryPolicy::SlowStart,
        _ => RetryPolicy::Linear { period: Duration::from_millis(row.number("retry_period").max(1)) },
    };
    Some(Push { target, retry, decode: row.flag("base_64_decode"), verified: row.flag("verified") })
}

/// Whether it was made now; what was there before is left as it is.
fn is_new<T>(row: &Row, made: Result<T, Error>) -> Result<u64, String> {
    match made {
        Ok(_) => Ok(1),
        Err(Error::AlreadyExists(_)) => Ok(0),
        Err(error) => Err(row.wrong(error)),
    }
}
