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
    let folder = folder_of(path);
    super::create_folder(&folder)?;
    let failed = |e| StateError::io("write", path, e);
    let mut file = tempfile::NamedTempFile::new_in(&folder).map_err(failed)?;
    let text = serde_json::to_vec(value).map_err(|e| failed(e.into()))?;
    file.write_all(&text).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist(path).map_err(|e| failed(e.error))?;
    sync_folder(&folder)
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

fn sync_folder(folder: &Path) -> Result<(), StateError> {
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|e| StateError::io("write", folder, e))
}

fn folder_of(path: &Path) -> PathBuf {
    path.parent().map_or_else(|| PathBuf::from("."), Path::to_owned)
}
