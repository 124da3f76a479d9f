//! Validates tenant ids.

use base::refusal::Refusal;

/// The longest tenant id that Loki accepts (dskit, `tenant.ValidTenantID`), in bytes.
const MAX_TENANT_ID: usize = 150;

/// Checks a tenant id by the rule of dskit's `tenant.ValidTenantID`, which Loki applies to `X-Scope-OrgID`. A `|` would
/// mean several tenants, which cannot be pushed to.
///
/// An empty id counts as unset, so that a container can override the plugin's.
pub fn tenant_id(text: &str) -> Result<Option<String>, Refusal> {
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"!-_.*'()".contains(&byte);
    if text.is_empty() {
        return Ok(None);
    }
    if !text.bytes().all(valid) || text.len() > MAX_TENANT_ID || matches!(text, "." | "..") {
        let reason = "is not a tenant id (up to 150 letters, digits and !-_.*'(), try team-a)";
        return Err(Refusal::new(text, reason));
    }
    Ok(Some(text.to_owned()))
}
