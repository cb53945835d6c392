//! What a request asks for: URL parameters and headers, sorted into transport, session and statement.

use axum::http::{HeaderMap, Method};
use uuid::Uuid;

use super::codec::Encoding;
use super::error::{QueryError, code};
use super::{AnalystLimits, ServerState, auth};
use crate::engine::{DEFAULT_DATABASE, Role, SessionOptions};

/// Parameters that are about the transport, or that this server accepts without effect.
const TRANSPORT_PARAMETERS: &[&str] = &[
    "user",
    "password",
    "quota_key",
    "session_id",
    "session_timeout",
    "session_check",
    "close_session",
    "wait_end_of_query",
    "buffer_size",
    "stacktrace",
    "client_protocol_version",
    "enable_http_compression",
    "http_zlib_compression_level",
    "send_progress_in_http_headers",
    "http_headers_progress_interval_ms",
];

/// Settings an analyst may pass with a request, beside those that begin with
/// [`ANALYST_SETTING_PREFIX`]. None reaches the host, another user or a limit.
const ANALYST_SETTINGS: &[&str] = &[
    "count_distinct_implementation",
    "date_time_output_format",
    "extremes",
    "final",
    "group_by_use_nulls",
    "join_use_nulls",
    "limit",
    "offset",
    "session_timezone",
    "transform_null_in",
    "union_default_mode",
];
const ANALYST_SETTING_PREFIX: &str = "output_format_";

/// A request, except for its body.
#[derive(Debug)]
pub(super) struct QueryRequest {
    pub(super) role: Role,
    /// The statement, or its beginning, from the URL or a form field. The body goes on from there.
    pub(super) statement: String,
    /// Format of a result whose statement names none.
    pub(super) default_format: String,
    pub(super) session: SessionOptions,
    /// Values of `{name:Type}` placeholders.
    pub(super) parameters: Vec<(String, String)>,
    pub(super) query_id: String,
    /// Names this request among the engine's running statements.
    pub(super) cancel_key: String,
    pub(super) request_encoding: Encoding,
    pub(super) response_encoding: Encoding,
    /// The body is in native compressed blocks.
    pub(super) native_request: bool,
    /// The response is wanted in native compressed blocks.
    pub(super) native_response: bool,
}

/// Reads a request's head. `fields` are URL parameters and then form fields; a later one wins.
///
/// # Errors
/// Wrong credentials, a parameter this server has not, or one the user may not set.
pub(super) fn read(
    state: &ServerState,
    method: &Method,
    headers: &HeaderMap,
    fields: Vec<(String, String)>,
) -> Result<QueryRequest, QueryError> {
    let role = auth::authenticate(&state.config.users, headers, &fields)?;
    let header = |name: &str| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned)
    };
    let unsupported = || {
        QueryError::new(
            code::NOT_IMPLEMENTED,
            "NOT_IMPLEMENTED",
            "Content-Encoding is not supported",
        )
    };
    let cancel_key = Uuid::new_v4().to_string();
    let mut request = QueryRequest {
        role,
        statement: String::new(),
        default_format: header("x-clickhouse-format").unwrap_or_else(|| "TabSeparated".to_owned()),
        session: SessionOptions {
            database: header("x-clickhouse-database").unwrap_or_else(|| DEFAULT_DATABASE.to_owned()),
            settings: Vec::new(),
            role,
            read_only: role == Role::Analyst,
        },
        parameters: Vec::new(),
        query_id: cancel_key.clone(),
        cancel_key,
        request_encoding: Encoding::of_request(headers).ok_or_else(unsupported)?,
        response_encoding: Encoding::for_response(headers),
        native_request: false,
        native_response: false,
    };
    for (name, value) in fields {
        request.take_field(name, value)?;
    }
    request.finish_settings(method, &state.config.analyst_limits)?;
    Ok(request)
}

