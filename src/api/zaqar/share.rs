//! Pre-signed URLs: making them. What one opens is checked in `caller`.

use super::error::Failure;
use super::json::{self, Object};
use super::request::{Answer, Call, Success};
use super::times;
use crate::auth::signed_url::Grant;
use crate::domain::Timestamp;
use std::time::Duration;

/// How long a signature lasts when nothing else is said.
const LIFE: Duration = Duration::from_secs(86_400);
/// What may be shared of a queue.
const PARTS: [&str; 3] = ["messages", "subscriptions", "claims"];

/// Signs access to parts of the path's queue, which need not be there.
pub(crate) fn share(call: &Call<'_>) -> Answer {
    let body = json::object(call.body.required()?)?;
    let refuse = |text: String| Failure::request(text);
    if let Some((key, _)) = body.members().find(|(key, _)| !["paths", "methods", "expires"].contains(key)) {
        return Err(refuse(format!("Unknown keys: {{'{key}'}}")).into());
    }
    let key = call.options.url_key.as_ref().ok_or_else(|| refuse("The `key` can't be None".to_owned()))?;
    let mut paths = list(&body, "paths")?.unwrap_or_else(|| vec!["messages".to_owned()]);
    if let Some(wrong) = paths.iter().find(|path| !PARTS.contains(&path.as_str())) {
        return Err(refuse(format!("Invalid paths: {{'{wrong}'}}")).into());
    }
    let mut methods = list(&body, "methods")?.unwrap_or_else(|| vec!["GET".to_owned()]);
    let expires = times::write(expires(call, &body)?);
    paths = paths
        .iter()
        .map(|path| format!("/v2/queues/{}/{path}", call.queue.as_ref().map_or("", |name| name.as_str())))
        .collect();
    paths.sort_unstable();
    methods.sort_unstable();
    let grant = Grant {
        paths: paths.iter().map(String::as_str).collect(),
        methods: methods.iter().map(String::as_str).collect(),
        project: &call.caller.project,
        expires: &expires,
    };
    let signature = key.sign(&grant);
    let mut out = b"{\"paths\": ".to_vec();
    json::array(&paths, &mut out, |path, out| json::string(path, out));
    out.extend_from_slice(b", \"methods\": ");
    json::array(&methods, &mut out, |method, out| json::string(method, out));
    for (name, text) in [("project", call.caller.project.as_str()), ("expires", &expires), ("signature", &signature)] {
        out.extend_from_slice(format!(", \"{name}\": ").as_bytes());
        json::string(text, &mut out);
    }
    out.push(b'}');
    Ok(Success::json(out))
}

/// A list of texts; an empty one is none.
fn list(body: &Object<'_>, key: &str) -> Result<Option<Vec<String>>, Failure> {
    let wrong = |_| Failure::request(format!("`{key}` should be a list"));
    let list: Option<Vec<String>> =
        body.given(key).map(|list| serde_json::from_str(list.get()).map_err(wrong)).transpose()?;
    Ok(list.filter(|list| !list.is_empty()))
}

fn expires(call: &Call<'_>, body: &Object<'_>) -> Result<Timestamp, Failure> {
    let now = Timestamp(call.zaqar.broker.clock().wall());
    let Some(given) = body.given("expires") else { return Ok(now.plus(LIFE)) };
    let text = json::text(given).unwrap_or_else(|| given.get().into());
    if text.trim().parse::<i64>().is_ok() {
        return Err(Failure::request(format!(
            "`expires` should be date format, for example 2016-01-01T00:00:00, not integer value: {text}"
        )));
    }
    let time = times::read(&text).ok_or_else(|| Failure::request(format!("Unable to parse date string '{text}'")))?;
    if time > now { Ok(time) } else { Err(Failure::request("`expires` is lower than the current time")) }
}
