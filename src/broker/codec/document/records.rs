//! The fields of the documents beside those of living things: names' and tokens' holders, roles, keys, registrations, days, bindings.
//! Tags are frozen.

use super::fields::{FieldReader, Fields, Value, damaged, put_prefixed};
use super::kinds::{put_texts, read_sealed, read_user, write_user};
use super::{BoundSubject, DayEnd, Hint, KeyCheck, Record, SealedKey, StoredRoles, SubjectHint, TokenHint};
use crate::domain::acl::RoleTable;
use crate::domain::registration::{Decision, Registration, RegistrationStatus};
use crate::domain::user::Profile;
use crate::domain::{Incarnation, RegistrationId, Result, UserId};

impl Record for Hint {
    const KIND: u8 = 5;
    const WHAT: &'static str = "a name's holder";

    fn write(&self, fields: &mut Fields) {
        if let Some(holder) = self.holder {
            fields.u128(1, holder);
        }
        if let Some((by, at)) = self.given_up {
            fields.u128(2, by).u64(3, at.0);
        }
        fields.u64(4, self.incarnation.0);
    }

    fn read(fields: &mut FieldReader<'_>) -> Result<Self> {
        let holder = fields.optional(1)?.map(Value::u128).transpose()?;
        let given_up = match fields.optional(2)? {
            Some(by) => Some((by.u128()?, fields.required(3)?.timestamp()?)),
            None => None,
        };
        Ok(Self { holder, given_up, incarnation: Incarnation(fields.required(4)?.u64()?) })
    }
}

impl Record for TokenHint {
    const KIND: u8 = 6;
    const WHAT: &'static str = "a token's holder";

    fn write(&self, fields: &mut Fields) {
        fields.u128(1, self.holder.0);
    }

    fn read(fields: &mut FieldReader<'_>) -> Result<Self> {
        Ok(Self { holder: UserId(fields.required(1)?.u128()?) })
    }
}

impl Record for StoredRoles {
    const KIND: u8 = 7;
    const WHAT: &'static str = "the role table";

    fn write(&self, fields: &mut Fields) {
        let mut rows = Vec::new();
        for (permission, roles) in self.0.rows() {
            put_prefixed(&mut rows, permission.as_bytes());
            put_texts(&mut rows, roles.iter());
        }
        fields.bytes(1, &rows);
    }

    fn read(fields: &mut FieldReader<'_>) -> Result<Self> {
        let mut rest = fields.required(1)?;
        let mut rows = Vec::new();
        while !rest.is_empty() {
            rows.push((rest.prefixed()?.text()?, rest.prefixed()?.texts()?));
        }
        let rises = |texts: &[&str]| texts.is_sorted_by(|one, next| one < next);
        if !rows.is_sorted_by(|(one, _), (next, _)| one < next) || !rows.iter().all(|(_, roles)| rises(roles)) {
            return Err(damaged("its rows are not in their one order"));
        }
        Ok(Self(RoleTable::new(rows.iter().map(|(permission, roles)| (*permission, roles.as_slice())))))
    }
}

impl Record for KeyCheck {
    const KIND: u8 = 8;
    const WHAT: &'static str = "the key's check";

    fn write(&self, fields: &mut Fields) {
        fields.u32(1, self.sealed.key).bytes(2, &self.sealed.bytes);
    }

    fn read(fields: &mut FieldReader<'_>) -> Result<Self> {
        Ok(Self { sealed: read_sealed(fields, 1)? })
    }
}

impl Record for SealedKey {
    const KIND: u8 = 31;
    const WHAT: &'static str = "a log's data key";

    fn write(&self, fields: &mut Fields) {
        fields.u32(1, self.0.key).bytes(2, &self.0.bytes);
    }

    fn read(fields: &mut FieldReader<'_>) -> Result<Self> {
        Ok(Self(read_sealed(fields, 1)?))
    }
}

