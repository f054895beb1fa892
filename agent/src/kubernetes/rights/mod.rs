//! What an agent needs to be allowed in its cluster (rule 33): the exact rights for what a workflow
//! deploys, and whether these credentials have them.
//!
//! What is listed here is what the requests of this program need, and no more. What the Roles of the
//! manifests grant has to be held besides; that is said in [`grants`].

pub mod grants;
mod role;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use futures::{StreamExt, stream};

pub use self::role::{cluster_role, role};
use super::{
    client::{Cluster, Refusal},
    health::{RelatedKind, related_kinds},
    restore::created::is_kept_kind,
};

/// How many questions are under way at once.
const AT_ONCE: usize = 16;

/// A kind of object, as rights name it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject {
    /// The API group; empty for the core group.
    pub group: String,
    /// The resource, perhaps with a part of it: `pods/log`.
    pub resource: String,
}

impl Subject {
    fn new(group: &str, resource: &str) -> Self {
        Self { group: group.to_owned(), resource: resource.to_owned() }
    }
}

/// A kind of object that a workflow brings, or has brought.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Brought {
    /// Its version: `apps/v1`.
    pub api_version: String,
    /// The kind: `Deployment`.
    pub kind: String,
    /// The name in addresses: `deployments`.
    pub resource: String,
}

impl Brought {
    fn group(&self) -> &str {
        self.api_version.split_once('/').map_or("", |(group, _)| group)
    }

    /// As rights name it.
    pub fn subject(&self) -> Subject {
        Subject::new(self.group(), &self.resource)
    }

