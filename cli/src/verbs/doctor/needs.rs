//! All the rights that the agent of a workflow needs, by where: as Roles, and those that are lacking.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use lockstep_agent::kubernetes::{
    client::{Cluster, Refusal},
    rights::{
        self, Deed, Rights, deeds,
        grants::{Bound, Grant, Scope, Unknown, granted},
        missing,
    },
};
use lockstep_shared::fold::listed;
use serde_json::Value;

use super::{Look, State, kinds::Kinds, kube::Whose};

/// Where rights are given.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Namespace(String),
    Cluster,
}

impl Place {
    /// As a review of access names it.
    fn name(&self) -> &str {
        match self {
            Self::Namespace(name) => name,
            Self::Cluster => "",
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Namespace(name) => write!(formatter, "in namespace {name}"),
            Self::Cluster => formatter.write_str("in the whole cluster"),
        }
    }
}

/// What one agent needs.
pub(super) struct Needs {
    pipeline: String,
    workflow: String,
    target: String,
    rights: BTreeMap<Place, Rights>,
    grants: Vec<Grant>,
    /// What has to be said besides.
    remarks: Vec<String>,
}

/// What is lacking.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Lacks {
    deeds: BTreeMap<Place, BTreeSet<Deed>>,
    /// What has to be said of the grants.
    remarks: Vec<String>,
    /// Whether something could not be looked at.
    unsure: bool,
}

impl Needs {
    pub(super) async fn of(
        cluster: &Cluster,
        whose: Whose<'_>,
        kinds: &Kinds,
    ) -> Result<Self, Refusal> {
        let target = &whose.target.namespace;
        let Kinds { brought, dropped, unknown } = kinds;
        let mut at_target = rights::at_target(&brought.namespaced, &dropped.namespaced);
        if !brought.cluster_wide.is_empty() {
            at_target = rights::together(at_target, rights::besides());
        }
        let mut rights = BTreeMap::from([(Place::Namespace(target.clone()), at_target)]);
        let home = rights.entry(Place::Namespace(cluster.namespace().to_owned())).or_default();
        *home = rights::together(std::mem::take(home), rights::at_home());
        let wide = rights::cluster_wide(&brought.cluster_wide, &dropped.cluster_wide);
        rights.insert(Place::Cluster, wide);
        let manifests: Vec<&Value> = whose
            .bundle
            .into_iter()
            .flat_map(|it| it.steps.values().flatten())
            .map(|it| &it.object)
            .collect();
        let grants = granted(cluster, target, &manifests).await?;
        let remark = |why: &String| {
            format!(
                "it is not known which kinds earlier runs have brought that the manifests do not \
                 have any more; to prune those, the agent needs get, list and delete ({why})"
            )
        };
        Ok(Self {
            pipeline: whose.plan.pipeline.to_string(),
            workflow: whose.name.to_string(),
            target: target.clone(),
            rights,
            grants,
            remarks: unknown.iter().map(remark).collect(),
        })
    }

    fn place(&self, grant: &Grant) -> Place {
        match grant.scope {
            Scope::Namespace => Place::Namespace(self.target.clone()),
            Scope::Cluster => Place::Cluster,
        }
    }

    /// Where a rule of it has to be given: an address that is no object's is in no namespace.
    fn place_of(&self, grant: &Grant, rule: &Value) -> Place {
        match rule.get("nonResourceURLs") {
            Some(_) => Place::Cluster,
            None => self.place(grant),
        }
    }

