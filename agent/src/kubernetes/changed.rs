//! Whether an object is still what the plan saw, right before its first write (rule 8).
//!
//! Hours of barriers may lie between the pre-image and the write. Deliberately does not read: the
//! object has to be read for this, and the write that follows has to carry its resourceVersion.

use std::fmt;

use serde_json::Value;

use super::{
    adopt::{Adopt, is_scaled, replicas},
    fields::{Entry, FieldSet, FieldsError, Path, compare, entries, owned, shape},
    object::{RUN_ANNOTATION, RunMark, uid},
    restore::created::is_marked_by_us,
};

/// What has become of an object since its pre-image was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Since {
    /// It is as it was: write it, with the resourceVersion just read.
    Same,
    /// It bears this run's mark: an earlier incarnation has written it. Write it again; the
    /// pre-image that is stored stays.
    Written,
    /// It has changed, but not where we write: store it as the new pre-image, then write it.
    Elsewhere,
    /// It is no longer what was planned for: fail, and write nothing.
    Otherwise(Changed),
}

/// How an object is no longer what was planned for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changed {
    /// It was there, and is gone.
    Gone,
    /// It was not there, and is now.
    Appeared,
    /// It was deleted and made anew.
    Replaced,
    /// It has changed where we write; the paths.
    Fields(Vec<Path>),
}

impl fmt::Display for Changed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        const REMEDY: &str = "nothing was written to it; run the pipeline again to plan anew";
        match self {
            Self::Gone => write!(formatter, "it was deleted since the plan; {REMEDY}"),
            Self::Appeared => write!(formatter, "somebody has made it since the plan; {REMEDY}"),
            Self::Replaced => {
                write!(formatter, "it was deleted and made anew since the plan; {REMEDY}")
            }
            Self::Fields(paths) => {
                let paths: Vec<String> = paths.iter().map(Path::to_string).collect();
                write!(formatter, "{} changed since the plan; {REMEDY}", paths.join(", "))
            }
        }
    }
}

/// Compares the stored pre-image with the object as just read (`None`: absent), without status,
/// resourceVersion and managedFields. `planned` is the dry run's answer; without it (an object that
/// could not be dry-run) every change counts as one where we write.
///
/// # Errors
/// [`FieldsError`] if it cannot be read who owns what.
pub fn since(
    before: Option<&Value>,
    now: Option<&Value>,
    planned: Option<&Value>,
    adopt: &Adopt,
    run: &RunMark,
) -> Result<Since, FieldsError> {
    let mark = now.and_then(RunMark::of).filter(|mark| mark.is_same_work(run));
    let is_written = mark.is_some_and(|mark| !mark.claimed);
    let (before, now) = match (before, now) {
        (None, None) => return Ok(Since::Same),
        (Some(_), None) => return Ok(Since::Otherwise(Changed::Gone)),
        (None, Some(now)) if is_written && is_marked_by_us(now)? => return Ok(Since::Written),
        (None, Some(_)) => return Ok(Since::Otherwise(Changed::Appeared)),
        (Some(before), Some(now)) => (before, now),
    };
    if uid(before) != uid(now) {
        return Ok(Since::Otherwise(Changed::Replaced));
    }
    if is_written {
        return Ok(Since::Written);
    }
    let changed = changes(before, now, &shape([before, now].into_iter().chain(planned))?);
    if changed.is_empty() {
        return Ok(Since::Same);
    }
    let mut where_we_write = match planned {
        Some(planned) => {
            let written = written(before, planned, adopt)?;
            changed.filter(|path| meets(&written, path))
        }
        None => changed,
    };
    // What was scaled is not written (rule 6), though it was to be when nobody had scaled it yet.
    if is_scaled(now, &[])? {
        where_we_write = where_we_write.without(&replicas());
    }
    Ok(match where_we_write.is_empty() {
        true => Since::Elsewhere,
        false => Since::Otherwise(Changed::Fields(where_we_write.paths())),
    })
}

