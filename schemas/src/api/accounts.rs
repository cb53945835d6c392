//! `/api/auth`, `/api/keys`, `/api/orgs`, `/api/invite` and `/api/audit-log` (`../spec/keys-orgs-auth.md`).

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use crate::access::Role;
use crate::id::{ApiKeyId, OrgId, UserId};
use crate::tags::Tags;
use crate::time::TimestampMs;

/// Who a session speaks for, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionView {
    /// The user who signed in.
    pub user_id: UserId,
    /// The active organization.
    pub org_id: OrgId,
    /// The user's role there.
    pub role: Role,
}

/// Whose key it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IntrospectionView {
    /// The user who made the key.
    pub user_id: UserId,
    /// The key.
    pub key_id: ApiKeyId,
}

/// That something was done, where there is nothing else to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Success {
    /// Always true.
    pub success: bool,
}

impl Success {
    /// The one value there is.
    pub const DONE: Self = Self { success: true };
}

/// An API key, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApiKeyView {
    /// The key's id.
    pub id: ApiKeyId,
    /// 1 to 50 characters.
    pub name: String,
    /// The first 19 characters of the secret.
    pub key_prefix: String,
    /// Tags that the key's events carry unless they say otherwise.
    pub default_tags: Tags,
    /// Models that the key may use; null for all, empty for none.
    pub allowed_models: Option<Vec<String>>,
    /// Providers that the key may use; null for all, empty for none.
    pub allowed_providers: Option<Vec<String>>,
    /// To the minute; null before the first use.
    pub last_used_at: Option<TimestampMs>,
    /// When it was made.
    pub created_at: TimestampMs,
}

/// A new API key: the only time that its secret is shown.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(
    missing_docs,
    reason = "the members are those of ApiKeyView, under the same names"
)]
#[expect(missing_debug_implementations, reason = "it carries a secret")]
pub struct CreatedApiKeyView {
    pub id: ApiKeyId,
    pub name: String,
    pub key_prefix: String,
    pub default_tags: Tags,
    pub allowed_models: Option<Vec<String>>,
    pub allowed_providers: Option<Vec<String>>,
    /// The secret, 43 characters.
    pub raw_key: String,
    pub created_at: TimestampMs,
}

/// A key that was revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RevokedApiKeyView {
    /// The key.
    pub id: ApiKeyId,
    /// Since when it is refused.
    pub revoked_at: TimestampMs,
}

/// Position in a list that is ordered by `createdAt`, then `id`, both descending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CursorView<I> {
    /// The last returned row's time.
    pub created_at: TimestampMs,
    /// The last returned row's id.
    pub id: I,
}

/// One page of a list, and where the next one starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PageView<T, I> {
    /// Newest first.
    pub data: Vec<T>,
    /// Null on the last page.
    pub cursor: Option<CursorView<I>>,
}

/// An organization.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OrgView {
    /// The organization's id.
    pub id: OrgId,
    /// 1 to 50 characters.
    pub name: String,
    /// 3 to 50 of `[a-z0-9-]`, unique among all organizations.
    pub slug: String,
    /// True for the one that belongs to a single user.
    pub is_personal: bool,
    /// When it was made.
    pub created_at: TimestampMs,
    /// When name or slug last changed.
    pub updated_at: TimestampMs,
}

/// An organization, and the caller's role in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct OrgOfCallerView {
    /// The organization.
    #[serde(flatten)]
    pub org: OrgView,
    /// The caller's role.
    pub role: Role,
}

/// A member of an organization.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MemberView {
    /// The user.
    pub user_id: UserId,
    /// The user's address, where it is known.
    pub email: Option<String>,
    /// The role.
    pub role: Role,
    /// When the user joined.
    pub created_at: TimestampMs,
}

/// An invitation, without its token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InvitationView {
    /// The invitation's id.
    pub id: Uuid,
    /// The invited address, in lower case.
    pub email: String,
    /// The role that accepting gives.
    pub role: Role,
    /// `pending`, `accepted`, `revoked` or `expired`.
    pub status: String,
    /// Who invited.
    pub invited_by: UserId,
    /// The first 15 characters of the token.
    pub token_prefix: String,
    /// Until when it can be accepted.
    pub expires_at: TimestampMs,
    /// When it was made.
    pub created_at: TimestampMs,
}

/// A new invitation: the only time that its token is shown.
#[derive(Serialize, JsonSchema)]
#[expect(missing_debug_implementations, reason = "it carries a secret")]
pub struct CreatedInvitationView {
    /// The invitation.
    #[serde(flatten)]
    pub invitation: InvitationView,
    /// The token, 55 characters, to pass on to the invited person.
    pub token: String,
}

/// An invitation that was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AcceptedInvitationView {
    /// The organization, which is active now.
    pub org_id: OrgId,
    /// The caller's role there.
    pub role: Role,
    /// Where a browser goes next.
    pub redirect_url: &'static str,
}

/// A new owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TransferView {
    /// Always true.
    pub success: bool,
    /// The new owner.
    pub new_owner_user_id: UserId,
}

/// Something that was done in an organization.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditEventView {
    /// The event's id.
    pub id: Uuid,
    /// Who did it.
    pub actor_id: UserId,
    /// What was done, as `member.removed`.
    pub action: String,
    /// To what kind of thing.
    pub resource_type: String,
    /// To which one.
    pub resource_id: Option<String>,
    /// More about it, never a secret.
    pub metadata: Option<Value>,
    /// When.
    pub created_at: TimestampMs,
}
