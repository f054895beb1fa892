//! `kustomize` folders and `helm` charts, rendered by kubectl and helm as they are installed here.

use std::collections::BTreeMap;

use lockstep_shared::manifest::{Problem, Rendered, Text, hooks};

use super::{folder::Folder, program::Program};

const INSTALL_KUBECTL: &str = "install kubectl (kubernetes.io/docs/tasks/tools) on the machine that runs `lockstep`, or render \
     the folder beforehand and use `manifests`";
const INSTALL_HELM: &str = "install helm (helm.sh/docs/intro/install) on the machine that runs `lockstep`, or render the \
     chart beforehand and use `manifests`";

/// Renders a folder by `kubectl kustomize`.
pub(super) async fn kustomize(path: &str, folder: &Folder) -> Result<Rendered, Problem> {
    let seen = folder.join(path).display().to_string();
    let program = Program {
        name: "kubectl",
        arguments: vec!["kustomize".to_owned(), "--".to_owned(), seen.clone()],
        called: "`kubectl kustomize`",
        install: INSTALL_KUBECTL,
    };
    let text = Text {
        path: format!("{path} (kubectl kustomize)"),
        shown: format!("{seen} (kubectl kustomize)"),
        text: program.run().await?,
    };
    Ok(Rendered { texts: vec![text], hooks: Vec::new() })
}

/// A chart with what it is rendered with.
pub(super) struct Chart<'a> {
    /// Its folder or archive.
    pub(super) chart: &'a str,
    /// The release's name.
    pub(super) release: &'a str,
    /// Files of values.
    pub(super) values: &'a [String],
    /// Single values.
    pub(super) set: &'a BTreeMap<String, String>,
}

impl Chart<'_> {
    /// Renders it for a namespace by `helm template`, without hooks and tests; the hooks that are
    /// left out are named.
    pub(super) async fn render(
        &self,
        namespace: &str,
        folder: &Folder,
    ) -> Result<Rendered, Problem> {
        let rendered = self.template(&["--no-hooks", "--skip-tests"], namespace, folder).await?;
        let whole = self.template(&[], namespace, folder).await?;
        let text = Text {
            path: format!("{} (helm template)", self.chart),
            shown: format!("{} (helm template)", folder.join(self.chart).display()),
            text: rendered,
        };
        Ok(Rendered { texts: vec![text], hooks: hooks(&whole) })
    }

    async fn template(
        &self,
        flags: &[&str],
        namespace: &str,
        folder: &Folder,
    ) -> Result<String, Problem> {
        let seen = |path: &str| folder.join(path).display().to_string();
        let mut arguments = vec![format!("--namespace={namespace}")];
        arguments.extend(flags.iter().map(|flag| (*flag).to_owned()));
        arguments.extend(self.values.iter().map(|file| format!("--values={}", seen(file))));
        arguments.extend(self.set.iter().map(|(key, value)| format!("--set={key}={value}")));
        let named = ["--".to_owned(), self.release.to_owned(), local(&seen(self.chart))];
        let program = Program {
            name: "helm",
            arguments: std::iter::once("template".to_owned())
                .chain(arguments)
                .chain(named)
                .collect(),
            called: "`helm template`",
            install: INSTALL_HELM,
        };
        program.run().await
    }
}

/// A chart's path that helm cannot take for the name of one in a repository.
fn local(path: &str) -> String {
    if path.starts_with(['/', '.']) { path.to_owned() } else { format!("./{path}") }
}
