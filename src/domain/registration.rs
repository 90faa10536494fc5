//! What a registration is: somebody's wish to become a user, and what was answered. Makes no user.

use super::id::{Name, RegistrationId, Timestamp, UserId};
use super::user::Profile;

/// A registration as its document has it. Any number may ask for one name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Registration {
    /// Its identity; grows with the time at which it came.
    pub id: RegistrationId,
    /// The name that the user would have.
    pub name: Name,
    /// Who he is.
    pub profile: Profile,
    /// When it came.
    pub registered_at: Timestamp,
    /// What became of it.
    pub status: RegistrationStatus,
}

/// What became of a registration. It is decided once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RegistrationStatus {
    /// Nobody has decided.
    Pending {
        /// A text that nobody else has, to find the registration by. It opens nothing, and so is kept as it is.
        activation_token: String,
    },
    /// There is a user of its name.
    Accepted(Decision),
    /// There will be none.
    Declined {
        /// Why; may be empty.
        comment: String,
        /// By whom.
        decision: Decision,
    },
}

/// Who decided, and when.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Decision {
    /// Unless it was no user.
    pub by: Option<UserId>,
    /// The instant.
    pub at: Timestamp,
}

impl Registration {
    /// Whether it waits for a decision.
    #[must_use]
    pub const fn is_pending(&self) -> bool {
        matches!(self.status, RegistrationStatus::Pending { .. })
    }
}
