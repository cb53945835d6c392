//! Errors as ClickHouse answers them: a status, the exception's code in a header, its text as body.

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse;

use crate::error::exception_code;

pub(super) const EXCEPTION_CODE: HeaderName = HeaderName::from_static("x-clickhouse-exception-code");

/// Codes this server raises itself. Source: `ErrorCodes.cpp` of ClickHouse.
pub(super) mod code {
    pub(crate) const BAD_ARGUMENTS: u32 = 36;
    pub(crate) const NOT_IMPLEMENTED: u32 = 48;
    pub(crate) const SYNTAX_ERROR: u32 = 62;
    pub(crate) const READONLY: u32 = 164;
    pub(crate) const REQUIRED_PASSWORD: u32 = 194;
    pub(crate) const QUERY_WAS_CANCELLED: u32 = 394;
    pub(crate) const CANNOT_DECOMPRESS: u32 = 271;
    pub(crate) const QUERY_IS_TOO_LARGE: u32 = 307;
    pub(crate) const ACCESS_DENIED: u32 = 497;
    pub(crate) const AUTHENTICATION_FAILED: u32 = 516;
    pub(crate) const UNKNOWN_EXCEPTION: u32 = 1002;
}

/// A request that failed before its status line was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct QueryError {
    code: u32,
    message: String,
}

impl QueryError {
    /// An error of this server; `name` is the code's name in ClickHouse.
    pub(super) fn new(code: u32, name: &str, text: impl std::fmt::Display) -> Self {
        Self {
            code,
            message: format!("Code: {code}. DB::Exception: {text}. ({name})"),
        }
    }

    pub(super) fn denied(text: impl std::fmt::Display) -> Self {
        Self::new(code::ACCESS_DENIED, "ACCESS_DENIED", text)
    }

    /// An error of the engine, whose text begins with its code.
    pub(super) fn engine(message: String) -> Self {
        Self {
            code: exception_code(&message).unwrap_or(code::UNKNOWN_EXCEPTION),
            message,
        }
    }

    pub(super) fn message(&self) -> &str {
        &self.message
    }

    /// The status that ClickHouse's `exceptionCodeToHTTPStatus` gives the code.
    fn status(&self) -> StatusCode {
        match self.code {
            // Credentials are missing: ask for them.
            code::REQUIRED_PASSWORD => StatusCode::UNAUTHORIZED,
            192 | 193 | 512 | code::ACCESS_DENIED | code::READONLY | code::AUTHENTICATION_FAILED => {
                StatusCode::FORBIDDEN
            }
            // The statement, a value in it or its data is wrong.
            6
            | 7
            | 25..=27
            | 32
            | 38
            | 41..=43
            | 51
            | 53
            | 61
            | 69
            | 70
            | 72
            | 115
            | 117
            | 120
            | 130
            | 131
            | 456
            | 457
            | code::BAD_ARGUMENTS
            | code::SYNTAX_ERROR
            | code::CANNOT_DECOMPRESS => StatusCode::BAD_REQUEST,
            // It names something that does not exist.
            46 | 47 | 50 | 56 | 60 | 63 | 73 | 78 | 81 => StatusCode::NOT_FOUND,
            code::QUERY_IS_TOO_LARGE => StatusCode::PAYLOAD_TOO_LARGE,
            code::NOT_IMPLEMENTED => StatusCode::NOT_IMPLEMENTED,
            159 => StatusCode::REQUEST_TIMEOUT,
            202 | 209 | 439 => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl IntoResponse for QueryError {
    fn into_response(self) -> Response<Body> {
        let status = self.status();
        let mut response = Response::new(Body::from(format!("{}\n", self.message)));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(EXCEPTION_CODE, HeaderValue::from(self.code));
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/plain; charset=UTF-8"),
        );
        if status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Basic realm=\"ClickHouse server HTTP API\"");
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engine_errors_keep_code_and_get_the_servers_status() {
        let cases = [
            (62, 400),
            (60, 404),
            (497, 403),
            (241, 500),
            (516, 403),
            (194, 401),
            (48, 501),
        ];
        for (code, status) in cases {
            let response = QueryError::engine(format!("Code: {code}. DB::Exception: x. (X)")).into_response();
            assert_eq!(response.status().as_u16(), status, "{code}");
            assert_eq!(response.headers()[EXCEPTION_CODE], code.to_string().as_str());
        }
    }
}
