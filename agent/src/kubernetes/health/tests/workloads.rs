//! Deployments, StatefulSets, DaemonSets, Jobs and Pods (rules 14 to 19).

use serde_json::{Value, json};

use super::fixtures::{
    AFTER, BEFORE, Row, SAME_SECOND, but, condition, container, controlled_by, deployment,
    failing_pod, meta, owner, pod, replica_set, rolling, row,
};

pub(super) fn rows() -> Vec<Row> {
    [
        standing(),
        deployment_counts(),
        deployment_conditions(),
        deployment_pods(),
        stateful_sets(),
        daemon_sets(),
        jobs(),
        pods(),
    ]
    .concat()
}

/// Rule 14: is it still what we applied?
fn standing() -> Vec<Row> {
    let unseen = "in progress: Deployment web: its controller has not seen the change yet";
    let with = |changes| but(deployment(), changes);
    let owners = |others: Vec<Value>| with(json!({"metadata": {"managedFields": others}}));
    let image = json!({"f:spec": {"f:template": {"f:spec": {"f:containers":
        {"k:{\"name\":\"app\"}": {"f:image": {}}}}}}});
    let name = json!({"f:spec": {"f:template": {"f:spec": {"f:containers":
        {"k:{\"name\":\"app\"}": {".": {}, "f:name": {}}}}}}});
    vec![
        row(
            "the counts of an older generation",
            with(json!({"status": {"observedGeneration": 1}})),
            unseen,
        ),
        row("no observedGeneration", with(json!({"status": {"observedGeneration": null}})), unseen),
        row(
            "an object that cannot be read",
            with(json!({"spec": {"replicas": "three"}})),
            "in progress: Deployment web: cannot be read as its kind: ...",
        ),
        row("no status at all", with(json!({"status": null})), unseen),
        row(
            "a later generation that is not observed",
            with(json!({"metadata": {"generation": 3}})),
            unseen,
        ),
        row(
            "a later generation that is observed",
            with(json!({"metadata": {"generation": 3}, "status": {"observedGeneration": 3}})),
            "healthy",
        ),
        row(
            "another object of the same name",
            with(json!({"metadata": {"uid": "uid-other"}})),
            "failed: Deployment web: was deleted and made again...",
        ),
        row(
            "an object that is being deleted",
            with(json!({"metadata": {"deletionTimestamp": AFTER}})),
            "failed: Deployment web: is being deleted...",
        ),
        row(
            "a reading that is older than the apply, by generation",
            with(json!({"metadata": {"generation": 1, "managedFields": []}})),
            "in progress: Deployment web: what was read is older than what was applied",
        ),
        row(
            "a reading that is older than the apply, by resourceVersion",
            with(json!({"metadata": {"resourceVersion": "99", "managedFields": []}})),
            "in progress: Deployment web: what was read is older than what was applied",
        ),
        row(
            "a field that another manager took",
            owners(vec![
                owner("lockstep", "Apply", name.clone()),
                owner("kubectl-edit", "Update", image),
            ]),
            "failed: Deployment web: .spec.template.spec.containers[name=\"app\"].image was changed by \
             kubectl-edit after our apply...",
        ),
        row(
            "a field that somebody removed",
            owners(vec![owner("lockstep", "Apply", name)]),
            "failed: Deployment web: .spec.template.spec.containers[name=\"app\"].image was removed by \
             somebody else...",
        ),
    ]
}

