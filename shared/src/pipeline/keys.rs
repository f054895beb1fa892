//! The grammar of the pipeline file as tables: which keys stand where, and what they mean.
//!
//! The reader refuses what is not in them; the JSON Schema and docs/reference/pipeline.md are
//! made from them, so that the three cannot disagree.

use crate::error_code::Code;

/// The keys of one kind of map.
pub(crate) struct Table {
    /// The map's name in the reference and the schema.
    pub(crate) name: &'static str,
    /// What such a map is, with an article, as messages call it.
    pub(crate) what: &'static str,
    /// What it is for.
    pub(crate) doc: &'static str,
    /// Its keys.
    pub(crate) keys: &'static [Key],
    /// Keys that people expect here and that are refused with a word on why.
    pub(crate) refused: &'static [Refused],
}

/// A key that people expect at a place where it is not.
pub(crate) struct Refused {
    /// The key.
    pub(crate) name: &'static str,
    /// The code it is refused with.
    pub(crate) code: Code,
    /// What to do.
    pub(crate) help: &'static str,
}

/// One key of a map.
pub(crate) struct Key {
    /// How it is written.
    pub(crate) name: &'static str,
    /// What may stand behind it.
    pub(crate) shape: Shape,
    /// Whether it has to be there.
    pub(crate) required: bool,
    /// What holds if it is absent, as the reference says it.
    pub(crate) default: &'static str,
    /// What it is for.
    pub(crate) doc: &'static str,
    /// A value for it, as JSON.
    pub(crate) example: &'static str,
}

/// What may stand behind a key.
#[derive(Clone, Copy)]
pub(crate) enum Shape {
    /// Exactly this text.
    Fixed(&'static str),
    /// Any text.
    Text,
    /// A DNS-1123 label.
    Label,
    /// A barrier's or foreign party's name.
    Token,
    /// `true` or `false`.
    Flag,
    /// `true`, `false` or one parameter.
    Condition,
    /// A whole number from 0.
    Count,
    /// An HTTP status.
    Status,
    /// A duration.
    Duration,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A text for a shell, or a program with its arguments.
    Command,
    /// Texts by free keys.
    TextMap,
    /// A list.
    List(&'static Shape),
    /// A map with these keys.
    Object(&'static Table),
    /// Maps with these keys, by free keys.
    Objects(&'static Table),
    /// A map with exactly one of these keys.
    OneKey(&'static Table),
    /// Either form.
    Either(&'static Shape, &'static Shape),
    /// The map itself or nothing at all.
    Optional(&'static Shape),
    /// Axes with their values, `include` and `exclude`.
    Matrix,
}

const fn key(name: &'static str, shape: Shape, doc: &'static str, example: &'static str) -> Key {
    Key { name, shape, required: false, default: "", doc, example }
}

impl Key {
    const fn required(self) -> Self {
        Self { required: true, ..self }
    }

    const fn default(self, default: &'static str) -> Self {
        Self { default, ..self }
    }
}

const fn table(
    name: &'static str,
    what: &'static str,
    doc: &'static str,
    keys: &'static [Key],
) -> Table {
    Table { name, what, doc, keys, refused: &[] }
}

impl Table {
    const fn refusing(self, refused: &'static [Refused]) -> Self {
        Self { refused, ..self }
    }

    /// The key of this name.
    pub(crate) fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }
}

/// The values of `apiVersion` and `kind` that this build reads.
pub(crate) const API_VERSION: &str = "lockstep.dev/v1alpha1";
/// See [`API_VERSION`].
pub(crate) const KIND: &str = "Pipeline";

const FAILURES: &[&str] = &["rollback-all", "each-own"];
const CONCURRENCIES: &[&str] = &["refuse", "queue"];
const STEP_FAILURES: &[&str] = &["fail", "continue"];
const TEXTS: Shape = Shape::List(&Shape::Text);
const TEXT_OR_TEXTS: Shape = Shape::Either(&Shape::Text, &TEXTS);

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
        key("timeout", Shape::Duration, "From the first arrival of a workflow until everybody has arrived; one clock for all parties.", "\"20m\"").default("10m"),
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
            "What undoes it. Runs at least once in a rollback and must bear a step that did nothing or half.",
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
            "Files, folders and globs, relative to the pipeline file.",
            "[\"k8s/backend\"]",
        ),
        key(
            "kustomize",
            Shape::Text,
            "A folder rendered by `kubectl kustomize`.",
            "\"k8s/overlays/eu\"",
        ),
        key(
            "helm",
            Shape::Object(&HELM),
            "A chart rendered by `helm template`.",
            "{\"chart\":\"charts/web\",\"release\":\"web\"}",
        ),
        key(
            "images",
            Shape::TextMap,
            "Image references by name, replaced as kustomize does.",
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
