//! Who runs this program, as claimed: for people, never for permissions.

/// `user@host`, or what `LOCKSTEP_USER` says.
pub(crate) fn claimed() -> String {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    if let Some(name) = set("LOCKSTEP_USER") {
        return name;
    }
    let user = set("USER").or_else(|| set("LOGNAME")).unwrap_or_else(login);
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("{user}@{host}")
}

/// The login name that the system has for this user, else its number: in a container there may be
/// no name.
fn login() -> String {
    let uid = rustix::process::getuid().as_raw().to_string();
    let known = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    named(&known, &uid).map_or_else(|| format!("uid {uid}"), str::to_owned)
}

/// The name of a user in the system's table.
fn named<'a>(table: &'a str, uid: &str) -> Option<&'a str> {
    table.lines().find_map(|row| {
        let mut cells = row.split(':');
        let name = cells.next()?;
        (cells.nth(1)? == uid).then_some(name)
    })
}

/// The time here.
pub(crate) fn now() -> lockstep_shared::time::Timestamp {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let millis = since_epoch.map_or(0, |span| span.as_millis());
    lockstep_shared::time::Timestamp(u64::try_from(millis).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_the_name_that_the_system_knows() {
        let table = "root:x:0:0:root:/root:/bin/sh\nada:x:1000:1000::/srv/ada:/bin/sh\n";
        assert_eq!(named(table, "1000"), Some("ada"));
        assert_eq!(named(table, "7"), None);
    }
}
