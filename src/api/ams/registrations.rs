//! Registrations: new, accept, decline, show, list, delete.

use super::Ams;
use super::bodies::{self, RegistrationBody};
use super::error::{Failure, Refusal};
use super::projects::new_name;
use super::render::{self, Indent, Json};
use super::request::{Answer, Call};
use super::users::{self, Memberships, creator};
use crate::domain::registration::{Decision, Registration, RegistrationStatus};
use crate::domain::{Error, RegistrationId};
use std::borrow::Cow;

/// A registration with the name of who decided.
struct RegistrationView<'a> {
    registration: &'a Registration,
    modified_by: String,
}

fn unknown() -> Refusal {
    Failure::not_found("User registration").into()
}

fn status(registration: &Registration) -> &'static str {
    match registration.status {
        RegistrationStatus::Pending { .. } => "pending",
        RegistrationStatus::Accepted(_) => "accepted",
        RegistrationStatus::Declined { .. } => "declined",
    }
}

fn activation_token(registration: &Registration) -> &str {
    match &registration.status {
        RegistrationStatus::Pending { activation_token } => activation_token,
        _ => "",
    }
}

fn decision(registration: &Registration) -> Option<Decision> {
    match registration.status {
        RegistrationStatus::Pending { .. } => None,
        RegistrationStatus::Accepted(decision) | RegistrationStatus::Declined { decision, .. } => Some(decision),
    }
}

async fn view<'a>(ams: &Ams, registration: &'a Registration) -> Result<RegistrationView<'a>, Error> {
    let by = decision(registration).and_then(|decision| decision.by);
    Ok(RegistrationView { registration, modified_by: creator(ams, by).await? })
}

fn write(view: &RegistrationView<'_>, json: &mut Json) {
    let RegistrationView { registration, modified_by } = view;
    let profile = &registration.profile;
    json.field("uuid").quoted(registration.id);
    json.field("name").string(registration.name.as_str());
    json.field("first_name").string(&profile.first_name);
    json.field("last_name").string(&profile.last_name);
    json.field("organization").string(&profile.organization);
    json.field("description").string(&profile.description);
    json.field("email").string(&profile.email);
    json.field("status").string(status(registration));
    if let RegistrationStatus::Declined { comment, .. } = &registration.status {
        json.field_unless_empty("decline_comment", comment);
    }
    json.field_unless_empty("activation_token", activation_token(registration));
    json.field("registered_at").seconds(registration.registered_at);
    json.field_unless_empty("modified_by", modified_by);
    if let Some(decision) = decision(registration) {
        json.field("modified_at").seconds(decision.at);
    }
}

async fn shown(ams: &Ams, registration: &Registration) -> Answer {
    let view = view(ams, registration).await?;
    Ok(render::object(Indent::Three, |json| write(&view, json)))
}

/// The id in the path; what is none is nobody's.
fn id(call: &Call<'_>) -> Result<RegistrationId, Refusal> {
    let text = std::str::from_utf8(call.variables.get("uuid")).unwrap_or_default();
    RegistrationId::parse(text).ok_or_else(unknown)
}

/// Takes a registration. Without a name it is refused (quirk 42), and with one that no path could hold (quirk 41).
pub(crate) async fn create(call: &Call<'_>) -> Answer {
    let body = RegistrationBody::decode(&call.body).map_err(|_| Failure::arguments("User"))?;
    let name = new_name(body.name, "user")?.ok_or_else(|| Failure::arguments("User"))?;
    let registration = call.ams.auth.register(name, body.profile.into()).await?;
    shown(call.ams, &registration).await
}

/// Makes the user that a pending registration asks for, and shows him.
pub(crate) async fn accept(call: &Call<'_>) -> Answer {
    let user = call.ams.auth.accept_registration(id(call)?, call.principal.user_id()).await?.ok_or_else(unknown)?;
    users::shown(call.ams, user, true, Memberships::All).await
}

/// Declines a pending registration. That there is one is looked at before the body, of which only the first value counts.
pub(crate) async fn decline(call: &Call<'_>) -> Answer {
    let (id, auth) = (id(call)?, &call.ams.auth);
    if !auth.registration(id).await?.is_some_and(|registration| registration.is_pending()) {
        return Err(unknown());
    }
    let body = bodies::first_map(&call.body).map_err(|_| Failure::INVALID_BODY)?;
    let comment = body.get("comment").map_or("", String::as_str);
    if auth.decline_registration(id, comment, call.principal.user_id()).await? {
        Ok(b"{}".to_vec())
    } else {
        Err(unknown())
    }
}

/// Removes the path's registration.
pub(crate) async fn delete(call: &Call<'_>) -> Answer {
    if call.ams.auth.delete_registration(id(call)?).await? { Ok(Vec::new()) } else { Err(unknown()) }
}

/// The path's registration.
pub(crate) async fn show(call: &Call<'_>) -> Answer {
    let registration = call.ams.auth.registration(id(call)?).await?.ok_or_else(unknown)?;
    shown(call.ams, &registration).await
}

/// All registrations that are as the query says, in the order in which they came. An empty filter is none.
pub(crate) async fn list(call: &Call<'_>) -> Answer {
    type Field = fn(&Registration) -> &str;
    let fields: [(&str, Field); 5] = [
        ("status", |registration| status(registration)),
        ("name", |registration| registration.name.as_str()),
        ("email", |registration| &registration.profile.email),
        ("organization", |registration| &registration.profile.organization),
        ("activation_token", activation_token),
    ];
    let filters: Vec<(Cow<'_, str>, Field)> =
        fields.into_iter().filter_map(|(name, field)| Some((call.query.get(name)?, field))).collect();
    let wanted = |registration: &Registration| {
        filters.iter().all(|(text, field)| text.is_empty() || field(registration) == text.as_ref())
    };
    let all = call.ams.auth.registrations().await?;
    let mut views = Vec::new();
    for registration in all.iter().filter(|registration| wanted(registration)) {
        views.push(view(call.ams, registration).await?);
    }
    Ok(render::object(Indent::Three, |json| {
        json.field("user_registrations").array(|json| {
            views.iter().for_each(|view| json.item().object(|json| write(view, json)));
        });
    }))
}
