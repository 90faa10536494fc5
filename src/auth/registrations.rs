//! Registrations: wishes to become a user, which somebody accepts or declines, once.
//!
//! Each is one document under its identity. Who accepts makes the user first and settles the registration after it, so a
//! registration that counts as accepted has had its user; of two who decide at a time one is told that it is not pending.

use super::tokens::Token;
use super::{Auth, NewUser};
use crate::broker::documents::keys;
use crate::domain::registration::{Decision, Registration, RegistrationStatus};
use crate::domain::user::{Profile, User};
use crate::domain::{Error, Name, RegistrationId, Resource, Result, UserId};
use std::sync::Arc;

impl Auth {
    /// Takes a wish to become the user of this name. Others may wish for the same.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`] when there is such a user; [`Error::TooLarge`]; storage.
    pub async fn register(&self, name: Name, profile: Profile) -> Result<Registration> {
        match self.user(&name).await {
            Ok(_) => return Err(Error::AlreadyExists(Resource::User)),
            Err(Error::NotFound(_)) => {}
            Err(error) => return Err(error),
        }
        let registered_at = self.inner.broker.now();
        let id = RegistrationId(self.inner.broker.fresh_identity(registered_at));
        let status = RegistrationStatus::Pending { activation_token: Token::fresh()?.reveal().to_owned() };
        let registration = Registration { id, name, profile, registered_at, status };
        let made = self.documents().put_new(&id, &registration).await?;
        if made { Ok(registration) } else { Err(Error::Changed) }
    }

    /// The registration of this id, if there is one.
    pub async fn registration(&self, id: RegistrationId) -> Result<Option<Arc<Registration>>> {
        Ok(self.documents().fetch(&id).await?.map(|stored| stored.record))
    }

    /// All registrations in the order in which they came.
    pub async fn registrations(&self) -> Result<Vec<Arc<Registration>>> {
        let all = self.documents().all(&keys::registrations()).await?;
        Ok(all.into_iter().map(|(_, registration)| registration).collect())
    }

    /// Makes the user that a pending registration asks for; none when there is no such registration or it is not pending. Broken off
    /// in the middle it leaves the user, and the registration pending.
    ///
    /// # Errors
    /// As [`Auth::create_user`]; then the registration stays pending.
    pub async fn accept_registration(&self, id: RegistrationId, by: Option<UserId>) -> Result<Option<Arc<User>>> {
        let Some(registration) = self.registration(id).await?.filter(|found| found.is_pending()) else {
            return Ok(None);
        };
        let new = NewUser {
            name: registration.name.clone(),
            profile: registration.profile.clone(),
            memberships: Vec::new(),
            service_roles: Vec::new(),
            created_by: by,
        };
        let (user, _) = self.create_user(new).await?;
        let decision = Decision { by, at: self.inner.broker.now() };
        if self.settle(id, &RegistrationStatus::Accepted(decision)).await? {
            return Ok(Some(user));
        }
        // Somebody declined or removed it meanwhile: then there is to be no such user.
        self.delete_user(user.id).await?;
        Ok(None)
    }

    /// Declines a pending registration; false when there is no such registration or it is not pending.
    pub async fn decline_registration(&self, id: RegistrationId, comment: &str, by: Option<UserId>) -> Result<bool> {
        let decision = Decision { by, at: self.inner.broker.now() };
        self.settle(id, &RegistrationStatus::Declined { comment: comment.to_owned(), decision }).await
    }

