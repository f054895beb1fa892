//! The keys outside of steps.

use super::{Refused, STEP, Shape, TEXT_OR_TEXTS, TEXTS, Table, key, table};
use crate::error_code::Code;

/// The values of `apiVersion` and `kind` that this build reads.
pub(crate) const API_VERSION: &str = "lockstep.dev/v1alpha1";
/// See [`API_VERSION`].
pub(crate) const KIND: &str = "Pipeline";

const FAILURES: &[&str] = &["rollback-all", "each-own"];
const CONCURRENCIES: &[&str] = &["refuse", "queue"];

const MAX_PARALLEL: &str = "remove it: all combinations of a matrix run at once, because with a \
    limit a barrier across them could never fill";

pub(crate) static DOCUMENT: Table = table(
    "Pipeline",
    "a pipeline file",
    "A pipeline: barriers and the workflows that meet at them.",
    &[
        key(
            "apiVersion",
            Shape::Fixed(API_VERSION),
            "The version of this format.",
            "\"lockstep.dev/v1alpha1\"",
        )
        .required(),
        key("kind", Shape::Fixed(KIND), "Always `Pipeline`.", "\"Pipeline\"").required(),
        key(
            "metadata",
            Shape::Object(&METADATA),
            "What the pipeline is called.",
            "{\"name\":\"shop\"}",
        )
        .required(),
        key("spec", Shape::Object(&SPEC), "What it does.", "{\"workflows\":[]}").required(),
    ],
);

pub(crate) static METADATA: Table = table(
    "Metadata",
    "`metadata`",
    "What the pipeline is called.",
    &[key(
        "name",
        Shape::Label,
        "The pipeline's name; agents serve a pipeline by its name, so it is never an expression.",
        "\"shop\"",
    )
    .required()],
);

pub(crate) static SPEC: Table = table(
    "Spec",
    "`spec`",
    "What the pipeline does.",
    &[
        key("params", Shape::Objects(&PARAM), "Parameters, for `${{ params.NAME }}`. They are public: they appear in the log, on the page and in events, so no secret may travel in them.", "{\"version\":{\"default\":\"v2\"}}"),
        key("timeout", Shape::Duration, "From the run's admission until it has to be decided.", "\"30m\"").default("1h"),
        key("timeouts", Shape::Object(&TIMEOUTS), "The run's other clocks.", "{\"join\":\"5m\"}"),
        key("onFailure", Shape::Choice(FAILURES), "Whose failure undoes whom: `rollback-all` undoes everything at the first failure; with `each-own` a failure breaks its own workflow and those that cannot meet it any more.", "\"each-own\"").default("rollback-all"),
        key("concurrency", Shape::Choice(CONCURRENCIES), "What becomes of a run while another of this pipeline is open: refused, or queued in order.", "\"queue\"").default("refuse"),
        key("barriers", Shape::Objects(&BARRIER), "The meeting points, by name.", "{\"BE\":{\"title\":\"Backend deployed\",\"timeout\":\"10m\"}}"),
        key("workflows", Shape::List(&Shape::Object(&WORKFLOW)), "The workflows; their order means nothing.", "[]").required(),
    ],
)
.refusing(&[
    Refused { name: "maxParallel", code: Code::MaxParallel, help: MAX_PARALLEL },
    Refused { name: "max-parallel", code: Code::MaxParallel, help: MAX_PARALLEL },
]);

pub(crate) static PARAM: Table = table(
    "Param",
    "a parameter",
    "A parameter of the pipeline.",
    &[
        key("default", Shape::Text, "Its value if the run is given none.", "\"v2\""),
        key(
            "required",
            Shape::Flag,
            "Says that every run has to be given a value; so it is too without a default.",
            "true",
        )
        .default("false"),
        key("enum", TEXTS, "The only values it may have.", "[\"v1\",\"v2\"]"),
    ],
);

pub(crate) static TIMEOUTS: Table = table(
    "Timeouts",
    "`timeouts`",
    "The run's clocks besides `timeout`.",
    &[
        key(
            "join",
            Shape::Duration,
            "From admission until every workflow's agent has joined.",
            "\"5m\"",
        )
        .default("2m"),
        key(
            "prepare",
            Shape::Duration,
            "From the last agent's joining until all are prepared.",
            "\"10m\"",
        )
        .default("5m"),
        key(
            "rollback",
            Shape::Duration,
            "From the verdict until every agent has finalized or rolled back.",
            "\"30m\"",
        )
        .default("15m"),
    ],
);