    /// These verbs, without `delete` where nothing of ours ever deletes it.
    fn verbs(&self, verbs: &[&'static str]) -> BTreeSet<&'static str> {
        let is_kept = is_kept_kind(self.group(), &self.kind);
        verbs.iter().copied().filter(|verb| !is_kept || *verb != "delete").collect()
    }
}

/// What may be done to each kind.
pub type Rights = BTreeMap<Subject, BTreeSet<&'static str>>;

/// What is done to the objects that a step brings: all of them are known by name.
const BROUGHT: &[&str] = &["get", "create", "patch", "delete"];

/// What is done to those that only an earlier run has brought.
const DROPPED: &[&str] = &["get", "delete"];

/// What keeps others from writing meanwhile.
const LOCK: &[(&str, &str, &[&str])] =
    &[("coordination.k8s.io", "leases", &["get", "create", "patch", "delete"])];

/// What is looked at besides: what was the matter with them, and
/// whose replicas are not ours.
const BESIDES: &[(&str, &str, &[&str])] =
    &[("", "events", &["list"]), ("autoscaling", "horizontalpodautoscalers", &["list"])];

/// What failed pods have printed.
const LOGS: &[(&str, &str, &[&str])] = &[("", "pods/log", &["get"])];

/// What keeps a StatefulSet from going back.
const STUCK: &[(&str, &str, &[&str])] = &[("", "pods", &["delete"])];

/// What is written where the agent keeps its undo records.
const KEPT: &[(&str, &str, &[&str])] =
    &[("", "secrets", &["get", "list", "create", "patch", "delete"])];

/// The rights in the namespace of a workflow's objects, for the kinds that it brings and those that
/// it does not bring any more.
pub fn at_target(brought: &BTreeSet<Brought>, dropped: &BTreeSet<Brought>) -> Rights {
    let mut rights = listed(LOCK);
    if !brought.is_empty() {
        rights = together(rights, besides());
    }
    for kind in brought {
        rights.entry(kind.subject()).or_default().extend(kind.verbs(BROUGHT));
        rights = together(rights, looked_at(kind));
    }
    for kind in dropped {
        rights.entry(kind.subject()).or_default().extend(kind.verbs(DROPPED));
    }
    rights
}

/// The rights in the target's namespace of a workflow that brings any objects.
pub fn besides() -> Rights {
    listed(BESIDES)
}

/// What is looked at to judge objects of a kind.
fn looked_at(kind: &Brought) -> Rights {
    let is = (kind.api_version.as_str(), kind.kind.as_str());
    let related = related_kinds(is.0, is.1);
    let mut rights = Rights::new();
    for other in related {
        let group = other.api_version().split_once('/').map_or("", |(group, _)| group);
        rights.entry(Subject::new(group, other.plural())).or_default().insert("list");
    }
    if related.contains(&RelatedKind::Pod) || is == ("v1", "Pod") {
        rights = together(rights, listed(LOGS));
    }
    if is == ("apps/v1", "StatefulSet") {
        rights = together(rights, listed(STUCK));
    }
    rights
}

/// The rights on objects of no namespace, such as definitions: no Role gives them.
pub fn cluster_wide(brought: &BTreeSet<Brought>, dropped: &BTreeSet<Brought>) -> Rights {
    let brought = brought.iter().map(|kind| (kind.subject(), kind.verbs(BROUGHT)));
    let dropped = dropped.iter().map(|kind| (kind.subject(), kind.verbs(DROPPED)));
    together(brought.collect(), dropped.collect())
}

/// The rights in the agent's own namespace.
pub fn at_home() -> Rights {
    listed(KEPT)
}

fn listed(rules: &[(&str, &str, &[&'static str])]) -> Rights {
    let right = |(group, resource, verbs): &(&str, &str, &[&'static str])| {
        (Subject::new(group, resource), verbs.iter().copied().collect())
    };
    rules.iter().map(right).collect()
}

/// The rights of both.
pub fn together(one: Rights, other: Rights) -> Rights {
    let mut all = one;
    for (subject, verbs) in other {
        all.entry(subject).or_default().extend(verbs);
    }
    all
}

/// One thing that may be done.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Deed {
    /// To objects.
    To {
        /// Of which kind.
        subject: Subject,
        /// The object's name; empty for all.
        name: String,
        /// What.
        verb: String,
    },
    /// At an address that is no object's.
    At {
        /// Which.
        path: String,
        /// What.
        verb: String,
    },
}

impl fmt::Display for Deed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::To { subject: Subject { group, resource }, name, verb } => {
                let dot = if group.is_empty() { "" } else { "." };
                let space = if name.is_empty() { "" } else { " " };
                write!(formatter, "{verb} {resource}{dot}{group}{space}{name}")
            }
            Self::At { path, verb } => write!(formatter, "{verb} {path}"),
        }
    }
}

/// Each single thing that rights allow.
pub fn deeds(rights: &Rights) -> BTreeSet<Deed> {
    let each = |(subject, verbs): (&Subject, &BTreeSet<&'static str>)| {
        let deed = |verb: &&'static str| Deed::To {
            subject: subject.clone(),
            name: String::new(),
            verb: (*verb).to_owned(),
        };
        verbs.iter().map(deed).collect::<Vec<_>>()
    };
    rights.iter().flat_map(each).collect()
}

/// Those of the deeds that these credentials may not do in a namespace; in none (an empty name): to
/// objects of no namespace, or in all of them.
///
/// # Errors
/// [`Refusal`] if the server does not say.
pub async fn missing(
    cluster: &Cluster,
    namespace: &str,
    deeds: BTreeSet<Deed>,
) -> Result<Vec<Deed>, Refusal> {
    let asked = deeds.into_iter().map(|deed| async move {
        let may = match &deed {
            Deed::To { subject, name, verb } => {
                cluster.may(namespace, &subject.group, &subject.resource, verb, name).await?
            }
            Deed::At { path, verb } => cluster.may_at(path, verb).await?,
        };
        Ok((!may).then_some(deed))
    });
    let asked: Vec<_> = asked.collect();
    let answers: Vec<Result<Option<Deed>, Refusal>> =
        stream::iter(asked).buffered(AT_ONCE).collect().await;
    answers.into_iter().filter_map(Result::transpose).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn brought(api_version: &str, kind: &str, resource: &str) -> Brought {
        let text = str::to_owned;
        Brought { api_version: text(api_version), kind: text(kind), resource: text(resource) }
    }

    fn verbs(rights: &Rights, group: &str, resource: &str) -> String {
        let verbs = rights.get(&Subject::new(group, resource)).cloned().unwrap_or_default();
        verbs.into_iter().collect::<Vec<_>>().join(" ")
    }

    fn target(kinds: &[(&str, &str, &str)]) -> Rights {
        let kinds = kinds.iter().map(|(version, kind, resource)| brought(version, kind, resource));
        at_target(&kinds.collect(), &BTreeSet::new())
    }

    #[test]
    fn a_kind_that_is_deployed_and_looked_at_gets_the_rights_of_both() {
        let rights = target(&[("v1", "Pod", "pods"), ("apps/v1", "StatefulSet", "statefulsets")]);
        assert_eq!(verbs(&rights, "", "pods"), "create delete get list patch");
        assert_eq!(verbs(&rights, "apps", "statefulsets"), "create delete get patch");
    }

    #[test]
    fn only_what_the_deployed_kinds_are_judged_by_may_be_looked_at() {
        let rights = target(&[("v1", "ConfigMap", "configmaps")]);
        for none in ["pods", "pods/log"] {
            assert_eq!(verbs(&rights, "", none), "", "{none}");
        }
        let rights = target(&[("apps/v1", "Deployment", "deployments")]);
        assert_eq!(verbs(&rights, "apps", "replicasets"), "list");
        assert_eq!(verbs(&rights, "apps", "controllerrevisions"), "");
        assert_eq!(verbs(&rights, "", "pods"), "list", "only a StatefulSet gets stuck");
        assert_eq!(verbs(&rights, "", "pods/log"), "get");
        let rights = target(&[("apps/v1", "DaemonSet", "daemonsets")]);
        assert_eq!(verbs(&rights, "apps", "controllerrevisions"), "list");
    }

    #[test]
    fn who_deploys_nothing_needs_the_lock_only() {
        let rights = target(&[]);
        assert_eq!(rights.len(), 1);
        assert_eq!(verbs(&rights, "coordination.k8s.io", "leases"), "create delete get patch");
    }

    #[test]
    fn what_is_never_deleted_need_not_be_deleted() {
        let rights = target(&[("v1", "PersistentVolumeClaim", "persistentvolumeclaims")]);
        assert_eq!(verbs(&rights, "", "persistentvolumeclaims"), "create get patch");
        let definitions = brought(
            "apiextensions.k8s.io/v1",
            "CustomResourceDefinition",
            "customresourcedefinitions",
        );
        let classes = brought("networking.k8s.io/v1", "IngressClass", "ingressclasses");
        let rights = cluster_wide(&[definitions, classes].into(), &BTreeSet::new());
        let definitions = verbs(&rights, "apiextensions.k8s.io", "customresourcedefinitions");
        assert_eq!(definitions, "create get patch");
        let classes = verbs(&rights, "networking.k8s.io", "ingressclasses");
        assert_eq!(classes, "create delete get patch");
    }

    #[test]
    fn what_an_earlier_run_has_brought_may_still_be_deleted_and_nothing_else() {
        let dropped = [
            brought("v1", "Service", "services"),
            brought("v1", "PersistentVolumeClaim", "persistentvolumeclaims"),
        ];
        let rights = at_target(&BTreeSet::new(), &dropped.into());
        assert_eq!(verbs(&rights, "", "services"), "delete get");
        assert_eq!(verbs(&rights, "", "persistentvolumeclaims"), "get");
    }

    #[test]
    fn a_deed_is_told_as_kubectl_names_it() {
        let deeds = deeds(&target(&[("apps/v1", "Deployment", "deployments")]));
        let told: Vec<String> = deeds.iter().map(Deed::to_string).collect();
        assert!(told.contains(&"patch deployments.apps".to_owned()), "{told:?}");
        assert!(told.contains(&"get pods/log".to_owned()), "{told:?}");
        let at = Deed::At { path: "/healthz".to_owned(), verb: "get".to_owned() };
        assert_eq!(at.to_string(), "get /healthz");
    }
}
