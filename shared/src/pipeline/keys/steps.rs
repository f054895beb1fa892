//! The keys of steps.

use super::{Key, Refused, Shape, TEXT_OR_TEXTS, Table, key, table};
use crate::error_code::Code;

const STEP_FAILURES: &[&str] = &["fail", "continue"];

pub(crate) static STEP: Table = table(
    "Step",
    "a step",
    "One step: a map with a single key, its kind.",
    &[
        key(
            "run",
            Shape::Either(&Shape::Text, &Shape::Object(&RUN)),
            "Runs a command; a text goes to `sh -eu -c`.",
            "\"./deploy.sh\"",
        ),
        key(
            "verify",
            Shape::Object(&VERIFY),
            "Asks until the answer is right and stays right.",
            "{\"tcp\":\"localhost:5432\"}",
        ),
        key(
            "wait",
            Shape::Either(&Shape::Duration, &Shape::Object(&WAIT)),
            "Lets time pass.",
            "\"10s\"",
        ),
        key(
            "barrier",
            Shape::Either(&Shape::Token, &Shape::Object(&BARRIER_STEP)),
            "Meets the other parties of a barrier.",
            "\"BE\"",
        ),
        key(
            "deploy",
            Shape::Object(&DEPLOY),
            "Brings a namespace's objects to what the manifests say.",
            "{\"manifests\":[\"k8s/backend\"]}",
        ),
    ],
);

const NAME: Key = key(
    "name",
    Shape::Text,
    "What the step is called in front of people; unique within its workflow.",
    "\"Switch the release\"",
)
.default("its kind, numbered");
const TIMEOUT: Key =
    key("timeout", Shape::Duration, "How long one attempt may take.", "\"1m\"").default("5m");
const RETRIES: Key = key(
    "retries",
    Shape::Count,
    "How many further attempts a failed one is given, with a growing pause between them.",
    "2",
)
.default("0");
const ON_FAILURE: Key = key(
    "onFailure",
    Shape::Choice(STEP_FAILURES),
    "`continue` only notes the step's failure.",
    "\"continue\"",
)
.default("fail");
const WHEN: Key = key(
    "when",
    Shape::Condition,
    "Whether the step is part of the plan.",
    "\"${{ params.migrate }}\"",
)
.default("true");

pub(crate) static RUN: Table = table(
    "Run",
    "a `run` step",
    "Runs a command in a process group of its own, which is killed at the timeout.",
    &[
        key(
            "command",
            Shape::Command,
            "A text for `sh -eu -c`, or a list that is executed without a shell.",
            "[\"./deploy.sh\",\"v2\"]",
        )
        .required(),
        key(
            "undo",
            Shape::Command,
            "What undoes it. Runs at least once in a rollback and must bear a step that did nothing or half. `none` says that there is nothing to give back (a test, a message). Without `undo`, what the step did stays in a rollback, which lists it as residue.",
            "\"./deploy.sh v1\"",
        ),
        key(
            "env",
            Shape::TextMap,
            "Variables added to the command's environment.",
            "{\"VERSION\":\"${{ params.version }}\"}",
        ),
        key(
            "workdir",
            Shape::Text,
            "The folder it runs in, relative to the agent's working directory.",
            "\"backend\"",
        ),
        key(
            "idempotent",
            Shape::Flag,
            "Whether an attempt that was cut off may simply be begun again.",
            "true",
        )
        .default("false"),
        NAME,
        TIMEOUT,
        RETRIES,
        ON_FAILURE,
        WHEN,
    ],
);

pub(crate) static VERIFY: Table = table(
    "Verify",
    "a `verify` step",
    "Asks by exactly one of `http`, `tcp` and `command`. After the step the answer is watched on until the verdict.",
    &[
        key(
            "http",
            Shape::Either(&Shape::Text, &Shape::Object(&HTTP)),
            "An HTTP GET.",
            "{\"url\":\"http://localhost:8080/healthz\",\"status\":200}",
        ),
        key("tcp", Shape::Text, "A connection to `host:port`.", "\"localhost:5432\""),
        key("command", Shape::Command, "A command that must exit with 0.", "\"./healthy.sh\""),
        key(
            "for",
            Shape::Duration,
            "How long the answer must stay right without a gap.",
            "\"10s\"",
        )
        .default("0s"),
        key("interval", Shape::Duration, "The pause between two questions.", "\"2s\"")
            .default("1s"),
        NAME,
        TIMEOUT,
        RETRIES,
        ON_FAILURE,
        WHEN,
    ],
);

pub(crate) static HTTP: Table = table(
    "Http",
    "an `http` probe",
    "An HTTP GET.",
    &[
        key("url", Shape::Text, "The address that is asked.", "\"http://localhost:8080/healthz\"")
            .required(),
        key("status", Shape::Status, "The status that is right.", "204").default("200"),
        key("body", Shape::Text, "A text that the body must contain.", "\"v2\""),
    ],
);

