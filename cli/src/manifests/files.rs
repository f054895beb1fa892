//! Files of manifests, as `kubectl apply -f` takes them: a file is read whatever it is called, a
//! folder stands for the .yaml, .yml and .json files in it, without the folders in it.

use std::{
    io::Read,
    path::{Path, PathBuf},
};

use lockstep_shared::{
    error_code::Code,
    manifest::{MAX_BUNDLE_BYTES, Problem, Text},
};

use super::{folder::Folder, problem};

/// What a manifest's name ends with in a folder.
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];

/// Reads everything that the paths name, in their order; in a folder in the order of names.
pub(super) fn read(paths: &[String], folder: &Folder) -> Result<Vec<Text>, Problem> {
    let mut texts = Vec::new();
    let mut room = MAX_BUNDLE_BYTES;
    for path in paths {
        for found in folder.matches(path) {
            for file in listed(&found)? {
                let text = read_one(&file, room)?;
                room -= text.len();
                texts.push(Text {
                    path: folder.relative(&file).display().to_string(),
                    shown: file.display().to_string(),
                    text,
                });
            }
        }
    }
    Ok(texts)
}

/// The files that a path stands for.
fn listed(path: &Path) -> Result<Vec<PathBuf>, Problem> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let unreadable = |error| unreadable(path, &format!("cannot be listed: {error}"));
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(unreadable)? {
        let file = entry.map_err(unreadable)?.path();
        let ending = file.extension().and_then(|ending| ending.to_str());
        if ending.is_some_and(|ending| ENDINGS.contains(&ending)) && file.is_file() {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

fn read_one(file: &Path, room: usize) -> Result<String, Problem> {
    // A pipe would be waited for without end.
    if !file.is_file() {
        return Err(unreadable(file, "is not there, or is no regular file"));
    }
    let mut bytes = Vec::new();
    std::fs::File::open(file)
        .and_then(|opened| opened.take(room as u64 + 1).read_to_end(&mut bytes))
        .map_err(|error| unreadable(file, &format!("cannot be read: {error}")))?;
    if bytes.len() > room {
        let limit = MAX_BUNDLE_BYTES / 1024 / 1024;
        return Err(unreadable(file, &format!("and the files before it exceed {limit} MiB")));
    }
    String::from_utf8(bytes).map_err(|_| unreadable(file, "is not UTF-8 text"))
}

fn unreadable(path: &Path, why: &str) -> Problem {
    problem(Code::UnreadableManifest, format!("{} {why}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn world() -> (tempfile::TempDir, Folder) {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir_all(folder.path().join("k8s/deep")).expect("created");
        for file in ["k8s/b.yml", "k8s/a.yaml", "k8s/c.json", "k8s/README.md", "k8s/deep/d.yaml"] {
            fs::write(folder.path().join(file), file).expect("written");
        }
        let of = Folder::of(&folder.path().join("pipeline.yaml"));
        (folder, of)
    }

    fn paths(of: &Folder, paths: &[&str]) -> Vec<String> {
        let paths: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
        read(&paths, of).expect("they are read").into_iter().map(|text| text.path).collect()
    }

    #[test]
    fn folders_are_read_like_kubectl_reads_them() {
        let (_folder, of) = world();
        assert_eq!(paths(&of, &["k8s"]), ["k8s/a.yaml", "k8s/b.yml", "k8s/c.json"]);
        assert_eq!(paths(&of, &["k8s/README.md"]), ["k8s/README.md"], "said by name");
        assert_eq!(paths(&of, &["k8s/**/*.yaml"]), ["k8s/a.yaml", "k8s/deep/d.yaml"]);
        assert_eq!(paths(&of, &["k8s/deep", "k8s/c.json"]), ["k8s/deep/d.yaml", "k8s/c.json"]);
        assert_eq!(paths(&of, &["k8s/dee*"]), ["k8s/deep/d.yaml"], "a match is read like a path");
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let (folder, of) = world();
        fs::write(folder.path().join("binary.yaml"), [0xff, 0xfe]).unwrap();
        for (path, why) in [("none.yaml", "is not there"), ("binary.yaml", "is not UTF-8")] {
            let refused = read(&[path.to_owned()], &of).unwrap_err();
            assert!(refused.message.contains(path) && refused.message.contains(why), "{refused:?}");
        }
    }
}
