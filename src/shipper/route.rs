//! A route is the destination and tenant of pushes that can wait, fail and be made together.
//!
//! Circuit breakers and the memory budget are kept by route. One request carries lines of one route.

/// One destination and one tenant of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Route {
    destination: u64,
    tenant: Option<Box<str>>,
}

// === impl Route ===

impl Route {
    /// The route to the destination with this number, as `tenant` or as the destination's own.
    pub fn new(destination: u64, tenant: Option<&str>) -> Self {
        Self { destination, tenant: tenant.map(Box::from) }
    }
}
