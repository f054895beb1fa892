//! Manifests: read as kubectl reads them, checked beside the plan, and put into bundles.
//!
//! Decides which objects each `deploy` step brings, with their namespaces and images, and what is
//! wrong with them before a cluster is asked. Knows neither files nor programs: whoever calls
//! brings the texts. Where kinds live that Kubernetes does not bring itself, whether an object
//! is valid, and what it would change, only an agent finds out.

mod bundle;
mod deployment;
mod duplicates;
mod generated_name;
mod hooks;
mod identity;
pub(crate) mod images;
mod mask;
mod object;
mod scalar;
mod tree;

#[cfg(test)]
mod tests;

pub use bundle::{Bundle, MAX_BUNDLE_BYTES, Manifest, UnreadableBundle};
pub use deployment::{Deployment, Gathered, Problem, Rendered, Text, deployment};
pub use generated_name::name_generated;
pub use hooks::hooks;
pub use identity::{Identity, Scope, group_of, known_scope};
pub use mask::{HIDDEN, masked};
pub use object::{Misplaced, settle_namespace};
