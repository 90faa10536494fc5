//! Who is asking: users, their tokens, and the role table. Decides who somebody is; what he may do is `domain::acl`.
//!
//! Tokens are found by a keyed hash and kept encrypted under the store's key; they appear in no log.

use crate::broker::{Broker, Page, PageRequest};
use crate::domain::acl::{RoleName, RoleTable};
use crate::domain::user::{Membership, Profile, User};
use crate::domain::{Error, Name, ProjectId, Result, UserId};
use std::fmt;
use std::sync::Arc;

/// A token as its bearer has it. Never printed by `Debug`; opaque; compared only through the keyed hash or in constant time.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// Takes a text as a token.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself: for the answer to somebody who may see it, nothing else.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// What a new user is made of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewUser {
    /// Unique in the service.
    pub name: Name,
    /// Who he is.
    pub profile: Profile,
    /// His roles in projects.
    pub memberships: Vec<Membership>,
    /// His roles in the service.
    pub service_roles: Vec<RoleName>,
    /// Who asks, unless that is no user.
    pub created_by: Option<UserId>,
}

/// What to change; none leaves as it is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct UserChange {
    /// The new name.
    pub name: Option<Name>,
    /// The new profile.
    pub profile: Option<Profile>,
    /// The whole new list of memberships.
    pub memberships: Option<Vec<Membership>>,
    /// The whole new list of service roles.
    pub service_roles: Option<Vec<RoleName>>,
}

/// Users and their tokens over the broker's documents. Clones share everything.
#[derive(Clone, Debug)]
pub struct Auth {
    broker: Broker,
}

fn later<T>() -> Result<T> {
    Err(Error::Unavailable("not built yet".to_owned()))
}

impl Auth {
    /// The role table in force.
    pub async fn roles(&self) -> Result<Arc<RoleTable>> {
        let _ = &self.broker;
        later()
    }
    /// The user whose token this is; none when it is nobody's. Cached for at most the broker's cache bound.
    pub async fn user_by_token(&self, _token: &Token) -> Result<Option<Arc<User>>> {
        later()
    }
    /// The user of this name; [`Error::NotFound`].
    pub async fn user(&self, _name: &Name) -> Result<Arc<User>> {
        later()
    }
    /// The user of this id; [`Error::NotFound`].
    pub async fn user_by_id(&self, _id: UserId) -> Result<Arc<User>> {
        later()
    }
    /// The users that `visible` accepts, newest first. O(users).
    pub async fn users(
        &self,
        _page: PageRequest,
        _visible: &(dyn Fn(&User) -> bool + Send + Sync),
    ) -> Result<Page<Arc<User>>> {
        later()
    }
    /// Makes a user with a fresh token; [`Error::AlreadyExists`].
    pub async fn create_user(&self, _new: NewUser) -> Result<(Arc<User>, Token)> {
        later()
    }
    /// Changes a user; [`Error::NotFound`], [`Error::AlreadyExists`] when the new name is another user's.
    pub async fn update_user(&self, _id: UserId, _change: UserChange) -> Result<Arc<User>> {
        later()
    }
    /// Gives a user a fresh token; the old one is dead at once (elsewhere within the cache bound). `modified_at` stays.
    pub async fn refresh_token(&self, _id: UserId) -> Result<Token> {
        later()
    }
    /// Removes a user; [`Error::NotFound`]. His id stays in access lists and means nobody.
    pub async fn delete_user(&self, _id: UserId) -> Result<()> {
        later()
    }
    /// The user's present token, for those who may see it.
    pub async fn token_of(&self, _id: UserId) -> Result<Token> {
        later()
    }
    /// Sets a user's roles in one project, or ends his membership there with none; his other memberships stay as they are, also
    /// when they change meanwhile. [`Error::NotFound`].
    pub async fn set_membership(
        &self,
        _id: UserId,
        _project: ProjectId,
        _roles: Option<Vec<RoleName>>,
    ) -> Result<Arc<User>> {
        later()
    }
    /// Takes all memberships of a project away: it was deleted.
    pub async fn forget_project(&self, _project: ProjectId) -> Result<()> {
        later()
    }
}
