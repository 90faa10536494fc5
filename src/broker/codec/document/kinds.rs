//! The fields of the documents of things that have an identity and live: what is true about each. Tags are frozen.

use super::fields::{FieldReader, Fields, Value, damaged, put_prefixed};
use super::push;
use super::{Account, Claim, Record, Sealed, Standing, TokenHash, Truth};
use crate::domain::acl::RoleName;
use crate::domain::project::{Project, Quota};
use crate::domain::schema::{Rules, Schema, SchemaKind};
use crate::domain::subscription::{AckMode, Settings, Subscription};
use crate::domain::topic::{Retention, Topic};
use crate::domain::user::{Membership, Profile, User};
use crate::domain::{Incarnation, LogRef, ProjectId, Result, SchemaId, SubscriptionId, TopicId, UserId};
use bytes::Bytes;
use std::sync::Arc;

/// What a [`Truth`] may be about: its fields, from tag 3 on.
pub(crate) trait Thing: Sized + Send + Sync + std::fmt::Debug + 'static {
    const KIND: u8;
    const WHAT: &'static str;
    fn write(&self, fields: &mut Fields);
    fn read(fields: &mut FieldReader<'_>) -> Result<Self>;
}

impl<T: Thing> Record for Truth<T> {
    const KIND: u8 = T::KIND;
    const WHAT: &'static str = T::WHAT;

    fn write(&self, fields: &mut Fields) {
        fields.u8(1, self.standing as u8);
        if let Some(Claim { name, ticket }) = &self.claim {
            fields.bytes(2, &[&ticket.to_le_bytes(), name.as_str().as_bytes()].concat());
        }
        self.thing.write(fields);
    }

    fn read(fields: &mut FieldReader<'_>) -> Result<Self> {
        let standing = match fields.required(1)?.u8()? {
            1 => Standing::Claiming,
            2 => Standing::Live,
            3 => Standing::Deleting,
            other => return Err(damaged(format!("its standing {other} is not known"))),
        };
        let claim = match fields.optional(2)? {
            Some(mut value) => Some(Claim { ticket: value.take(16)?.u128()?, name: value.name()? }),
            None => None,
        };
        Ok(Self { standing, claim, thing: Arc::new(T::read(fields)?) })
    }
}

impl Thing for Project {
    const KIND: u8 = 1;
    const WHAT: &'static str = "a project";

    fn write(&self, fields: &mut Fields) {
        fields.u128(3, self.id.0).text(4, self.name.as_str()).text(5, &self.description);
        write_user(fields, 6, self.created_by);
        fields.u64(7, self.created_at.0).u64(8, self.modified_at.0);
        let Quota { messages_per_second, bytes_per_second, topics, subscriptions } = self.quota;
        for (tag, value) in [(20, messages_per_second), (21, bytes_per_second), (22, topics), (23, subscriptions)] {
            if let Some(value) = value {
                fields.u64(tag, value);
            }
        }
    }

    fn read(fields: &mut FieldReader<'_>) -> Result<Self> {
        Ok(Self {
            id: ProjectId(fields.required(3)?.u128()?),
            name: fields.required(4)?.name()?,
            description: fields.required(5)?.text()?.to_owned(),
            created_by: read_user(fields, 6)?,
            created_at: fields.required(7)?.timestamp()?,
            modified_at: fields.required(8)?.timestamp()?,
            quota: Quota {
                messages_per_second: fields.optional(20)?.map(Value::u64).transpose()?,
                bytes_per_second: fields.optional(21)?.map(Value::u64).transpose()?,
                topics: fields.optional(22)?.map(Value::u64).transpose()?,
                subscriptions: fields.optional(23)?.map(Value::u64).transpose()?,
            },
        })
    }
}

impl Thing for Topic {
    const KIND: u8 = 2;
    const WHAT: &'static str = "a topic";

    fn write(&self, fields: &mut Fields) {
        fields.u128(3, self.id.0).u128(4, self.project.0).text(5, self.name.as_str());
        fields.u128(6, self.log.0).u64(7, self.incarnation.0).duration(8, self.retention.age);
        if let Some(bytes) = self.retention.bytes {
            fields.u64(9, bytes);
        }
        if let Some(schema) = self.schema {
            fields.u128(10, schema.0);
        }
        fields.ids(11, self.acl.iter().map(|user| user.0)).u64(12, self.created_at.0);
        write_user(fields, 13, self.created_by);
        if !self.metadata.is_empty() {
            fields.bytes(14, &self.metadata);
        }
        if self.sealed {
            fields.u8(15, 1);
        }
    }

