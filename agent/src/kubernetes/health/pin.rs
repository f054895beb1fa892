//! What our apply left, and whether an object is still that (rules 14 and 15).

use lockstep_shared::time::Timestamp;
use serde_json::Value;

use super::{condition::timestamp, look::Look};
use crate::kubernetes::{
    adopt::{is_scaled, replicas},
    fields::{Entry, FieldSet, FieldsError, Path, entries},
    object,
};

/// What the answer to our own apply pins: which object, which generation, and what we own of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Pin {
    uid: String,
    generation: i64,
    version: Option<u128>,
    since: Timestamp,
    owned: FieldSet,
}

/// Why an answer pins nothing.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    /// The object has no uid, so it was never stored.
    #[error("the answer to the apply has no metadata.uid; was it a dry run?")]
    NoUid,
    /// Its managedFields cannot be read.
    #[error("what the server says of the object's owners cannot be read")]
    Fields(#[from] FieldsError),
}

/// Whether an object that was fetched is what we applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is.
    Ours,
    /// It is an older state of it: the reading came from a cache.
    Stale,
    /// It is not, and why.
    Lost(String),
}

impl Pin {
    /// What `answer`, the object as our apply got it back, pins. For an object that was found
    /// unchanged it is the object as it was read.
    ///
    /// `at` is the server's time of the answer, or an earlier one within this run: what is known to
    /// be older says nothing of this apply. Our managedFields entry may say a later time.
    ///
    /// # Errors
    /// [`PinError`] if it was not stored, or its managedFields cannot be read.
    pub fn of(answer: &Value, at: Timestamp) -> Result<Self, PinError> {
        let ours: Vec<_> = entries(answer)?.into_iter().filter(Entry::is_ours).collect();
        let mut owned = FieldSet::new();
        ours.iter().for_each(|entry| owned.extend(&entry.fields));
        let written = ours.into_iter().filter_map(|entry| timestamp(&entry.time?.into())).max();
        Ok(Self {
            uid: object::uid(answer).ok_or(PinError::NoUid)?.to_owned(),
            generation: object::generation(answer).unwrap_or(0),
            version: version(answer),
            since: written.map_or(at, |written| written.max(at)),
            owned,
        })
    }

    /// The same for an object that was applied some time before it was read: what the dry run,
    /// `planned`, said that our apply would own has to be ours still. The number of replicas and our
    /// own annotation apart: an apply may have left the one out, and need not write the other.
    ///
    /// # Errors
    /// [`PinError`] if the owners of what was planned cannot be read.
    pub fn as_planned(mut self, planned: &Value) -> Result<Self, PinError> {
        let mark = Path::of_fields(&["metadata", "annotations", object::RUN_ANNOTATION]);
        for entry in entries(planned)?.iter().filter(|entry| entry.is_applied_by_us()) {
            self.owned.extend(&entry.fields.without(&mark).without(&replicas()));
        }
        Ok(self)
    }

    /// The server's time of the apply: what is older says nothing of it.
    pub(crate) fn since(&self) -> Timestamp {
        self.since
    }

    /// Whether something that happened at `time` is not older than our apply. Servers write whole
    /// seconds, so within one second nothing is older.
    pub(super) fn is_fresh(&self, time: Timestamp) -> bool {
        time.0 / 1000 >= self.since.0 / 1000
    }

    /// The generation that has to be observed: ours, or a later one that somebody else's change
    /// (a scale-up) has made.
    pub(super) fn wanted_generation(&self, object: &Value) -> i64 {
        object::generation(object).unwrap_or(0).max(self.generation)
    }

    /// The look of a workload whose controller has not seen the wanted generation yet.
    pub(super) fn unobserved(&self, object: &Value, observed: Option<i64>) -> Option<Look> {
        let wanted = self.wanted_generation(object);
        let seen = observed.is_some_and(|observed| observed >= wanted);
        (!seen).then(|| Look::in_progress("its controller has not seen the change yet"))
    }

    /// Whether the fetched object is what we applied.
    pub(super) fn standing(&self, object: &Value) -> Standing {
        if object::uid(object) != Some(&self.uid) {
            return Standing::Lost(
                "was deleted and made again by somebody else; find out by whom, and deploy again"
                    .to_owned(),
            );
        }
        let older = version(object).zip(self.version).is_some_and(|(found, ours)| found < ours);
        if older || object::generation(object).unwrap_or(0) < self.generation {
            return Standing::Stale;
        }
        let entries = match entries(object) {
            Ok(entries) => entries,
            Err(error) => return Standing::Lost(format!("tells no owners: {error}")),
        };
        let mut owned = FieldSet::new();
        entries
            .iter()
            .filter(|entry| entry.is_ours())
            .for_each(|entry| owned.extend(&entry.fields));
        let mut lost = self.owned.difference(&owned);
        // Who scales says how many there are, and takes nothing from us by that (rule 21).
        if is_scaled(object, &[]).unwrap_or_default() {
            lost = lost.without(&replicas());
        }
        match lost.paths().first() {
            None => Standing::Ours,
            Some(path) => Standing::Lost(changed_by(path, &entries)),
        }
    }
}

/// Who has taken a path from us.
fn changed_by(path: &Path, entries: &[Entry]) -> String {
    let owner = entries.iter().find(|entry| !entry.is_ours() && entry.fields.contains(path));
    match owner {
        Some(entry) => format!(
            "{path} was changed by {} after our apply; have it leave that field alone, or take the \
             field out of the manifest",
            entry.manager
        ),
        None => format!(
            "{path} was removed by somebody else after our apply; find out by whom, and deploy \
             again"
        ),
    }
}

/// The resourceVersion as a number that grows with every change.
fn version(object: &Value) -> Option<u128> {
    object::resource_version(object)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// An object whose replicas are owned by this manager, which wrote through this subresource.
    fn replicas_of(manager: &str, subresource: &str) -> Value {
        let mut entry = json!({
            "manager": manager, "operation": "Update", "apiVersion": "apps/v1",
            "fieldsType": "FieldsV1", "fieldsV1": { "f:spec": { "f:replicas": {} } },
        });
        if !subresource.is_empty() {
            entry["subresource"] = subresource.into();
        }
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": { "name": "web", "uid": "u", "managedFields": [entry] },
            "spec": { "replicas": 3 },
        })
    }

    #[test]
    fn what_was_taken_before_it_was_read_is_known_from_the_plan() {
        let mut planned = replicas_of("lockstep", "");
        planned["metadata"]["managedFields"][0]["operation"] = "Apply".into();
        planned["metadata"]["managedFields"][0]["fieldsV1"] =
            json!({ "f:spec": { "f:replicas": {}, "f:paused": {} } });
        let now = replicas_of("kubectl-edit", "");
        let pin = Pin::of(&now, Timestamp(0)).unwrap();
        assert_eq!(pin.standing(&now), Standing::Ours);
        let Standing::Lost(why) = pin.as_planned(&planned).unwrap().standing(&now) else {
            panic!("it is not ours")
        };
        assert!(why.starts_with(".spec.paused was removed"), "{why}");
    }

    #[test]
    fn who_scales_takes_nothing_from_us_and_who_edits_the_number_does() {
        let pin = Pin::of(&replicas_of("lockstep", ""), Timestamp(0)).unwrap();
        assert_eq!(pin.standing(&replicas_of("kubectl", "scale")), Standing::Ours);
        let edited = pin.standing(&replicas_of("kubectl-edit", ""));
        assert!(matches!(edited, Standing::Lost(_)), "{edited:?}");
    }
}
