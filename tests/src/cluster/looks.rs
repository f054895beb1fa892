//! What there is in a cluster, asked for in the words of `kubectl get` but without that program, since
//! tests look often; and what managers other than kubectl write.

use std::{
    path::PathBuf,
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use anyhow::{Context, Result, bail, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use kube::{
    Client, Config,
    api::{DynamicObject, GetParams, ListParams, Patch, PatchParams, PostParams, Request},
    config::{KubeConfigOptions, Kubeconfig},
    core::Resource,
    discovery::{ApiResource, Discovery, Scope, verbs},
};
use serde_json::{Value, json};
use tokio::{runtime::Runtime, sync::OnceCell};

/// How many kinds are asked for at once.
const AT_ONCE: usize = 8;

/// Where connections live: those of one test would end with it, and others use them too.
static CONNECTIONS: LazyLock<std::io::Result<Runtime>> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()
});

/// Who looks at one cluster, as its administrator.
#[derive(Clone)]
pub(super) struct Looker(Arc<Inner>);

struct Inner {
    kubeconfig: PathBuf,
    client: OnceCell<Client>,
    /// Those that were there when somebody last asked for all.
    kinds: Mutex<Arc<[Arc<Kind>]>>,
}

/// One kind that is served, in its best version.
struct Kind {
    resource: ApiResource,
    is_namespaced: bool,
}

/// What `kubectl get` would be asked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Question {
    kinds: Vec<String>,
    name: Option<String>,
    namespace: Option<String>,
    selector: Option<String>,
    with_owners: bool,
}

impl Looker {
    pub(super) fn new(kubeconfig: PathBuf) -> Self {
        Self(Arc::new(Inner { kubeconfig, client: OnceCell::new(), kinds: Mutex::default() }))
    }

    /// The answer to `kubectl get` with these arguments.
    pub(super) async fn get(&self, arguments: &[&str]) -> Result<Value> {
        let question = Question::parse(arguments)?;
        let this = self.clone();
        runtime()?.spawn(async move { this.0.answer(&question).await }).await?
    }

    /// Has a manager apply an object on the server, with these parameters.
    pub(super) async fn apply(
        &self,
        params: PatchParams,
        namespace: &str,
        object: &Value,
    ) -> Result<()> {
        let (this, object) = (self.clone(), object.clone());
        let question = Question { namespace: Some(namespace.to_owned()), ..Question::default() };
        runtime()?.spawn(async move { this.0.apply(&params, &question, &object).await }).await?
    }

    /// A token of a service account.
    pub(super) async fn token(&self, namespace: &str, account: &str) -> Result<String> {
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts");
        let asked = json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": { "audiences": [] } });
        let request = Request::new(path).create_subresource(
            "token",
            account,
            &PostParams::default(),
            asked.to_string().into_bytes(),
        )?;
        let this = self.clone();
        let asked = async move { anyhow::Ok(this.0.client().await?.request(request).await?) };
        let answer: Value = runtime()?.spawn(asked).await??;
        Ok(answer["status"]["token"].as_str().context("a token")?.to_owned())
    }

    /// All kinds with namespaces that can be listed, as `kubectl get` names them.
    pub(super) async fn kinds(&self) -> Result<Vec<String>> {
        let this = self.clone();
        let kinds = runtime()?.spawn(async move { this.0.look_for_kinds().await }).await??;
        Ok(kinds.iter().filter(|kind| kind.is_namespaced).map(|kind| kind.name()).collect())
    }
}

fn runtime() -> Result<&'static Runtime> {
    CONNECTIONS.as_ref().context("a runtime for looking at clusters")
}

impl Inner {
    async fn client(&self) -> Result<&Client> {
        let connect = async || {
            // Whichever was first in this process stays.
            let _ = rustls::crypto::ring::default_provider().install_default();
            let kubeconfig = Kubeconfig::read_from(&self.kubeconfig)?;
            let options = KubeConfigOptions::default();
            let config = Config::from_custom_kubeconfig(kubeconfig, &options).await?;
            anyhow::Ok(Client::try_from(config)?)
        };
        self.client.get_or_try_init(connect).await
    }

    async fn answer(&self, question: &Question) -> Result<Value> {
        let kinds = self.resolved(&question.kinds).await?;
        if let Some(name) = &question.name {
            let [kind] = kinds.as_slice() else { bail!("one kind for one name: {question:?}") };
            let request = kind.path(question)?.get(name, &GetParams::default())?;
            let mut object: Value = self.client().await?.request(request).await?;
            tidy(&mut object, question);
            return Ok(object);
        }
        let client = self.client().await?;
        let lists = stream::iter(kinds).map(|kind| async move {
            let mut params = ListParams::default();
            params.label_selector.clone_from(&question.selector);
            let list = client.request::<Value>(kind.path(question)?.list(&params)?).await?;
            anyhow::Ok((kind, list))
        });
        let lists: Vec<_> = lists.buffered(AT_ONCE).try_collect().await?;
        let mut items = Vec::new();
        for (kind, mut list) in lists {
            let found = list["items"].as_array_mut().map(std::mem::take).context("a list")?;
            items.extend(found.into_iter().map(|mut object| {
                object["apiVersion"] = kind.resource.api_version.clone().into();
                object["kind"] = kind.resource.kind.clone().into();
                tidy(&mut object, question);
                object
            }));
        }
        Ok(json!({ "apiVersion": "v1", "kind": "List", "items": items }))
    }