    fn read(fields: &mut FieldReader<'_>) -> Result<Self> {
        Ok(Self {
            id: TopicId(fields.required(3)?.u128()?),
            project: ProjectId(fields.required(4)?.u128()?),
            name: fields.required(5)?.name()?,
            log: LogRef(fields.required(6)?.u128()?),
            incarnation: Incarnation(fields.required(7)?.u64()?),
            retention: Retention {
                age: fields.required(8)?.duration()?,
                bytes: fields.optional(9)?.map(Value::u64).transpose()?,
            },
            schema: fields.optional(10)?.map(Value::u128).transpose()?.map(SchemaId),
            acl: fields.required(11)?.ids(UserId)?,
            created_at: fields.required(12)?.timestamp()?,
            created_by: read_user(fields, 13)?,
            metadata: fields.optional(14)?.map(|metadata| Bytes::copy_from_slice(metadata.0)).unwrap_or_default(),
            sealed: fields.optional(15)?.map(Value::u8).transpose()? == Some(1),
        })
    }
}

impl Thing for Subscription {
    const KIND: u8 = 3;
    const WHAT: &'static str = "a subscription";

    fn write(&self, fields: &mut Fields) {
        fields.u128(3, self.id.0).u128(4, self.project.0).text(5, self.name.as_str());
        fields.text(6, self.topic.as_str()).u128(7, self.log.0);
        fields.u8(8, self.settings.mode as u8).duration(9, self.settings.ack_deadline);
        if let Some(attempts) = self.settings.max_attempts {
            fields.u32(10, attempts);
        }
        if let Some(topic) = &self.settings.dead_letter_topic {
            fields.text(11, topic.as_str());
        }
        fields.ids(12, self.acl.iter().map(|user| user.0)).u64(13, self.created_at.0);
        write_user(fields, 14, self.created_by);
        if let Some(push) = &self.push {
            fields.bytes(15, &push::bytes(push));
        }
        if let Some(ttl) = self.settings.dead_letter_ttl {
            fields.duration(16, ttl);
        }
    }

    fn read(fields: &mut FieldReader<'_>) -> Result<Self> {
        let mut subscription = Self {
            id: SubscriptionId(fields.required(3)?.u128()?),
            project: ProjectId(fields.required(4)?.u128()?),
            name: fields.required(5)?.name()?,
            topic: fields.required(6)?.name()?,
            log: LogRef(fields.required(7)?.u128()?),
            settings: Settings {
                mode: match fields.required(8)?.u8()? {
                    1 => AckMode::Cumulative,
                    2 => AckMode::Individual,
                    other => return Err(damaged(format!("its ack mode {other} is not known"))),
                },
                ack_deadline: fields.required(9)?.duration()?,
                max_attempts: fields.optional(10)?.map(Value::u32).transpose()?,
                dead_letter_topic: fields.optional(11)?.map(Value::name).transpose()?,
                dead_letter_ttl: None,
            },
            acl: fields.required(12)?.ids(UserId)?,
            created_at: fields.required(13)?.timestamp()?,
            created_by: read_user(fields, 14)?,
            push: fields.optional(15)?.map(push::read).transpose()?,
        };
        subscription.settings.dead_letter_ttl = fields.optional(16)?.map(Value::duration).transpose()?;
        Ok(subscription)
    }
}

impl Thing for Account {
    const KIND: u8 = 4;
    const WHAT: &'static str = "a user";

    fn write(&self, fields: &mut Fields) {
        let User { id, name, profile, memberships, service_roles, created_at, modified_at, created_by } = &*self.user;
        fields.u128(3, id.0).text(4, name.as_str());
        fields.text(5, &profile.first_name).text(6, &profile.last_name).text(7, &profile.organization);
        fields.text(8, &profile.description).text(9, &profile.email);
        fields.bytes(10, &memberships_bytes(memberships));
        fields.texts(11, service_roles.iter().map(RoleName::as_str));
        fields.u64(12, created_at.0).u64(13, modified_at.0);
        write_user(fields, 14, *created_by);
        fields.bytes(15, &self.token_hash.0).u32(16, self.token.key).bytes(17, &self.token.bytes);
    }

