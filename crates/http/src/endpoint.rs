//! The declaration of an endpoint: what it is called by, who may call it, and what it takes and gives.
//!
//! Routing, the checks before the handler, the edge's rules and the OpenAPI document are all made from
//! it, so none of them can disagree. There is no way to serve a handler without one, and none without
//! an [`Access`].

use axum::http::Method;
use axum::routing::MethodFilter;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use schemas::access::{Role, Tier};
use serde_json::Value;

use crate::error::ErrorCode;

/// Who may call an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Anyone. What a handler checks itself, as a password, counts as its input.
    Public,
    /// Who presents an API key.
    ApiKey,
    /// Who has signed in, with this role or a higher one in the session's organization.
    Session(Role),
    /// Who has signed in, with this role or a higher one in the organization that the path's `{org}` names.
    PathOrg(Role),
    /// Who has signed in, as a viewer at least; and, where the organization allows it, its API keys.
    Reader,
}

impl Access {
    /// Tells whether the answer depends on the session cookie.
    pub(crate) const fn varies_by_cookie(self) -> bool {
        matches!(self, Self::Session(_) | Self::PathOrg(_) | Self::Reader)
    }

    /// Returns the lowest role that is let in, where roles count.
    pub(crate) const fn min_role(self) -> Option<Role> {
        match self {
            Self::Session(role) | Self::PathOrg(role) => Some(role),
            Self::Reader => Some(Role::Viewer),
            Self::Public | Self::ApiKey => None,
        }
    }

    /// Returns the name of the kind, as the OpenAPI document has it.
    pub(crate) const fn kind(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::ApiKey => "apiKey",
            Self::Session(_) => "session",
            Self::PathOrg(_) => "pathOrg",
            Self::Reader => "reader",
        }
    }
}

/// Which quota per client address counts a call, before it is authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IpQuota {
    /// None.
    Exempt,
    /// Events coming in.
    Ingest,
    /// The rest of the API.
    Api,
    /// The rest of the API, and the few attempts at a secret that is sent by hand.
    Attempts,
}

/// The methods that endpoints have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Verb {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

impl Verb {
    /// Returns the verb that serves a request's method; `HEAD` is served as `GET`.
    pub(crate) fn of(method: &Method) -> Option<Self> {
        match *method {
            Method::GET | Method::HEAD => Some(Self::Get),
            Method::POST => Some(Self::Post),
            Method::PUT => Some(Self::Put),
            Method::PATCH => Some(Self::Patch),
            Method::DELETE => Some(Self::Delete),
            _ => None,
        }
    }

    pub(crate) const fn filter(self) -> MethodFilter {
        match self {
            Self::Get => MethodFilter::GET,
            Self::Post => MethodFilter::POST,
            Self::Put => MethodFilter::PUT,
            Self::Patch => MethodFilter::PATCH,
            Self::Delete => MethodFilter::DELETE,
        }
    }

    pub(crate) const fn changes_state(self) -> bool {
        !matches!(self, Self::Get)
    }

    /// Returns the name in the OpenAPI document.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Post => "post",
            Self::Put => "put",
            Self::Patch => "patch",
            Self::Delete => "delete",
        }
    }
}

/// Makes the JSON Schema of a value.
pub type Shape = fn(&mut SchemaGenerator) -> Schema;

/// Returns the shape of what `T` serializes to, or is read from.
#[must_use]
pub fn shape_of<T: JsonSchema>() -> Shape {
    |generator| generator.subschema_for::<T>()
}

/// What a request carries.
#[derive(Debug, Clone, Copy)]
pub(crate) enum RequestBody {
    /// JSON of at most 1 MiB.
    Json(Shape),
    /// Text of any length, read piece by piece; the media type, and what a line is.
    Stream(&'static str, &'static str),
}

/// Where a parameter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Path,
    Query,
    Header,
}

#[derive(Debug, Clone)]
pub(crate) struct Parameter {
    pub(crate) place: Place,
    pub(crate) name: &'static str,
    pub(crate) schema: Value,
    pub(crate) is_required: bool,
    pub(crate) description: &'static str,
}

/// What a successful answer carries.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Content {
    /// JSON in the envelope `{"data": …}`.
    Data(Shape),
    /// JSON as it stands.
    Bare(Shape),
    /// Text of this media type.
    Text(&'static str),
    /// Nothing but a `Location`; and what that is.
    Redirect(&'static str),
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) content: Content,
}

/// The least tier, and what it opens, as a plural that starts a sentence: `Margins`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TierGate {
    pub(crate) min: Tier,
    pub(crate) feature: &'static str,
}

/// One method of one path.
#[derive(Debug, Clone)]
pub struct Endpoint {
    pub(crate) verb: Verb,
    pub(crate) path: &'static str,
    pub(crate) access: Access,
    pub(crate) summary: &'static str,
    pub(crate) tier: Option<TierGate>,
    pub(crate) ip_quota: IpQuota,
    pub(crate) body: Option<RequestBody>,
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) answers: Vec<Answer>,
    pub(crate) refusals: Vec<ErrorCode>,
}