pub(crate) static BARRIER: Table = table(
    "Barrier",
    "a barrier's declaration",
    "A meeting point. Its parties are the workflows whose steps name it and its foreign parties.",
    &[
        key("title", Shape::Text, "What the meeting is called in front of people.", "\"Backend service deployment done\""),
        key("timeout", Shape::Duration, "From the first arrival of a workflow until everybody has arrived; one clock for all parties.", "\"20m\"").default("10m, or `spec.timeout` if that is shorter"),
        key("parties", Shape::List(&Shape::Token), "Foreign parties: a CI job or a person who arrives with `lockstep barrier arrive`.", "[\"qa\"]"),
        key("allowSingle", Shape::Flag, "Allows a barrier with only one party.", "true").default("false"),
    ],
);

pub(crate) static WORKFLOW: Table = table(
    "Workflow",
    "a workflow",
    "An ordered list of steps for one target, run by one agent.",
    &[
        key("name", Shape::Label, "Its name; a matrix appends its values unless the name already uses them.", "\"backend\"").required(),
        key("target", Shape::OneKey(&TARGET), "Where its steps act.", "{\"command\":{}}").required(),
        key("steps", Shape::List(&Shape::OneKey(&STEP)), "Its steps, in order.", "[{\"run\":\"./deploy.sh\"},{\"barrier\":\"BE\"}]").required(),
        key("matrix", Shape::Matrix, "Makes one workflow for each combination of the axes' values, all at once; `include` adds to combinations or adds further ones, `exclude` takes some out.", "{\"region\":[\"eu\",\"us\"]}"),
        key("when", Shape::Condition, "Whether it takes part; if not, it is waived: party to nothing, and it needs no agent.", "\"${{ params.frontend }}\"").default("true"),
    ],
)
.refusing(&[
    Refused { name: "maxParallel", code: Code::MaxParallel, help: MAX_PARALLEL },
    Refused { name: "max-parallel", code: Code::MaxParallel, help: MAX_PARALLEL },
    Refused { name: "strategy", code: Code::UnknownKey, help: "write `matrix` directly below the workflow" },
    Refused { name: "needs", code: Code::UnknownKey, help: "workflows start together; let them meet at a barrier where one has to wait for the other" },
    Refused { name: "dependsOn", code: Code::UnknownKey, help: "workflows start together; let them meet at a barrier where one has to wait for the other" },
    Refused { name: "timeout", code: Code::UnknownKey, help: "a step, a barrier and the run (`spec.timeout`) have timeouts; a workflow has none" },
]);

pub(crate) static TARGET: Table = table(
    "Target",
    "a target",
    "Where a workflow's steps act: exactly one of these.",
    &[
        key(
            "kubernetes",
            Shape::Object(&KUBERNETES),
            "A namespace of a Kubernetes cluster.",
            "{\"namespace\":\"backend\"}",
        ),
        key(
            "command",
            Shape::Optional(&Shape::Object(&EMPTY)),
            "The machine that the agent runs on.",
            "{}",
        ),
        key(
            "external",
            Shape::Optional(&Shape::Object(&EMPTY)),
            "A container beside the agent that does the work itself; its steps are barriers only.",
            "{}",
        ),
    ],
);

pub(crate) static EMPTY: Table = table("Empty", "this target", "A target without settings.", &[]);

pub(crate) static KUBERNETES: Table = table(
    "Kubernetes",
    "a `kubernetes` target",
    "A namespace of a Kubernetes cluster.",
    &[
        key("namespace", Shape::Label, "The namespace; it must exist.", "\"backend\"").required(),
        key(
            "cluster",
            Shape::Text,
            "The cluster's name; only an agent that was started with it joins.",
            "\"eu-1\"",
        ),
        key(
            "context",
            Shape::Text,
            "The kubeconfig context, for agents outside the cluster.",
            "\"kind-dev\"",
        ),
        key(
            "allowClusterScoped",
            Shape::Flag,
            "Allows cluster-scoped objects in the manifests.",
            "true",
        )
        .default("false"),
        key(
            "allowManagedBy",
            TEXT_OR_TEXTS,
            "Other managers whose objects may be deployed all the same; they may undo a rollback.",
            "[\"argocd\"]",
        ),
    ],
);