fn deployment_counts() -> Vec<Row> {
    let status = |counts: Value| but(deployment(), json!({"status": counts}));
    vec![
        row("a complete Deployment", deployment(), "healthy"),
        row(
            "one of three updated",
            status(json!({"replicas": 2, "updatedReplicas": 1, "availableReplicas": 2})),
            "in progress: Deployment web: 1/3 updated, 1 old pod left",
        ),
        row(
            "an old pod beside all new ones",
            status(json!({"replicas": 4})),
            "in progress: Deployment web: 3/3 updated, 1 old pod left",
        ),
        row(
            "a new pod that is not available",
            status(json!({"availableReplicas": 2})),
            "in progress: Deployment web: 3/3 updated, 2/3 available",
        ),
        row(
            "a scale-down that is not through",
            status(json!({"replicas": 5, "updatedReplicas": 5, "availableReplicas": 5})),
            "in progress: Deployment web: 2 pods too many",
        ),
        row(
            "no replicas wanted",
            but(
                deployment(),
                json!({"spec": {"replicas": 0}, "status": {"replicas": null,
                "updatedReplicas": null, "availableReplicas": null}}),
            ),
            "healthy",
        ),
        row(
            "replicas left to their default",
            but(
                deployment(),
                json!({"spec": {"replicas": null}, "status": {"replicas": 1,
                "updatedReplicas": 1, "availableReplicas": 1}}),
            ),
            "healthy",
        ),
        row(
            "a Deployment that somebody paused meanwhile",
            but(rolling(json!([])), json!({"spec": {"paused": true}})),
            "in progress: Deployment web: is paused, 2/3 updated, 2 old pods left",
        ),
    ]
}

/// Rule 15: failures count when they are not older than our apply.
fn deployment_conditions() -> Vec<Row> {
    let late = |time| json!([condition("Progressing", "False", "ProgressDeadlineExceeded", time)]);
    let refused = json!([condition("ReplicaFailure", "True", "FailedCreate", BEFORE)]);
    let rolled = "in progress: Deployment web: 2/3 updated, 2 old pods left";
    let turned_away = "in progress: Deployment web: 2/3 updated, 2 old pods left; its pods are \
                       refused: FailedCreate: as it is";
    vec![
        row(
            "full counts that are not Available",
            but(
                deployment(),
                json!({"status": {"conditions":
                [condition("Available", "False", "MinimumReplicasUnavailable", AFTER)]}}),
            ),
            "in progress: Deployment web: not Available yet: MinimumReplicasUnavailable: as it is",
        ),
        row(
            "a rollout that was given up",
            rolling(late(AFTER)),
            "failed: Deployment web: ProgressDeadlineExceeded: as it is...",
        ),
        row("a rollout that was given up before our apply", rolling(late(BEFORE)), rolled),
        row(
            "a rollout that was given up in the second of our apply",
            rolling(late(SAME_SECOND)),
            "failed: Deployment web: ProgressDeadlineExceeded...",
        ),
        row(
            "a Deployment that is complete though it was given up",
            but(
                deployment(),
                json!({"status": {"conditions": [
                condition("Available", "True", "MinimumReplicasAvailable", BEFORE),
                condition("Progressing", "False", "ProgressDeadlineExceeded", AFTER)]}}),
            ),
            "healthy",
        ),
        row("pods that are refused", rolling(refused.clone()), turned_away),
        row("the same within the budget", rolling(refused.clone()), turned_away).after(55),
        row(
            "pods that are refused past the budget",
            rolling(refused),
            "failed: Deployment web: its pods are refused: FailedCreate: as it is...",
        )
        .after(60),
    ]
}