impl Endpoint {
    fn new(verb: Verb, path: &'static str, access: Access, summary: &'static str) -> Self {
        Self {
            verb,
            path,
            access,
            summary,
            tier: None,
            ip_quota: IpQuota::Api,
            body: None,
            parameters: Vec::new(),
            answers: Vec::new(),
            refusals: Vec::new(),
        }
    }

    /// Declares `GET path`. `summary` is a sentence of the document, in the third person.
    #[must_use]
    pub fn get(path: &'static str, access: Access, summary: &'static str) -> Self {
        Self::new(Verb::Get, path, access, summary)
    }

    /// Declares `POST path`.
    #[must_use]
    pub fn post(path: &'static str, access: Access, summary: &'static str) -> Self {
        Self::new(Verb::Post, path, access, summary)
    }

    /// Declares `PUT path`.
    #[must_use]
    pub fn put(path: &'static str, access: Access, summary: &'static str) -> Self {
        Self::new(Verb::Put, path, access, summary)
    }

    /// Declares `PATCH path`.
    #[must_use]
    pub fn patch(path: &'static str, access: Access, summary: &'static str) -> Self {
        Self::new(Verb::Patch, path, access, summary)
    }

    /// Declares `DELETE path`.
    #[must_use]
    pub fn delete(path: &'static str, access: Access, summary: &'static str) -> Self {
        Self::new(Verb::Delete, path, access, summary)
    }

    /// Lets in organizations of this tier or a higher one; `feature` is a plural that starts the refusal.
    #[must_use]
    pub fn tier(mut self, min: Tier, feature: &'static str) -> Self {
        self.tier = Some(TierGate { min, feature });
        self
    }

    /// Counts calls by another quota per address than [`IpQuota::Api`].
    #[must_use]
    pub fn ip_quota(mut self, quota: IpQuota) -> Self {
        self.ip_quota = quota;
        self
    }

    /// Takes a JSON body of this shape.
    #[must_use]
    pub fn json(mut self, shape: Shape) -> Self {
        self.body = Some(RequestBody::Json(shape));
        self
    }

    /// Takes text of any length.
    #[must_use]
    pub fn stream(mut self, media_type: &'static str, description: &'static str) -> Self {
        self.body = Some(RequestBody::Stream(media_type, description));
        self
    }

    /// Describes a part of the path.
    #[must_use]
    pub fn path_parameter(self, name: &'static str, schema: Value, description: &'static str) -> Self {
        self.parameter(Place::Path, name, schema, description)
    }

    /// Describes a parameter of the query string that may be absent.
    #[must_use]
    pub fn query(self, name: &'static str, schema: Value, description: &'static str) -> Self {
        self.parameter(Place::Query, name, schema, description)
    }

    /// Describes a parameter of the query string that must be there.
    #[must_use]
    pub fn required_query(self, name: &'static str, schema: Value, description: &'static str) -> Self {
        let mut endpoint = self.parameter(Place::Query, name, schema, description);
        if let Some(parameter) = endpoint.parameters.last_mut() {
            parameter.is_required = true;
        }
        endpoint
    }

    /// Describes a header that may be absent.
    #[must_use]
    pub fn header(self, name: &'static str, schema: Value, description: &'static str) -> Self {
        self.parameter(Place::Header, name, schema, description)
    }

    fn parameter(
        mut self,
        place: Place,
        name: &'static str,
        schema: Value,
        description: &'static str,
    ) -> Self {
        self.parameters.push(Parameter {
            place,
            name,
            schema,
            is_required: place == Place::Path,
            description,
        });
        self
    }

    /// Answers with JSON in the envelope `{"data": …}`.
    #[must_use]
    pub fn answers_data(self, status: u16, shape: Shape) -> Self {
        self.answer(status, Content::Data(shape))
    }

    /// Answers with JSON as it stands.
    #[must_use]
    pub fn answers_json(self, status: u16, shape: Shape) -> Self {
        self.answer(status, Content::Bare(shape))
    }

    /// Answers with text.
    #[must_use]
    pub fn answers_text(self, status: u16, media_type: &'static str) -> Self {
        self.answer(status, Content::Text(media_type))
    }

    /// Answers with a redirect; `description` says where to.
    #[must_use]
    pub fn answers_redirect(self, status: u16, description: &'static str) -> Self {
        self.answer(status, Content::Redirect(description))
    }

    fn answer(mut self, status: u16, content: Content) -> Self {
        self.answers.push(Answer { status, content });
        self
    }

    /// Names refusals of its own, beside those that follow from the rest of the declaration.
    #[must_use]
    pub fn refuses(mut self, codes: &[ErrorCode]) -> Self {
        self.refusals.extend_from_slice(codes);
        self
    }
}
