//! Users: who they are, what they may be found by, and the tokens that let them in.
//!
//! A user's document is the truth, as for all [things of the catalogue](crate::broker::catalog); the document under a token's
//! keyed hash is a hint, accepted only if the user's document has the same hash.

use super::Auth;
use super::tokens::{TOKEN_BYTES_MAX, Token};
use crate::broker::catalog::claim::Answer;
use crate::broker::codec::document::{Account, Sealed, Standing, TokenHash, TokenHint, Truth};
use crate::broker::{Page, PageRequest};
use crate::domain::acl::RoleName;
use crate::domain::user::{Membership, Profile, User};
use crate::domain::{Error, Name, ProjectId, Resource, Result, UserId};
use std::sync::Arc;

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

/// No project: where users stand.
const NOWHERE: ProjectId = ProjectId(0);

impl Auth {
    /// The user whose token this is; none when it is nobody's. Cached for at most the broker's cache bound.
    pub async fn user_by_token(&self, token: &Token) -> Result<Option<Arc<User>>> {
        if token.reveal().is_empty() || token.reveal().len() > TOKEN_BYTES_MAX {
            return Ok(None);
        }
        for hash in self.inner.keys.hashes(token) {
            let Some(hint) = self.documents().get(&hash).await? else { continue };
            let truth = self.documents().get(&hint.holder).await?;
            if let Some(user) = bearer(truth.as_deref(), hash) {
                return Ok(Some(user));
            }
            // The user's document may be cached from before he got the token.
            let truth = self.documents().fetch(&hint.holder).await?;
            if let Some(user) = bearer(truth.as_ref().map(|stored| &*stored.record), hash) {
                return Ok(Some(user));
            }
        }
        Ok(None)
    }

    /// The user of this name; [`Error::NotFound`].
    pub async fn user(&self, name: &Name) -> Result<Arc<User>> {
        let account = self.inner.broker.find::<Account>(NOWHERE, name).await?;
        account.map(|account| account.user.clone()).ok_or(Error::NotFound(Resource::User))
    }

    /// The user of this id; [`Error::NotFound`].
    pub async fn user_by_id(&self, id: UserId) -> Result<Arc<User>> {
        Ok(self.inner.broker.live::<Account>(&id).await?.user.clone())
    }

    /// The users that `visible` accepts, newest first. O(users).
    pub async fn users(
        &self,
        page: PageRequest,
        visible: &(dyn Fn(&User) -> bool + Send + Sync),
    ) -> Result<Page<Arc<User>>> {
        let visible = |account: &Account| visible(&account.user);
        let Page { items, next, total } = self.inner.broker.list::<Account>(NOWHERE, page, &visible).await?;
        Ok(Page { items: items.iter().map(|account| account.user.clone()).collect(), next, total })
    }

    /// Makes a user with a fresh token; [`Error::AlreadyExists`]. A name that another user gave up within twice the cache's
    /// age is waited for.
    pub async fn create_user(&self, new: NewUser) -> Result<(Arc<User>, Token)> {
        let token = Token::fresh()?;
        Ok((self.create_user_with_token(new, &token).await?, token))
    }

    /// Makes a user with a token made elsewhere: imported users, and accounts whose token the configuration gives. Errors as
    /// [`Auth::create_user`]; [`Error::Invalid`] when the token is empty, too long or another user's.
    pub async fn create_user_with_token(&self, new: NewUser, token: &Token) -> Result<Arc<User>> {
        let now = self.inner.broker.now();
        let NewUser { name, profile, memberships, service_roles, created_by } = new;
        let id = UserId(self.inner.broker.fresh_identity(now));
        let (created_at, modified_at) = (now, now);
        let user = User { id, name, profile, memberships, service_roles, created_at, modified_at, created_by };
        self.adopt_user(user, token).await
    }

