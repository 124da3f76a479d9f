//! The capabilities that are kept, see `capabilities(7)`.

use caps::{CapSet, Capability, CapsHashSet};
use nix::sys::prctl;

/// Reading and replacing files of 0600 that belong to others, as those of secrets do that somebody rotates.
const KEPT: Capability = Capability::CAP_DAC_OVERRIDE;

/// Listening on a port below 1024.
const FOR_LOW_PORTS: Capability = Capability::CAP_NET_BIND_SERVICE;

/// Drops all others, for good. Says which are left.
pub fn reduce(low_port: bool) -> Result<String, String> {
    let failed = |error: caps::errors::CapsError| error.to_string();
    let wanted: CapsHashSet = [KEPT].into_iter().chain(low_port.then_some(FOR_LOW_PORTS)).collect();
    // The bounding set takes a capability to change, so it goes first. Not to have that one is no failure.
    for capability in caps::all() {
        if !wanted.contains(&capability) {
            let _ = caps::drop(None, CapSet::Bounding, capability);
        }
    }
    let _ = caps::clear(None, CapSet::Ambient);
    let held = caps::read(None, CapSet::Permitted).map_err(failed)?;
    let kept: CapsHashSet = wanted.intersection(&held).copied().collect();
    caps::set(None, CapSet::Effective, &kept).map_err(failed)?;
    caps::set(None, CapSet::Permitted, &kept).map_err(failed)?;
    caps::set(None, CapSet::Inheritable, &CapsHashSet::new()).map_err(failed)?;
    prctl::set_no_new_privs().map_err(|error| format!("no_new_privs: {error}"))?;
    let mut names: Vec<_> = kept.iter().map(ToString::to_string).collect();
    names.sort_unstable();
    Ok(if names.is_empty() { "none".into() } else { names.join(", ") })
}