impl Record for Registration {
    const KIND: u8 = 12;
    const WHAT: &'static str = "a registration";

    fn write(&self, fields: &mut Fields) {
        let Self { id, name, profile, registered_at, status } = self;
        fields.u128(1, id.0).text(2, name.as_str());
        fields.text(3, &profile.first_name).text(4, &profile.last_name).text(5, &profile.organization);
        fields.text(6, &profile.description).text(7, &profile.email).u64(8, registered_at.0);
        let decision = match status {
            RegistrationStatus::Pending { activation_token } => {
                fields.text(9, activation_token);
                return;
            }
            RegistrationStatus::Accepted(decision) => decision,
            RegistrationStatus::Declined { decision, comment } => {
                fields.text(10, comment);
                decision
            }
        };
        fields.u64(11, decision.at.0);
        write_user(fields, 12, decision.by);
    }

    fn read(fields: &mut FieldReader<'_>) -> Result<Self> {
        Ok(Self {
            id: RegistrationId(fields.required(1)?.u128()?),
            name: fields.required(2)?.name()?,
            profile: Profile {
                first_name: fields.required(3)?.text()?.to_owned(),
                last_name: fields.required(4)?.text()?.to_owned(),
                organization: fields.required(5)?.text()?.to_owned(),
                description: fields.required(6)?.text()?.to_owned(),
                email: fields.required(7)?.text()?.to_owned(),
            },
            registered_at: fields.required(8)?.timestamp()?,
            status: read_status(fields)?,
        })
    }
}

fn read_status(fields: &mut FieldReader<'_>) -> Result<RegistrationStatus> {
    if let Some(token) = fields.optional(9)? {
        return Ok(RegistrationStatus::Pending { activation_token: token.text()?.to_owned() });
    }
    let comment = fields.optional(10)?.map(Value::text).transpose()?.map(str::to_owned);
    let decision = Decision { at: fields.required(11)?.timestamp()?, by: read_user(fields, 12)? };
    Ok(match comment {
        Some(comment) => RegistrationStatus::Declined { comment, decision },
        None => RegistrationStatus::Accepted(decision),
    })
}

impl Record for DayEnd {
    const KIND: u8 = 9;
    const WHAT: &'static str = "a day's end";

    fn write(&self, fields: &mut Fields) {
        fields.u64(1, self.messages).u64(2, self.bytes);
    }

    fn read(fields: &mut FieldReader<'_>) -> Result<Self> {
        Ok(Self { messages: fields.required(1)?.u64()?, bytes: fields.required(2)?.u64()? })
    }
}

impl Record for BoundSubject {
    const KIND: u8 = 20;
    const WHAT: &'static str = "a certificate's binding";

    fn write(&self, fields: &mut Fields) {
        fields.u128(1, self.id).text(2, &self.subject);
        if let Some(issuer) = &self.issuer {
            fields.text(3, issuer);
        }
        fields.u128(4, self.user.0).u64(5, self.created_at.0).u64(6, self.modified_at.0);
    }

    fn read(fields: &mut FieldReader<'_>) -> Result<Self> {
        Ok(Self {
            id: fields.required(1)?.u128()?,
            subject: fields.required(2)?.text()?.to_owned(),
            issuer: fields.optional(3)?.map(Value::text).transpose()?.map(str::to_owned),
            user: UserId(fields.required(4)?.u128()?),
            created_at: fields.required(5)?.timestamp()?,
            modified_at: fields.required(6)?.timestamp()?,
        })
    }
}

impl Record for SubjectHint {
    const KIND: u8 = 21;
    const WHAT: &'static str = "a bound subject's binding";

    fn write(&self, fields: &mut Fields) {
        fields.text(1, self.name.as_str()).u128(2, self.id);
    }

    fn read(fields: &mut FieldReader<'_>) -> Result<Self> {
        Ok(Self { name: fields.required(1)?.name()?, id: fields.required(2)?.u128()? })
    }
}
