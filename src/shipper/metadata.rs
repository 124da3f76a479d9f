//! Tenants that accept no structured metadata (`allow_structured_metadata: false` in their limits).
//!
//! A rejection that says so is not believed by itself: it affects all containers of a tenant, and Loki's errors repeat
//! text that containers choose. The same entries are pushed again without structured metadata. Only when Loki accepts
//! them, lines of that tenant are sent without it. After [`ASKED_AGAIN`] the next push carries it again.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How long a confirmed rejection counts.
pub const ASKED_AGAIN: Duration = Duration::from_secs(15 * 60);

/// The number of tenants that are remembered. For tenants beyond it, each lane finds out by itself.
const MOST: usize = 1024;

/// Tenants whose rejections were confirmed, and until when; `None` is the destination's own tenant.
#[derive(Debug, Default)]
pub struct Refusing(Mutex<HashMap<Option<Box<str>>, Instant>>);

/// What a lane knows from its own pushes.
#[derive(Debug, Default)]
pub struct Trial {
    /// The tenant whose entries are being pushed again without structured metadata.
    tenant: Option<Option<String>>,
    /// Tenants of this lane whose rejections were confirmed.
    refusing: Vec<Option<String>>,
}

// === impl Refusing ===

impl Refusing {
    /// Whether lines of this tenant may carry structured metadata.
    pub fn takes(&self, tenant: Option<&str>) -> bool {
        let mut refusing = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        refusing.retain(|_, until| *until > now);
        refusing.is_empty() || !refusing.contains_key(&tenant.map(Box::from))
    }

    /// Records that the tenant rejected entries with structured metadata and accepted them without. True when that is
    /// new.
    pub fn confirm(&self, tenant: Option<&str>) -> bool {
        let mut refusing = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let tenant = tenant.map(Box::from);
        if refusing.len() >= MOST && !refusing.contains_key(&tenant) {
            return false;
        }
        refusing.insert(tenant, Instant::now() + ASKED_AGAIN).is_none()
    }
}

// === impl Trial ===

impl Trial {
    /// Whether the next round may carry structured metadata. `own` are the tenants that are known before it.
    pub fn allows<'a>(&mut self, refusing: &Refusing, mut own: impl Iterator<Item = Option<&'a str>>) -> bool {
        self.refusing.retain(|tenant| !refusing.takes(tenant.as_deref()));
        self.tenant.is_none() && self.refusing.is_empty() && own.all(|tenant| refusing.takes(tenant))
    }

    /// Begins the trial: entries of this tenant are pushed again without structured metadata.
    pub fn begin(&mut self, tenant: Option<String>) {
        self.tenant = Some(tenant);
    }

    /// Reports that entries of this tenant were accepted. True when it is new that it accepts no structured metadata.
    pub fn accepted(&mut self, refusing: &Refusing, tenant: Option<&str>) -> bool {
        if self.tenant.as_ref().is_none_or(|tried| tried.as_deref() != tenant) {
            return false;
        }
        let tenant = self.tenant.take().flatten();
        let is_news = refusing.confirm(tenant.as_deref());
        if !self.refusing.contains(&tenant) {
            self.refusing.push(tenant);
        }
        is_news
    }

    /// Ends the trial: the round is settled.
    pub fn end(&mut self) {
        self.tenant = None;
    }
}

#[cfg(test)]
mod tests {
    use std::iter::once;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_refusal_counts_for_its_tenant_once_it_is_confirmed_and_for_a_while() {
        let (refusing, mut trial) = (Refusing::default(), Trial::default());
        assert!(trial.allows(&refusing, once(Some("a"))));
        trial.begin(Some("a".into()));
        assert!(!trial.allows(&refusing, once(Some("a"))), "the same entries go without");
        assert!(refusing.takes(Some("a")), "no other tenant is affected");
        assert!(!trial.accepted(&refusing, Some("b")), "that another tenant accepts says nothing");
        assert!(trial.accepted(&refusing, Some("a")));
        assert!(!refusing.takes(Some("a")) && refusing.takes(Some("b")) && refusing.takes(None));
        assert!(!trial.allows(&refusing, once(Some("a"))) && Trial::default().allows(&refusing, once(Some("b"))));
        tokio::time::advance(ASKED_AGAIN).await;
        assert!(refusing.takes(Some("a")) && trial.allows(&refusing, once(Some("a"))), "it is asked again");
    }

    #[test]
    fn what_is_refused_without_metadata_too_was_not_refused_for_it() {
        let (refusing, mut trial) = (Refusing::default(), Trial::default());
        trial.begin(None);
        trial.end();
        assert!(!trial.accepted(&refusing, None));
        assert!(refusing.takes(None) && trial.allows(&refusing, once(None)));
    }

    #[test]
    fn tenants_that_are_remembered_have_an_end() {
        let refusing = Refusing::default();
        for tenant in 0..2 * MOST {
            refusing.confirm(Some(&tenant.to_string()));
        }
        assert_eq!(refusing.0.lock().unwrap().len(), MOST);
    }
}