    /// Takes over a user of another service with his identity and token. Errors as [`Auth::create_user_with_token`].
    pub(crate) async fn adopt_user(&self, user: User, token: &Token) -> Result<Arc<User>> {
        let invalid = |why: &str| Error::Invalid { what: "token", why: why.to_owned() };
        if token.reveal().is_empty() || token.reveal().len() > TOKEN_BYTES_MAX {
            return Err(invalid("is empty or too long"));
        }
        if self.user_by_token(token).await?.is_some() {
            return Err(invalid("is another user's"));
        }
        let id = user.id;
        let token_hash = self.inner.keys.hash(token);
        let account = Account { user: Arc::new(user), token_hash, token: self.sealed(id, token)? };
        let made = self.inner.broker.make(account, self.claim_token(token_hash, id)).await?;
        Ok(made.user.clone())
    }

    /// Changes a user; [`Error::NotFound`], [`Error::AlreadyExists`] when the new name is another user's. Waits as
    /// [`Auth::create_user`].
    pub async fn update_user(&self, id: UserId, change: UserChange) -> Result<Arc<User>> {
        let now = self.inner.broker.now();
        let altered = self.inner.broker.alter(NOWHERE, id.0, change.name.as_ref(), |account: &mut Account| {
            let user = Arc::make_mut(&mut account.user);
            let UserChange { name, profile, memberships, service_roles } = change.clone();
            user.name = name.unwrap_or_else(|| user.name.clone());
            user.profile = profile.unwrap_or_else(|| std::mem::take(&mut user.profile));
            user.memberships = memberships.unwrap_or_else(|| std::mem::take(&mut user.memberships));
            user.service_roles = service_roles.unwrap_or_else(|| std::mem::take(&mut user.service_roles));
            user.modified_at = now;
            Ok(())
        });
        Ok(altered.await?.user.clone())
    }

    /// Sets a user's roles in one project, or ends his membership there with none; his other memberships stay as they are, also
    /// when they change meanwhile. [`Error::NotFound`].
    pub async fn set_membership(
        &self,
        id: UserId,
        project: ProjectId,
        roles: Option<Vec<RoleName>>,
    ) -> Result<Arc<User>> {
        let now = self.inner.broker.now();
        let altered = self.inner.broker.alter(NOWHERE, id.0, None, |account: &mut Account| {
            let user = Arc::make_mut(&mut account.user);
            match (user.memberships.iter_mut().find(|membership| membership.project == project), roles.clone()) {
                (Some(membership), Some(roles)) => membership.roles = roles,
                (None, Some(roles)) => user.memberships.push(Membership { project, roles }),
                (_, None) => user.memberships.retain(|membership| membership.project != project),
            }
            user.modified_at = now;
            Ok(())
        });
        Ok(altered.await?.user.clone())
    }

    /// Gives a user a fresh token; the old one is dead at once (elsewhere within the cache bound). `modified_at` stays.
    pub async fn refresh_token(&self, id: UserId) -> Result<Token> {
        let token = Token::fresh()?;
        let old = self.inner.broker.live_now::<Account>(&id).await?;
        self.set_secret(&old, &token).await?;
        Ok(token)
    }

    /// Gives a user a token made elsewhere, if he has another one. [`Error::Invalid`] when it is empty, too long or another user's.
    pub async fn set_token(&self, id: UserId, token: &Token) -> Result<()> {
        if token.reveal().is_empty() || token.reveal().len() > TOKEN_BYTES_MAX {
            return Err(Error::Invalid { what: "token", why: "is empty or too long".to_owned() });
        }
        let old = self.inner.broker.live_now::<Account>(&id).await?;
        if old.token_hash == self.inner.keys.hash(token) { Ok(()) } else { self.set_secret(&old, token).await }
    }

    /// Removes a user; [`Error::NotFound`]. His id stays in access lists and means nobody.
    pub async fn delete_user(&self, id: UserId) -> Result<()> {
        self.inner.broker.remove::<Account>(&id).await
    }

    /// The user's present token, for those who may see it.
    pub async fn token_of(&self, id: UserId) -> Result<Token> {
        let account = self.inner.broker.live::<Account>(&id).await?;
        self.unsealed(&account)
    }

