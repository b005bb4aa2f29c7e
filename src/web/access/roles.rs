//! Roles, and which of them a route takes.

use crate::units::shape::{Described, Shapes, one_of};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;
use std::str::FromStr;

/// What the holder of a token may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Sees everything that is not secret.
    Viewer,
    /// Also stops sessions, releases holds, drains processors, opens accounts and links credentials.
    Operator,
    /// Also moves money: refunds, top-ups, settlement.
    Finance,
    /// Everything, tokens and backups included.
    Admin,
}

impl Role {
    /// All of them.
    pub const ALL: [Role; 4] = [Role::Viewer, Role::Operator, Role::Finance, Role::Admin];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Operator => "operator",
            Role::Finance => "finance",
            Role::Admin => "admin",
        }
    }
}

impl Described for Role {
    fn shape(_: &mut Shapes) -> Value {
        one_of(&Role::ALL)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Role, String> {
        let found = Role::ALL.into_iter().find(|role| role.name() == text);
        found.ok_or_else(|| "wanted viewer, operator, finance or admin".to_owned())
    }
}

/// The roles that a route takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Roles(&'static [Role]);

impl Roles {
    /// Every role.
    pub const ALL: Roles = Roles(&Role::ALL);
    /// Those who run the network.
    pub const OPERATING: Roles = Roles(&[Role::Operator, Role::Admin]);
    /// Those who move money.
    pub const MONEY: Roles = Roles(&[Role::Finance, Role::Admin]);
    /// Both.
    pub const OPERATING_OR_MONEY: Roles = Roles(&[Role::Operator, Role::Finance, Role::Admin]);
    /// Administrators.
    pub const ADMIN: Roles = Roles(&[Role::Admin]);

    /// Whether it is among them.
    pub fn has(self, role: Role) -> bool {
        self.0.contains(&role)
    }

    /// Their names.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        self.0.iter().map(|role| role.name())
    }
}

impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.names().collect();
        f.write_str(&names.join(" or "))
    }
}
