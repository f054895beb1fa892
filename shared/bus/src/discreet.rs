//! What libraries log of contents that pass through them, Secrets among them.

use tracing::{Level, Metadata};

/// Whether an event may be logged, whatever was asked for: `async_nats` prints whole messages, and
/// with them bundles, at its most talkative; `kube_client` prints what the API server answers to a
/// manifest that it refuses.
pub fn is_discreet(event: &Metadata<'_>) -> bool {
    let most = match event.target().split("::").next() {
        Some("async_nats") => Level::DEBUG,
        Some("kube_client") => Level::INFO,
        _ => Level::TRACE,
    };
    *event.level() <= most
}
