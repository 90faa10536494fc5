//! Which user a client's certificate stands for: bindings of subjects to users, kept as documents.
//!
//! The document under a binding's name is the truth; the one under its subject's hash is a hint, accepted only if the truth
//! names it back. Making one claims the hint, writes the truth, and looks whether the hint is still its own: of two that bind
//! one subject at the same time, one is refused. Decides nothing about whether a certificate may be believed: TLS does.

mod certificate;
mod dn;
#[cfg(test)]
mod tests;

pub use certificate::CertificateNames;
pub use dn::DistinguishedName;

use super::Auth;
use crate::broker::codec::document::{BoundSubject, SubjectHint};
use crate::broker::documents::keys::{BindingKey, SubjectKey};
use crate::domain::user::User;
use crate::domain::{Error, Name, Resource, Result, Timestamp, UserId};
use aws_lc_rs::digest::{SHA256, digest};
use std::sync::Arc;

/// How often a subject is tried for against others.
const TRIES: usize = 16;

/// A certificate's subject that stands for a user.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Binding {
    /// Unique among bindings.
    pub name: Name,
    /// For ever, also when another is made under the same name later.
    pub id: u128,
    /// Whom the certificate must speak of; unique among bindings.
    pub subject: DistinguishedName,
    /// Who must have issued it; none for any authority that is trusted.
    pub issuer: Option<DistinguishedName>,
    /// The user.
    pub user: UserId,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was changed last.
    pub modified_at: Timestamp,
}

/// What a binding is made of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewBinding {
    /// Its name.
    pub name: Name,
    /// See [`Binding::subject`].
    pub subject: DistinguishedName,
    /// See [`Binding::issuer`].
    pub issuer: Option<DistinguishedName>,
    /// See [`Binding::user`].
    pub user: UserId,
}

/// What to change; none leaves as it is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct BindingChange {
    /// The new subject.
    pub subject: Option<DistinguishedName>,
    /// The new issuer, or none for any.
    pub issuer: Option<Option<DistinguishedName>>,
    /// The new user.
    pub user: Option<UserId>,
}

/// Why a binding was not made or changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BindingError {
    /// There is no such binding.
    NotFound,
    /// The name is another binding's.
    NameTaken,
    /// The subject is bound already.
    SubjectTaken,
    /// Something else.
    Failed(Error),
}

