//! Bindings of client certificates to users: one call of the API each, and its answer as text.

use super::args::Binding;
use super::client::{Client, segment};
use super::output::Output;
use super::resources::{items, text};
use super::{Answer, Failure};
use reqwest::Method;
use serde_json::{Map, Value, json};

/// Does a binding command.
pub(super) async fn binding(client: &Client, command: Binding, out: Output) -> Answer {
    match command {
        Binding::Create { name, subject, user, issuer } => {
            let body = json!({ "auth_identifier": subject, "user": user, "issuer": issuer });
            let answer = call(client, Method::POST, &name, Some(&body)).await?;
            let shown = format!("bound {} to user {user} as {name}", text(&answer, "auth_identifier"));
            out.answer(&answer, shown)
        }
        Binding::Update { name, subject, user, issuer, any_issuer } => {
            let issuer = if any_issuer { Some(String::new()) } else { issuer };
            let given = [("auth_identifier", subject), ("user", user), ("issuer", issuer)];
            let body: Map<String, Value> =
                given.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?.into()))).collect();
            if body.is_empty() {
                return Err(Failure::Usage(
                    "give what to change: --subject, --user, --issuer or --any-issuer".to_owned(),
                ));
            }
            let answer = call(client, Method::PUT, &name, Some(&body.into())).await?;
            out.answer(&answer, details(&answer))
        }
        Binding::List => {
            let answer = client.call(Method::GET, "/v1/bindings", None, "bindings").await?;
            let row = |binding| {
                ["name", "user", "auth_identifier", "issuer"].map(|key| text(binding, key).to_owned()).to_vec()
            };
            let rows: Vec<_> = items(&answer, "bindings").map(row).collect();
            out.table(&answer, &["BINDING", "USER", "SUBJECT", "ISSUER"], &rows)
        }
        Binding::Show { name } => {
            let answer = call(client, Method::GET, &name, None).await?;
            out.answer(&answer, details(&answer))
        }
        Binding::Delete { name } => {
            call(client, Method::DELETE, &name, None).await?;
            out.answer(&json!({}), format!("deleted binding {name}; its user's token lives on until it is refreshed"))
        }
    }
}

async fn call(client: &Client, method: Method, name: &str, body: Option<&Value>) -> Answer<Value> {
    client.call(method, &format!("/v1/bindings/{}", segment(name)), body, &format!("binding {name}")).await
}

fn details(binding: &Value) -> String {
    let issuer = Some(text(binding, "issuer")).filter(|issuer| !issuer.is_empty()).unwrap_or("any trusted authority");
    format!(
        "binding  {}\nsubject  {}\nissuer   {issuer}\nuser     {}\ncreated  {}\nchanged  {}",
        text(binding, "name"),
        text(binding, "auth_identifier"),
        Some(text(binding, "user")).filter(|user| !user.is_empty()).unwrap_or("(gone)"),
        text(binding, "created_on"),
        text(binding, "updated_on"),
    )
}
