//! Who is asking: headers, Basic authorization or URL parameters, as ClickHouse takes them.

use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::error::{QueryError, code};
use super::{Credentials, Users};
use crate::engine::Role;

/// The user ClickHouse assumes when a request names none.
const DEFAULT_USER: &str = "default";

/// Returns the role of the user whose credentials the request carries.
///
/// # Errors
/// 194 when there are none, 516 when they are wrong; which of name and password is wrong stays unsaid.
pub(super) fn authenticate(
    users: &Users,
    headers: &HeaderMap,
    parameters: &[(String, String)],
) -> Result<Role, QueryError> {
    let Some((name, password)) = credentials(headers, parameters) else {
        // A default user without a password needs no credentials.
        return role_of(users, DEFAULT_USER, "").ok_or_else(|| {
            QueryError::new(
                code::REQUIRED_PASSWORD,
                "REQUIRED_PASSWORD",
                "user and password are required",
            )
        });
    };
    role_of(users, &name, &password).ok_or_else(|| {
        let text = "Authentication failed: password is incorrect, or there is no user with such name";
        QueryError::new(code::AUTHENTICATION_FAILED, "AUTHENTICATION_FAILED", text)
    })
}

fn credentials(headers: &HeaderMap, parameters: &[(String, String)]) -> Option<(String, String)> {
    let text = |name: &str| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned)
    };
    let user = text("x-clickhouse-user");
    let key = text("x-clickhouse-key");
    if user.is_some() || key.is_some() {
        return Some((
            user.unwrap_or_else(|| DEFAULT_USER.to_owned()),
            key.unwrap_or_default(),
        ));
    }
    if let Some(authorization) = text(header::AUTHORIZATION.as_str()) {
        return Some(basic(&authorization).unwrap_or_default());
    }
    let parameter = |name: &str| {
        parameters
            .iter()
            .rfind(|(key, _)| key == name)
            .map(|(_, value)| value.clone())
    };
    let user = parameter("user");
    let password = parameter("password");
    if user.is_none() && password.is_none() {
        return None;
    }
    Some((
        user.unwrap_or_else(|| DEFAULT_USER.to_owned()),
        password.unwrap_or_default(),
    ))
}

fn basic(authorization: &str) -> Option<(String, String)> {
    let (scheme, encoded) = authorization.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(BASE64_STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (name, password) = decoded.split_once(':')?;
    Some((name.to_owned(), password.to_owned()))
}

fn role_of(users: &Users, name: &str, password: &str) -> Option<Role> {
    let matches = |user: &Credentials| {
        user.name == name && constant_time_eq(user.password.as_bytes(), password.as_bytes())
    };
    if matches(&users.service) {
        return Some(Role::Service);
    }
    users
        .analyst
        .as_ref()
        .is_some_and(matches)
        .then_some(Role::Analyst)
}

/// Compares without telling by its duration where two passwords differ.
fn constant_time_eq(left: &[u8], right: &[u8]) -> bool {
    let differences = left.iter().zip(right).fold(0, |bits, (a, b)| bits | (a ^ b));
    left.len() == right.len() && std::hint::black_box(differences) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn users() -> Users {
        Users {
            service: Credentials::new("service", "s3cret"),
            analyst: Some(Credentials::new("analyst", "read:only")),
        }
    }

    fn role(headers: &[(&'static str, &str)], parameters: &[(&str, &str)]) -> Result<Role, QueryError> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, HeaderValue::from_str(value).unwrap());
        }
        let parameters: Vec<_> = parameters
            .iter()
            .map(|&(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        authenticate(&users(), &map, &parameters)
    }

    #[test]
    fn takes_each_way_of_naming_a_user() {
        let clickhouse = [("x-clickhouse-user", "service"), ("x-clickhouse-key", "s3cret")];
        assert_eq!(role(&clickhouse, &[]), Ok(Role::Service));
        let basic = format!("Basic {}", BASE64_STANDARD.encode("analyst:read:only"));
        assert_eq!(role(&[("authorization", &basic)], &[]), Ok(Role::Analyst));
        assert_eq!(
            role(&[], &[("user", "service"), ("password", "s3cret")]),
            Ok(Role::Service)
        );
    }

    #[test]
    fn refuses_wrong_and_missing_credentials() {
        assert!(role(&[], &[("user", "service"), ("password", "s3cre")]).is_err());
        assert!(role(&[("x-clickhouse-user", "nobody")], &[]).is_err());
        assert!(
            role(
                &[("authorization", "Bearer x")],
                &[("user", "service"), ("password", "s3cret")]
            )
            .is_err()
        );
        assert!(role(&[], &[]).unwrap_err().message().contains("194"));
    }

    #[test]
    fn default_user_without_a_password_needs_no_credentials() {
        let users = Users {
            service: Credentials::new("default", ""),
            analyst: None,
        };
        assert_eq!(authenticate(&users, &HeaderMap::new(), &[]), Ok(Role::Service));
    }
}