    /// What these credentials may not do of it.
    pub(super) async fn lacks(&self, cluster: &Cluster) -> Result<Lacks, Refusal> {
        let mut lacks = Lacks { unsure: !self.remarks.is_empty(), ..Lacks::default() };
        for (place, rights) in &self.rights {
            lacks.add(place.clone(), missing(cluster, place.name(), deeds(rights)).await?);
        }
        for grant in &self.grants {
            let place = self.place(grant);
            let not_held = missing(cluster, place.name(), grant.deeds()).await?;
            let bind = grant.bound.iter().map(Bound::deed).collect::<BTreeSet<_>>();
            let may_bind =
                !bind.is_empty() && missing(cluster, place.name(), bind).await?.is_empty();
            let is_settled = may_bind && grant.unknown != Some(Unknown::Absent);
            if let Some(remark) = remark(grant).filter(|_| !is_settled) {
                lacks.remarks.push(remark);
                lacks.unsure = true;
            }
            if !may_bind {
                lacks.add(place, not_held);
            }
        }
        Ok(lacks)
    }

    /// The Roles that give it: one for each namespace, and one for the cluster.
    fn roles(&self) -> Vec<Value> {
        let name = format!("lockstep.{}.{}", self.pipeline, self.workflow);
        let mut roles = Vec::new();
        for (place, rights) in &self.rights {
            let grants = self.grants.iter();
            let given = grants.filter(|grant| !grant.escalates());
            let more: Vec<Value> = given
                .flat_map(|grant| {
                    let rules = grant.beyond(rights).into_iter();
                    rules.filter(|rule| self.place_of(grant, rule) == *place)
                })
                .collect();
            match place {
                Place::Namespace(namespace) => {
                    roles.push(rights::role(&name, namespace, rights, &more));
                }
                Place::Cluster if rights.is_empty() && more.is_empty() => {}
                Place::Cluster => {
                    let name =
                        format!("lockstep.{}.{}.{}", self.target, self.pipeline, self.workflow);
                    roles.push(rights::cluster_role(&name, rights, &more));
                }
            }
        }
        roles
    }

    /// What is to be said of it.
    pub(super) fn told(&self, lacks: Lacks) -> Look {
        let Self { workflow, target, .. } = self;
        let mut lines = Vec::new();
        for (place, deeds) in &lacks.deeds {
            lines.push(format!("{place}: {}", listed(deeds.iter().map(Deed::to_string))));
        }
        let state = match (lines.is_empty(), lacks.unsure) {
            (false, _) => State::Fail,
            (true, true) => State::Warn,
            (true, false) => State::Ok,
        };
        let first = match state {
            State::Fail => format!("{workflow} may not do all that it needs; it lacks"),
            _ => format!("{workflow} may do everything that it needs in {target}"),
        };
        lines.insert(0, first);
        lines.extend(self.remarks.iter().cloned().chain(lacks.remarks));
        let next = match state {
            State::Fail => Some("apply the Roles below and bind them to the agent's account"),
            State::Warn => Some("look again with credentials that may read all of it"),
            State::Ok => None,
        };
        let next = next.map(str::to_owned);
        Look { what: "kubernetes", state, found: lines.join("\n"), next, roles: self.roles() }
    }
}

impl Lacks {
    fn add(&mut self, place: Place, deeds: Vec<Deed>) {
        if !deeds.is_empty() {
            self.deeds.entry(place).or_default().extend(deeds);
        }
    }
}

