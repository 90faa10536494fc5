//! What a user is: an identity with roles in projects and in the service. Holds no secret.

use super::acl::RoleName;
use super::id::{Name, ProjectId, Timestamp, UserId};

/// A user as the document has him, without his token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct User {
    /// His identity through renames.
    pub id: UserId,
    /// His present name, unique in the service.
    pub name: Name,
    /// Who he is.
    pub profile: Profile,
    /// His roles in projects, in the order given.
    pub memberships: Vec<Membership>,
    /// His roles in the whole service.
    pub service_roles: Vec<RoleName>,
    /// When he was made.
    pub created_at: Timestamp,
    /// When he was last changed.
    pub modified_at: Timestamp,
    /// Who made him, unless that was no user.
    pub created_by: Option<UserId>,
}

/// Who a user is, in free text.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Profile {
    /// Given name.
    pub first_name: String,
    /// Family name.
    pub last_name: String,
    /// Organisation.
    pub organization: String,
    /// What he is for.
    pub description: String,
    /// Where to reach him; not checked.
    pub email: String,
}

/// A user's roles in one project; may be none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Membership {
    /// The project.
    pub project: ProjectId,
    /// His roles there.
    pub roles: Vec<RoleName>,
}

impl User {
    /// The membership in this project, if he has one.
    #[must_use]
    pub fn membership(&self, project: ProjectId) -> Option<&Membership> {
        self.memberships.iter().find(|membership| membership.project == project)
    }
}
