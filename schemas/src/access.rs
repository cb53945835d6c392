//! Roles and tiers (`../spec/conventions.md` §3, `keys-orgs-auth.md` §10).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::money::Microdollars;

/// A member's role in an organization; each includes the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
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

    /// Returns what an organization of this tier may have.
    #[must_use]
    pub const fn limits(self) -> TierLimits {
        match self {
            Self::Free => TierLimits {
                max_budget_microdollars: Some(Microdollars(5_000_000_000)),
                max_budgets: Some(3),
                max_api_keys: Some(10),
                max_webhook_endpoints: Some(2),
                max_seats: Some(3),
                retention_days: Some(30),
                logs_bodies: false,
            },
            Self::Pro => TierLimits {
                max_budget_microdollars: Some(Microdollars(50_000_000_000)),
                max_webhook_endpoints: Some(25),
                retention_days: Some(90),
                ..TierLimits::NONE
            },
            Self::Enterprise => TierLimits::NONE,
        }
    }
}

/// What an organization may have (`keys-orgs-auth.md` §10). None is without limit. A limit stops
/// what is made anew; what is there already stays after a downgrade.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TierLimits {
    /// Largest amount of one budget, inclusive, in microdollars (1 USD = 1,000,000).
    pub max_budget_microdollars: Option<Microdollars>,
    /// Most budgets.
    pub max_budgets: Option<u32>,
    /// Most API keys that are not revoked.
    pub max_api_keys: Option<u32>,
    /// Most webhook endpoints.
    pub max_webhook_endpoints: Option<u32>,
    /// Most seats: members who are not viewers, and pending invitations of such.
    pub max_seats: Option<u32>,
    /// How long events are kept, in days. Sums by month outlive them.
    pub retention_days: Option<u32>,
    /// Whether bodies of requests and responses may be logged.
    pub logs_bodies: bool,
}

impl TierLimits {
    const NONE: Self = Self {
        max_budget_microdollars: None,
        max_budgets: None,
        max_api_keys: None,
        max_webhook_endpoints: None,
        max_seats: None,
        retention_days: None,
        logs_bodies: true,
    };
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

    #[test]
    fn limits_grow_with_the_tier() {
        let [free, pro, enterprise] = [Tier::Free, Tier::Pro, Tier::Enterprise].map(Tier::limits);
        assert_eq!((free.max_api_keys, free.max_seats), (Some(10), Some(3)));
        assert_eq!((free.max_budgets, free.max_webhook_endpoints), (Some(3), Some(2)));
        assert_eq!(
            (pro.max_api_keys, pro.max_seats, pro.max_budgets),
            (None, None, None)
        );
        assert_eq!(pro.max_webhook_endpoints, Some(25));
        let days = [free, pro, enterprise].map(|limits| limits.retention_days);
        assert_eq!(days, [Some(30), Some(90), None]);
        let caps = [free, pro, enterprise].map(|limits| limits.max_budget_microdollars);
        let dollars = |dollars: i64| Some(Microdollars(dollars * 1_000_000));
        assert_eq!(caps, [dollars(5_000), dollars(50_000), None]);
        assert_eq!(
            [free, pro, enterprise].map(|limits| limits.logs_bodies),
            [false, true, true]
        );
        assert_eq!(enterprise, TierLimits::NONE);
    }
}