/// What has to be said of a grant besides what it grants.
fn remark(grant: &Grant) -> Option<String> {
    let by = &grant.by;
    let bound = grant.bound.as_ref().map(|Bound { kind, name }| format!("{kind} {name}"));
    let unknown = grant.unknown.map(|why| match why {
        Unknown::Hidden => "may not be read with these credentials",
        Unknown::Absent => "is not there yet",
    });
    match (unknown, bound) {
        (Some(unknown), Some(bound)) => Some(format!(
            "{by} binds {bound}, which {unknown}: the agent needs the rights of {bound}, or `bind` \
             on it, given by a person; neither is in the Roles below"
        )),
        (Some(unknown), None) => Some(format!(
            "what {by} grants now {unknown}: a rollback gives that back, so the agent needs those \
             rights too"
        )),
        (None, bound) if grant.escalates() => Some(format!(
            "{} grants `escalate` or `bind`, by which who holds it can give himself everything: \
             none of that is in the Roles below; take {by} out of the manifests and have a person \
             apply it",
            bound.map_or_else(|| by.clone(), |bound| format!("{bound}, which {by} binds,")),
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn needs(grant: Grant) -> Needs {
        let rights = BTreeMap::from([
            (Place::Namespace("shop".to_owned()), rights::at_target(&[].into(), &[].into())),
            (Place::Namespace("lockstep".to_owned()), rights::at_home()),
            (Place::Cluster, Rights::new()),
        ]);
        let (workflow, target) = ("web".to_owned(), "shop".to_owned());
        let pipeline = "shop".to_owned();
        Needs { pipeline, workflow, target, rights, grants: vec![grant], remarks: Vec::new() }
    }

    fn grant(scope: Scope, verb: &str) -> Grant {
        let rules = json!([{
            "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles"], "verbs": [verb],
        }]);
        Grant {
            by: "Role boss".to_owned(),
            scope,
            rules: rules.as_array().unwrap().clone(),
            bound: None,
            unknown: None,
        }
    }

    #[test]
    fn each_namespace_has_a_role_of_its_own_and_the_cluster_one_if_it_needs_one() {
        let roles = needs(grant(Scope::Namespace, "get")).roles();
        let told = |role: &Value| {
            let text = |pointer: &str| role.pointer(pointer).map(ToString::to_string);
            let resources = role["rules"].as_array().unwrap().iter();
            let resources: Vec<String> =
                resources.map(|rule| rule["resources"][0].to_string()).collect();
            (text("/metadata/namespace").unwrap_or_default(), resources.join(" "))
        };
        let text = |text: &str| text.to_owned();
        let all: Vec<_> = roles.iter().map(told).collect();
        let home = (text("\"lockstep\""), text("\"secrets\""));
        assert_eq!(all, [home.clone(), (text("\"shop\""), text("\"leases\" \"roles\""))]);
        let all: Vec<_> = needs(grant(Scope::Cluster, "get")).roles().iter().map(told).collect();
        let shop = (text("\"shop\""), text("\"leases\""));
        assert_eq!(all, [home, shop, (String::new(), text("\"roles\""))]);
    }

    #[test]
    fn no_role_gives_what_would_give_more_and_that_is_said() {
        for verb in ["bind", "escalate", "*"] {
            let needs = needs(grant(Scope::Namespace, verb));
            let roles = Value::Array(needs.roles()).to_string();
            assert!(!roles.contains(&format!("\"{verb}\"")), "{roles}");
            let said = remark(&needs.grants[0]).unwrap_or_default();
            assert!(said.starts_with("Role boss grants `escalate` or `bind`"), "{said}");
        }
        assert_eq!(remark(&grant(Scope::Namespace, "get")), None);
    }

    #[test]
    fn a_binding_to_what_cannot_be_seen_is_told_with_both_ways_out() {
        let bound = Bound { kind: "ClusterRole".to_owned(), name: "view".to_owned() };
        let by = "RoleBinding viewers".to_owned();
        let unknown = Some(Unknown::Hidden);
        let grant =
            Grant { by, scope: Scope::Namespace, rules: Vec::new(), bound: Some(bound), unknown };
        let said = remark(&grant).unwrap_or_default();
        assert!(said.contains("needs the rights of ClusterRole view, or `bind`"), "{said}");
    }

    #[test]
    fn what_is_lacking_is_told_by_where() {
        let mut lacks = Lacks::default();
        let deeds: Vec<Deed> = deeds(&rights::at_home()).into_iter().take(2).collect();
        lacks.add(Place::Namespace("lockstep".to_owned()), deeds);
        let look = needs(grant(Scope::Namespace, "get")).told(lacks);
        assert_eq!(look.state, State::Fail);
        let said = "it lacks\nin namespace lockstep: create secrets, delete secrets";
        assert!(look.found.contains(said), "{}", look.found);
    }
}
