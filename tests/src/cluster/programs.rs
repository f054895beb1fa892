//! Where the cluster's programs are.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

/// The variable of Kubernetes' own test tools that names a folder with the control plane.
const ASSETS_VARIABLE: &str = "KUBEBUILDER_ASSETS";

/// The pinned tools, as text: a go.mod says which version of what.
const PINS: &[(&str, &str)] = &[
    ("etcd", include_str!("../../../scripts/tools/etcd/go.mod")),
    ("kubernetes", include_str!("../../../scripts/tools/kubernetes/go.mod")),
    ("kubelet", include_str!("../../../scripts/tools/kubelet/go.mod")),
    ("coredns", include_str!("../../../scripts/tools/coredns/go.mod")),
    ("helm", include_str!("../../../scripts/tools/helm/go.mod")),
    ("kwok", include_str!("../../../scripts/tools/kwok/go.mod")),
];

/// The path of a program of one of the pinned tools (`scripts/tools/`): from `KUBEBUILDER_ASSETS` if
/// it is there, else what `scripts/build-go` built.
///
/// # Errors
/// If it is not there; the error names the command that builds it.
pub fn find(tool: &str, program: &str) -> Result<PathBuf> {
    find_with(tool, program, &|name| std::env::var(name).ok())
}

fn find_with(
    tool: &str,
    program: &str,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<PathBuf> {
    let variable = |name| environment(name).filter(|value| !value.is_empty());
    if let Some(assets) = variable(ASSETS_VARIABLE) {
        if !Path::new(&assets).is_dir() {
            bail!("{ASSETS_VARIABLE} is {assets}, which is no folder: correct it, or unset it");
        }
        let path = Path::new(&assets).join(program);
        if path.is_file() {
            return Ok(path);
        }
    }
    let cache = variable("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || Path::new(&variable("HOME").unwrap_or_default()).join(".cache");
    let folder = format!("lockstep/{tool}-{}", pinned_version(tool)?);
    let path = cache.unwrap_or_else(home).join(folder).join("bin").join(program);
    if !path.is_file() {
        bail!(
            "{program} is missing: {} is not there. Run `scripts/build-go {tool}` (needs Go 1.26, \
             once), or set {ASSETS_VARIABLE} to a folder with it",
            path.display()
        );
    }
    Ok(path)
}

/// The version of the module that holds a tool's first program.
fn pinned_version(tool: &str) -> Result<String> {
    let pin = PINS.iter().find(|(name, _)| *name == tool).map(|(_, text)| *text);
    let Some(text) = pin else { bail!("{tool} is no pinned tool") };
    let words = || text.lines().map(|line| line.split_whitespace().collect::<Vec<&str>>());
    let package = words().skip_while(|line| line.first() != Some(&"tool")).find_map(|line| {
        let package = *line.last()?;
        (package != "(").then(|| format!("{package}/"))
    });
    let package = package.unwrap_or_default();
    let modules =
        words().filter_map(|line| match line.strip_prefix(&["require"]).unwrap_or(&line) {
            [module, version, ..] => {
                Some(((*module).to_owned(), version.strip_prefix('v')?.to_owned()))
            }
            _ => None,
        });
    let holders = modules.filter(|(module, _)| package.starts_with(&format!("{module}/")));
    match holders.max_by_key(|(module, _)| module.len()) {
        Some((_, version)) => Ok(version),
        None => bail!("the go.mod of {tool} does not say which version of {package} it pins"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tools_version_is_the_one_that_its_go_mod_requires() {
        assert_eq!(pinned_version("etcd").unwrap(), "3.7.3");
        assert_eq!(pinned_version("kubernetes").unwrap(), "1.37.2");
        assert_eq!(pinned_version("kwok").unwrap(), "0.8.0");
    }

    #[test]
    fn a_missing_program_is_told_with_the_command_that_builds_it() {
        let home = tempfile::tempdir().unwrap();
        let environment = |name: &str| (name == "HOME").then(|| home.path().display().to_string());
        let error = find_with("etcd", "etcd", &environment).unwrap_err().to_string();
        assert!(error.contains("`scripts/build-go etcd`"), "{error}");
        assert!(error.contains("etcd-3.7.3/bin/etcd is not there"), "{error}");
    }

    #[test]
    fn a_folder_of_ones_own_goes_before_what_was_built() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("etcd"), "").unwrap();
        let environment =
            |name: &str| (name == ASSETS_VARIABLE).then(|| folder.path().display().to_string());
        let found = find_with("etcd", "etcd", &environment).unwrap();
        assert_eq!(found, folder.path().join("etcd"));
        // What is not in it is what was built.
        let error = find_with("kwok", "kwok", &environment).unwrap_err().to_string();
        assert!(error.contains("scripts/build-go kwok"), "{error}");
        let nowhere = |name: &str| (name == ASSETS_VARIABLE).then(|| "/nowhere".to_owned());
        let error = find_with("etcd", "etcd", &nowhere).unwrap_err().to_string();
        assert!(error.contains("which is no folder"), "{error}");
    }
}
