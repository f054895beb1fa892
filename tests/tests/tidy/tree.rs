//! The repository's text files.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// One text file of the repository.
pub(crate) struct TextFile {
    /// Its path from the repository's root, with `/`.
    pub(crate) path: String,
    /// What it says.
    pub(crate) text: String,
}

impl TextFile {
    /// Its lines with their numbers, counted from 1.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(index, line)| (index + 1, line))
    }

    /// Whether its name ends so.
    pub(crate) fn ends_with(&self, end: &str) -> bool {
        self.path.ends_with(end)
    }
}

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the repository").to_owned()
}

/// Every text file of the repository, without what is built, served or kept beside it.
pub(crate) fn files() -> Vec<TextFile> {
    let mut files = Vec::new();
    walk(&root(), "", &mut files);
    assert!(files.len() > 50, "only {} files found: the walk is broken", files.len());
    files
}

fn walk(folder: &Path, path: &str, files: &mut Vec<TextFile>) {
    let mut entries: Vec<fs::DirEntry> =
        fs::read_dir(folder).and_then(Iterator::collect).expect("the repository can be read");
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name().into_string().expect("names are text");
        let kind = entry.file_type().expect("an entry has a type");
        let path = if path.is_empty() { name.clone() } else { format!("{path}/{name}") };
        if kind.is_dir() && !is_left_out(&name) {
            walk(&entry.path(), &path, files);
        } else if kind.is_file() && name != "Cargo.lock" && name != ".git" {
            // A file that is no text has no words to judge.
            if let Ok(text) = fs::read_to_string(entry.path()) {
                files.push(TextFile { path, text });
            }
        }
    }
}

fn is_left_out(name: &str) -> bool {
    let built = name == "target" || name.starts_with("target-") || name == "__pycache__";
    built || [".git", ".lockstep", ".venv", "served"].contains(&name)
}

/// Fails with every finding at once.
pub(crate) fn no_findings(rule: &str, findings: &[String]) {
    assert!(findings.is_empty(), "{rule}:\n  {}", findings.join("\n  "));
}
