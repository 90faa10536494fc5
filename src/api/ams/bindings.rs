//! Bindings of certificates' subjects to users: list, show, create, update, delete. Paths and fields as in ARGO AuthN, statuses
//! and errors as everywhere in this dialect. AuthN's service types and hosts have no counterpart: `service_uuid` and `host` in a
//! body are passed over, as all fields that are not known.

use super::bodies::BindingBody;
use super::error::{Failure, Refusal};
use super::render::{self, Indent, Json};
use super::request::{Answer, Call};
use crate::auth::x509::{Binding, BindingChange, BindingError, DistinguishedName, NewBinding};
use crate::domain::{Name, UserId};

/// The only way to be known by a binding.
const AUTH_TYPE: &str = "x509";

impl From<BindingError> for Refusal {
    fn from(error: BindingError) -> Self {
        let taken = |why: &str| Failure { code: 409, message: why.to_owned().into(), status: "ALREADY_EXISTS" }.into();
        match error {
            BindingError::NotFound => Failure::missing("Binding was not found").into(),
            BindingError::NameTaken => taken("Binding already exists"),
            BindingError::SubjectTaken => taken("Binding with this auth_identifier already exists"),
            BindingError::Failed(error) => error.into(),
        }
    }
}

fn write(binding: &Binding, user: &str, json: &mut Json) {
    json.field("name").string(binding.name.as_str());
    json.field("uuid").quoted(UserId(binding.id));
    json.field("auth_identifier").string(&binding.subject.to_string());
    json.field_unless_empty("issuer", &binding.issuer.as_ref().map(ToString::to_string).unwrap_or_default());
    json.field("unique_key").quoted(binding.user);
    json.field_unless_empty("user", user);
    json.field("auth_type").string(AUTH_TYPE);
    json.field("created_on").seconds(binding.created_at);
    json.field("updated_on").seconds(binding.modified_at);
}

async fn shown(call: &Call<'_>, binding: &Binding) -> Answer {
    let user = super::users::creator(call.ams, Some(binding.user)).await?;
    Ok(render::object(Indent::Three, |json| write(binding, &user, json)))
}

/// A distinguished name from a body; none for an absent or empty one.
fn name(what: &'static str, text: Option<&str>) -> Result<Option<DistinguishedName>, Refusal> {
    let text = text.filter(|text| !text.is_empty());
    Ok(text.map(|text| DistinguishedName::parse(what, text)).transpose()?)
}

/// The user that a body gives by name or by id; none when it gives neither.
async fn user(call: &Call<'_>, body: &BindingBody<'_>) -> Result<Option<UserId>, Refusal> {
    let unknown = || Refusal::from(Failure::not_found("User"));
    let given = |text: &Option<std::borrow::Cow<'_, str>>| text.as_deref().unwrap_or_default().to_owned();
    let (id, name) = (given(&body.unique_key), given(&body.user));
    let user = match (id.as_str(), name.as_str()) {
        ("", "") => return Ok(None),
        ("", name) => call.ams.auth.user(&Name::new(name).map_err(|_| unknown())?).await,
        (id, "") => call.ams.auth.user_by_id(UserId::parse(id).ok_or_else(unknown)?).await,
        _ => return Err(Failure::argument("Give unique_key or user, not both").into()),
    };
    Ok(Some(user?.id))
}

fn decoded<'a>(call: &'a Call<'_>) -> Result<BindingBody<'a>, Refusal> {
    let body = BindingBody::decode(&call.body).map_err(|_| Failure::arguments("Binding"))?;
    match body.auth_type.as_deref() {
        None | Some("" | AUTH_TYPE) => Ok(body),
        Some(other) => {
            Err(Failure::argument(format!("Auth type: {other} is not yet supported. Supported:[x509]")).into())
        }
    }
}

/// All bindings by name, or the one of `authID`.
pub(crate) async fn list(call: &Call<'_>) -> Answer {
    let wanted = name("authID", call.query.get("authID").as_deref())?;
    let bindings = match wanted {
        None => call.ams.auth.bindings().await?,
        Some(subject) => vec![call.ams.auth.binding_of(&subject).await?.ok_or(BindingError::NotFound)?],
    };
    let mut users = Vec::with_capacity(bindings.len());
    for binding in &bindings {
        users.push(super::users::creator(call.ams, Some(binding.user)).await?);
    }
    Ok(render::object(Indent::Three, |json| {
        json.field("bindings").array(|json| {
            for (binding, user) in bindings.iter().zip(&users) {
                json.item().object(|json| write(binding, user, json));
            }
        });
    }))
}

/// The path's binding.
pub(crate) async fn show(call: &Call<'_>) -> Answer {
    shown(call, &call.ams.auth.binding(&call.name("binding")?).await?).await
}

/// Makes the path's binding.
pub(crate) async fn create(call: &Call<'_>) -> Answer {
    let body = decoded(call)?;
    let missing =
        |what: &str| Refusal::from(Failure::argument(format!("binding object contains empty fields. {what}")));
    let subject = name("auth_identifier", body.auth_identifier.as_deref())?;
    let subject = subject.ok_or_else(|| missing("empty value for field: auth_identifier"))?;
    let issuer = name("issuer", body.issuer.as_deref())?;
    let user = user(call, &body).await?.ok_or_else(|| missing("empty value for field: unique_key"))?;
    let new = NewBinding { name: call.name("binding")?, subject, issuer, user };
    shown(call, &call.ams.auth.create_binding(new).await?).await
}

/// Changes what the body gives of the path's binding; an empty `issuer` takes the pin away. A binding keeps its name.
pub(crate) async fn update(call: &Call<'_>) -> Answer {
    let body = decoded(call)?;
    let own = call.name("binding")?;
    if body.name.as_deref().is_some_and(|name| !name.is_empty() && name != own.as_str()) {
        return Err(Failure::argument("A binding keeps its name: make another and delete this one").into());
    }
    let issuer = match body.issuer.as_deref() {
        None => None,
        Some(text) => Some(name("issuer", Some(text))?),
    };
    let subject = name("auth_identifier", body.auth_identifier.as_deref())?;
    let change = BindingChange { subject, issuer, user: user(call, &body).await? };
    shown(call, &call.ams.auth.update_binding(&own, change).await?).await
}

/// Removes the path's binding.
pub(crate) async fn delete(call: &Call<'_>) -> Answer {
    call.ams.auth.delete_binding(&call.name("binding")?).await?;
    Ok(Vec::new())
}