    /// Takes all memberships of a project away: it was deleted. O(users). May be repeated.
    pub async fn forget_project(&self, project: ProjectId) -> Result<()> {
        let member = |user: &User| user.membership(project).is_some();
        for user in self.users(PageRequest::default(), &member).await?.items {
            let forgotten = self.inner.broker.alter(NOWHERE, user.id.0, None, |account: &mut Account| {
                Arc::make_mut(&mut account.user).memberships.retain(|membership| membership.project != project);
                Ok(())
            });
            match forgotten.await {
                Ok(_) | Err(Error::NotFound(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The users whose secrets were made with an older key than the current one.
    pub(super) async fn users_of_older_keys(&self) -> Result<Vec<UserId>> {
        let current = self.inner.keys.current();
        let accounts = self.inner.broker.all::<Account>(NOWHERE).await?;
        Ok(accounts.iter().filter(|account| account.token.key != current).map(|account| account.user.id).collect())
    }

    /// Makes a user's secret anew with the current key; false when that is not needed any more.
    pub(super) async fn renew_secret(&self, id: UserId) -> Result<bool> {
        let old = match self.inner.broker.live_now::<Account>(&id).await {
            Err(Error::NotFound(_)) => return Ok(false),
            old => old?,
        };
        if old.token.key == self.inner.keys.current() {
            return Ok(false);
        }
        let token = self.unsealed(&old)?;
        match self.set_secret(&old, &token).await {
            // He got another token or was removed meanwhile.
            Err(Error::Changed | Error::NotFound(_)) => Ok(false),
            set => set.map(|()| true),
        }
    }

    /// Gives a user whose account was just read a token: new hint, account, old hint goes. [`Error::Changed`] when he has
    /// another token than was read.
    async fn set_secret(&self, old: &Account, token: &Token) -> Result<()> {
        let broker = &self.inner.broker;
        let id = old.user.id;
        let hash = self.inner.keys.hash(token);
        let sealed = self.sealed(id, token)?;
        self.claim_token(hash, id).await?;
        let set = broker.alter(NOWHERE, id.0, None, |account: &mut Account| {
            if account.token_hash != old.token_hash && account.token_hash != hash {
                return Err(Error::Changed);
            }
            account.token_hash = hash;
            account.token = sealed.clone();
            Ok(())
        });
        let set = set.await;
        match &set {
            Ok(_) => broker.drop_token(&old.token_hash, id).await?,
            // It may have been set: then the hint is needed, else the sweeper takes it.
            Err(Error::OutcomeUnknown(_)) => {}
            Err(_) => broker.drop_token(&hash, id).await?,
        }
        set.map(|_account| ())
    }

    /// Makes a token's hint speak of a user, unless it is another user's token.
    async fn claim_token(&self, hash: TokenHash, id: UserId) -> Result<()> {
        let hint = TokenHint { holder: id };
        let Some(stored) = self.documents().fetch(&hash).await? else {
            return if self.documents().put_new(&hash, &hint).await? { Ok(()) } else { Err(Error::Changed) };
        };
        if stored.record.holder != id {
            let answer = self.inner.broker.ask(&stored.record.holder, |truth: &Truth<Account>| match truth.standing {
                Standing::Deleting => Some(Answer::Yields),
                _ if truth.thing.token_hash != hash => Some(Answer::Yields),
                Standing::Live => Some(Answer::Holds),
                Standing::Claiming => None,
            });
            if answer.await? == Answer::Holds {
                return Err(Error::Invalid { what: "token", why: "is another user's".to_owned() });
            }
        }
        let claimed = self.documents().put(&hash, &hint, stored.version).await?;
        claimed.map(|_version| ()).ok_or(Error::Changed)
    }

    fn sealed(&self, id: UserId, token: &Token) -> Result<Sealed> {
        self.inner.keys.seal(token.reveal().as_bytes(), &id.0.to_le_bytes())
    }

    fn unsealed(&self, account: &Account) -> Result<Token> {
        let bytes = self.inner.keys.unseal(&account.token, &account.user.id.0.to_le_bytes())?;
        let text = String::from_utf8(bytes).map_err(|_| Error::Damaged("a token is not UTF-8".to_owned()))?;
        Ok(Token::new(text))
    }
}

/// The user of a truth, if he exists and has the token of this hash.
fn bearer(truth: Option<&Truth<Account>>, hash: TokenHash) -> Option<Arc<User>> {
    let account = &truth.filter(|truth| truth.standing == Standing::Live)?.thing;
    (account.token_hash == hash).then(|| account.user.clone())
}