/// Where two states differ. Our own annotation is never a change.
fn changes(before: &Value, now: &Value, shape: &FieldSet) -> FieldSet {
    let found = compare(before, now, shape);
    let mark = Path::of_fields(&["metadata", "annotations", RUN_ANNOTATION]);
    found.paths.union(&found.reordered).without(&mark)
}

/// Where our write writes: what it owns afterwards, what it takes away of ours and of adopted
/// managers, and what follows from it.
fn written(before: &Value, planned: &Value, adopt: &Adopt) -> Result<FieldSet, FieldsError> {
    let mine = owned(before, &entries(before)?, |entry| entry.is_ours() || adopt.takes(entry));
    let ours = owned(planned, &entries(planned)?, Entry::is_ours);
    let shape = shape([before, planned])?;
    Ok(mine.union(&ours).union(&changes(before, planned, &shape)))
}

/// Whether a changed path is one that is written, or lies inside of one or around one.
fn meets(written: &FieldSet, path: &Path) -> bool {
    let is_whole = |ancestor: &Path| written.contains(ancestor) && !written.has_below(ancestor);
    written.contains(path) || written.has_below(path) || path.and_ancestors().any(|a| is_whole(&a))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kubernetes::object::{self, MANAGER};

    fn run() -> RunMark {
        "r-2/backend/1".parse().unwrap()
    }

    fn deployment(image: &str, ours: Value) -> Value {
        json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "uid": "u-1", "resourceVersion": "7", "managedFields": [
                {"manager": MANAGER, "operation": "Apply", "apiVersion": "apps/v1",
                 "fieldsType": "FieldsV1", "fieldsV1": ours}]},
            "spec": {"replicas": 2, "template": {"spec": {"containers": [
                {"name": "web", "image": image}]}}}})
    }

    fn image_fields() -> Value {
        json!({"f:spec": {"f:template": {"f:spec": {"f:containers": {
            "k:{\"name\":\"web\"}": {".": {}, "f:name": {}, "f:image": {}}}}}}})
    }

    fn before() -> Value {
        deployment("web:1", image_fields())
    }

    fn planned() -> Value {
        deployment("web:2", image_fields())
    }

    fn since_plan(now: &Value) -> Since {
        since(Some(&before()), Some(now), Some(&planned()), &Adopt::default(), &run()).unwrap()
    }

    #[test]
    fn what_only_the_server_and_controllers_touched_is_the_same() {
        let mut now = before();
        now["metadata"]["resourceVersion"] = json!("9");
        now["metadata"]["managedFields"] = json!([]);
        now["status"] = json!({"replicas": 2});
        assert_eq!(since_plan(&now), Since::Same);
    }

    #[test]
    fn a_change_elsewhere_is_a_new_pre_image() {
        let mut now = before();
        now["spec"]["replicas"] = json!(5);
        assert_eq!(since_plan(&now), Since::Elsewhere);
    }

    #[test]
    fn a_change_where_we_write_is_told_with_its_path() {
        let now = deployment("web:hotfix", image_fields());
        let Since::Otherwise(changed) = since_plan(&now) else { panic!("{:?}", since_plan(&now)) };
        let text = changed.to_string();
        assert!(text.contains(r#".spec.template.spec.containers[name="web"].image"#), "{text}");
        assert!(text.contains("run the pipeline again"), "{text}");
    }

    #[test]
    fn a_change_of_what_we_are_about_to_remove_is_one_where_we_write() {
        let fields = json!({"f:spec": {"f:replicas": {}}});
        let before = deployment("web:1", fields);
        let mut now = before.clone();
        now["spec"]["replicas"] = json!(5);
        let found =
            since(Some(&before), Some(&now), Some(&planned()), &Adopt::default(), &run()).unwrap();
        assert!(matches!(found, Since::Otherwise(Changed::Fields(_))), "{found:?}");
    }

    #[test]
    fn who_has_scaled_it_since_has_changed_it_elsewhere() {
        let before = deployment("web:1", json!({"f:spec": {"f:replicas": {}}}));
        let mut now = before.clone();
        now["spec"]["replicas"] = json!(5);
        now["metadata"]["managedFields"] = json!([
            {"manager": "kubectl", "operation": "Update", "apiVersion": "apps/v1",
             "subresource": "scale", "fieldsType": "FieldsV1",
             "fieldsV1": {"f:spec": {"f:replicas": {}}}}]);
        let found =
            since(Some(&before), Some(&now), Some(&planned()), &Adopt::default(), &run()).unwrap();
        assert_eq!(found, Since::Elsewhere);
    }

    #[test]
    fn another_item_in_a_list_that_we_write_to_is_a_change_elsewhere() {
        let mut now = before();
        let sidecar = json!({"name": "log", "image": "log:1"});
        let containers = &mut now["spec"]["template"]["spec"]["containers"];
        containers.as_array_mut().unwrap().push(sidecar);
        assert_eq!(since_plan(&now), Since::Elsewhere);
    }

    #[test]
    fn without_a_dry_run_every_change_counts() {
        let mut now = before();
        now["spec"]["replicas"] = json!(5);
        let found = since(Some(&before()), Some(&now), None, &Adopt::default(), &run()).unwrap();
        assert!(matches!(found, Since::Otherwise(Changed::Fields(_))), "{found:?}");
    }

    #[test]
    fn gone_appeared_and_replaced_are_told_apart() {
        let mut other = before();
        other["metadata"]["uid"] = json!("u-2");
        let found = |before: Option<&Value>, now: Option<&Value>| {
            since(before, now, Some(&planned()), &Adopt::default(), &run()).unwrap()
        };
        assert_eq!(found(Some(&before()), None), Since::Otherwise(Changed::Gone));
        assert_eq!(found(None, Some(&other)), Since::Otherwise(Changed::Appeared));
        assert_eq!(found(Some(&before()), Some(&other)), Since::Otherwise(Changed::Replaced));
        assert_eq!(found(None, None), Since::Same);
    }

    #[test]
    fn what_an_earlier_incarnation_wrote_is_written_again() {
        let mut now = planned();
        object::mark(&mut now, "shop.backend", &RunMark { epoch: 7, ..run() });
        assert_eq!(since_plan(&now), Since::Written);
        let made = |now: &Value| {
            since(None, Some(now), Some(&planned()), &Adopt::default(), &run()).unwrap()
        };
        let mut entry = json!({ "manager": MANAGER, "operation": "Apply", "apiVersion": "v1",
            "fieldsType": "FieldsV1",
            "fieldsV1": {"f:metadata": {"f:annotations": {"f:lockstep.dev/run": {}}}} });
        now["metadata"]["managedFields"] = json!([entry]);
        assert_eq!(made(&now), Since::Written);
        // A copy of it bears the mark too.
        entry["manager"] = "kubectl-replace".into();
        now["metadata"]["managedFields"] = json!([entry]);
        assert_eq!(made(&now), Since::Otherwise(Changed::Appeared));
    }

    #[test]
    fn what_was_taken_over_unwritten_is_compared_all_the_same() {
        let claimed = RunMark { epoch: 7, claimed: true, ..run() };
        let mut same = before();
        object::mark(&mut same, "shop.backend", &claimed);
        same["metadata"]["labels"] = before()["metadata"]["labels"].clone();
        assert_eq!(since_plan(&same), Since::Same);
        let mut hotfixed = planned();
        object::mark(&mut hotfixed, "shop.backend", &claimed);
        let found = since_plan(&hotfixed);
        assert!(matches!(found, Since::Otherwise(Changed::Fields(_))), "{found:?}");
    }

    #[test]
    fn another_runs_mark_alone_is_no_change() {
        let mut now = before();
        now["metadata"]["annotations"] = json!({RUN_ANNOTATION: "r-1/backend/1"});
        let mut before = before();
        before["metadata"]["annotations"] = json!({RUN_ANNOTATION: "r-0/backend/1"});
        let found =
            since(Some(&before), Some(&now), Some(&planned()), &Adopt::default(), &run()).unwrap();
        assert_eq!(found, Since::Same);
    }
}
