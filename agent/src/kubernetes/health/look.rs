//! What one look at an object says, and the words for it.

use k8s_openapi::api::core::v1::Pod;
use lockstep_shared::{fold::cut, time::Span};
use serde::Deserialize;
use serde_json::Value;

use super::{
    pin::Pin,
    pods::{Container, Counting, containers, unschedulable},
};

/// How much of a message that somebody else wrote goes into a line, in bytes.
const MAX_MESSAGE_BYTES: usize = 300;

/// How an object is at one look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// Not as it should be, and not known never to become so.
    InProgress,
    /// As it should be.
    Healthy,
    /// It exists, and nothing on it tells of its health.
    Exists,
    /// Done for good: nothing that happens to it later matters.
    Settled,
    /// It will not become as it should be.
    Failed,
}

/// One look at an object.
#[derive(Debug, Clone)]
pub struct Look {
    /// How the object is.
    pub health: Health,
    /// How far it is, or why it failed, without its name: "1/3 updated, 1 old pod left".
    pub text: String,
    /// What fails the object if it lasts.
    pub(super) troubles: Vec<Trouble>,
    /// The containers whose failing fails the object if it lasts.
    pub(super) containers: Vec<Container>,
    /// How far it is, comparably.
    pub(super) progress: Progress,
    /// Whether nobody but us notices that it does not get on.
    pub(super) without_deadline: bool,
    /// How long it has to be healthy at least.
    pub(super) hold: Span,
}

/// Something that fails an object once it has lasted for the failing budget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trouble {
    /// What it is, so that it is known again at the next look.
    pub(super) what: &'static str,
    /// What it says.
    pub(super) text: String,
}

/// How far a rollout is: more of `done` for the same goal is progress, and so is a new goal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// What is rolled out.
    pub(super) goal: String,
    /// Counts, the weightiest first; more is better.
    pub(super) done: [i32; 3],
}

impl Look {
    /// As it should be.
    pub(super) fn healthy() -> Self {
        Self::new(Health::Healthy, "healthy")
    }

    /// Nothing more to be known than that it is there.
    pub(super) fn exists() -> Self {
        Self::new(Health::Exists, "exists; nothing on it tells of its health")
    }

    /// Done for good.
    pub(super) fn settled(text: impl Into<String>) -> Self {
        Self::new(Health::Settled, text)
    }

    /// Not yet as it should be.
    pub(super) fn in_progress(text: impl Into<String>) -> Self {
        Self::new(Health::InProgress, text)
    }

    /// It will not become as it should be.
    pub(super) fn failed(text: impl Into<String>) -> Self {
        Self::new(Health::Failed, text)
    }

    /// Failed unless the counts already say that it is healthy.
    #[must_use]
    pub(super) fn or_failed(mut self, why: Option<String>) -> Self {
        if let (Health::InProgress, Some(why)) = (self.health, why) {
            self.text = format!("{why} (so far: {})", self.text);
            self.health = Health::Failed;
        }
        self
    }

    /// With the containers of its pods, and the first thing that holds one of them up in the text.
    #[must_use]
    pub(super) fn with_pods(mut self, pods: &[Pod], pin: &Pin, counting: Counting) -> Self {
        self.containers = containers(pods, pin, counting);
        let told = self.containers.iter().find_map(Container::told);
        let told = told.or_else(|| unschedulable(pods));
        if let (Health::InProgress, Some(told)) = (self.health, told) {
            self.text = format!("{}; {told}", self.text);
        }
        self
    }

    fn new(health: Health, text: impl Into<String>) -> Self {
        Self {
            health,
            text: text.into(),
            troubles: Vec::new(),
            containers: Vec::new(),
            progress: Progress::default(),
            without_deadline: false,
            hold: Span(0),
        }
    }
}

/// The object as its type.
///
/// # Errors
/// Why it cannot be read; such an object is not healthy yet.
pub(super) fn read<'a, T: Deserialize<'a>>(object: &'a Value) -> Result<T, String> {
    T::deserialize(object)
        .map_err(|error| format!("cannot be read as its kind: {}", short(&error.to_string())))
}

/// Somebody else's message in one line of bounded length.
pub(super) fn short(message: &str) -> String {
    let line = message.split_whitespace().collect::<Vec<_>>().join(" ");
    cut(&line, MAX_MESSAGE_BYTES)
}

/// "1 old pod", "2 old pods".
pub(super) fn counted(count: i32, thing: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {thing}{plural}")
}

/// `minReadySeconds` as a span.
pub(super) fn seconds(seconds: Option<i32>) -> Span {
    Span::seconds(seconds.unwrap_or(0).try_into().unwrap_or(0))
}
