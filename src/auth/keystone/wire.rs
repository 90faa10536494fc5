//! Keystone's answers as they come: bounded, and read for the few things that we want of them.

use super::Identity;
use crate::auth::Token;
use crate::domain::Timestamp;
use crate::domain::error::with_causes;
use chrono::{DateTime, SecondsFormat};
use reqwest::header::HeaderValue;
use reqwest::{Response, StatusCode};
use serde::Deserialize;

/// Most bytes of an answer.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// An answer, read whole.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    /// Of the token that was made.
    pub(super) token: Option<Token>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) async fn read(mut answer: Response) -> Result<Self, String> {
        let status = answer.status();
        let token = answer.headers().get("x-subject-token").and_then(|value| value.to_str().ok()).map(Token::new);
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| told(&error))? {
            body.extend_from_slice(&chunk);
            if body.len() > ANSWER_BYTES_MAX {
                return Err(format!("the answer is larger than {ANSWER_BYTES_MAX} bytes"));
            }
        }
        Ok(Self { status, token, body })
    }
}

#[derive(Deserialize)]
struct TokenAnswer {
    token: Body,
}

#[derive(Deserialize)]
struct Body {
    user: Holder,
    project: Option<Holder>,
    #[serde(default)]
    roles: Vec<Role>,
    expires_at: String,
}

#[derive(Deserialize)]
struct Holder {
    id: String,
    domain: Option<Domain>,
}

impl Holder {
    fn domain(&mut self) -> String {
        self.domain.take().map(|domain| domain.id).unwrap_or_default()
    }
}

#[derive(Deserialize)]
struct Domain {
    id: String,
}

#[derive(Deserialize)]
struct Role {
    name: String,
}

/// Whose the answer says that a token is.
pub(super) fn identity(body: &[u8]) -> Result<Identity, String> {
    let unread = |error: &dyn std::fmt::Display| format!("the answer cannot be read: {error}");
    let TokenAnswer { token } = serde_json::from_slice(body).map_err(|error| unread(&error))?;
    let Body { mut user, mut project, roles, expires_at } = token;
    let expires = DateTime::parse_from_rfc3339(&expires_at).map_err(|error| unread(&error))?;
    Ok(Identity {
        user_domain: user.domain(),
        user: user.id,
        project_domain: project.as_mut().map(Holder::domain).unwrap_or_default(),
        project: project.map(|project| project.id),
        roles: roles.into_iter().map(|role| role.name).collect(),
        expires: Timestamp(u64::try_from(expires.timestamp_micros()).unwrap_or(0)),
    })
}

/// The id of the trust that was made.
pub(super) fn trust_id(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Made {
        trust: Id,
    }
    #[derive(Deserialize)]
    struct Id {
        id: String,
    }
    serde_json::from_slice(body).ok().map(|made: Made| made.trust.id)
}

/// A time as Keystone takes it.
pub(super) fn time(time: Timestamp) -> String {
    let micros = i64::try_from(time.0).unwrap_or(i64::MAX);
    DateTime::from_timestamp_micros(micros).unwrap_or_default().to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// A token as a header that no log shows.
pub(super) fn secret(token: &Token) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(token.reveal()).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// An error with its causes in one line.
pub(super) fn told(error: &reqwest::Error) -> String {
    with_causes(if error.is_connect() { "cannot connect" } else { "the request failed" }, error)
}
