//! What time adds to looks: settle, grace, budgets, progress.

use lockstep_shared::time::{Span, Timestamp};
use serde_json::{Value, json};

use super::fixtures::{
    AFTER, APPLIED, BEFORE, but, condition, container, deployment, failing_pod, meta, pod, related,
    replica_set, rolling, told,
};
use crate::kubernetes::{
    health::{Limits, Pin, Rules, Sight, StepHealth},
    object::ObjectKey,
};

/// Objects of a step and what is said when they are looked at.
struct Story {
    health: StepHealth,
}

impl Story {
    /// All limits at their defaults: settle 10 s, grace and budget 60 s.
    fn of(objects: &[Value]) -> Self {
        Self::starting(StepHealth::new(Limits::default(), Rules::default()), objects)
    }

    fn starting(mut health: StepHealth, objects: &[Value]) -> Self {
        for object in objects {
            let pin = Pin::of(object, APPLIED).unwrap();
            health.pin(ObjectKey::of(object).unwrap(), pin);
        }
        Self { health }
    }

    /// A story whose Deployment has been healthy for its settle.
    fn finished() -> Self {
        let mut story = Self::of(&[deployment()]);
        story.look(0, &deployment());
        assert_eq!(story.look(10, &deployment()), "healthy");
        story
    }

    fn look(&mut self, second: u64, object: &Value) -> String {
        self.look_with(second, object, Vec::new())
    }

    fn look_with(&mut self, second: u64, object: &Value, others: Vec<Value>) -> String {
        let sight = Sight { object: Some(object), related: &related(others) };
        told(&self.health.see(&ObjectKey::of(object).unwrap(), sight, at(second)))
    }

    /// The same state at every 5 seconds of a time; the last answer.
    fn hold(&mut self, from: u64, to: u64, object: &Value, others: &[Value]) -> String {
        let mut last = String::new();
        for second in (from..=to).step_by(5) {
            last = self.look_with(second, object, others.to_vec());
        }
        last
    }
}

fn at(second: u64) -> Timestamp {
    APPLIED.after(Span::seconds(second))
}

fn status(counts: Value) -> Value {
    but(deployment(), json!({"status": counts}))
}

#[test]
fn health_has_to_hold_for_settle_and_a_flap_begins_it_anew() {
    let mut story = Story::of(&[deployment()]);
    let flap = status(json!({"availableReplicas": 2}));
    assert_eq!(story.look(0, &deployment()), "in progress: Deployment web: healthy for 0s of 10s");
    assert_eq!(story.look(9, &deployment()), "in progress: Deployment web: healthy for 9s of 10s");
    assert_eq!(story.look(10, &flap), "in progress: Deployment web: 3/3 updated, 2/3 available");
    assert_eq!(story.look(11, &deployment()), "in progress: Deployment web: healthy for 0s of 10s");
    assert_eq!(story.look(20, &deployment()), "in progress: Deployment web: healthy for 9s of 10s");
    assert_eq!(story.look(21, &deployment()), "healthy");
}

#[test]
fn min_ready_seconds_is_the_least_settle() {
    let slow = but(deployment(), json!({"spec": {"minReadySeconds": 30}}));
    let mut story = Story::of(&[deployment()]);
    assert_eq!(
        story.hold(0, 25, &slow, &[]),
        "in progress: Deployment web: healthy for 25s of 30s"
    );
    assert_eq!(story.look(30, &slow), "healthy");
}

#[test]
fn all_objects_have_to_be_healthy_at_the_same_time() {
    let settings = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta("settings")});
    let mut story = Story::of(&[deployment(), settings.clone()]);
    let waiting = story.look(0, &settings);
    assert_eq!(waiting, "in progress: Deployment web: not looked at yet (and 1 more)");
    assert_eq!(story.look(10, &settings), "in progress: Deployment web: not looked at yet");
    story.look(10, &rolling(json!([])));
    assert_eq!(story.health.lines(), ["Deployment web: 2/3 updated, 2 old pods left"]);
    story.look(15, &deployment());
    assert_eq!(story.look(25, &deployment()), "healthy");
}

#[test]
fn a_degraded_object_fails_when_its_grace_is_over_and_not_before() {
    let mut story = Story::finished();
    let down = status(json!({"availableReplicas": 2}));
    let first = story.look(20, &down);
    assert_eq!(first, "degraded: Deployment web: 3/3 updated, 2/3 available, for 0s of 1m");
    let last = story.hold(25, 75, &down, &[]);
    assert_eq!(last, "degraded: Deployment web: 3/3 updated, 2/3 available, for 55s of 1m");
    let failed = story.look(80, &down);
    assert!(
        failed.starts_with("failed: Deployment web: was healthy and has not been so for 1m: 3/3")
    );
}

