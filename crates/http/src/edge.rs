//! The edge: what happens to every request before and after its route.
//!
//! In order: request id, quota per address, browser-origin guard, declared length; then the route,
//! whose panic becomes a 500; then the fixed headers, one line in the log, and the metrics.

use std::any::Any;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Poll;
use std::time::Instant;

use axum::Router;
use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};

use crate::api::{Api, Policies};
use crate::client_ip::{client_ip, limit_key};
use crate::endpoint::IpQuota;
use crate::error::{ApiError, ErrorCause, ErrorCode};
use crate::metrics::count_request;
use crate::openapi::with_document;
use crate::origin::check_origin;
use crate::policy::Policy;
use crate::request_context::RequestContext;
use crate::state::HttpState;

/// The one API version there is: whatever a request or a key asks for resolves to it
/// (`spec/conventions.md` §9).
pub const API_VERSION: &str = "2026-04-01";

/// Makes the router of a service from all of its endpoints, its document included. To be called once, last:
/// it sets the fallbacks for 404 and 405.
///
/// Serve the result with `into_make_service_with_connect_info::<SocketAddr>()`; without the peer's
/// address every client counts as loopback.
pub fn apply(api: Api, http: &HttpState) -> Router {
    let (router, policies) = with_document(api, http).into_parts();
    let edge = Edge {
        http: http.clone(),
        policies,
    };
    router
        .fallback(answer_not_found)
        .method_not_allowed_fallback(answer_method_not_allowed)
        .layer(from_fn_with_state(edge, handle))
}

#[derive(Clone)]
struct Edge {
    http: HttpState,
    policies: Policies,
}

async fn answer_not_found() -> ApiError {
    ApiError::not_found("Not found.")
}

async fn answer_method_not_allowed() -> ApiError {
    ApiError::new(ErrorCode::MethodNotAllowed, "Method not allowed.")
}

async fn handle(State(edge): State<Edge>, mut request: Request, next: Next) -> Response {
    let http = &edge.http;
    let started = Instant::now();
    let peer = request
        .extensions()
        .get::<ConnectInfo<SocketAddr>>()
        .map(|info| info.0);
    let ip = client_ip(peer, request.headers(), &http.config().trusted_proxies);
    let context = RequestContext::new(request.headers(), ip);
    let line = LogLine::of(&request, started);
    let route = line.route.as_ref().map(MatchedPath::as_str);
    let policy = edge.policies.of_request(&request, route);
    request.extensions_mut().insert(context.clone());

    let mut response = match admit(http, &policy, &context, &request) {
        Ok(()) => run_route(next, request).await,
        Err(refusal) => refusal.into_response(),
    };
    write_fixed_headers(response.headers_mut(), http, &policy, &context);
    line.write(&response, &context);
    response
}

/// What a request must pass before it is authenticated.
fn admit(
    http: &HttpState,
    policy: &Policy,
    context: &RequestContext,
    request: &Request,
) -> Result<(), ApiError> {
    let limiter = match policy.ip_quota {
        IpQuota::Exempt => None,
        IpQuota::Ingest => Some(http.ingest_ips()),
        IpQuota::Api | IpQuota::Attempts => Some(http.api_ips()),
    };
    let ip = limit_key(context.client_ip());
    if let Some(limiter) = limiter {
        limiter
            .take(&ip, NonZeroU32::MIN)
            .map_err(ApiError::rate_limited)?;
    }
    if policy.ip_quota == IpQuota::Attempts {
        let taken = http.attempt_ips().take(&ip, NonZeroU32::MIN);
        taken.map_err(ApiError::too_many_attempts)?;
    }
    if policy.checks_origin {
        check_origin(request.headers(), request.uri())?;
    }
    match (policy.max_body_bytes, declared_bytes(request.headers())) {
        (Some(max), Some(declared)) if declared > max as u64 => Err(ApiError::payload_too_large()),
        _ => Ok(()),
    }
}

fn declared_bytes(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// A route panicked; the panic hook has already printed where.
#[derive(Debug, thiserror::Error)]
#[error("handler panicked: {0}")]
struct HandlerPanicked(String);

async fn run_route(next: Next, request: Request) -> Response {
    let mut route = Box::pin(next.run(request));
    let outcome = poll_fn(|cx| {
        // The future is dropped after a panic, so nothing sees its broken state.
        match catch_unwind(AssertUnwindSafe(|| route.as_mut().poll(cx))) {
            Ok(poll) => poll.map(Ok),
            Err(payload) => Poll::Ready(Err(payload)),
        }
    });
    match outcome.await {
        Ok(response) => response,
        Err(payload) => ApiError::internal(HandlerPanicked(panic_text(&*payload))).into_response(),
    }
}

fn panic_text(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
        .to_owned()
}

fn write_fixed_headers(headers: &mut HeaderMap, http: &HttpState, policy: &Policy, context: &RequestContext) {
    const FIXED: [(HeaderName, HeaderValue); 4] = [
        (
            HeaderName::from_static("nullspend-version"),
            HeaderValue::from_static(API_VERSION),
        ),
        (
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        ),
        (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
        (
            header::REFERRER_POLICY,
            HeaderValue::from_static("strict-origin-when-cross-origin"),
        ),
    ];
    for (name, value) in FIXED {
        headers.insert(name, value);
    }
    headers.insert("x-request-id", context.request_id_header());
    // Files of the dashboard bring their own rule.
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("private, no-store"));
    if policy.varies_by_cookie {
        headers.append(header::VARY, HeaderValue::from_static("Cookie"));
    }
    if http.config().behind_tls {
        headers.insert(
            header::STRICT_TRANSPORT_SECURITY,
            HeaderValue::from_static("max-age=31536000"),
        );
    }
    // A refusal by another quota has written its own.
    if let Some(rate) = context
        .key_rate()
        .filter(|_| !headers.contains_key("x-ratelimit-limit"))
    {
        rate.write_to(headers);
    }
}

/// What is logged and counted of a request. The path is the route's pattern: ids in a path may be e-mail
/// addresses.
struct LogLine {
    started: Instant,
    method: Method,
    route: Option<MatchedPath>,
}

impl LogLine {
    fn of(request: &Request, started: Instant) -> Self {
        let route = request.extensions().get::<MatchedPath>().cloned();
        Self {
            started,
            method: request.method().clone(),
            route,
        }
    }

    fn write(&self, response: &Response, context: &RequestContext) {
        let path = self.route.as_ref().map_or("unmatched", MatchedPath::as_str);
        let (method, status, request_id) = (
            self.method.as_str(),
            response.status().as_u16(),
            context.request_id(),
        );
        if let Some(error) = response.extensions().get::<ErrorCause>() {
            if response.status() == ErrorCode::ServiceUnavailable.status() {
                tracing::warn!(method, path, status, request_id, %error, "request could not be served");
            } else {
                tracing::error!(method, path, status, request_id, %error, "request failed");
            }
        }
        let duration = self.started.elapsed();
        count_request(&self.method, path, response.status(), duration);
        let duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        tracing::debug!(method, path, status, duration_ms, request_id, "request");
    }
}
