//! `GET /status` and `GET /version`: open to everybody, with more to see for some.

use super::Ams;
use super::error::Failure;
use super::query::Query;
use super::render::{self, Indent};
use super::request::Answer;
use crate::auth::Token;
use crate::domain::user::User;
use std::sync::Arc;

/// The user whose token this is; the service token is none.
async fn user(ams: &Ams, token: Option<Token>) -> crate::domain::Result<Option<Arc<User>>> {
    match token {
        Some(token) => ams.auth.user_by_token(&token).await,
        None => Ok(None),
    }
}

fn sees_details(user: &User) -> bool {
    user.service_roles.iter().any(|role| matches!(role.as_str(), "admin_viewer" | "service_admin"))
}

/// How the service is. With details, a wrong token is forbidden and a wrong role unauthorized: the contract's swap (quirk 9).
pub(crate) async fn status(ams: &Ams, query: Query<'_>, token: Option<Token>) -> Answer {
    if query.is_true("details") {
        let user = user(ams, token).await?.ok_or(Failure::FORBIDDEN)?;
        if !sees_details(&user) {
            return Err(Failure::UNAUTHORIZED.into());
        }
    }
    let Some(push) = &ams.push else {
        return Ok(render::object(Indent::One, |json| {
            json.field("status").string("ok");
            json.field("push_functionality").string("disabled");
        }));
    };
    let status = if push.has_worker(ams).await? { "ok" } else { "warning" };
    Ok(render::object(Indent::One, |json| {
        json.field("status").string(status);
        json.field("push_servers").array(|json| {
            json.item().object(|json| {
                json.field("endpoint").string(&push.endpoint);
                json.field("status").string("SERVING");
            });
        });
    }))
}

/// What runs here. The field names are the original's, who was written in Go.
pub(crate) async fn version(ams: &Ams, token: Option<Token>) -> Answer {
    let shows_release = user(ams, token).await?.is_some_and(|user| sees_details(&user));
    let options = ams.options();
    let version = &options.version;
    Ok(render::object(Indent::One, |json| {
        json.field("build_time").string(&version.build_time);
        json.field("golang").string("n/a");
        json.field("compiler").string("rustc");
        json.field("os").string(std::env::consts::OS);
        json.field("architecture").string(architecture());
        if shows_release {
            json.field("release").string(&version.release);
        }
        json.field_unless_empty("distro", &version.distro);
        json.field_unless_empty("hostname", &options.proxy_hostname);
    }))
}

/// The machine's kind in the words that clients know.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
