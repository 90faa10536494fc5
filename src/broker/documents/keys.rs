//! The keys that documents stand under, and what stands there.
//!
//! Under an identity: `project/{id}`, `topic/{project}/{id}`, `subscription/{project}/{id}`, `user/{id}`,
//! `schema/{project}/{id}`. Under a name:
//! `project-name/{name}`, `topic-name/{project}/{name}` and so on. Under a token's keyed hash: `user-token/{hash}`. Under a
//! binding's name and its subject's hash: `binding/{name}`, `binding-subject/{hash}`. One each: `roles/table`, `key/check`.
//! By themselves: `registration/{id}`, `node/at/{id}`. Under a log: `data-key/{log}`. For the days of a topic's log: `day/{project}/{topic's name}/{log}/{day}`. Identities and hashes are plain hexadecimal, so keys under one prefix come in creation order.

use super::Documents;
use super::cache::Cache;
use crate::broker::codec::document::{
    Account, BoundSubject, DayEnd, Hint, KeyCheck, Record, SealedKey, StoredRoles, SubjectHint, TokenHash, TokenHint,
    Truth,
};
use crate::domain::membership::Heartbeat;
use crate::domain::project::Project;
use crate::domain::registration::Registration;
use crate::domain::schema::Schema;
use crate::domain::subscription::{NodeId, Subscription};
use crate::domain::topic::Topic;
use crate::domain::{Day, Name, ProjectId, RegistrationId, Resource, SchemaId, SubscriptionId, TopicId, UserId};
use crate::storage::{Key, LogId};
use std::fmt::{Debug, Write as _};
use std::hash::Hash;

/// A key whose document holds a [`Record`] of a known kind.
pub(crate) trait Keyed: Clone + Eq + Hash + Debug + Send + Sync + 'static {
    /// What stands there.
    type Record: Record;
    /// The key as the store has it.
    fn key(&self) -> Key;
    /// Where documents of these keys are cached.
    fn cache(documents: &Documents) -> &Cache<Self>;
}

/// A topic's identity with its project's.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct TopicKey(pub(crate) ProjectId, pub(crate) TopicId);

/// A subscription's identity with its project's.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct SubscriptionKey(pub(crate) ProjectId, pub(crate) SubscriptionId);

/// A schema's identity with its project's.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct SchemaKey(pub(crate) ProjectId, pub(crate) SchemaId);

/// A name of a kind of thing in a project; the project is zero for what stands in none.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct HintKey {
    pub(crate) of: Resource,
    pub(crate) scope: ProjectId,
    pub(crate) name: Name,
}

/// A topic's log under the topic's name, for what is counted day by day.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Series {
    pub(crate) project: ProjectId,
    pub(crate) topic: Name,
    pub(crate) log: LogId,
}

/// A day of a series.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct DayKey {
    pub(crate) series: Series,
    pub(crate) day: Day,
}

/// A binding of a certificate's subject, by its name.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct BindingKey(pub(crate) Name);

/// The hash of a certificate's subject.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct SubjectKey(pub(crate) [u8; 32]);

/// The role table.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct RolesKey;

/// The check of the store's key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct KeyCheckKey;

/// A node's heartbeat.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct NodeKey(pub(crate) NodeId);
/// The log whose messages a data key encrypts.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct DataKeyOf(pub(crate) LogId);

macro_rules! keyed {
    ($key:ty, $record:ty, $cache:ident, |$self:ident| $text:expr) => {
        impl Keyed for $key {
            type Record = $record;

            fn key(&self) -> Key {
                let $self = self;
                Key::new($text)
            }

            fn cache(documents: &Documents) -> &Cache<Self> {
                &documents.$cache
            }
        }
    };
}

keyed!(ProjectId, Truth<Project>, projects, |id| format!("project/{:032x}", id.0));
keyed!(TopicKey, Truth<Topic>, topics, |key| format!("topic/{:032x}/{:032x}", key.0.0, key.1.0));
keyed!(SubscriptionKey, Truth<Subscription>, subscriptions, |key| {
    format!("subscription/{:032x}/{:032x}", key.0.0, key.1.0)
});
keyed!(SchemaKey, Truth<Schema>, schemas, |key| format!("schema/{:032x}/{:032x}", key.0.0, key.1.0));
keyed!(UserId, Truth<Account>, accounts, |id| format!("user/{:032x}", id.0));
keyed!(HintKey, Hint, hints, |hint| format!("{}{}", HintKey::prefix(hint.of, hint.scope), hint.name));
keyed!(RegistrationId, Registration, registrations, |id| format!("{REGISTRATION_PREFIX}{:032x}", id.0));
keyed!(TokenHash, TokenHint, tokens, |hash| hash_key(TOKEN_PREFIX, &hash.0));
keyed!(BindingKey, BoundSubject, bindings, |key| format!("{BINDING_PREFIX}{}", key.0));
keyed!(SubjectKey, SubjectHint, subjects, |key| hash_key("binding-subject/", &key.0));
keyed!(RolesKey, StoredRoles, roles, |_key| "roles/table");
keyed!(NodeKey, Heartbeat, nodes, |key| format!("{NODE_PREFIX}{:032x}", key.0.0));
keyed!(KeyCheckKey, KeyCheck, key_checks, |_key| "key/check");
keyed!(DataKeyOf, SealedKey, data_keys, |key| format!("{DATA_KEY_PREFIX}{:032x}", key.0.0));
// Padded, so that days come in order.
keyed!(DayKey, DayEnd, days, |key| format!("{}{:09}", key.series.prefix(), key.day.0));

impl Series {
    /// The series of a topic.
    pub(crate) fn of(topic: &Topic) -> Self {
        Self { project: topic.project, topic: topic.name.clone(), log: LogId(topic.log.0) }
    }