    async fn apply(&self, params: &PatchParams, question: &Question, object: &Value) -> Result<()> {
        let text = |pointer| object.pointer(pointer).and_then(Value::as_str);
        let (version, kind) = (text("/apiVersion"), text("/kind").context("a kind")?);
        let group = version.context("an apiVersion")?.rsplit_once('/').map_or("", |it| it.0);
        let word = format!("{}.{group}", kind.to_lowercase());
        let word = word.trim_end_matches('.').to_owned();
        let kinds = self.resolved(&[word]).await?;
        let [kind] = kinds.as_slice() else { bail!("one kind: {object}") };
        let name = text("/metadata/name").context("a name")?;
        let request = kind.path(question)?.patch(name, params, &Patch::Apply(object))?;
        self.client().await?.request::<Value>(request).await?;
        Ok(())
    }

    /// What a question's words mean. A word that means nothing may mean something by now.
    async fn resolved(&self, words: &[String]) -> Result<Vec<Arc<Kind>>> {
        let known = self.kinds.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Ok(found) = all_named(&known, words) {
            return Ok(found);
        }
        all_named(&self.look_for_kinds().await?, words)
    }

    async fn look_for_kinds(&self) -> Result<Arc<[Arc<Kind>]>> {
        let discovery = Discovery::new(self.client().await?.clone()).run_aggregated().await?;
        let mut kinds = Vec::new();
        // The core group first, as kubectl has it.
        for group in discovery.groups_alphabetical() {
            for (resource, can) in group.resources_by_stability() {
                if can.supports_operation(verbs::LIST) {
                    let is_namespaced = can.scope == Scope::Namespaced;
                    kinds.push(Arc::new(Kind { resource, is_namespaced }));
                }
            }
        }
        let kinds: Arc<[Arc<Kind>]> = kinds.into();
        *self.kinds.lock().unwrap_or_else(PoisonError::into_inner) = kinds.clone();
        Ok(kinds)
    }
}

fn all_named(kinds: &[Arc<Kind>], words: &[String]) -> Result<Vec<Arc<Kind>>> {
    let named = |word: &String| {
        let kind = kinds.iter().find(|kind| kind.is_named(word));
        kind.cloned().with_context(|| format!("the server doesn't have a resource type {word:?}"))
    };
    words.iter().map(named).collect()
}

impl Kind {
    fn name(&self) -> String {
        let ApiResource { plural, group, .. } = &self.resource;
        if group.is_empty() { plural.clone() } else { format!("{plural}.{group}") }
    }

    fn is_named(&self, word: &str) -> bool {
        let ApiResource { plural, group, kind, .. } = &self.resource;
        let kind = kind.to_lowercase();
        word == plural || word == kind || word == self.name() || word == format!("{kind}.{group}")
    }

    fn path(&self, question: &Question) -> Result<Request> {
        let namespace = match self.is_namespaced {
            true => Some(question.namespace.as_deref().context("which namespace?")?),
            false => None,
        };
        Ok(Request::new(DynamicObject::url_path(&self.resource, namespace)))
    }
}

impl Question {
    fn parse(arguments: &[&str]) -> Result<Self> {
        let mut question = Self::default();
        let mut words = Vec::new();
        let mut rest = arguments.iter();
        while let Some(&argument) = rest.next() {
            let mut value = || rest.next().map(|text| (*text).to_owned());
            match argument {
                "-n" => question.namespace = value(),
                "-l" => question.selector = value(),
                "--show-managed-fields" => question.with_owners = true,
                flag if flag.starts_with('-') => bail!("{flag} of {arguments:?} is not known here"),
                word => words.push(word.to_owned()),
            }
        }
        let mut words = words.into_iter();
        let kinds = words.next().with_context(|| format!("no kind in {arguments:?}"))?;
        question.kinds = kinds.split(',').map(str::to_owned).collect();
        question.name = words.next();
        ensure!(words.next().is_none(), "more than one name in {arguments:?}");
        Ok(question)
    }
}

fn tidy(object: &mut Value, question: &Question) {
    let metadata = object.get_mut("metadata").and_then(Value::as_object_mut);
    if let (Some(metadata), false) = (metadata, question.with_owners) {
        metadata.remove("managedFields");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_read_as_kubectl_reads_it() {
        let question = Question::parse(&["pods,jobs", "-n", "a", "-l", "b=c"]).unwrap();
        let kinds = ["pods", "jobs"].map(str::to_owned).to_vec();
        let (namespace, selector) = (Some("a".to_owned()), Some("b=c".to_owned()));
        assert_eq!(question, Question { kinds, namespace, selector, ..Question::default() });
        let question = Question::parse(&["pod", "x", "--show-managed-fields"]).unwrap();
        assert!(question.with_owners && question.name.as_deref() == Some("x"));
        for wrong in [&[][..], &["pod", "x", "y"], &["pods", "-A"]] {
            Question::parse(wrong).unwrap_err();
        }
    }

    #[test]
    fn a_kind_is_known_by_its_names() {
        let resource = ApiResource {
            group: "apps".into(),
            version: "v1".into(),
            api_version: "apps/v1".into(),
            kind: "Deployment".into(),
            plural: "deployments".into(),
        };
        let kind = Kind { resource, is_namespaced: true };
        for name in ["deployment", "deployments", "deployment.apps", "deployments.apps"] {
            assert!(kind.is_named(name), "{name}");
        }
        assert!(!kind.is_named("deployments.extensions"));
    }
}