#[test]
fn recovery_within_the_grace_ends_it() {
    let mut story = Story::finished();
    let down = status(json!({"availableReplicas": 2}));
    story.hold(20, 75, &down, &[]);
    assert_eq!(story.look(76, &deployment()), "healthy");
    assert!(story.hold(80, 135, &down, &[]).starts_with("degraded"));
}

#[test]
fn a_scale_up_by_an_autoscaler_is_no_failure_within_the_grace() {
    let mut story = Story::finished();
    let scaled = |observed: i64, pods: i32| {
        but(
            deployment(),
            json!({"metadata": {"generation": 3, "resourceVersion": "200"},
            "spec": {"replicas": 5}, "status": {"observedGeneration": observed, "replicas": pods,
            "updatedReplicas": pods}}),
        )
    };
    let unseen = story.look(20, &scaled(2, 3));
    assert!(
        unseen.starts_with("degraded: Deployment web: its controller has not seen"),
        "{unseen}"
    );
    let growing = story.look(25, &scaled(3, 5));
    assert_eq!(growing, "degraded: Deployment web: 5/5 updated, 3/5 available, for 5s of 1m");
    let grown = but(scaled(3, 5), json!({"status": {"availableReplicas": 5}}));
    assert_eq!(story.look(70, &grown), "healthy");
}

#[test]
fn an_eviction_is_no_failure_within_the_grace() {
    let mut story = Story::finished();
    let evicted =
        but(pod("w1", "rs-7"), json!({"status": {"phase": "Failed", "reason": "Evicted"}}));
    let replacing = status(json!({"readyReplicas": 2, "availableReplicas": 2}));
    let told = story.hold(20, 60, &replacing, &[replica_set("7"), evicted, pod("w4", "rs-7")]);
    assert!(told.starts_with("degraded"), "{told}");
    assert_eq!(story.look(70, &deployment()), "healthy");
}

#[test]
fn a_drained_node_is_no_failure_within_the_grace() {
    let mut story = Story::finished();
    let drained = status(json!({"replicas": 2, "updatedReplicas": 2, "readyReplicas": 1,
        "availableReplicas": 1, "conditions":
            [condition("Available", "False", "MinimumReplicasUnavailable", AFTER)]}));
    let homeless = but(
        pod("w5", "rs-7"),
        json!({"status": {"phase": "Pending",
        "containerStatuses": null,
        "conditions": [condition("PodScheduled", "False", "Unschedulable", AFTER)]}}),
    );
    let told = story.hold(20, 75, &drained, &[replica_set("7"), homeless]);
    assert!(
        told.starts_with("degraded: Deployment web: 2/3 updated; pod w5 finds no node"),
        "{told}"
    );
    assert_eq!(story.look(78, &deployment()), "healthy");
}

#[test]
fn a_finished_object_that_fails_has_no_grace() {
    let mut story = Story::finished();
    let late =
        rolling(json!([condition("Progressing", "False", "ProgressDeadlineExceeded", AFTER)]));
    assert!(story.look(20, &late).starts_with("failed: Deployment web: ProgressDeadlineExceeded"));
}

#[test]
fn restarts_before_the_step_was_finished_are_forgiven() {
    let mut story = Story::of(&[deployment()]);
    let crashed = |restarts| failing_pod("w1", "rs-7", "CrashLoopBackOff", restarts);
    let set = || replica_set("7");
    story.look_with(0, &rolling(json!([])), vec![set(), crashed(2)]);
    let running = but(
        pod("w1", "rs-7"),
        json!({"status":
        {"containerStatuses": [container(2, json!({"running": {}}))]}}),
    );
    story.look_with(5, &deployment(), vec![set(), running.clone()]);
    assert_eq!(story.look_with(15, &deployment(), vec![set(), running]), "healthy");
    let down = status(json!({"availableReplicas": 2}));
    assert!(story.look_with(20, &down, vec![set(), crashed(4)]).starts_with("degraded"));
    assert!(story.look_with(25, &down, vec![set(), crashed(5)]).starts_with("failed"));
}

