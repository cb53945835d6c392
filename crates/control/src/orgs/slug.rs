//! Slugs: their rule, and how they are made where nobody chooses one.

use schemas::id::{OrgId, UserId};
use schemas::time::TimestampMs;

use crate::error::{Attempt, ControlError};
use crate::pools::WriteTransaction;

pub(super) const TAKEN: &str = "the organization's slug is taken";

/// Bounds of a slug's length, in characters (keys-orgs-auth §4).
const MIN_CHARS: usize = 3;
const MAX_CHARS: usize = 50;
/// Hex digits, and a hyphen before them, that tell equal slugs apart.
const SUFFIX_CHARS: usize = 9;
/// Hex digits of the user's id in the slug of a personal organization.
const USER_CHARS: usize = 8;

/// Returns the trimmed slug.
///
/// # Errors
/// [`ControlError::Invalid`] unless it has 3 to 50 characters: runs of `[a-z0-9]` joined by single
/// hyphens.
pub(super) fn validate(slug: &str) -> Result<&str, ControlError> {
    let slug = slug.trim();
    let is_run =
        |run: &str| !run.is_empty() && run.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    if !(MIN_CHARS..=MAX_CHARS).contains(&slug.len()) || !slug.split('-').all(is_run) {
        return Err(ControlError::Invalid(
            "a slug must have 3 to 50 characters: lower-case letters and digits, joined by single hyphens",
        ));
    }
    Ok(slug)
}

/// Runs of `[a-z0-9]` joined by single hyphens, short enough to take a suffix.
pub(super) fn of_name(name: &str) -> String {
    let lower = name.to_ascii_lowercase();
    let words = lower
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty());
    let mut slug = words.collect::<Vec<_>>().join("-");
    slug.truncate(MAX_CHARS - SUFFIX_CHARS);
    let slug = slug.trim_end_matches('-');
    if slug.is_empty() {
        "org".to_owned()
    } else if slug.len() < MIN_CHARS {
        format!("org-{slug}")
    } else {
        slug.to_owned()
    }
}

/// Returns `user-<first 8 digits of the user's id>-<milliseconds since 1970 in base 36>`
/// (keys-orgs-auth §3.2).
pub(super) fn of_user(user: UserId, now: TimestampMs) -> String {
    let mut digits = user.0.simple().to_string();
    digits.truncate(USER_CHARS);
    format!("user-{digits}-{}", base36(now.0.unsigned_abs()))
}

fn base36(mut number: u64) -> String {
    let mut digits = Vec::new();
    loop {
        digits.extend(
            u32::try_from(number % 36)
                .ok()
                .and_then(|digit| char::from_digit(digit, 36)),
        );
        number /= 36;
        if number == 0 {
            return digits.into_iter().rev().collect();
        }
    }
}

/// Returns the slug, or where it is taken, the slug with digits of the random id.
pub(super) async fn free(
    tx: &mut WriteTransaction,
    slug: String,
    org: OrgId,
) -> Result<String, ControlError> {
    let taken = sqlx::query("SELECT id FROM orgs WHERE slug = $1")
        .bind(slug.clone())
        .fetch_optional(&mut **tx)
        .attempt("look a slug up")
        .await?;
    if taken.is_none() {
        return Ok(slug);
    }
    let digits = org.0.simple().to_string();
    Ok(format!(
        "{slug}-{}",
        digits.get(..SUFFIX_CHARS - 1).unwrap_or(&digits)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs_follow_their_rule_for_any_name() {
        for (name, slug) in [
            ("Globex Corporation, Inc.", "globex-corporation-inc"),
            ("--A  b__c--", "a-b-c"),
            ("日本", "org"),
            ("X", "org-x"),
        ] {
            assert_eq!(of_name(name), slug);
            assert_eq!(validate(slug).unwrap(), slug);
        }
        let long = of_name(&"word ".repeat(20));
        assert!(long.len() <= 41 && !long.ends_with('-'));
    }

    #[test]
    fn chosen_slugs_are_trimmed_and_refused_where_they_break_the_rule() {
        assert_eq!(validate(" acme-2 ").unwrap(), "acme-2");
        assert!(validate(&"a".repeat(50)).is_ok());
        for bad in [
            "", "ab", "-acme", "acme-", "ac--me", "Acme", "ac me", "ac_me", "acmé", "acme\0",
        ] {
            assert!(validate(bad).is_err(), "{bad:?}");
        }
        assert!(validate(&"a".repeat(51)).is_err());
    }

    #[test]
    fn a_users_slug_names_the_user_and_the_time() {
        let user = UserId(uuid::Uuid::from_u128(0x1234_abcd << 96));
        assert_eq!(
            of_user(user, TimestampMs(1_772_000_000_000)),
            "user-1234abcd-mm1n1qm8"
        );
        assert_eq!(
            (base36(0), base36(35), base36(36)),
            ("0".into(), "z".into(), "10".into())
        );
    }
}
