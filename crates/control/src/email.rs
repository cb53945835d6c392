//! The stored form of e-mail addresses.

use crate::error::ControlError;

const MAX_EMAIL_CHARS: usize = 254;

/// Returns the address as it would be stored, whether it can be one or not.
pub(crate) fn lookup_form(email: &str) -> String {
    email.trim().to_lowercase()
}

/// Returns the address trimmed and in lower case, its stored form.
///
/// # Errors
/// [`ControlError::Invalid`] when it cannot be an address. Whether it receives mail is not checked.
pub(crate) fn normalize(email: &str) -> Result<String, ControlError> {
    let email = lookup_form(email);
    let has_two_parts = email
        .rsplit_once('@')
        .is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty());
    let is_clean = !email.chars().any(|c| c.is_whitespace() || c.is_control());
    if !has_two_parts || !is_clean || email.chars().count() > MAX_EMAIL_CHARS {
        return Err(ControlError::Invalid(
            "an e-mail address must look like name@example.com",
        ));
    }
    Ok(email)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_normalized_or_refused() {
        assert_eq!(normalize(" Ada@Example.COM ").unwrap(), "ada@example.com");
        for bad in [
            "",
            "ada",
            "@example.com",
            "ada@",
            "a da@example.com",
            "ada@exa\0mple.com",
        ] {
            assert!(normalize(bad).is_err(), "{bad}");
        }
    }
}