#[test]
fn only_being_ready_ends_a_stretch_of_crashes() {
    let rolling = rolling(json!([]));
    let crashed = || failing_pod("w1", "rs-7", "CrashLoopBackOff", 1);
    let running = |ready: bool| {
        let found = but(container(1, json!({"running": {}})), json!({"ready": ready}));
        but(pod("w1", "rs-7"), json!({"status": {"containerStatuses": [found]}}))
    };
    for (ready, want) in [(false, "failed"), (true, "in progress")] {
        let mut story = Story::of(&[deployment()]);
        story.hold(0, 30, &rolling, &[replica_set("7"), crashed()]);
        story.look_with(35, &rolling, vec![replica_set("7"), running(ready)]);
        let last = story.hold(40, 60, &rolling, &[replica_set("7"), crashed()]);
        assert!(last.starts_with(want), "{last}");
    }
}

#[test]
fn refusals_of_pods_that_come_and_go_or_stop_nothing_are_no_failure() {
    let refused = |updated: i32| {
        let conditions = json!([condition("ReplicaFailure", "True", "FailedCreate", BEFORE)]);
        but(rolling(conditions), json!({"status": {"updatedReplicas": updated}}))
    };
    let mut story = Story::of(&[deployment()]);
    story.hold(0, 55, &refused(1), &[]);
    story.look(58, &rolling(json!([])));
    assert!(story.hold(60, 115, &refused(2), &[]).starts_with("in progress"));
    let mut story = Story::of(&[deployment()]);
    story.hold(0, 55, &refused(1), &[]);
    assert!(story.hold(60, 115, &refused(2), &[]).starts_with("in progress"), "it got on at 60 s");
    assert!(story.look(120, &refused(2)).starts_with("failed"));
}

#[test]
fn only_more_than_ever_before_is_progress() {
    let set = |updated: i32, available: i32| {
        json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": meta("log"),
            "spec": {"selector": {}, "template": {}},
            "status": {"observedGeneration": 2, "desiredNumberScheduled": 4,
                "currentNumberScheduled": 4, "numberMisscheduled": 0, "numberReady": available,
                "numberAvailable": available, "updatedNumberScheduled": updated}})
    };
    let mut story = Story::of(&[set(0, 4)]);
    story.hold(0, 300, &set(1, 3), &[]);
    story.hold(305, 500, &set(1, 4), &[]);
    story.hold(505, 900, &set(1, 3), &[]);
    assert!(story.look(900, &set(1, 3)).starts_with("in progress"));
    let stuck = story.look(905, &set(1, 4));
    assert!(
        stuck.starts_with("failed: DaemonSet log: 1/4 nodes updated, and no progress for 10m"),
        "{stuck}"
    );
}

#[test]
fn what_was_not_looked_at_proves_nothing() {
    let mut story = Story::finished();
    let down = status(json!({"availableReplicas": 2}));
    story.look(20, &down);
    let told = story.look(3600, &down);
    assert_eq!(told, "degraded: Deployment web: 3/3 updated, 2/3 available, for 15s of 1m");
    assert!(story.look(3500, &down).starts_with("degraded"), "a clock that went backwards");
}

#[test]
fn a_job_seen_complete_is_never_watched_again() {
    let job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": meta("migrate"),
        "spec": {"template": {}}, "status": {"conditions": [condition("Complete", "True", "", AFTER)]}});
    let key = ObjectKey::of(&job).unwrap();
    let gone = Sight { object: None, related: &related(Vec::new()) };
    let mut story = Story::of(std::slice::from_ref(&job));
    assert_eq!(story.look(0, &job), "settled");
    assert_eq!(story.health.wanted().count(), 0);
    assert_eq!(told(&story.health.see(&key, gone, at(5))), "settled");

    let before = StepHealth::finished(Limits::default(), Rules::default());
    let mut resumed = Story::starting(before, &[job]);
    assert_eq!(
        told(&resumed.health.see(&key, gone, at(0))),
        "settled",
        "by an earlier incarnation"
    );
}

#[test]
fn a_step_that_was_finished_before_a_restart_has_its_grace() {
    let before = || StepHealth::finished(Limits::default(), Rules::default());
    let mut story = Story::starting(before(), &[deployment()]);
    assert_eq!(story.look(0, &deployment()), "healthy");
    let mut story = Story::starting(before(), &[deployment()]);
    let crashed = failing_pod("w1", "rs-7", "CrashLoopBackOff", 9);
    let down = status(json!({"availableReplicas": 2}));
    let told = story.look_with(0, &down, vec![replica_set("7"), crashed]);
    assert!(told.starts_with("degraded"), "{told}");
}

#[test]
fn a_step_without_objects_has_nothing_to_watch() {
    assert_eq!(told(&Story::of(&[]).health.verdict()), "settled");
}
