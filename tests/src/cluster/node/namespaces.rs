//! Namespaces of a node's own: network, mounts and processes. One process holds them all; when it
//! is killed, the kernel takes everything in them away: processes, mounts, links, firewall rules.

use std::path::Path;

use anyhow::{Context, Result, ensure};

/// The node's own address, and the only one that pods know the API server by.
pub(super) const NODE_ADDRESS: &str = "10.88.0.1";

/// Where pods have their addresses.
pub(super) const POD_RANGE: &str = "10.89.0.0/16";

/// The first program in the namespaces. What it mounts hides the folders of the machine that the
/// node's programs write to; the addresses are on a bridge without ports, which is up as long as
/// it is there. Services need a route, though nobody is at its end: it is taken before the
/// firewall sends the packet elsewhere.
const SET_UP: &str = r#"
set -eu
mount --make-rprivate /
for folder in $4; do mount -t tmpfs tmpfs "$folder"; done
ip link set lo up
ip link add node0 type bridge
ip address add "$1/32" dev node0
ip link set node0 up
ip route add "$2" dev node0
echo 1 > /proc/sys/net/ipv4/ip_forward
for setting in $3; do
    mkdir -p "/run/settings/${setting%/*}"
    cat "/proc/sys/$setting" > "/run/settings/$setting"
    mount --bind "/run/settings/$setting" "/proc/sys/$setting"
done
echo up
while :; do sleep 1000 & wait; done
"#;

/// What a kubelet sets for its whole machine. This one's machine is not its own: it gets files to
/// write to instead.
const SETTINGS: &str = "vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops \
                        kernel/keys/root_maxkeys kernel/keys/root_maxbytes";

/// Where the node's programs write, whatever they are told. They get folders of their own there.
const HIDDEN: &[&str] = &["/run", "/var/lib", "/var/log"];

/// The name of the process that holds the namespaces, as it is in logs.
pub(super) const NAMESPACES: &str = "namespaces";

/// The command line of the process that holds them.
pub(super) fn holder(service_range: &str) -> Vec<String> {
    let words = ["unshare", "--net", "--mount", "--pid", "--ipc", "--fork", "--mount-proc"];
    let words = words.into_iter().chain(["--kill-child", "/bin/sh", "-c", SET_UP, "node"]);
    let hidden = HIDDEN.join(" ");
    words.chain([NODE_ADDRESS, service_range, SETTINGS, &hidden]).map(str::to_owned).collect()
}

/// Fails if a cluster's folder could not be seen from inside.
pub(super) fn check_folder(folder: &Path) -> Result<()> {
    for hidden in HIDDEN {
        ensure!(
            !folder.starts_with(hidden),
            "{} is below {hidden}, where a real node has folders of its own: set TMPDIR to another \
             folder",
            folder.display()
        );
    }
    Ok(())
}

/// The first child of a process: of the holder, the first process inside; of who entered, the
/// program that it entered for. By its number outside.
pub(in crate::cluster) fn first_below(holder: u32) -> Result<Option<u32>> {
    for entry in std::fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok())
        else {
            continue;
        };
        // A process that is gone meanwhile is not the one.
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // After the name in parentheses: the state, then the parent.
        let parent = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1));
        if parent.and_then(|parent| parent.parse().ok()) == Some(holder) {
            return Ok(Some(pid));
        }
    }
    Ok(None)
}

/// A program's command line, to be run inside.
pub(in crate::cluster) fn inside(first: u32, command: &[String]) -> Vec<String> {
    let target = format!("--target={first}");
    let enter = ["nsenter", &target, "--net", "--mount", "--pid", "--ipc", "--"];
    enter.into_iter().map(str::to_owned).chain(command.iter().cloned()).collect()
}

/// Opens the network of a process, for a thread to enter.
pub(super) fn network_of(pid: u32) -> Result<std::fs::File> {
    let path = format!("/proc/{pid}/ns/net");
    std::fs::File::open(Path::new(&path)).with_context(|| format!("opening {path}"))
}
