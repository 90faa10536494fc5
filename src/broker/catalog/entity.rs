//! What projects, topics, subscriptions, schemas and users have in common: an identity, a unique name, a truth and a hint.

use crate::broker::codec::document::{Account, Thing, TokenHash, Truth};
use crate::broker::documents::keys::{HintKey, Keyed, SchemaKey, SubscriptionKey, TopicKey};
use crate::domain::project::Project;
use crate::domain::push::{Notify, Push};
use crate::domain::schema::Schema;
use crate::domain::subscription::Subscription;
use crate::domain::topic::Topic;
use crate::domain::{Incarnation, Name, ProjectId, Resource, SchemaId, SubscriptionId, Timestamp, TopicId, UserId};
use crate::storage::{Key, LogId};

/// What becomes of a name's document when its holder gives the name up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum GivenUp {
    /// It stays for a while, and the name with it: others may still believe that it means the former holder.
    Rests,
    /// It stays and counts the things that have borne the name.
    Counts,
    /// It goes.
    Goes,
}

/// A thing with a truth under its identity and a hint under its name.
pub(crate) trait Entity: Thing + Clone {
    /// What its truth stands under.
    type Key: Keyed<Record = Truth<Self>>;
    /// What it is called.
    const RESOURCE: Resource;
    /// What becomes of its name.
    const GIVEN_UP: GivenUp;

    /// The key of an identity in a project (zero for what stands in none).
    fn key_of(scope: ProjectId, id: u128) -> Self::Key;
    /// Its project; zero if it stands in none.
    fn scope(&self) -> ProjectId {
        ProjectId::default()
    }
    /// Its identity.
    fn id(&self) -> u128;
    /// Its name.
    fn name(&self) -> &Name;
    /// Its log, which ends with it.
    fn log(&self) -> Option<LogId> {
        None
    }
    /// The hash of its token, whose hint ends with it.
    fn token(&self) -> Option<TokenHash> {
        None
    }
    /// When its time is over and it goes by itself, if ever.
    fn until(&self) -> Option<Timestamp> {
        None
    }
    /// Tells it how many have borne its name.
    fn count(&mut self, _incarnation: Incarnation) {}

    /// What its truth stands under.
    fn key(&self) -> Self::Key {
        Self::key_of(self.scope(), self.id())
    }
    /// What the truths of all of its kind in a project begin with.
    fn prefix(scope: ProjectId) -> Key {
        let resource = Self::RESOURCE;
        Key::new(match resource {
            Resource::Project | Resource::User => format!("{resource}/"),
            Resource::Topic | Resource::Subscription | Resource::Schema => format!("{resource}/{:032x}/", scope.0),
        })
    }
    /// The key of a name of its kind.
    fn hint(scope: ProjectId, name: &Name) -> HintKey {
        HintKey { of: Self::RESOURCE, scope, name: name.clone() }
    }
}

/// The identity and the name of what keeps them in fields of these names.
macro_rules! identified {
    () => {
        fn id(&self) -> u128 {
            self.id.0
        }
        fn name(&self) -> &Name {
            &self.name
        }
    };
}

/// The same of what belongs to a project.
macro_rules! of_a_project {
    () => {
        fn scope(&self) -> ProjectId {
            self.project
        }
        identified!();
    };
}

impl Entity for Project {
    type Key = ProjectId;
    const RESOURCE: Resource = Resource::Project;
    const GIVEN_UP: GivenUp = GivenUp::Rests;

    fn key_of(_: ProjectId, id: u128) -> ProjectId {
        ProjectId(id)
    }
    identified!();
}

impl Entity for Topic {
    type Key = TopicKey;
    const RESOURCE: Resource = Resource::Topic;
    const GIVEN_UP: GivenUp = GivenUp::Counts;

    fn key_of(scope: ProjectId, id: u128) -> TopicKey {
        TopicKey(scope, TopicId(id))
    }
    of_a_project!();
    fn log(&self) -> Option<LogId> {
        Some(LogId(self.log.0))
    }
    fn count(&mut self, incarnation: Incarnation) {
        self.incarnation = incarnation;
    }
}

impl Entity for Subscription {
    type Key = SubscriptionKey;
    const RESOURCE: Resource = Resource::Subscription;
    const GIVEN_UP: GivenUp = GivenUp::Goes;

    fn key_of(scope: ProjectId, id: u128) -> SubscriptionKey {
        SubscriptionKey(scope, SubscriptionId(id))
    }
    of_a_project!();
    fn log(&self) -> Option<LogId> {
        Some(LogId(self.log.0))
    }
    fn until(&self) -> Option<Timestamp> {
        self.push.as_ref().and_then(Push::notify).map(Notify::until)
    }
}

impl Entity for Schema {
    type Key = SchemaKey;
    const RESOURCE: Resource = Resource::Schema;
    const GIVEN_UP: GivenUp = GivenUp::Goes;

    fn key_of(scope: ProjectId, id: u128) -> SchemaKey {
        SchemaKey(scope, SchemaId(id))
    }
    of_a_project!();
}

impl Entity for Account {
    type Key = UserId;
    const RESOURCE: Resource = Resource::User;
    const GIVEN_UP: GivenUp = GivenUp::Rests;

    fn key_of(_: ProjectId, id: u128) -> UserId {
        UserId(id)
    }
    fn id(&self) -> u128 {
        self.user.id.0
    }
    fn name(&self) -> &Name {
        &self.user.name
    }
    fn token(&self) -> Option<TokenHash> {
        Some(self.token_hash)
    }
}
