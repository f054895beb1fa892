//! Images, made here: programs of this build with the libraries they need, under any name.
//!
//! Most are the same program, `cluster-pod`, and differ in what they are called: as for a fake node,
//! the name's last word says what a pod does. `pullfail` is not made, so that it is missing.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::world::program;

/// The image of the container that holds a pod's namespaces.
pub(super) const PAUSE: &str = "lockstep.test/pause:1";

/// The program that does what its image is called.
const POD: &str = "cluster-pod";

/// An image to be made.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Image {
    name: String,
    program: String,
}

impl Image {
    /// Of `NAME`, or of `NAME=PROGRAM` for another program of this build.
    pub(super) fn parse(text: &str) -> Self {
        let (name, program) = text.split_once('=').unwrap_or((text, POD));
        Self { name: name.to_owned(), program: program.to_owned() }
    }

    fn config(&self, layer_digest: &str) -> serde_json::Value {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        let mut config = json!({
            "Entrypoint": [format!("/{}", self.program)],
            "Env": [format!("IMAGE={}", self.name), "PATH=/"],
        });
        if self.name == PAUSE {
            config["Cmd"] = json!(["pause"]);
        }
        json!({
            "architecture": architecture,
            "os": "linux",
            "created": "1970-01-01T00:00:00Z",
            "config": config,
            "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{layer_digest}")] },
        })
    }
}

/// Makes an archive of images, in `folder`, as `docker save` would write it.
pub(super) fn archive(folder: &Path, images: &BTreeSet<Image>) -> Result<PathBuf> {
    let programs: BTreeSet<&str> = images.iter().map(|image| image.program.as_str()).collect();
    let layers: Result<BTreeMap<&str, String>> =
        programs.into_iter().map(|program| Ok((program, layer(folder, program)?))).collect();
    let layers = layers?;
    let mut manifest = Vec::new();
    let mut files = vec!["manifest.json".to_owned()];
    for (number, image) in images.iter().enumerate() {
        let config = format!("{number}.json");
        let digest = &layers[image.program.as_str()];
        std::fs::write(folder.join(&config), image.config(digest).to_string())?;
        let layer = format!("{}.tar", image.program);
        manifest.push(json!({ "Config": config, "RepoTags": [image.name], "Layers": [layer] }));
        files.push(config);
    }
    files.extend(layers.keys().map(|program| format!("{program}.tar")));
    std::fs::write(folder.join("manifest.json"), json!(manifest).to_string())?;
    let archive = folder.join("images.tar");
    let mut tar = Command::new("tar");
    tar.arg("--create").arg("--file").arg(&archive).arg("--directory").arg(folder).args(files);
    run(&mut tar)?;
    Ok(archive)
}

/// Packs a program as `PROGRAM.tar`, and gives the digest.
fn layer(folder: &Path, name: &str) -> Result<String> {
    let root = folder.join(format!("{name}.root"));
    std::fs::create_dir_all(root.join("tmp"))?;
    let path = program(name)?;
    copy_into(&root, &path, &Path::new("/").join(name))?;
    for library in libraries(&path)? {
        copy_into(&root, &library, &library)?;
    }
    // Smaller; without it, it is the same.
    run(Command::new("strip").arg(root.join(name))).ok();
    let layer = folder.join(format!("{name}.tar"));
    let mut tar = Command::new("tar");
    tar.args([
        "--create",
        "--sort=name",
        "--owner=0",
        "--group=0",
        "--numeric-owner",
        "--mtime=@0",
    ]);
    run(tar.arg("--file").arg(&layer).arg("--directory").arg(&root).arg("."))?;
    std::fs::remove_dir_all(root)?;
    let digest = Sha256::digest(std::fs::read(&layer)?);
    Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_may_be_of_another_program() {
        let image = Image::parse("lockstep/agent:1=lockstep-agent");
        assert_eq!(
            (image.name.as_str(), image.program.as_str()),
            ("lockstep/agent:1", "lockstep-agent")
        );
        assert_eq!(image.config("0")["config"]["Entrypoint"][0], "/lockstep-agent");
        assert_eq!(Image::parse("shop/web:1").program, POD);
    }

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
