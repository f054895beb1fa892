//! Who runs this program, as claimed: for people, never for permissions.

/// `user@host`, or what `LOCKSTEP_USER` says.
pub(crate) fn claimed() -> String {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    if let Some(name) = set("LOCKSTEP_USER") {
        return name;
    }
    let user = set("USER").or_else(|| set("LOGNAME")).unwrap_or_else(|| "somebody".to_owned());
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("{user}@{host}")
}

/// The time here.
pub(crate) fn now() -> lockstep_shared::time::Timestamp {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let millis = since_epoch.map_or(0, |span| span.as_millis());
    lockstep_shared::time::Timestamp(u64::try_from(millis).unwrap_or(u64::MAX))
}