    fn read(fields: &mut FieldReader<'_>) -> Result<Self> {
        let user = User {
            id: UserId(fields.required(3)?.u128()?),
            name: fields.required(4)?.name()?,
            profile: Profile {
                first_name: fields.required(5)?.text()?.to_owned(),
                last_name: fields.required(6)?.text()?.to_owned(),
                organization: fields.required(7)?.text()?.to_owned(),
                description: fields.required(8)?.text()?.to_owned(),
                email: fields.required(9)?.text()?.to_owned(),
            },
            memberships: read_memberships(fields.required(10)?)?,
            service_roles: roles(fields.required(11)?)?,
            created_at: fields.required(12)?.timestamp()?,
            modified_at: fields.required(13)?.timestamp()?,
            created_by: read_user(fields, 14)?,
        };
        Ok(Self {
            user: Arc::new(user),
            token_hash: TokenHash(fields.required(15)?.array()?),
            token: read_sealed(fields, 16)?,
        })
    }
}

impl Thing for Schema {
    const KIND: u8 = 30;
    const WHAT: &'static str = "a schema";

    fn write(&self, fields: &mut Fields) {
        fields.u128(3, self.id.0).u128(4, self.project.0).text(5, self.name.as_str());
        fields.u8(6, self.rules.kind as u8).text(7, &self.rules.payload);
        if let Some(attributes) = &self.rules.attributes {
            fields.text(8, attributes);
        }
        fields.u64(9, self.revision).u64(10, self.created_at.0);
        write_user(fields, 11, self.created_by);
    }

    fn read(fields: &mut FieldReader<'_>) -> Result<Self> {
        Ok(Self {
            id: SchemaId(fields.required(3)?.u128()?),
            project: ProjectId(fields.required(4)?.u128()?),
            name: fields.required(5)?.name()?,
            rules: Rules {
                kind: match fields.required(6)?.u8()? {
                    1 => SchemaKind::Json,
                    2 => SchemaKind::Avro,
                    other => return Err(damaged(format!("its schema language {other} is not known"))),
                },
                payload: fields.required(7)?.text()?.to_owned(),
                attributes: fields.optional(8)?.map(Value::text).transpose()?.map(str::to_owned),
            },
            revision: fields.required(9)?.u64()?,
            created_at: fields.required(10)?.timestamp()?,
            created_by: read_user(fields, 11)?,
        })
    }
}

/// Reads a sealed secret whose fields begin at this tag.
pub(super) fn read_sealed(fields: &mut FieldReader<'_>, tag: u8) -> Result<Sealed> {
    Ok(Sealed { key: fields.required(tag)?.u32()?, bytes: fields.required(tag + 1)?.all().to_vec() })
}

pub(super) fn write_user(fields: &mut Fields, tag: u8, user: Option<UserId>) {
    if let Some(user) = user {
        fields.u128(tag, user.0);
    }
}

pub(super) fn read_user(fields: &mut FieldReader<'_>, tag: u8) -> Result<Option<UserId>> {
    Ok(fields.optional(tag)?.map(Value::u128).transpose()?.map(UserId))
}

/// Each membership: the project, then its roles as texts with their common length before them.
fn memberships_bytes(memberships: &[Membership]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for membership in memberships {
        bytes.extend_from_slice(&membership.project.0.to_le_bytes());
        put_texts(&mut bytes, membership.roles.iter());
    }
    bytes
}

fn read_memberships(mut rest: Value<'_>) -> Result<Vec<Membership>> {
    let mut memberships = Vec::new();
    while !rest.is_empty() {
        let project = ProjectId(rest.take(16)?.u128()?);
        memberships.push(Membership { project, roles: roles(rest.prefixed()?)? });
    }
    Ok(memberships)
}

pub(super) fn put_texts<'a>(to: &mut Vec<u8>, roles: impl Iterator<Item = &'a RoleName>) {
    let mut texts = Vec::new();
    roles.for_each(|role| put_prefixed(&mut texts, role.as_str().as_bytes()));
    put_prefixed(to, &texts);
}

fn roles(value: Value<'_>) -> Result<Vec<RoleName>> {
    Ok(value.texts()?.into_iter().map(RoleName::new).collect())
}
