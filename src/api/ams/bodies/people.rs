//! The bodies about people: users, members, registrations.

use super::super::json::{Reader, document, is};
use super::{Result, Text, set, strings};
use crate::domain::user::Profile;
use std::borrow::Cow;

/// A project's entry in a user.
#[derive(Debug, Default)]
pub(crate) struct MembershipBody<'a> {
    pub(crate) project: Cow<'a, str>,
    pub(crate) roles: Vec<Cow<'a, str>>,
}

/// Who a user is, in a body about him.
#[derive(Debug, Default)]
pub(crate) struct ProfileBody<'a> {
    first_name: Text<'a>,
    last_name: Text<'a>,
    organization: Text<'a>,
    description: Text<'a>,
    pub(crate) email: Text<'a>,
}

impl<'a> ProfileBody<'a> {
    /// Where the text of a field goes, if the field is one of these.
    fn text(&mut self, name: &str) -> Option<&mut Text<'a>> {
        match name {
            _ if is(name, "first_name") => Some(&mut self.first_name),
            _ if is(name, "last_name") => Some(&mut self.last_name),
            _ if is(name, "organization") => Some(&mut self.organization),
            _ if is(name, "description") => Some(&mut self.description),
            _ if is(name, "email") => Some(&mut self.email),
            _ => None,
        }
    }

    /// Changes a profile to what is given; absent and empty texts change nothing.
    pub(crate) fn change(self, profile: &mut Profile) {
        let texts = [
            (&mut profile.first_name, self.first_name),
            (&mut profile.last_name, self.last_name),
            (&mut profile.organization, self.organization),
            (&mut profile.description, self.description),
            (&mut profile.email, self.email),
        ];
        for (text, given) in texts {
            if let Some(given) = given.filter(|given| !given.is_empty()) {
                *text = given.into_owned();
            }
        }
    }
}

impl From<ProfileBody<'_>> for Profile {
    fn from(body: ProfileBody<'_>) -> Self {
        let mut profile = Self::default();
        body.change(&mut profile);
        profile
    }
}

/// User and member create and update.
#[derive(Debug, Default)]
pub(crate) struct UserBody<'a> {
    pub(crate) name: Text<'a>,
    pub(crate) profile: ProfileBody<'a>,
    pub(crate) projects: Option<Vec<MembershipBody<'a>>>,
    pub(crate) service_roles: Option<Vec<Cow<'a, str>>>,
}

impl<'a> UserBody<'a> {
    pub(crate) fn decode(body: &'a [u8]) -> Result<Self> {
        let mut read = Self::default();
        document(body, |name, reader| {
            if let Some(text) = read.profile.text(name) {
                return set(text, reader);
            }
            match name {
                _ if is(name, "name") => set(&mut read.name, reader),
                _ if is(name, "service_roles") => strings(reader).map(|roles| read.service_roles = roles),
                _ if is(name, "projects") => memberships(reader).map(|projects| read.projects = projects),
                // Not ours to take, but of a known type.
                _ if is(name, "uuid") || is(name, "token") => reader.optional_string().map(|_| ()),
                _ => reader.skip(),
            }
        })?;
        Ok(read)
    }
}

/// A registration.
#[derive(Debug, Default)]
pub(crate) struct RegistrationBody<'a> {
    pub(crate) name: Text<'a>,
    pub(crate) profile: ProfileBody<'a>,
}

impl<'a> RegistrationBody<'a> {
    pub(crate) fn decode(body: &'a [u8]) -> Result<Self> {
        // Set by the service, but of a known type.
        const OTHERS: [&str; 7] =
            ["uuid", "activation_token", "status", "decline_comment", "registered_at", "modified_by", "modified_at"];
        let mut read = Self::default();
        document(body, |name, reader| {
            if let Some(text) = read.profile.text(name) {
                return set(text, reader);
            }
            match name {
                _ if is(name, "name") => set(&mut read.name, reader),
                _ if OTHERS.iter().any(|other| is(name, other)) => reader.optional_string().map(|_| ()),
                _ => reader.skip(),
            }
        })?;
        Ok(read)
    }
}

fn memberships<'a>(reader: &mut Reader<'a>) -> Result<Option<Vec<MembershipBody<'a>>>> {
    if reader.null()? {
        return Ok(None);
    }
    let mut list = Vec::new();
    reader.array(|reader| {
        let mut entry = MembershipBody::default();
        reader.object(&mut |name, reader| match name {
            _ if is(name, "project") => {
                entry.project = reader.optional_string()?.unwrap_or_else(|| std::mem::take(&mut entry.project));
                Ok(())
            }
            _ if is(name, "roles") => strings(reader).map(|roles| entry.roles = roles.unwrap_or_default()),
            _ if is(name, "topics") || is(name, "subscriptions") => strings(reader).map(|_| ()),
            _ => reader.skip(),
        })?;
        list.push(entry);
        Ok(())
    })?;
    Ok(Some(list))
}
