//! Who this agent is over its restarts.

use super::{StateDirectory, StateError, atomic};

impl StateDirectory {
    /// The host's name and an id that is made once for this folder, as `host-1a2b3c4d`.
    ///
    /// # Errors
    /// [`StateError`] if the id cannot be read, or cannot be stored on first use.
    pub fn instance(&self) -> Result<String, StateError> {
        let path = self.root.join("instance.json");
        let id = match atomic::read::<String>(&path)? {
            Some(id) => id,
            None => {
                // The end of it is random; the beginning is the time.
                let id: String = uuid::Uuid::now_v7().simple().to_string().split_off(24);
                atomic::create(&path, &id)?;
                // Of agents that start at once on a new folder one made it, for all of them.
                atomic::read(&path)?.unwrap_or(id)
            }
        };
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Ok(format!("{host}-{id}"))
    }
}