/// Rule 16: pods of the new ReplicaSet that cannot start.
fn deployment_pods() -> Vec<Row> {
    let sets = || [replica_set("6"), replica_set("7")];
    let with =
        |name, want: &str, pod: Value| row(name, rolling(json!([])), want).with(sets()).with([pod]);
    let rolled = "in progress: Deployment web: 2/3 updated, 2 old pods left";
    let pulling = "in progress: Deployment web: 2/3 updated, 2 old pods left; pod w1, container app: \
                   ImagePullBackOff: back-off";
    let crashing = "in progress: Deployment web: 2/3 updated, 2 old pods left; pod w1, container app: \
                    CrashLoopBackOff: it ended with exit code 1 (Error) the last time";
    let failing = |reason, restarts| failing_pod("w1", "rs-7", reason, restarts);
    let mut rows = vec![
        with("an image that cannot be pulled", pulling, failing("ImagePullBackOff", 0)),
        with("the same within the budget", pulling, failing("ImagePullBackOff", 0)).after(55),
        with("two crashes", crashing, failing("CrashLoopBackOff", 2)),
        with(
            "three crashes",
            "failed: Deployment web: pod w1, container app: CrashLoopBackOff: it ended with exit code 1 \
             (Error) the last time (for 0s, restarts: 3); read its log...",
            failing("CrashLoopBackOff", 3),
        ),
        with(
            "a crash of a pod that crashed long before our apply",
            crashing,
            but(failing("CrashLoopBackOff", 57), json!({"metadata": {"creationTimestamp": BEFORE}})),
        ),
        with(
            "an old pod that cannot start",
            rolled,
            failing_pod("w1", "rs-6", "CrashLoopBackOff", 9),
        )
        .after(120),
        with(
            "a pod of somebody else",
            rolled,
            failing_pod("w1", "rs-other", "CrashLoopBackOff", 9),
        )
        .after(120),
        with(
            "a pod that is being deleted",
            rolled,
            but(failing("CrashLoopBackOff", 9), json!({"metadata": {"deletionTimestamp": AFTER}})),
        )
        .after(120),
        with(
            "a pod that was evicted",
            rolled,
            but(failing("CrashLoopBackOff", 9), json!({"status": {"phase": "Failed"}})),
        )
        .after(120),
        with("a pod that is still being made", rolled, failing("ContainerCreating", 0)).after(300),
        with(
            "a pod that finds no node",
            "in progress: Deployment web: 2/3 updated, 2 old pods left; pod w1 finds no node: as it is",
            but(pod("w1", "rs-7"), json!({"status": {"phase": "Pending", "containerStatuses": null,
                "conditions": [condition("PodScheduled", "False", "Unschedulable", AFTER)]}})),
        )
        .after(900),
        with(
            "an init container that cannot start",
            "failed: Deployment web: pod w1, container app: ErrImagePull...",
            but(failing("ErrImagePull", 0), json!({"status": {"containerStatuses": null,
                "initContainerStatuses": failing("ErrImagePull", 0)["status"]["containerStatuses"]}})),
        )
        .after(60),
    ];
    let reasons = [
        "CrashLoopBackOff",
        "ImagePullBackOff",
        "ErrImagePull",
        "InvalidImageName",
        "CreateContainerConfigError",
    ];
    rows.extend(reasons.map(|reason| {
        let want = format!("failed: Deployment web: pod w1, container app: {reason}: ...");
        with(reason, &want, failing(reason, 0)).after(60)
    }));
    rows
}

fn stateful_set() -> Value {
    json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": meta("db"),
        "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "db"}}, "serviceName": "db",
            "template": {}, "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}},
        "status": {"observedGeneration": 2, "replicas": 3, "readyReplicas": 3, "availableReplicas": 3,
            "updatedReplicas": 3, "currentRevision": "db-new", "updateRevision": "db-new"}})
}