pub(crate) static WAIT: Table = table(
    "Wait",
    "a `wait` step",
    "Lets time pass.",
    &[
        key("for", Shape::Duration, "How long.", "\"10s\"").required(),
        NAME,
        key("timeout", Shape::Duration, "How long the step may take; longer than `for`.", "\"2m\"")
            .default("`for` and a minute"),
        RETRIES,
        ON_FAILURE,
        WHEN,
    ],
);

pub(crate) static BARRIER_STEP: Table = table(
    "BarrierStep",
    "a `barrier` step",
    "Meets the other parties of a barrier.",
    &[
        key("id", Shape::Token, "Which barrier.", "\"BE\"").required(),
        key("name", Shape::Text, "What this workflow calls the meeting.", "\"Wait for the backend\"").default("the barrier's name"),
    ],
)
.refusing(&[
    Refused { name: "timeout", code: Code::BarrierStepTimeout, help: "write it at the barrier's declaration in `spec.barriers`: one clock for all parties" },
    Refused { name: "retries", code: Code::UnknownKey, help: "an arrival is stated once and cannot fail; a barrier step takes `id` and `name`" },
    Refused { name: "onFailure", code: Code::UnknownKey, help: "a barrier that is missed aborts the run; a barrier step takes `id` and `name`" },
    Refused { name: "when", code: Code::UnknownKey, help: "put `when` on the workflow: a party is a party for the whole run" },
    Refused { name: "parties", code: Code::UnknownKey, help: "write it at the barrier's declaration in `spec.barriers`" },
    Refused { name: "title", code: Code::UnknownKey, help: "write `title` at the barrier's declaration, or `name` here for what this workflow calls the meeting" },
]);

pub(crate) static DEPLOY: Table = table(
    "Deploy",
    "a `deploy` step",
    "Brings a namespace's objects to what exactly one of `manifests`, `kustomize` and `helm` says.",
    &[
        key(
            "manifests",
            TEXT_OR_TEXTS,
            "Files, folders and globs, relative to the pipeline file. A folder stands for the .yaml, .yml and .json files in it, without the folders in it.",
            "[\"k8s/backend\"]",
        ),
        key(
            "kustomize",
            Shape::Text,
            "A folder rendered by `kubectl kustomize` where `lockstep` runs.",
            "\"k8s/overlays/eu\"",
        ),
        key(
            "helm",
            Shape::Object(&HELM),
            "A chart rendered by `helm template` where `lockstep` runs; its hooks are left out.",
            "{\"chart\":\"charts/web\",\"release\":\"web\"}",
        ),
        key(
            "images",
            Shape::TextMap,
            "Image references by name without tag and digest, replaced as kustomize does in every list of containers. A reference without tag and digest keeps those of the manifest.",
            "{\"web\":\"registry.example.com/web:${{ params.version }}\"}",
        ),
        key(
            "settle",
            Shape::Duration,
            "How long the objects must stay healthy before the step is finished.",
            "\"30s\"",
        )
        .default("10s"),
        key("wait", Shape::Flag, "Whether the step waits for health at all.", "false")
            .default("true"),
        key(
            "healthy",
            Shape::Objects(&HEALTH),
            "When an object of a kind is healthy, by kind.",
            "{\"Certificate\":{\"current\":\"status.ready\"}}",
        ),
        key(
            "adopt",
            TEXT_OR_TEXTS,
            "Field managers whose fields may be taken over.",
            "[\"kubectl-client-side-apply\"]",
        )
        .default("what kubectl calls itself"),
        key(
            "forceConflicts",
            TEXT_OR_TEXTS,
            "Field paths that are taken from whoever owns them, and given back in a rollback.",
            "[\"spec.replicas\"]",
        ),
        key(
            "irreversible",
            Shape::Choice(&["accept"]),
            "Accepts changes that no rollback can give back.",
            "\"accept\"",
        ),
        NAME,
        TIMEOUT,
        RETRIES,
        ON_FAILURE,
        WHEN,
    ],
);

pub(crate) static HELM: Table = table(
    "Helm",
    "`helm`",
    "A chart rendered by `helm template`.",
    &[
        key(
            "chart",
            Shape::Text,
            "The chart's folder or archive, relative to the pipeline file.",
            "\"charts/web\"",
        )
        .required(),
        key("release", Shape::Label, "The release's name.", "\"web\"").required(),
        key("values", TEXT_OR_TEXTS, "Values files, later ones winning.", "[\"values-eu.yaml\"]"),
        key(
            "set",
            Shape::TextMap,
            "Single values, as `helm --set` takes them.",
            "{\"image.tag\":\"${{ params.version }}\"}",
        ),
    ],
);

pub(crate) static HEALTH: Table = table(
    "Health",
    "a rule of health",
    "When an object of one kind is healthy, as CEL expressions.",
    &[
        key(
            "current",
            Shape::Text,
            "True once the object is as it should be.",
            "\"status.phase == 'Ready'\"",
        )
        .required(),
        key("failed", Shape::Text, "True once it never will be.", "\"status.phase == 'Failed'\""),
    ],
);
