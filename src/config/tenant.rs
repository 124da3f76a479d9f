//! Which tenants there can be.

use base::refusal::Refusal;

/// The longest tenant id Loki takes (dskit, `tenant.ValidTenantID`), in bytes.
const MAX_TENANT_ID: usize = 150;

/// The rule of dskit's `tenant.ValidTenantID`, which Loki applies to `X-Scope-OrgID`. A `|` would
/// mean several tenants, which cannot be pushed to.
///
/// An empty id is none: so one container can do without the plugin's.
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
