//! The OpenAPI 3.1 document, made from the declarations of endpoints, and a page that shows it.

mod page;
mod refusals;

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::{FromRef, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::api::Api;
use crate::edge::API_VERSION;
use crate::endpoint::{Access, Answer, Content, Endpoint, IpQuota, Parameter, Place, RequestBody, Shape};
use crate::state::HttpState;

/// Where the document and its page are served.
const DOCUMENT_PATH: &str = "/api/openapi.json";
const PAGE_PATH: &str = "/api/docs";

/// Names of the security schemes.
const SESSION: &str = "session";
const API_KEY: &str = "apiKey";

const DESCRIPTION: &str = "Costs in, margins out. Amounts are microdollars (1 USD = 1,000,000), times are UTC. Every \
    answer carries `x-request-id` and `NullSpend-Version`. Errors have one form, everywhere: \
    `{\"error\":{\"code\",\"message\",\"details\"}}`; the codes are part of the contract, the messages are not.";

#[derive(Clone)]
struct Documents {
    http: HttpState,
    json: Bytes,
    page: Bytes,
}

impl FromRef<Documents> for HttpState {
    fn from_ref(documents: &Documents) -> Self {
        documents.http.clone()
    }
}

/// Adds the document, and the page that shows it, to the API that they describe.
pub(crate) fn with_document(api: Api, http: &HttpState) -> Api {
    let describe = Endpoint::get(DOCUMENT_PATH, Access::Public, "Returns this document.")
        .answers_json(200, |_| schemars::json_schema!({ "type": "object" }));
    let show = Endpoint::get(PAGE_PATH, Access::Public, "Shows this document to people.")
        .answers_text(200, "text/html; charset=utf-8");
    let described = Api::new()
        .endpoint(describe, show_document)
        .endpoint(show, show_page);
    let document = document(&[api.endpoints(), described.endpoints()].concat());
    let documents = Documents {
        http: http.clone(),
        page: Bytes::from(page::render(&document)),
        json: Bytes::from(document.to_string()),
    };
    api.merge(described.with_state(documents))
}

async fn show_document(State(documents): State<Documents>) -> Response {
    let content_type = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, content_type)], documents.json).into_response()
}

async fn show_page(State(documents): State<Documents>) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'",
        ),
    ];
    (headers, documents.page).into_response()
}

/// Returns the document of `endpoints`, in the order of their declaration.
pub(crate) fn document(endpoints: &[Arc<Endpoint>]) -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.for_serialize().into_generator();
    let mut paths = Map::new();
    for endpoint in endpoints {
        let operation = operation(endpoint, &mut generator);
        let of_path = paths.entry(endpoint.path).or_insert_with(|| json!({}));
        if let Some(of_path) = of_path.as_object_mut() {
            of_path.insert(endpoint.verb.name().to_owned(), operation);
        }
    }
    let mut schemas = generator.take_definitions(true);
    schemas.insert("Error".to_owned(), error_schema());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "marginstream",
            "version": API_VERSION,
            "description": DESCRIPTION,
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                SESSION: { "type": "apiKey", "in": "cookie", "name": "ns-session",
                    "description": "Set by POST /api/auth/login." },
                API_KEY: { "type": "apiKey", "in": "header", "name": "X-NullSpend-Key",
                    "description": "The secret of an API key, `ns_live_sk_…`." },
            },
        },
    })
}

fn operation(endpoint: &Endpoint, generator: &mut SchemaGenerator) -> Value {
    let mut operation = json!({
        "operationId": operation_id(endpoint),
        "summary": endpoint.summary,
        "tags": [tag(endpoint.path)],
        "responses": responses(endpoint, generator),
        "security": security(endpoint.access),
        "x-marginstream-access": access(endpoint),
    });
    if !endpoint.parameters.is_empty() {
        operation["parameters"] = endpoint.parameters.iter().map(parameter).collect();
    }
    if let Some(body) = endpoint.body {
        operation["requestBody"] = request_body(body, generator);
    }
    operation
}

/// The verb and the words of the path: `post_customer_mappings`.
fn operation_id(endpoint: &Endpoint) -> String {
    let words = endpoint
        .path
        .trim_start_matches("/api")
        .split(['/', '-', '.'])
        .map(|word| word.trim_matches(['{', '}']))
        .filter(|word| !word.is_empty());
    std::iter::once(endpoint.verb.name())
        .chain(words)
        .collect::<Vec<_>>()
        .join("_")
}

fn tag(path: &str) -> &str {
    let words = path.trim_start_matches("/api/");
    words.split('/').next().unwrap_or(words)
}

