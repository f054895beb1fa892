//! The folder that a pipeline file's paths start from, and what lies there.

use std::path::{Path, PathBuf};

use lockstep_shared::pipeline::Files;

/// The folder of a pipeline file; the working directory for one from standard input.
#[derive(Debug, Default)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// The folder that a pipeline file lies in.
    pub(crate) fn of(file: &Path) -> Self {
        Self(file.parent().map(Path::to_owned).unwrap_or_default())
    }

    /// A path of the pipeline file as it is seen from here.
    pub(super) fn join(&self, path: &str) -> PathBuf {
        self.0.join(path)
    }

    /// A path seen from here as the pipeline file would write it.
    pub(super) fn relative<'a>(&self, path: &'a Path) -> &'a Path {
        path.strip_prefix(&self.0).unwrap_or(path)
    }

    /// What a path of the pipeline file names: itself, or what it matches, in order.
    pub(super) fn matches(&self, path: &str) -> Vec<PathBuf> {
        if !is_pattern(path) {
            return vec![self.join(path)];
        }
        let folder = glob::Pattern::escape(&self.0.to_string_lossy());
        let pattern = Path::new(&folder).join(path);
        glob::glob(&pattern.to_string_lossy()).into_iter().flatten().flatten().collect()
    }
}

impl Files for Folder {
    fn count(&self, path: &str) -> usize {
        self.matches(path).iter().filter(|path| holds_a_file(path)).take(1).count()
    }
}

fn is_pattern(path: &str) -> bool {
    path.contains(['*', '?', '['])
}

/// Whether a path is a regular file, or a folder with one at any depth.
fn holds_a_file(path: &Path) -> bool {
    if path.is_file() {
        return true;
    }
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.file_type() {
                // A link may lead back up: it is looked at, not walked into.
                Ok(kind) if kind.is_file() || entry.path().is_file() => return true,
                Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                _ => {}
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_counted_through_folders_and_globs() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("k8s/deep")).unwrap();
        std::fs::write(folder.path().join("k8s/deep/a.yaml"), "x").unwrap();
        std::fs::create_dir(folder.path().join("empty")).unwrap();
        let files = Folder::of(&folder.path().join("pipeline.yaml"));
        for (path, count) in
            [("k8s", 1), ("k8s/*/*.yaml", 1), ("k8s/**/*.yaml", 1), ("empty", 0), ("none", 0)]
        {
            assert_eq!(files.count(path), count, "{path}");
        }
        assert_eq!(files.count("k8s/*.json"), 0);
        assert_eq!(files.count("k8s/[a"), 0, "a pattern that is none matches nothing");
    }

    #[test]
    fn paths_are_told_as_the_pipeline_file_writes_them() {
        let folder = Folder::of(Path::new("shop/pipeline.yaml"));
        assert_eq!(folder.join("k8s/a.yaml"), Path::new("shop/k8s/a.yaml"));
        assert_eq!(folder.relative(Path::new("shop/k8s/a.yaml")), Path::new("k8s/a.yaml"));
        assert_eq!(Folder::default().join("k8s/a.yaml"), Path::new("k8s/a.yaml"));
    }
}
