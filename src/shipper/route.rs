//! What pushes have in common that can wait, fail and be made together: the destination and the tenant.
//!
//! Breakers and the memory budget go by it. A push that carries lines of several containers would go by it, too: what is collected for one route
//! can be one request.

/// One destination and one tenant of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Route {
    destination: u64,
    tenant: Option<Box<str>>,
}

// === impl Route ===

impl Route {
    /// The route to the destination with this number, as `tenant` or as what the destination says.
    pub fn new(destination: u64, tenant: Option<&str>) -> Self {
        Self { destination, tenant: tenant.map(Box::from) }
    }
}