fn security(access: Access) -> Value {
    match access {
        Access::Public => json!([]),
        Access::ApiKey => json!([{ API_KEY: [] }]),
        Access::Session(_) | Access::PathOrg(_) => json!([{ SESSION: [] }]),
        Access::Reader => json!([{ SESSION: [] }, { API_KEY: [] }]),
    }
}

/// What tests and programs need to know of who may call.
fn access(endpoint: &Endpoint) -> Value {
    json!({
        "kind": endpoint.access.kind(),
        "minRole": endpoint.access.min_role().map(schemas::access::Role::as_str),
        "minTier": endpoint.tier.map(|gate| gate.min.as_str()),
        "addressQuota": match endpoint.ip_quota {
            IpQuota::Exempt => "none",
            IpQuota::Ingest => "ingest",
            IpQuota::Api => "api",
            IpQuota::Attempts => "attempts",
        },
    })
}

fn parameter(parameter: &Parameter) -> Value {
    json!({
        "name": parameter.name,
        "in": match parameter.place {
            Place::Path => "path",
            Place::Query => "query",
            Place::Header => "header",
        },
        "required": parameter.is_required,
        "description": parameter.description,
        "schema": parameter.schema,
    })
}

fn request_body(body: RequestBody, generator: &mut SchemaGenerator) -> Value {
    let (media_type, description, schema) = match body {
        RequestBody::Json(shape) => ("application/json", "At most 1 MiB.", shape(generator).to_value()),
        RequestBody::Stream(media_type, description) => {
            (media_type, description, json!({ "type": "string" }))
        }
    };
    json!({ "required": true, "description": description, "content": { media_type: { "schema": schema } } })
}

fn responses(endpoint: &Endpoint, generator: &mut SchemaGenerator) -> Value {
    let mut responses = Map::new();
    for Answer { status, content } in &endpoint.answers {
        let (media_type, schema) = match *content {
            Content::Redirect(description) => {
                responses.insert(status.to_string(), redirect(description));
                continue;
            }
            Content::Data(shape) => ("application/json", enveloped(shape, generator)),
            Content::Bare(shape) => ("application/json", shape(generator).to_value()),
            Content::Text(media_type) => (media_type, json!({ "type": "string" })),
        };
        let response = responses
            .entry(status.to_string())
            .or_insert_with(|| json!({ "description": "Success.", "content": {} }));
        response["content"][media_type] = json!({ "schema": schema });
    }
    for (status, codes) in refusals::of(endpoint) {
        let codes: BTreeSet<_> = codes.iter().map(|code| code.as_str()).collect();
        let codes: Vec<_> = codes.into_iter().map(|code| format!("`{code}`")).collect();
        let refusal = json!({
            "description": codes.join(", "),
            "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Error" } } },
        });
        responses.insert(status.as_u16().to_string(), refusal);
    }
    Value::Object(responses)
}

fn redirect(description: &str) -> Value {
    json!({
        "description": description,
        "headers": { "Location": { "required": true, "schema": { "type": "string" } } },
    })
}

fn enveloped(shape: Shape, generator: &mut SchemaGenerator) -> Value {
    json!({
        "type": "object",
        "required": ["data"],
        "properties": { "data": shape(generator).to_value() },
    })
}

fn error_schema() -> Value {
    json!({
        "type": "object",
        "required": ["error"],
        "properties": {
            "error": {
                "type": "object",
                "required": ["code", "message", "details"],
                "properties": {
                    "code": { "type": "string" },
                    "message": { "type": "string" },
                    "details": { "type": ["object", "null"] },
                },
            },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::access::{Role, Tier};

    #[test]
    fn a_declaration_becomes_an_operation() {
        let endpoint = Endpoint::patch("/api/keys/{id}", Access::Session(Role::Admin), "Changes a key.")
            .tier(Tier::Pro, "Keys")
            .path_parameter("id", json!({ "type": "string" }), "The key.")
            .json(|_| schemars::json_schema!({ "type": "object" }))
            .answers_data(200, |_| schemars::json_schema!({ "type": "integer" }));
        let document = document(&[Arc::new(endpoint)]);
        let operation = &document["paths"]["/api/keys/{id}"]["patch"];
        assert_eq!(operation["operationId"], "patch_keys_id");
        assert_eq!(operation["security"], json!([{ "session": [] }]));
        assert_eq!(
            operation["x-marginstream-access"],
            json!({ "kind": "session", "minRole": "admin", "minTier": "pro", "addressQuota": "api" })
        );
        let data =
            &operation["responses"]["200"]["content"]["application/json"]["schema"]["properties"]["data"];
        assert_eq!(data["type"], "integer");
        let refused: Vec<_> = operation["responses"].as_object().unwrap().keys().collect();
        assert_eq!(
            refused,
            [
                "200", "400", "401", "403", "404", "413", "415", "429", "500", "503"
            ]
        );
    }
}