    /// What the keys of its days begin with.
    pub(crate) fn prefix(&self) -> String {
        format!("{}{}/{:032x}/", DayKey::prefix(self.project), self.topic, self.log.0)
    }
}

impl DayKey {
    /// What the keys of all days of a project begin with.
    pub(crate) fn prefix(project: ProjectId) -> String {
        format!("day/{:032x}/", project.0)
    }

    /// The day that a store's key speaks of.
    pub(crate) fn parse(key: &Key) -> Option<Self> {
        let mut parts = std::str::from_utf8(&key.0).ok()?.strip_prefix("day/")?.split('/');
        let (project, topic) = (ProjectId::parse(parts.next()?)?, Name::new(parts.next()?).ok()?);
        let log = LogId(u128::from_str_radix(parts.next()?, 16).ok()?);
        let day = Day(parts.next()?.parse().ok()?);
        let parsed = Self { series: Series { project, topic, log }, day };
        (parsed.key() == *key).then_some(parsed)
    }
}

impl HintKey {
    /// What the keys of a kind's names begin with.
    pub(crate) fn prefix(of: Resource, scope: ProjectId) -> String {
        match of {
            Resource::Project | Resource::User => format!("{of}-name/"),
            Resource::Topic | Resource::Subscription | Resource::Schema => format!("{of}-name/{:032x}/", scope.0),
        }
    }

    /// The name that a store's key of this kind speaks of.
    pub(crate) fn parse(of: Resource, key: &Key) -> Option<Self> {
        let text = std::str::from_utf8(&key.0).ok()?.strip_prefix(&format!("{of}-name/"))?;
        let (scope, name) = match of {
            Resource::Project | Resource::User => (ProjectId::default(), text),
            Resource::Topic | Resource::Subscription | Resource::Schema => {
                let (scope, name) = text.split_once('/')?;
                (ProjectId::parse(scope)?, name)
            }
        };
        Some(Self { of, scope, name: Name::new(name).ok()? })
    }
}

/// Two components, so that looking at them is looking at one place.
const NODE_PREFIX: &str = "node/at/";

/// What the keys of heartbeats begin with.
pub(crate) fn nodes() -> Key {
    Key::new(NODE_PREFIX)
}

const DATA_KEY_PREFIX: &str = "data-key/";

impl DataKeyOf {
    /// What the keys of all data keys begin with.
    pub(crate) fn prefix() -> Key {
        Key::new(DATA_KEY_PREFIX)
    }

    /// The log that a store's key speaks of.
    pub(crate) fn parse(key: &Key) -> Option<Self> {
        let log = std::str::from_utf8(&key.0).ok()?.strip_prefix(DATA_KEY_PREFIX)?;
        Some(Self(LogId(u128::from_str_radix(log, 16).ok()?))).filter(|parsed| parsed.key() == *key)
    }
}

const REGISTRATION_PREFIX: &str = "registration/";

/// What the keys of registrations begin with.
pub(crate) fn registrations() -> Key {
    Key::new(REGISTRATION_PREFIX)
}

/// What the keys of token hashes begin with.
pub(crate) const TOKEN_PREFIX: &str = "user-token/";

/// What the keys of bindings begin with.
const BINDING_PREFIX: &str = "binding/";

impl BindingKey {
    /// What the keys of all bindings begin with.
    pub(crate) fn prefix() -> Key {
        Key::new(BINDING_PREFIX)
    }

    /// The binding that a store's key speaks of.
    pub(crate) fn parse(key: &Key) -> Option<Self> {
        let name = std::str::from_utf8(&key.0).ok()?.strip_prefix(BINDING_PREFIX)?;
        Some(Self(Name::new(name).ok()?))
    }
}

fn hash_key(prefix: &str, hash: &[u8; 32]) -> String {
    hash.iter().fold(prefix.to_owned(), |mut text, byte| {
        // Writing to a text cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

impl TokenHash {
    /// The hash that a store's key speaks of.
    pub(crate) fn parse(key: &Key) -> Option<Self> {
        let text = std::str::from_utf8(&key.0).ok()?.strip_prefix(TOKEN_PREFIX)?;
        let (first, second) = text.split_at_checked(32)?;
        let halves = [u128::from_str_radix(first, 16).ok()?, u128::from_str_radix(second, 16).ok()?];
        let bytes: Vec<u8> = halves.iter().flat_map(|half| half.to_be_bytes()).collect();
        let hash = Self(bytes.try_into().ok()?);
        (hash.key() == *key).then_some(hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_read_back() {
        let name = Name::new("récords").unwrap();
        for of in [Resource::Project, Resource::Topic, Resource::Subscription, Resource::User] {
            let scoped = matches!(of, Resource::Topic | Resource::Subscription);
            let hint = HintKey { of, scope: ProjectId(if scoped { 7 } else { 0 }), name: name.clone() };
            assert_eq!(HintKey::parse(of, &hint.key()), Some(hint));
        }
        let hash = TokenHash(std::array::from_fn(|at| u8::try_from(at * 7).unwrap()));
        assert_eq!(TokenHash::parse(&hash.key()), Some(hash));
        assert_eq!(TokenHash::parse(&Key::new("user-token/00")), None);
        let series = Series { project: ProjectId(1), topic: name, log: LogId(2) };
        let day = DayKey { series, day: Day(20_000) };
        assert_eq!(DayKey::parse(&day.key()), Some(day));
        assert_eq!(DayKey::parse(&Key::new("day/1/t/2/3")), None);
        assert_eq!(TopicKey(ProjectId(1), TopicId(2)).key(), Key::new(format!("topic/{:032x}/{:032x}", 1, 2)));
    }
}