fn stateful_sets() -> Vec<Row> {
    let with = |changes| but(stateful_set(), changes);
    let part = |partition: i32, updated: i32| {
        with(json!({"spec": {"updateStrategy": {"rollingUpdate": {"partition": partition}}},
            "status": {"updatedReplicas": updated, "currentRevision": "db-old"}}))
    };
    let halfway = with(json!({"status": {"updatedReplicas": 1, "readyReplicas": 2,
        "availableReplicas": 2, "currentRevision": "db-old"}}));
    let labelled = |revision: &str| {
        but(
            failing_pod("db-2", "uid-db", "ImagePullBackOff", 0),
            json!({"metadata": {"labels": {"controller-revision-hash": revision}}}),
        )
    };
    let told = "in progress: StatefulSet db: 1/3 updated, 2/3 ready";
    vec![
        row("a complete StatefulSet", stateful_set(), "healthy"),
        row("a StatefulSet halfway", halfway.clone(), told),
        row(
            "all pods updated and the revision not yet current",
            with(json!({"status": {"currentRevision": "db-old"}})),
            "in progress: StatefulSet db: its new revision is not the current one yet",
        ),
        row(
            "a pod that is ready and not available",
            with(json!({"status": {"availableReplicas": 2}})),
            "in progress: StatefulSet db: 2/3 available",
        ),
        row(
            "a pod too many",
            with(json!({"status": {"replicas": 4}})),
            "in progress: StatefulSet db: 1 pod too many",
        ),
        row(
            "the first pod made",
            with(json!({"status": {"replicas": 1, "readyReplicas": 0, "availableReplicas": 0,
                "updatedReplicas": 1}})),
            "in progress: StatefulSet db: 1/3 updated, 1/3 made, 0/3 ready",
        ),
        row("those above the partition updated", part(2, 1), "healthy"),
        row(
            "those above the partition not updated",
            part(1, 1),
            "in progress: StatefulSet db: 1/2 updated",
        ),
        row("a partition above all pods", part(5, 0), "healthy"),
        row(
            "no observedGeneration",
            with(json!({"status": {"observedGeneration": null}})),
            "in progress: StatefulSet db: its controller has not seen the change yet",
        ),
        row(
            "scaled to nothing",
            with(json!({"spec": {"replicas": 0}, "status": {"replicas": 0, "readyReplicas": 0,
                "availableReplicas": 0, "updatedReplicas": 0}})),
            "healthy",
        ),
        row("no progress within its limit", halfway.clone(), told).after(595),
        row(
            "no progress past its limit",
            halfway.clone(),
            "failed: StatefulSet db: 1/3 updated, 2/3 ready, and no progress for 10m...",
        )
        .after(600),
        row(
            "a new pod that cannot start",
            halfway.clone(),
            "failed: StatefulSet db: pod db-2, container app: ImagePullBackOff...",
        )
        .with([labelled("db-new")])
        .after(60),
        row("an old pod that cannot start", halfway, told).with([labelled("db-old")]).after(120),
    ]
}

fn daemon_set() -> Value {
    json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": meta("log"),
        "spec": {"selector": {"matchLabels": {"app": "log"}}, "template": {}},
        "status": {"observedGeneration": 2, "desiredNumberScheduled": 4, "currentNumberScheduled": 4,
            "numberMisscheduled": 0, "numberReady": 4, "numberAvailable": 4,
            "updatedNumberScheduled": 4}})
}

fn revision(number: i64, hash: &str) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "ControllerRevision", "revision": number,
        "metadata": {"name": format!("log-{hash}"), "labels": {"controller-revision-hash": hash},
            "ownerReferences": [controlled_by("uid-log")]}})
}

fn daemon_sets() -> Vec<Row> {
    let status = |counts| but(daemon_set(), json!({"status": counts}));
    let halfway = status(json!({"updatedNumberScheduled": 2, "numberAvailable": 3}));
    let told = "in progress: DaemonSet log: 2/4 nodes updated";
    let labelled = |hash: &str| {
        but(
            failing_pod("log-x", "uid-log", "CreateContainerConfigError", 0),
            json!({"metadata": {"labels": {"controller-revision-hash": hash}}}),
        )
    };
    let revisions = || [revision(3, "new"), revision(2, "old")];
    vec![
        row("a complete DaemonSet", daemon_set(), "healthy"),
        row("a DaemonSet halfway", halfway.clone(), told),
        row(
            "updated and not available",
            status(json!({"numberAvailable": null})),
            "in progress: DaemonSet log: available on 0/4 nodes",
        ),
        row(
            "no node that fits",
            status(json!({"desiredNumberScheduled": 0, "updatedNumberScheduled": null,
                "numberAvailable": null})),
            "healthy",
        ),
        row(
            "a DaemonSet without status",
            but(daemon_set(), json!({"status": null})),
            "in progress: DaemonSet log: its controller has not seen the change yet",
        ),
        row(
            "no progress past its limit",
            halfway.clone(),
            "failed: DaemonSet log: 2/4 nodes updated, and no...",
        )
        .after(600),
        row(
            "a new pod that cannot start",
            halfway.clone(),
            "failed: DaemonSet log: pod log-x, container app: CreateContainerConfigError...",
        )
        .with(revisions())
        .with([labelled("new")])
        .after(60),
        row("an old pod that cannot start", halfway, told)
            .with(revisions())
            .with([labelled("old")])
            .after(120),
    ]
}

