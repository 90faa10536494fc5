//! Who asks, and whether he may: the checks before every handler, in the contract's order (`ams-v1.md` §2.1).
//!
//! What a handler checks itself (access lists) is here too, so that all of authorisation is one page. Holds no rule about who has
//! which role: that is the role table's.

use super::error::{Failure, Refusal};
use super::paths::{Route, Variables};
use super::query::Query;
use super::{Ams, AuthOption};
use crate::auth::Token;
use crate::domain::acl::{RoleName, RoleTable};
use crate::domain::project::Project;
use crate::domain::subscription::Subscription;
use crate::domain::topic::Topic;
use crate::domain::user::User;
use crate::domain::{Name, UserId};
use actix_web::http::header::{HeaderMap, HeaderValue};
use std::sync::Arc;

/// Who asks.
#[derive(Clone, Debug)]
pub(crate) enum Caller {
    /// The bearer of the service token: everything, as nobody.
    Service,
    /// A user.
    User(Arc<User>),
}

/// A caller where he asks: what his roles depend on.
#[derive(Clone, Debug)]
pub(crate) struct Principal {
    /// Who.
    pub(crate) caller: Caller,
    /// The path's project, if it names one.
    pub(crate) project: Option<Arc<Project>>,
}

/// Checks the path's variables, in alphabetical order.
pub(crate) fn check_names(variables: &Variables<'_>) -> Result<(), Failure> {
    match variables.iter().find(|(_, value)| !is_name(value)) {
        Some((variable, _)) => Err(Failure::name(variable)),
        None => Ok(()),
    }
}

/// Whether a text is a name: letters, digits, `_` and `-`, and no longer than names may be.
pub(crate) fn is_name(text: &[u8]) -> bool {
    (1..=crate::domain::limits::NAME_BYTES_MAX).contains(&text.len())
        && text.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

/// A checked variable as a name.
pub(crate) fn name_of(variables: &Variables<'_>, variable: &str) -> Result<Name, Failure> {
    let text = std::str::from_utf8(variables.get(variable)).unwrap_or_default();
    Name::new(text).map_err(|_| Failure::name(variable))
}

/// The request's token, where [`AuthOption`] lets it stand; none when there is none or an empty one.
pub(crate) fn token(option: AuthOption, headers: &HeaderMap, query: Query<'_>) -> Option<Token> {
    let header = || headers.get("x-api-key").map(HeaderValue::as_bytes).filter(|token| !token.is_empty());
    let in_query = || query.get("key").filter(|token| !token.is_empty()).map(|token| Token::new(token.into_owned()));
    // A header of other bytes than text is a token that nobody has.
    let in_header = || header().map(|token| Token::new(String::from_utf8_lossy(token).into_owned()));
    match option {
        AuthOption::Key => in_query(),
        AuthOption::Header => in_header(),
        AuthOption::Both => in_header().or_else(in_query),
    }
}

/// Steps 2 to 6 of the contract's order; step 1 is [`check_names`].
pub(crate) async fn admit(
    ams: &Ams,
    route: &Route,
    variables: &Variables<'_>,
    token: Option<Token>,
) -> Result<Principal, Refusal> {
    let Some(token) = token else { return Err(Failure::UNAUTHORIZED.into()) };
    let project = if creates_the_project(route) || variables.get("project").is_empty() {
        None
    } else {
        Some(ams.broker.project(&name_of(variables, "project")?).await?)
    };
    if ams.is_service_token(&token) {
        return Ok(Principal { caller: Caller::Service, project });
    }
    let Some(user) = ams.auth.user_by_token(&token).await? else { return Err(Failure::UNAUTHORIZED.into()) };
    let principal = Principal { caller: Caller::User(user), project };
    if principal.roles().next().is_none() {
        return Err(Failure::UNAUTHORIZED.into());
    }
    if principal.may(&*ams.auth.roles().await?, route.name) { Ok(principal) } else { Err(Failure::FORBIDDEN.into()) }
}

/// Whether the path's project need not exist.
fn creates_the_project(route: &Route) -> bool {
    route.operation == super::paths::Operation::ProjectsCreate
}

impl Principal {
    /// A user's roles in the path's project, and his service roles.
    fn roles(&self) -> impl Iterator<Item = &RoleName> {
        let user = match &self.caller {
            Caller::Service => None,
            Caller::User(user) => Some(user),
        };
        let membership = user.and_then(|user| user.membership(self.project.as_ref()?.id));
        let in_project = membership.map(|membership| membership.roles.as_slice()).unwrap_or_default();
        in_project.iter().chain(user.map(|user| user.service_roles.as_slice()).unwrap_or_default())
    }

    /// Whether he has a role here. The service token stands for `service_admin`.
    pub(crate) fn has(&self, role: &str) -> bool {
        match self.caller {
            Caller::Service => role == "service_admin",
            Caller::User(_) => self.roles().any(|own| own.as_str() == role),
        }
    }

    /// Whether the role table opens this permission to him.
    fn may(&self, table: &RoleTable, permission: &str) -> bool {
        self.has("_admin_") || table.allows(permission, self.roles())
    }

    /// Whether he sees tokens, service roles and creators.
    pub(crate) fn is_privileged(&self) -> bool {
        self.has("service_admin")
    }

    /// Who he is, for `created_by`.
    pub(crate) fn user_id(&self) -> Option<UserId> {
        match &self.caller {
            Caller::Service => None,
            Caller::User(user) => Some(user.id),
        }
    }

    /// The access list's check on publishing (`per_resource_auth`).
    pub(crate) fn check_topic(&self, ams: &Ams, topic: &Topic) -> Result<(), Failure> {
        self.check_list(ams, "publisher", &topic.acl)
    }

    /// The access list's check on pulling (`per_resource_auth`).
    pub(crate) fn check_subscription(&self, ams: &Ams, subscription: &Subscription) -> Result<(), Failure> {
        self.check_list(ams, "consumer", &subscription.acl)
    }

    /// Who has the role must be in the list, whatever other roles he has.
    pub(crate) fn check_list(&self, ams: &Ams, role: &str, list: &[UserId]) -> Result<(), Failure> {
        if ams.options().per_resource_auth && self.has(role) && !self.is_in(list) {
            return Err(Failure::FORBIDDEN);
        }
        Ok(())
    }

    fn is_in(&self, list: &[UserId]) -> bool {
        self.user_id().is_some_and(|id| list.contains(&id))
    }

    /// Whether a list of topics shows him one with this access list.
    pub(crate) fn sees_topic(&self, list: &[UserId]) -> bool {
        !self.is_bound("publisher") || self.is_in(list)
    }

    /// Whether a list of subscriptions shows him one with this access list.
    pub(crate) fn sees_subscription(&self, list: &[UserId]) -> bool {
        !self.is_bound("consumer") || self.is_in(list)
    }

    /// Whether he sees only what he is in the list of.
    fn is_bound(&self, role: &str) -> bool {
        self.has(role) && !self.has("project_admin") && !self.has("service_admin")
    }
}
