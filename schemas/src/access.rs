//! Roles and tiers (`../spec/conventions.md` §3, `keys-orgs-auth.md` §10).

use serde::{Deserialize, Serialize};

/// A member's role in an organization; each includes the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Reads.
    Viewer,
    /// Creates keys.
    Member,
    /// Manages mappings, members and keys.
    Admin,
    /// Everything; exactly one in an organization.
    Owner,
}

impl Role {
    /// The name on the wire and in storage.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Member => "member",
            Self::Admin => "admin",
            Self::Owner => "owner",
        }
    }

    /// Reads a stored role. Anything unknown is none, which passes no check.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Viewer, Self::Member, Self::Admin, Self::Owner]
            .into_iter()
            .find(|role| role.as_str() == text)
    }
}

/// An organization's plan; each includes the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// No margins.
    Free,
    /// Margins, mappings, revenue.
    Pro,
    /// Pro without limits.
    Enterprise,
}

impl Tier {
    /// The name on the wire and in storage.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Pro => "pro",
            Self::Enterprise => "enterprise",
        }
    }

    /// The name that people read.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Free => "Free",
            Self::Pro => "Pro",
            Self::Enterprise => "Enterprise",
        }
    }

    /// Reads a stored tier.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Free, Self::Pro, Self::Enterprise]
            .into_iter()
            .find(|tier| tier.as_str() == text)
    }

    /// Returns the tier that counts, given a subscription's tier and status: anything but
    /// `active` and `past_due` is free.
    #[must_use]
    pub fn effective(subscription: Option<(&str, &str)>) -> Self {
        match subscription {
            Some((tier, "active" | "past_due")) => Self::parse(tier).unwrap_or(Self::Free),
            _ => Self::Free,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_names_fail_closed() {
        for bad in ["Owner", "", "__proto__", "constructor", "superuser"] {
            assert_eq!(Role::parse(bad), None);
        }
        assert_eq!(Tier::effective(Some(("pro", "canceled"))), Tier::Free);
        assert_eq!(Tier::effective(Some(("pro", "past_due"))), Tier::Pro);
        assert_eq!(Tier::effective(None), Tier::Free);
        assert!(Role::Admin >= Role::Member && Role::Viewer < Role::Member);
    }
}