fn job() -> Value {
    json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": meta("migrate"),
        "spec": {"completions": 1, "template": {}},
        "status": {"active": 1, "conditions": []}})
}

fn jobs() -> Vec<Row> {
    let with = |kind: &str, time: &str| {
        but(job(), json!({"status": {"conditions": [condition(kind, "True", "AsItIs", time)]}}))
    };
    let active = "in progress: Job migrate: 0/1 succeeded, 1 active";
    vec![
        row("a Job that runs", job(), active),
        row("a Job that is complete", with("Complete", AFTER), "settled"),
        row("a Job that was complete before our apply", with("Complete", BEFORE), "settled"),
        row(
            "a complete Job on its way out",
            but(with("Complete", AFTER), json!({"metadata": {"deletionTimestamp": AFTER}})),
            "settled",
        ),
        row(
            "a Job whose Complete is False",
            but(
                job(),
                json!({"status": {"conditions": [condition("Complete", "False", "Not", AFTER)]}}),
            ),
            active,
        ),
        row("a Job whose success is only foreseen", with("SuccessCriteriaMet", AFTER), active),
        row("a Job whose failure is only foreseen", with("FailureTarget", AFTER), active),
        row(
            "a Job that failed",
            with("Failed", AFTER),
            "failed: Job migrate: failed: AsItIs: as it is...",
        ),
        row(
            "a Job that failed before our apply",
            with("Failed", BEFORE),
            "failed: Job migrate: failed:...",
        ),
        row(
            "a Job that is suspended",
            but(job(), json!({"spec": {"suspend": true}})),
            "in progress: Job migrate: is suspended; set spec.suspend to false to have it run",
        )
        .after(900),
        Row::gone(
            "a Job that is gone before it was seen complete",
            "failed: Job gone: is gone before it was seen done or healthy...",
        ),
        row(
            "a Job whose pod cannot be started",
            job(),
            "failed: Job migrate: pod m-1, container app: ImagePullBackOff...",
        )
        .with([failing_pod("m-1", "uid-migrate", "ImagePullBackOff", 0)])
        .after(60),
        row("a Job whose pod crashes, which it counts itself", job(), active)
            .with([failing_pod("m-1", "uid-migrate", "CrashLoopBackOff", 5)])
            .after(300),
    ]
}

fn pods() -> Vec<Row> {
    let bare = || but(pod("one", "nobody"), json!({"metadata": meta("one")}));
    let phase = |phase: &str| but(bare(), json!({"status": {"phase": phase}}));
    vec![
        row(
            "a Pod that is ready",
            but(bare(), json!({"status": {"conditions": [condition("Ready", "True", "", AFTER)]}})),
            "healthy",
        ),
        row("a Pod that runs and is not ready", bare(), "in progress: Pod one: is Running, not Ready"),
        row("a Pod that has succeeded", phase("Succeeded"), "settled"),
        row(
            "a Pod that failed",
            phase("Failed"),
            "failed: Pod one: failed: no reason is given; read its log, and deploy again",
        ),
        row(
            "a Pod that was evicted",
            but(phase("Failed"), json!({"status": {"reason": "Evicted", "message": "low\n on memory"}})),
            "failed: Pod one: failed: Evicted: low on memory...",
        ),
        row(
            "a Pod that crashes again and again",
            but(bare(), json!({"status": {"containerStatuses": [but(
                container(4, json!({"waiting": {"reason": "CrashLoopBackOff"}})), json!({"ready": false}))]}})),
            "failed: Pod one: pod one, container app: CrashLoopBackOff: it ended with...",
        ),
        row(
            "a Pod whose image has no valid name",
            but(failing_pod("one", "nobody", "InvalidImageName", 0), json!({"metadata": meta("one")})),
            "failed: Pod one: pod one, container app: InvalidImageName: back-off (for 1m, restarts: 0); \
             correct the image's name",
        )
        .after(60),
    ]
}