    /// Removes a registration, decided or not; false when there is none. A user whom it led to stays.
    pub async fn delete_registration(&self, id: RegistrationId) -> Result<bool> {
        while let Some(stored) = self.documents().fetch(&id).await? {
            if self.documents().delete(&id, stored.version).await?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Decides a registration, if nobody has.
    async fn settle(&self, id: RegistrationId, status: &RegistrationStatus) -> Result<bool> {
        let mut decided = false;
        let settled = self.documents().update(&id, |registration: &Registration| {
            // Its own earlier work counts as not decided yet.
            if registration.is_pending() || registration.status == *status {
                return Ok(Registration { status: status.clone(), ..registration.clone() });
            }
            decided = true;
            Err(Error::Changed)
        });
        match settled.await {
            Err(Error::Changed) if decided => Ok(false),
            settled => Ok(settled?.is_some()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{World, name};
    use super::*;
    use std::time::Duration;

    fn profile() -> Profile {
        Profile { first_name: "Bob".to_owned(), email: "b@example.org".to_owned(), ..Profile::default() }
    }

    #[tokio::test]
    async fn an_accepted_registration_makes_the_user_it_asked_for() {
        let world = World::new();
        let auth = world.node().await.unwrap();
        let made = auth.register(name("bob"), profile()).await.unwrap();
        assert_eq!(auth.registration(made.id).await.unwrap().as_deref(), Some(&made));
        world.clock.advance(Duration::from_secs(1));
        let user = auth.accept_registration(made.id, Some(UserId(3))).await.unwrap().unwrap();
        assert_eq!((user.name.as_str(), &user.profile, user.created_by), ("bob", &made.profile, Some(UserId(3))));
        assert!(user.memberships.is_empty() && user.service_roles.is_empty());
        let accepted = auth.registration(made.id).await.unwrap().unwrap();
        let decision = Decision { by: Some(UserId(3)), at: user.created_at };
        assert_eq!(accepted.status, RegistrationStatus::Accepted(decision));
        assert_eq!(auth.accept_registration(made.id, None).await.unwrap(), None, "it is decided once");
        assert!(!auth.decline_registration(made.id, "", None).await.unwrap());
        let again = auth.register(name("bob"), profile()).await;
        assert_eq!(again, Err(Error::AlreadyExists(Resource::User)));
    }

    #[tokio::test]
    async fn a_name_that_was_taken_meanwhile_leaves_the_registration_pending() {
        let auth = World::new().node().await.unwrap();
        let first = auth.register(name("bob"), profile()).await.unwrap();
        let second = auth.register(name("bob"), profile()).await.unwrap();
        auth.accept_registration(first.id, None).await.unwrap().unwrap();
        let refused = auth.accept_registration(second.id, None).await;
        assert_eq!(refused, Err(Error::AlreadyExists(Resource::User)));
        assert!(auth.registration(second.id).await.unwrap().unwrap().is_pending());
        assert_eq!(
            auth.registrations().await.unwrap().iter().map(|one| one.id).collect::<Vec<_>>(),
            [first.id, second.id]
        );
    }

    #[tokio::test]
    async fn a_declined_registration_says_why_and_a_removed_one_is_gone() {
        let auth = World::new().node().await.unwrap();
        let made = auth.register(name("bob"), profile()).await.unwrap();
        assert!(auth.decline_registration(made.id, "no", None).await.unwrap());
        let declined = auth.registration(made.id).await.unwrap().unwrap();
        assert!(matches!(&declined.status, RegistrationStatus::Declined { comment, .. } if comment == "no"));
        assert_eq!(auth.accept_registration(made.id, None).await.unwrap(), None);
        assert_eq!(auth.user(&name("bob")).await, Err(Error::NotFound(Resource::User)));
        assert!(auth.delete_registration(made.id).await.unwrap());
        assert!(!auth.delete_registration(made.id).await.unwrap());
        assert_eq!(auth.registration(made.id).await.unwrap(), None);
    }

    #[tokio::test]
    async fn of_many_who_decide_at_once_one_is_right() {
        let auth = World::new().node().await.unwrap();
        let made = auth.register(name("bob"), profile()).await.unwrap();
        let (accepted, declined) =
            tokio::join!(auth.accept_registration(made.id, None), auth.decline_registration(made.id, "no", None));
        let accepted = accepted.unwrap().is_some();
        assert_ne!(accepted, declined.unwrap());
        assert_eq!(
            auth.user(&name("bob")).await.is_ok(),
            accepted,
            "a user stays only if his registration was accepted"
        );
    }
}
