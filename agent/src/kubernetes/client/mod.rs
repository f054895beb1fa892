//! The API server: what is asked of it, and what its answers mean.
//!
//! Objects are JSON as the server gives them, since any kind may be deployed. Every request has a
//! time-out, and a write a short one; a write is sent only with a [`Pass`], which is given out
//! right before it. Deliberately does not know why something is read or written.

mod access;
mod discovery;
mod log;
mod refusal;
mod request;

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use tokio::sync::Mutex;

pub use access::{Access, NoCluster};
pub use discovery::Resource;
pub use log::LogOf;
pub use refusal::{FieldConflict, Reason, Refusal};
pub use request::{Apply, Delete, Pass, WRITE_LIMIT};

use self::discovery::Served;
use crate::state::Home;

/// How long one question may take.
const READ_LIMIT: Duration = Duration::from_secs(10);

/// One cluster, as this agent may see it; clones share the connection.
#[derive(Clone)]
pub struct Cluster {
    client: kube::Client,
    url: Arc<str>,
    namespace: Arc<str>,
    context: Option<Arc<str>>,
    served: Arc<Mutex<BTreeMap<String, Served>>>,
}

/// Where an object stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Its kind.
    pub resource: Resource,
    /// Its namespace, if its kind has them.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

impl Cluster {
    fn new(client: kube::Client, url: String, namespace: String, context: Option<String>) -> Self {
        let (url, namespace, context) = (url.into(), namespace.into(), context.map(Into::into));
        Self { client, url, namespace, context, served: Arc::default() }
    }

    /// Its address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The agent's own namespace, where its undo records are.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The same cluster, with records in another namespace.
    #[must_use]
    pub fn keeping_in(&self, namespace: &str) -> Self {
        Self { namespace: namespace.into(), ..self.clone() }
    }

    /// How its undo records are found again from outside; a pod's own cluster needs no name.
    pub fn home(&self) -> Option<Home> {
        let context = self.context.as_deref()?.to_owned();
        Some(Home { context, namespace: self.namespace().to_owned() })
    }

    /// Whether both keep undo records at the same place.
    pub fn is_same_home(&self, other: &Self) -> bool {
        (&self.url, &self.namespace) == (&other.url, &other.namespace)
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Cluster({}, {})", self.url, self.namespace)
    }
}

impl Place {
    /// An object of this kind; cluster-scoped kinds have no namespace, whatever is given.
    pub fn new(resource: Resource, namespace: Option<&str>, name: &str) -> Self {
        let namespace = namespace.filter(|_| resource.namespaced).map(str::to_owned);
        Self { resource, namespace, name: name.to_owned() }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => {
                write!(formatter, "{} {namespace}/{}", self.resource.kind, self.name)
            }
            None => write!(formatter, "{} {}", self.resource.kind, self.name),
        }
    }
}
