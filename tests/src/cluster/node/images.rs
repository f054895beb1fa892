//! Images, made here: a program of this build with the libraries it needs, under any name.
//!
//! All are the same program, `cluster-pod`, and differ in what they are called: as for a fake node,
//! the name's last word says what a pod does. `pullfail` is not made, so that it is missing.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::world::program;

/// The image of the container that holds a pod's namespaces.
pub(super) const PAUSE: &str = "lockstep.test/pause:1";

/// One layer, from which images of any name are made.
pub(super) struct Images {
    folder: PathBuf,
    layer_digest: String,
}

impl Images {
    /// Packs the program, in `folder`.
    pub(super) fn in_folder(folder: &Path) -> Result<Self> {
        let root = folder.join("root");
        std::fs::create_dir_all(root.join("tmp"))?;
        let pod = program("cluster-pod")?;
        copy_into(&root, &pod, Path::new("/pod"))?;
        for library in libraries(&pod)? {
            copy_into(&root, &library, &library)?;
        }
        run(Command::new("strip").arg(root.join("pod"))).ok();
        let layer = folder.join("layer.tar");
        run(Command::new("tar")
            .args(["--create", "--sort=name", "--owner=0", "--group=0", "--numeric-owner"])
            .arg("--mtime=@0")
            .arg("--file")
            .arg(&layer)
            .arg("--directory")
            .arg(&root)
            .arg("."))?;
        let layer_digest = hex(&Sha256::digest(std::fs::read(&layer)?));
        std::fs::remove_dir_all(root)?;
        Ok(Self { folder: folder.to_owned(), layer_digest })
    }

    /// An archive of images with these names, as `docker save` would write it.
    pub(super) fn archive(&self, names: &BTreeSet<String>) -> Result<PathBuf> {
        let mut manifest = Vec::new();
        let mut files = vec!["layer.tar".to_owned(), "manifest.json".to_owned()];
        for (number, name) in names.iter().enumerate() {
            let config = format!("{number}.json");
            std::fs::write(self.folder.join(&config), self.config(name).to_string())?;
            manifest.push(json!({ "Config": config, "RepoTags": [name], "Layers": ["layer.tar"] }));
            files.push(config);
        }
        std::fs::write(self.folder.join("manifest.json"), json!(manifest).to_string())?;
        let archive = self.folder.join("images.tar");
        run(Command::new("tar")
            .arg("--create")
            .arg("--file")
            .arg(&archive)
            .arg("--directory")
            .arg(&self.folder)
            .args(files))?;
        Ok(archive)
    }

    fn config(&self, name: &str) -> serde_json::Value {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        let mode = if name == PAUSE { "pause" } else { "serve" };
        json!({
            "architecture": architecture,
            "os": "linux",
            "created": "1970-01-01T00:00:00Z",
            "config": { "Entrypoint": ["/pod"], "Cmd": [mode], "Env": [format!("IMAGE={name}")] },
            "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{}", self.layer_digest)] },
        })
    }
}

/// The images that manifests below a folder name, but for those that are to be missing.
pub(super) fn named_below(folder: &Path) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "yaml" || end == "yml") {
                let text = std::fs::read_to_string(&path)?;
                names.extend(text.lines().filter_map(image_of).map(str::to_owned));
            }
        }
    }
    Ok(names)
}

/// The image that a line of a manifest names; a template's is known only when it is rendered.
fn image_of(line: &str) -> Option<&str> {
    let (_, value) = line.split_once("image:")?;
    let value = value.trim().split([' ', ',', '}']).next()?.trim_matches(['"', '\'']);
    let plain = value.contains(':') && !value.contains(['{', '$', '@']);
    (plain && !value.ends_with("pullfail")).then_some(value)
}

/// The shared libraries of a program, the loader included.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let output = Command::new("ldd").arg(program).output().context("ldd")?;
    ensure!(output.status.success(), "ldd {} failed", program.display());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let paths = text.split_whitespace().filter(|word| word.starts_with('/'));
    Ok(paths.map(PathBuf::from).collect())
}

fn copy_into(root: &Path, from: &Path, to: &Path) -> Result<()> {
    let to = root.join(to.strip_prefix("/").context("paths in an image begin with /")?);
    std::fs::create_dir_all(to.parent().context("a file is in a folder")?)?;
    std::fs::copy(from, &to).with_context(|| format!("copying {}", from.display()))?;
    Ok(())
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("starting {command:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} failed: {said}");
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_images_of_manifests_are_found_but_not_templates_or_missing_ones() {
        let folder = tempfile::tempdir().unwrap();
        let manifests = "spec:\n  containers:\n    - image: shop/web:1\n    - { image: \"shop/db:2-slow\", name: b }\n  \
                         - image: shop/web:{{ .Values.tag }}\n    - image: shop/web:3-pullfail\n";
        std::fs::create_dir(folder.path().join("k8s")).unwrap();
        std::fs::write(folder.path().join("k8s/web.yaml"), manifests).unwrap();
        std::fs::write(folder.path().join("notes.md"), "image: shop/other:1\n").unwrap();
        let names: Vec<String> = named_below(folder.path()).unwrap().into_iter().collect();
        assert_eq!(names, ["shop/db:2-slow", "shop/web:1"]);
    }
}