impl QueryRequest {
    fn take_field(&mut self, name: String, value: String) -> Result<(), QueryError> {
        match name.as_str() {
            "query" => self.statement = value,
            "database" if !value.is_empty() => self.session.database = value,
            "database" | "query_id" | "default_format" if value.is_empty() => {}
            "default_format" => self.default_format = value,
            "query_id" => self.query_id = value,
            "compress" => self.native_response = value == "1",
            "decompress" => self.native_request = value == "1",
            "role" => {
                let text = "roles are not supported: a user has one fixed role";
                return Err(QueryError::new(code::NOT_IMPLEMENTED, "NOT_IMPLEMENTED", text));
            }
            "enable_http_compression" if value == "0" => self.response_encoding = Encoding::Identity,
            name if TRANSPORT_PARAMETERS.contains(&name) => {}
            _ => match name.strip_prefix("param_") {
                Some(parameter) => self.parameters.push((parameter.to_owned(), value)),
                None => self.session.settings.push((name, value)),
            },
        }
        Ok(())
    }

    /// Adds the settings the server decides; they come last, and so win.
    fn finish_settings(&mut self, method: &Method, limits: &AnalystLimits) -> Result<(), QueryError> {
        if self.role == Role::Analyst {
            self.limit_analyst(limits)?;
        } else if method == Method::GET || method == Method::HEAD {
            // As the server does: a GET may read and may set, and changes nothing.
            self.session.settings.retain(|(name, _)| name != "readonly");
            self.session
                .settings
                .push(("readonly".to_owned(), "2".to_owned()));
        }
        self.session
            .settings
            .push(("log_comment".to_owned(), self.cancel_key.clone()));
        Ok(())
    }

    fn limit_analyst(&mut self, limits: &AnalystLimits) -> Result<(), QueryError> {
        // Drivers send `default` when nothing was chosen; here that database is the host's files.
        if self.session.database == "default" {
            DEFAULT_DATABASE.clone_into(&mut self.session.database);
        }
        if self.session.database == "system" {
            return Err(QueryError::denied(
                "the analyst cannot make `system` the current database",
            ));
        }
        let mut caps = [
            ("max_execution_time", limits.max_query_secs),
            ("max_memory_usage", limits.max_memory_bytes),
            ("max_result_bytes", limits.max_result_bytes),
            ("max_result_rows", limits.max_result_rows),
            ("max_threads", limits.max_threads),
        ];
        let mut kept = Vec::new();
        for (name, value) in std::mem::take(&mut self.session.settings) {
            // Asked for by drivers; the session is read-only whatever they say.
            if name == "readonly" || name == "log_comment" {
                continue;
            }
            if let Some((_, cap)) = caps.iter_mut().find(|(capped, _)| *capped == name) {
                *cap = lowered(&name, &value, *cap)?;
            } else if ANALYST_SETTINGS.contains(&name.as_str()) || name.starts_with(ANALYST_SETTING_PREFIX) {
                kept.push((name, value));
            } else {
                return Err(read_only_setting(&name));
            }
        }
        let caps = caps.into_iter().map(|(name, cap)| (name, cap.to_string()));
        let fixed = [
            ("allow_ddl", "0"),
            ("max_ast_elements", "20000"),
            ("max_subquery_depth", "50"),
        ];
        let fixed = fixed.into_iter().map(|(name, value)| (name, value.to_owned()));
        self.session.settings = kept;
        self.session
            .settings
            .extend(caps.chain(fixed).map(|(name, value)| (name.to_owned(), value)));
        Ok(())
    }
}

/// A limit the analyst wants lower; 0 would mean none.
fn lowered(name: &str, value: &str, cap: u64) -> Result<u64, QueryError> {
    value
        .parse()
        .ok()
        .filter(|&wanted| wanted > 0 && wanted <= cap)
        .ok_or_else(|| read_only_setting(&format!("{name}' beyond '{cap}")))
}

fn read_only_setting(name: &str) -> QueryError {
    QueryError::new(
        code::READONLY,
        "READONLY",
        format!("Cannot modify '{name}' setting in readonly mode"),
    )
}
