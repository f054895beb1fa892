//! Kinds that nobody here knows, by conditions and by their author's rules (rule 20).

use serde_json::{Value, json};

use super::fixtures::{AFTER, BEFORE, Row, but, condition, meta, row};

pub(super) fn rows() -> Vec<Row> {
    [by_conditions(), by_rules()].concat()
}

fn thing(status: Value) -> Value {
    json!({"apiVersion": "shop.dev/v1", "kind": "Thing", "metadata": meta("one"), "status": status})
}

fn by_conditions() -> Vec<Row> {
    let with =
        |conditions: Value| thing(json!({"observedGeneration": 2, "conditions": conditions}));
    let one = |kind: &str, status: &str, time| with(json!([condition(kind, status, "Why", time)]));
    let timeless = with(json!([{"type": "Stalled", "status": "True", "reason": "Why"}]));
    vec![
        row("no status", thing(json!(null)), "healthy (existence only)"),
        row(
            "conditions that say nothing known",
            one("Programmed", "False", AFTER),
            "healthy (existence only)",
        ),
        row("Ready", one("Ready", "True", BEFORE), "healthy"),
        row(
            "not Ready",
            one("Ready", "False", AFTER),
            "in progress: Thing one: is not Ready: Why: as it is",
        ),
        row(
            "Ready not known",
            one("Ready", "Unknown", AFTER),
            "in progress: Thing one: is not Ready: Why...",
        ),
        row(
            "Ready, and reconciling",
            with(json!([
                condition("Ready", "True", "", AFTER),
                condition("Reconciling", "True", "Why", AFTER)
            ])),
            "in progress: Thing one: is reconciling: Why: as it is",
        ),
        row("neither stalled nor reconciling", one("Stalled", "False", AFTER), "healthy"),
        row(
            "stalled",
            one("Stalled", "True", AFTER),
            "failed: Thing one: is stalled: Why: as it is; correct what its controller names",
        ),
        row(
            "stalled since before our apply",
            one("Stalled", "True", BEFORE),
            "in progress: Thing one: is stalled: Why: as it is (so since before this apply)",
        )
        .after(300),
        row(
            "stalled at no known time",
            timeless.clone(),
            "in progress: Thing one: is stalled: Why",
        ),
        row("the same for a minute", timeless, "failed: Thing one: is stalled: Why; correct...")
            .after(60),
        row(
            "Ready for an older generation",
            but(
                one("Ready", "True", AFTER),
                json!({"status": {"conditions":
                [{"type": "Ready", "status": "True", "observedGeneration": 1}]}}),
            ),
            "in progress: Thing one: Ready tells of an older generation",
        ),
        row(
            "Ready, and the generation not observed",
            but(one("Ready", "True", AFTER), json!({"status": {"observedGeneration": 1}})),
            "in progress: Thing one: its controller has not seen the change yet",
        ),
        row(
            "Ready, from a controller that counts no generations",
            but(one("Ready", "True", AFTER), json!({"status": {"observedGeneration": null}})),
            "healthy",
        ),
    ]
}

fn by_rules() -> Vec<Row> {
    let phase = |phase: &str| thing(json!({"phase": phase, "replicas": 2}));
    let ruled = |name, object, want: &str| {
        row(name, object, want).rule("Thing", "status.phase == 'Up'", "status.phase == 'Broken'")
    };
    let as_flux = "status.conditions.filter(e, e.type == 'Ready').all(e, e.status == 'True') && \
                   has(status.conditions)";
    let conditions =
        |status: &str| thing(json!({"conditions": [condition("Ready", status, "", AFTER)]}));
    vec![
        ruled("a rule that is true", phase("Up"), "healthy"),
        ruled(
            "a rule that is false",
            phase("Down"),
            "in progress: Thing one: `current` of its `healthy` rule is false",
        ),
        ruled(
            "a rule whose field is not there yet",
            thing(json!(null)),
            "in progress: Thing one: `current` of its `healthy` rule: there is no phase yet",
        ),
        ruled(
            "a rule of a generation that is not observed",
            but(phase("Up"), json!({"status": {"observedGeneration": 1}})),
            "in progress: Thing one: its controller has not seen the change yet",
        ),
        ruled(
            "failed, of the generation that we applied",
            but(phase("Broken"), json!({"status": {"observedGeneration": 2}})),
            "failed: Thing one: `failed` of its `healthy` rule is true; see its status",
        ),
        ruled(
            "failed, perhaps since before our apply",
            phase("Broken"),
            "in progress: Thing one: `failed` of its `healthy` rule is true",
        )
        .after(55),
        ruled("failed for a minute", phase("Broken"), "failed: Thing one: `failed` of its...").after(60),
        row("whole numbers are ints", phase("Up"), "healthy").rule("Thing", "status.replicas + 1 == 3", ""),
        row(
            "a rule that gives no truth",
            phase("Up"),
            "in progress: Thing one: `current` of its `healthy` rule: it gives string, not true or false",
        )
        .rule("Thing", "status.phase", ""),
        row("a rule for the kind of one group", phase("Up"), "healthy")
            .rule("Thing.shop.dev", "status.phase == 'Up'", ""),
        row("a rule for the kind of another group", phase("Down"), "healthy (existence only)")
            .rule("Thing.other.dev", "status.phase == 'Up'", ""),
        row("a rule as Flux writes it", conditions("True"), "healthy").rule("Thing", as_flux, ""),
        row(
            "the same, not yet true",
            conditions("False"),
            "in progress: Thing one: `current` of its `healthy` rule is false",
        )
        .rule("Thing", as_flux, ""),
        row(
            "a rule in place of what is built in",
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta("c"), "data": {"ready": "no"}}),
            "in progress: ConfigMap c: `current` of its `healthy` rule is false",
        )
        .rule("ConfigMap", "data.ready == 'yes'", ""),
    ]
}