impl From<Error> for BindingError {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

type Answer<T> = std::result::Result<T, BindingError>;

impl Auth {
    /// The user that a certificate stands for, and the binding that says so; none when no binding does, its issuer is another,
    /// or the user is gone. Cached for at most the broker's cache bound.
    pub async fn user_by_certificate(&self, names: &CertificateNames) -> Result<Option<(Arc<User>, Binding)>> {
        let Some(binding) = self.binding_of(&names.subject).await? else { return Ok(None) };
        if binding.issuer.as_ref().is_some_and(|issuer| *issuer != names.issuer) {
            return Ok(None);
        }
        match self.user_by_id(binding.user).await {
            Ok(user) => Ok(Some((user, binding))),
            Err(Error::NotFound(Resource::User)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The binding of a subject, if it is bound.
    pub async fn binding_of(&self, subject: &DistinguishedName) -> Result<Option<Binding>> {
        let key = subject_key(subject);
        let Some(hint) = self.documents().get(&key).await? else { return Ok(None) };
        let truth = self.documents().get(&BindingKey(hint.name.clone())).await?;
        if let Some(bound) = truth.filter(|bound| speaks_of(bound, &hint, subject)) {
            return binding(&hint.name, &bound).map(Some);
        }
        // One of the two may be cached from before a change.
        let Some(hint) = self.documents().fetch(&key).await? else { return Ok(None) };
        let truth = self.documents().fetch(&BindingKey(hint.record.name.clone())).await?;
        let bound = truth.filter(|bound| speaks_of(&bound.record, &hint.record, subject));
        bound.map(|bound| binding(&hint.record.name, &bound.record)).transpose()
    }

    /// The binding of this name.
    pub async fn binding(&self, name: &Name) -> Answer<Binding> {
        let bound = self.documents().get(&BindingKey(name.clone())).await?.ok_or(BindingError::NotFound)?;
        Ok(binding(name, &bound)?)
    }

    /// All bindings by name. O(bindings).
    pub async fn bindings(&self) -> Result<Vec<Binding>> {
        let all = self.documents().all::<BoundSubject>(&BindingKey::prefix()).await?;
        let named = all.into_iter().filter_map(|(key, bound)| Some((BindingKey::parse(&key)?, bound)));
        named.map(|(BindingKey(name), bound)| binding(&name, &bound)).collect()
    }

    /// Makes a binding.
    pub async fn create_binding(&self, new: NewBinding) -> Answer<Binding> {
        let now = self.inner.broker.now();
        let NewBinding { name, subject, issuer, user } = new;
        let key = BindingKey(name.clone());
        if self.documents().fetch(&key).await?.is_some() {
            return Err(BindingError::NameTaken);
        }
        let id = self.inner.broker.fresh_identity(now);
        let bound = BoundSubject {
            id,
            subject: subject.to_string(),
            issuer: issuer.as_ref().map(ToString::to_string),
            user,
            created_at: now,
            modified_at: now,
        };
        let hint = SubjectHint { name: name.clone(), id };
        self.claim_subject(&subject, &hint).await?;
        if !self.documents().put_new(&key, &bound).await? {
            self.drop_subject(&subject, &hint).await?;
            return Err(BindingError::NameTaken);
        }
        if !self.holds(&subject, &hint).await? {
            // Somebody took the subject before the truth stood.
            if let Some(stored) = self.documents().fetch(&key).await?.filter(|stored| stored.record.id == id) {
                self.documents().delete(&key, stored.version).await?;
            }
            return Err(BindingError::SubjectTaken);
        }
        Ok(Binding { name, id, subject, issuer, user, created_at: now, modified_at: now })
    }

    /// Changes a binding.
    pub async fn update_binding(&self, name: &Name, change: BindingChange) -> Answer<Binding> {
        let key = BindingKey(name.clone());
        let now = self.inner.broker.now();
        let old = self.documents().fetch(&key).await?.ok_or(BindingError::NotFound)?;
        let present = binding(name, &old.record)?;
        let subject = change.subject.unwrap_or_else(|| present.subject.clone());
        let hint = SubjectHint { name: name.clone(), id: present.id };
        let moves = subject != present.subject;
        if moves {
            self.claim_subject(&subject, &hint).await?;
        }
        let issuer = change.issuer.unwrap_or_else(|| present.issuer.clone());
        let changed =
            Binding { subject, issuer, user: change.user.unwrap_or(present.user), modified_at: now, ..present.clone() };
        let bound = BoundSubject {
            subject: changed.subject.to_string(),
            issuer: changed.issuer.as_ref().map(ToString::to_string),
            user: changed.user,
            modified_at: now,
            ..BoundSubject::clone(&old.record)
        };
        // A new hint that is left over after a failure binds nothing: the next who wants the subject takes it.
        let written = self.documents().put(&key, &bound, old.version).await?;
        let version = written.ok_or(Error::Changed)?;
        if moves {
            if !self.holds(&changed.subject, &hint).await? {
                // Somebody took the new subject before the truth had it: it keeps the old one.
                self.documents().put(&key, &old.record, version).await?;
                return Err(BindingError::SubjectTaken);
            }
            self.drop_subject(&present.subject, &hint).await?;
        }
        Ok(changed)
    }

    /// Removes a binding.
    pub async fn delete_binding(&self, name: &Name) -> Answer<()> {
        let key = BindingKey(name.clone());
        for _ in 0..TRIES {
            let old = self.documents().fetch(&key).await?.ok_or(BindingError::NotFound)?;
            let present = binding(name, &old.record)?;
            if self.documents().delete(&key, old.version).await?.is_some() {
                self.drop_subject(&present.subject, &SubjectHint { name: name.clone(), id: present.id }).await?;
                return Ok(());
            }
        }
        Err(Error::Changed.into())
    }

    /// Makes a subject's hint speak of a binding, unless another binding holds the subject.
    async fn claim_subject(&self, subject: &DistinguishedName, hint: &SubjectHint) -> Answer<()> {
        let key = subject_key(subject);
        for _ in 0..TRIES {
            let stored = self.documents().fetch(&key).await?;
            if let Some(holder) = stored.as_ref().map(|stored| &*stored.record).filter(|holder| *holder != hint) {
                let truth = self.documents().fetch(&BindingKey(holder.name.clone())).await?;
                if truth.is_some_and(|bound| speaks_of(&bound.record, holder, subject)) {
                    return Err(BindingError::SubjectTaken);
                }
            }
            let claimed = match stored {
                None => self.documents().put_new(&key, hint).await?,
                Some(stored) => self.documents().put(&key, hint, stored.version).await?.is_some(),
            };
            if claimed {
                return Ok(());
            }
        }
        Err(Error::Changed.into())
    }

    /// Whether a subject's hint speaks of this binding.
    async fn holds(&self, subject: &DistinguishedName, hint: &SubjectHint) -> Result<bool> {
        let stored = self.documents().fetch(&subject_key(subject)).await?;
        Ok(stored.is_some_and(|stored| *stored.record == *hint))
    }

    /// Removes a subject's hint if it speaks of this binding.
    async fn drop_subject(&self, subject: &DistinguishedName, hint: &SubjectHint) -> Result<()> {
        let key = subject_key(subject);
        if let Some(stored) = self.documents().fetch(&key).await?.filter(|stored| *stored.record == *hint) {
            // Whoever wrote it meanwhile needs it.
            self.documents().delete(&key, stored.version).await?;
        }
        Ok(())
    }
}

fn subject_key(subject: &DistinguishedName) -> SubjectKey {
    let digest = digest(&SHA256, subject.to_string().as_bytes());
    let mut hash = [0; 32];
    hash.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
    SubjectKey(hash)
}

fn speaks_of(bound: &BoundSubject, hint: &SubjectHint, subject: &DistinguishedName) -> bool {
    bound.id == hint.id && bound.subject == subject.to_string()
}

fn binding(name: &Name, bound: &BoundSubject) -> Result<Binding> {
    let read = |what, text: &str| {
        DistinguishedName::parse(what, text).map_err(|error| Error::Damaged(format!("binding {name}: {error}")))
    };
    Ok(Binding {
        name: name.clone(),
        id: bound.id,
        subject: read("subject", &bound.subject)?,
        issuer: bound.issuer.as_deref().map(|issuer| read("issuer", issuer)).transpose()?,
        user: bound.user,
        created_at: bound.created_at,
        modified_at: bound.modified_at,
    })
}
