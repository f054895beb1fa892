//! Pods of a workload's new revision: which of their containers cannot start, and why.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use super::{condition::instant, look::short, pin::Pin};

/// A container that counts, at one look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Container {
    /// The pod's uid and the container's name: what it is known by at the next look.
    pub(super) id: (String, String),
    /// The pod's name.
    pub(super) pod: String,
    /// How often it was started again in the pod's life.
    pub(super) restarts: i32,
    /// Whether the pod is not older than our apply, so that every restart is of its own making.
    pub(super) fresh: bool,
    /// Whether it runs and is ready, or did its work as an init container.
    pub(super) ready: bool,
    /// Why it cannot start, if it cannot.
    pub(super) failing: Option<Failing>,
}

/// Why a container cannot start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failing {
    /// The kubelet's reason.
    pub(super) reason: String,
    /// The kubelet's message, in one line.
    pub(super) message: String,
    /// What to do next.
    pub(super) advice: &'static str,
}

/// Whose failing counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Counting {
    /// Containers that crash and containers that cannot be started.
    All,
    /// Only what does not get better by starting again: a Job counts its own crashes.
    Starts,
}

/// The containers of these pods; those of pods that end or are being deleted do not count.
pub(super) fn containers(pods: &[Pod], pin: &Pin, counting: Counting) -> Vec<Container> {
    let living = pods.iter().filter(|pod| !is_ending(pod));
    living.flat_map(|pod| of_pod(pod, pin, counting)).collect()
}

/// Why a pod finds no node, told but never a failure by itself.
pub(super) fn unschedulable(pods: &[Pod]) -> Option<String> {
    let waiting = |pod: &Pod| {
        let conditions = pod.status.as_ref()?.conditions.as_ref()?;
        let found = conditions.iter().find(|found| {
            found.type_ == "PodScheduled"
                && found.status == "False"
                && found.reason.as_deref() == Some("Unschedulable")
        })?;
        let message = short(found.message.as_deref().unwrap_or("no reason is given"));
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        Some(format!("pod {name} finds no node: {message}"))
    };
    pods.iter().filter(|pod| !is_ending(pod)).find_map(waiting)
}

impl Container {
    /// "pod web-1, container app: ImagePullBackOff: ...", if it cannot start.
    pub(super) fn told(&self) -> Option<String> {
        let failing = self.failing.as_ref()?;
        let colon = if failing.message.is_empty() { "" } else { ": " };
        Some(format!(
            "pod {}, container {}: {}{colon}{}",
            self.pod, self.id.1, failing.reason, failing.message
        ))
    }
}

fn is_ending(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    pod.metadata.deletion_timestamp.is_some() || matches!(phase, Some("Succeeded" | "Failed"))
}

fn of_pod(pod: &Pod, pin: &Pin, counting: Counting) -> Vec<Container> {
    let Some(status) = &pod.status else { return Vec::new() };
    let fresh = pod.metadata.creation_timestamp.as_ref().and_then(instant);
    let fresh = fresh.is_some_and(|created| pin.is_fresh(created));
    let uid = pod.metadata.uid.clone().unwrap_or_default();
    let name = pod.metadata.name.clone().unwrap_or_default();
    let inits = status.init_container_statuses.iter().flatten();
    inits
        .chain(status.container_statuses.iter().flatten())
        .map(|found| Container {
            id: (uid.clone(), found.name.clone()),
            pod: name.clone(),
            restarts: found.restart_count,
            fresh,
            ready: found.ready,
            failing: failing(found).filter(|failing| counts(failing, counting)),
        })
        .collect()
}

fn failing(container: &ContainerStatus) -> Option<Failing> {
    let waiting = container.state.as_ref()?.waiting.as_ref()?;
    let reason = waiting.reason.as_deref()?;
    let advice = advice(reason)?;
    let mut message = short(waiting.message.as_deref().unwrap_or_default());
    let last = container.last_state.as_ref().and_then(|state| state.terminated.as_ref());
    if let Some(last) = last.filter(|_| reason == CRASHING) {
        let why = last.reason.as_deref().unwrap_or("Error");
        message = format!("it ended with exit code {} ({why}) the last time", last.exit_code);
    }
    Some(Failing { reason: reason.to_owned(), message, advice })
}

fn counts(failing: &Failing, counting: Counting) -> bool {
    counting == Counting::All || failing.reason != CRASHING
}

/// The kubelet's reason for a container that ends again and again.
pub(super) const CRASHING: &str = "CrashLoopBackOff";

/// What to do about a container that waits for this reason; `None` if waiting is all there is to
/// do.
fn advice(reason: &str) -> Option<&'static str> {
    Some(match reason {
        CRASHING => {
            "read its log, whose end an agent with `--evidence logs` tells, and repair what ends it"
        }
        "ImagePullBackOff" | "ErrImagePull" | "RegistryUnavailable" => {
            "check that the image exists and that the nodes may pull it"
        }
        "InvalidImageName" => "correct the image's name",
        "ErrImageNeverPull" => "load the image onto the nodes, or change imagePullPolicy",
        "ImageInspectError" | "SignatureValidationFailed" => "check the image on the node",
        "CreateContainerConfigError" => {
            "check the ConfigMaps, Secrets and keys that the container names"
        }
        "CreateContainerError" | "RunContainerError" => {
            "check the container's command, mounts and security context"
        }
        _ => return None,
    })
}
