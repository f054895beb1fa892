//! Files that are either there whole or not there.

use std::{
    fs::File,
    io::Write,
    path::{Path, PathBuf},
};

use serde::{Serialize, de::DeserializeOwned};

use super::StateError;

/// The largest file read: an undo record holds one workflow of a plan, which is at most 768 KiB.
const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// Writes the value so that a reader, also after a power loss, finds the old or the new one.
pub(super) fn write<T: Serialize>(path: &Path, value: &T) -> Result<(), StateError> {
    let file = prepare(path, value)?;
    file.persist(path).map_err(|e| StateError::io("write", path, e.error))?;
    sync_folder(&folder_of(path))
}

/// Writes the value unless the file is there already: of several who try, one succeeds.
pub(super) fn create<T: Serialize>(path: &Path, value: &T) -> Result<(), StateError> {
    match prepare(path, value)?.persist_noclobber(path) {
        Err(error) if error.error.kind() != std::io::ErrorKind::AlreadyExists => {
            Err(StateError::io("create", path, error.error))
        }
        _ => sync_folder(&folder_of(path)),
    }
}

/// A file beside the path that holds the value, on the disk.
fn prepare<T: Serialize>(path: &Path, value: &T) -> Result<tempfile::NamedTempFile, StateError> {
    let folder = folder_of(path);
    super::create_folder(&folder)?;
    let failed = |e| StateError::io("write", path, e);
    let mut file = tempfile::NamedTempFile::new_in(&folder).map_err(failed)?;
    let text = serde_json::to_vec(value).map_err(|e| failed(e.into()))?;
    file.write_all(&text).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    Ok(file)
}

/// Reads a value back; `None` if the file does not exist.
pub(super) fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, StateError> {
    match bytes(path)? {
        Some(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|source| StateError::Damaged { path: path.to_owned(), source }),
        None => Ok(None),
    }
}

fn bytes(path: &Path) -> Result<Option<Vec<u8>>, StateError> {
    use std::io::Read;
    let failed = |e| StateError::io("read", path, e);
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut bytes = Vec::new();
    file.take(MAX_BYTES).read_to_end(&mut bytes).map_err(failed)?;
    Ok(Some(bytes))
}

/// Removes a file, if it is there; after a power loss it may be there again.
pub(super) fn forget(path: &Path) -> Result<(), StateError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(StateError::io("remove", path, error))
        }
        _ => Ok(()),
    }
}

pub(super) fn sync_folder(folder: &Path) -> Result<(), StateError> {
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|e| StateError::io("write", folder, e))
}

/// The folder that names it.
pub(super) fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        Some(_) => PathBuf::from("."),
        None => path.to_owned(),
    }
}
