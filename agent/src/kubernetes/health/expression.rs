//! `healthy`: when an object of a kind is as it should be, in its author's words (rule 20).
//!
//! The expressions are CEL in Flux' form: the object's top-level fields are the variables.

use std::{
    collections::{BTreeMap, HashMap},
    thread,
};

use cel::{Context, ExecutionError, Program, Value as Cel};
use lockstep_shared::plan::HealthRule;
use serde_json::Value;

use super::{
    kind_of,
    look::{Look, Trouble, short},
    pin::Pin,
};

/// The longest expression, in bytes: it is evaluated at every look, and [`ROOM`] is measured by it.
const MAX_EXPRESSION_BYTES: usize = 1024;

/// The stack on which expressions are parsed and evaluated, in bytes. Both recurse with every
/// bracket and operator: 30 brackets overflow a stack of 2 MiB, and an overflow ends the process.
/// Only what is used of it takes memory.
const ROOM: usize = 64 << 20;

/// The rules of a `deploy` step, by kind (`Certificate`) or kind and group
/// (`Certificate.cert-manager.io`).
#[derive(Debug, Default)]
pub struct Rules(BTreeMap<String, Rule>);

/// Why a rule cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RuleError {
    /// It is not CEL.
    #[error("`healthy.{kind}.{key}` is not a CEL expression: {why}; correct `{text}`")]
    Syntax {
        /// The kind that the rule is for.
        kind: String,
        /// `current` or `failed`.
        key: &'static str,
        /// What the parser says.
        why: String,
        /// What it says itself, in one line.
        text: String,
    },
    /// It is too long.
    #[error(
        "`healthy.{kind}.{key}` has {bytes} bytes, and {MAX_EXPRESSION_BYTES} are the most; \
         say it shorter"
    )]
    TooLong {
        /// The kind that the rule is for.
        kind: String,
        /// `current` or `failed`.
        key: &'static str,
        /// How long it is.
        bytes: usize,
    },
}

/// The rule of one kind.
#[derive(Debug)]
pub(super) struct Rule {
    current: Program,
    failed: Option<Program>,
}

/// What an expression says of an object.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    True,
    False,
    /// It cannot be told yet, and why: most often a field that is still missing.
    Unknown(String),
}

impl Rules {
    /// The rules of a step, ready to be asked.
    ///
    /// # Errors
    /// [`RuleError`] for the first that is not CEL or too long.
    pub fn compile(rules: &BTreeMap<String, HealthRule>) -> Result<Self, RuleError> {
        let compiled = rules.iter().map(|(kind, rule)| {
            let current = compile(kind, "current", &rule.current)?;
            let failed = rule.failed.as_ref().map(|text| compile(kind, "failed", text));
            Ok((kind.clone(), Rule { current, failed: failed.transpose()? }))
        });
        Ok(Self(compiled.collect::<Result<_, _>>()?))
    }

    /// The rule for this object, if there is one; it replaces what is built in for the kind.
    pub(super) fn of(&self, object: &Value) -> Option<&Rule> {
        let (api_version, kind) = kind_of(object);
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        self.0.get(&format!("{kind}.{group}")).or_else(|| self.0.get(kind))
    }
}

impl Rule {
    /// How the object is by this rule.
    pub(super) fn judge(&self, object: &Value, pin: &Pin) -> Look {
        let observed = object.pointer("/status/observedGeneration").and_then(Value::as_i64);
        if let Some(look) = observed.and_then(|observed| pin.unobserved(object, Some(observed))) {
            return look;
        }
        let (failed, current) = self.ask(object);
        if failed {
            let why = "`failed` of its `healthy` rule is true; see its status";
            if observed.is_some() {
                return Look::failed(why);
            }
            // Without a generation this may be what it said before our apply.
            let mut look = Look::in_progress("`failed` of its `healthy` rule is true");
            look.troubles.push(Trouble { what: "failed", text: why.to_owned() });
            return look;
        }
        match current {
            Answer::True => Look::healthy(),
            Answer::False => Look::in_progress("`current` of its `healthy` rule is false"),
            Answer::Unknown(why) => {
                Look::in_progress(format!("`current` of its `healthy` rule: {why}"))
            }
        }
    }

    /// Whether `failed` is true, and what `current` says.
    fn ask(&self, object: &Value) -> (bool, Answer) {
        let answers = with_room(|| {
            let context = context(object);
            let failed = self.failed.as_ref().map(|failed| ask(failed, &context));
            (failed == Some(Answer::True), ask(&self.current, &context))
        });
        answers.unwrap_or_else(|why| (false, Answer::Unknown(why)))
    }
}

fn compile(kind: &str, key: &'static str, text: &str) -> Result<Program, RuleError> {
    let kind = kind.to_owned();
    if text.len() > MAX_EXPRESSION_BYTES {
        return Err(RuleError::TooLong { kind, key, bytes: text.len() });
    }
    let compiled = with_room(|| Program::compile(text).map_err(|error| short(&error.to_string())));
    compiled.flatten().map_err(|why| RuleError::Syntax { kind, key, why, text: short(text) })
}

/// Does this on a stack that is large enough for any expression that is let in.
fn with_room<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, String> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().stack_size(ROOM).spawn_scoped(scope, work);
        let thread = thread.map_err(|error| format!("no thread to evaluate it: {error}"))?;
        thread.join().map_err(|_| "its evaluation broke down".to_owned())
    })
}

/// The object's top-level fields; those that every rule speaks of are there, though empty.
fn context(object: &Value) -> Context<'static, 'static> {
    let mut context = Context::default();
    for name in ["metadata", "spec", "status"] {
        context.add_variable_from_value(name, Cel::from(HashMap::<String, Cel>::new()));
    }
    let given = object.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
    for (name, value) in given {
        context.add_variable_from_value(name.as_str(), to_cel(value));
    }
    context
}

fn ask(program: &Program, context: &Context<'_, '_>) -> Answer {
    match program.execute(context) {
        Ok(Cel::Bool(true)) => Answer::True,
        Ok(Cel::Bool(false)) => Answer::False,
        Ok(other) => Answer::Unknown(format!("it gives {}, not true or false", other.type_of())),
        Err(ExecutionError::NoSuchKey(key)) => Answer::Unknown(format!("there is no {key} yet")),
        Err(error) => Answer::Unknown(short(&error.to_string())),
    }
}

/// JSON as CEL sees it in Kubernetes: every whole number is an `int`, so that it may be compared
/// with and added to the numbers that an expression writes.
fn to_cel(value: &Value) -> Cel {
    match value {
        Value::Null => Cel::Null,
        Value::Bool(value) => Cel::Bool(*value),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Cel::Int(whole),
            (None, Some(float)) => Cel::Float(float),
            (None, None) => Cel::Null,
        },
        Value::String(text) => Cel::from(text.as_str()),
        Value::Array(items) => Cel::List(items.iter().map(to_cel).collect::<Vec<_>>().into()),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(key, value)| (key.clone(), to_cel(value)));
            Cel::from(fields.collect::<HashMap<_, _>>())
        }
    }
}
