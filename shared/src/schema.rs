//! The pipeline file for editors and for readers: its JSON Schema and its reference.
//!
//! Both are made from the tables that the reader itself goes by. docs/reference/ holds what this
//! build makes; a test keeps it fresh.

use std::{collections::BTreeMap, fmt::Write as _};

use serde_json::{Map, Value, json};

use crate::{
    id::{BarrierId, WorkflowName},
    pipeline::keys::{self, Key, Shape, Table},
};

/// Where the schema says that it lives.
const ID: &str = "https://lockstep.dev/schema/v1alpha1/pipeline.schema.json";

const EXPRESSION: &str = r"\$\{\{.*\}\}";
const DURATION: &str = r"^([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$";
const LABEL: &str = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$";
const TOKEN: &str = "^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$";

/// The JSON Schema of the pipeline file.
pub fn pipeline_schema() -> Value {
    let mut definitions = BTreeMap::new();
    let mut root = object(&keys::DOCUMENT, &mut definitions);
    let schema = root.as_object_mut().expect("an object is made as one");
    schema.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
    schema.insert("$id".to_owned(), json!(ID));
    schema.insert("title".to_owned(), json!("Lockstep pipeline"));
    schema.insert("$defs".to_owned(), json!(definitions));
    root
}

type Definitions = BTreeMap<&'static str, Value>;

fn object(table: &'static Table, definitions: &mut Definitions) -> Value {
    let properties: Map<String, Value> =
        table.keys.iter().map(|key| (key.name.to_owned(), property(key, definitions))).collect();
    let required: Vec<&str> =
        table.keys.iter().filter(|key| key.required).map(|key| key.name).collect();
    let mut schema = json!({
        "type": "object",
        "description": table.doc,
        "properties": properties,
        "additionalProperties": false,
    });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

fn property(key: &'static Key, definitions: &mut Definitions) -> Value {
    let mut schema = shape(&key.shape, definitions);
    let mut description = key.doc.to_owned();
    if !key.default.is_empty() {
        write!(description, " Default: {}.", key.default).expect("a String takes every write");
    }
    schema["description"] = json!(description);
    if let Ok(example) = serde_json::from_str::<Value>(key.example) {
        schema["examples"] = json!([example]);
    }
    schema
}

/// The definition of a table, made once.
fn reference(table: &'static Table, definitions: &mut Definitions) -> Value {
    if !definitions.contains_key(table.name) {
        // Holds its place while what it refers to is made.
        definitions.insert(table.name, Value::Null);
        let made = object(table, definitions);
        definitions.insert(table.name, made);
    }
    json!({ "$ref": format!("#/$defs/{}", table.name) })
}

fn shape(shape_of: &'static Shape, definitions: &mut Definitions) -> Value {
    let expression = json!({ "type": "string", "pattern": EXPRESSION });
    match shape_of {
        Shape::Fixed(text) => json!({ "const": text }),
        Shape::Text => json!({ "type": ["string", "number", "boolean"] }),
        Shape::Label => either(name::<WorkflowName>(LABEL), expression),
        Shape::Token => either(name::<BarrierId>(TOKEN), expression),
        Shape::Flag => either(json!({ "type": "boolean" }), expression),
        Shape::Condition => either(
            json!({ "type": "boolean" }),
            json!({ "type": "string", "pattern": r"^(true|false|\$\{\{ *params\.[A-Za-z][A-Za-z0-9_-]* *\}\})$" }),
        ),
        Shape::Count => {
            either(json!({ "type": "integer", "minimum": 0, "maximum": 100 }), expression)
        }
        Shape::Status => {
            either(json!({ "type": "integer", "minimum": 100, "maximum": 599 }), expression)
        }
        Shape::Duration => {
            either(json!({ "type": "string", "pattern": DURATION, "minLength": 2 }), expression)
        }
        Shape::Choice(words) => either(json!({ "enum": words }), expression),
        Shape::Command => {
            let list = json!({ "type": "array", "items": scalar(), "minItems": 1 });
            either(json!({ "type": "string", "minLength": 1 }), list)
        }
        Shape::TextMap => json!({ "type": "object", "additionalProperties": scalar() }),
        Shape::List(items) => json!({ "type": "array", "items": shape(items, definitions) }),
        Shape::Object(table) => reference(table, definitions),
        Shape::Objects(table) => {
            let value = either(reference(table, definitions), json!({ "type": "null" }));
            json!({ "type": "object", "additionalProperties": value })
        }
        Shape::OneKey(table) => {
            let one = reference(table, definitions);
            json!({ "allOf": [one], "minProperties": 1, "maxProperties": 1 })
        }
        Shape::Either(one, other) => either(shape(one, definitions), shape(other, definitions)),
        Shape::Optional(inner) => either(shape(inner, definitions), json!({ "type": "null" })),
        Shape::Matrix => matrix(),
    }
}

fn scalar() -> Value {
    json!({ "type": ["string", "number", "boolean"] })
}

fn either(one: Value, other: Value) -> Value {
    json!({ "anyOf": [one, other] })
}

/// The schema of a name, with the pattern that its own schema leaves to words.
fn name<T: schemars::JsonSchema>(pattern: &str) -> Value {
    let mut schema = schemars::SchemaGenerator::default().into_root_schema_for::<T>().to_value();
    if let Some(fields) = schema.as_object_mut() {
        fields.retain(|field, _| !field.starts_with('$') && field != "title");
        fields.insert("pattern".to_owned(), json!(pattern));
    }
    schema
}

fn matrix() -> Value {
    let rows = json!({
        "type": "array",
        "items": { "type": "object", "additionalProperties": scalar() },
    });
    json!({
        "type": "object",
        "properties": { "include": rows, "exclude": rows },
        "additionalProperties": { "type": "array", "items": scalar(), "minItems": 1 },
    })
}

/// The reference of the pipeline file as Markdown: docs/reference/pipeline.md.
pub fn pipeline_reference() -> String {
    let mut text = String::from(
        "# The pipeline file\n\n\
         Generated from the tables in `shared/src/pipeline/keys`, by which the file is also \
         read and from which `pipeline.schema.json` is made.\n\n\
         A pipeline file is one YAML document. A plain value may hold `${{ params.NAME }}` \
         and, in a workflow with a matrix, `${{ matrix.AXIS }}`; keys, `metadata` and `params` \
         may not. Expressions are replaced in this file only, never inside manifests, and what \
         replaces them is never read as YAML or expanded again. Durations are whole numbers with units, \
         largest first: `1h30m`, `10s`, `250ms`. Paths are relative to the file.\n",
    );
    let mut open = vec![&keys::DOCUMENT];
    let mut seen: Vec<&str> = Vec::new();
    while !open.is_empty() {
        let table = open.remove(0);
        if seen.contains(&table.name) || table.keys.is_empty() {
            continue;
        }
        seen.push(table.name);
        section(table, &mut text);
        open.extend(table.keys.iter().flat_map(|key| tables(&key.shape)));
    }
    text
}

fn section(table: &Table, text: &mut String) {
    let mut put = |line: String| {
        text.push_str(&line);
        text.push('\n');
    };
    put(format!("\n## {}\n\n{}\n", table.name, table.doc));
    put("| key | value | default | meaning |\n|---|---|---|---|".to_owned());
    for key in table.keys {
        let default = match (key.required, key.default) {
            (true, _) => "*required*",
            (false, "") => "",
            (false, default) => default,
        };
        let value = words(&key.shape);
        put(format!(
            "| `{}` | {value} | {default} | {} For example `{}`. |",
            key.name,
            key.doc,
            yaml(key)
        ));
    }
}

fn yaml(key: &Key) -> String {
    let plain = key.example.strip_prefix('"').and_then(|inner| inner.strip_suffix('"'));
    format!("{}: {}", key.name, plain.unwrap_or(key.example)).replace('|', "\\|")
}

fn words(shape: &Shape) -> String {
    let link = |table: &Table| format!("[{}](#{})", table.name, table.name.to_lowercase());
    match shape {
        Shape::Fixed(text) => format!("`{text}`"),
        Shape::Text => "text".to_owned(),
        Shape::Label => "label".to_owned(),
        Shape::Token => "name".to_owned(),
        Shape::Flag => "`true` or `false`".to_owned(),
        Shape::Condition => "`true`, `false` or `${{ params.NAME }}`".to_owned(),
        Shape::Count | Shape::Status => "number".to_owned(),
        Shape::Duration => "duration".to_owned(),
        Shape::Choice(choices) => {
            choices.iter().map(|choice| format!("`{choice}`")).collect::<Vec<_>>().join(" or ")
        }
        Shape::Command => "text or list of texts".to_owned(),
        Shape::TextMap => "texts by key".to_owned(),
        Shape::List(items) => format!("list of {}", words(items)),
        Shape::Object(table) if table.keys.is_empty() => "`{}`".to_owned(),
        Shape::Object(table) => link(table),
        Shape::Objects(table) => format!("{} by name", link(table)),
        Shape::OneKey(table) => format!("one of {}", link(table)),
        Shape::Either(one, other) => format!("{}, or {}", words(one), words(other)),
        Shape::Optional(inner) => words(inner),
        Shape::Matrix => "lists by axis, `include`, `exclude`".to_owned(),
    }
}

fn tables(shape: &Shape) -> Vec<&'static Table> {
    match shape {
        Shape::Object(table) | Shape::Objects(table) | Shape::OneKey(table) => vec![table],
        Shape::List(inner) | Shape::Optional(inner) => tables(inner),
        Shape::Either(one, other) => tables(one).into_iter().chain(tables(other)).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use super::*;
    use crate::{error_code, id::PartyName};

    /// Compares a generated file with the one in docs/reference, or writes it with `UPDATE=1`.
    fn fresh(name: &str, text: &str) {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/reference");
        let path = folder.join(name);
        if std::env::var_os("UPDATE").is_some() {
            fs::create_dir_all(&folder).unwrap();
            fs::write(&path, text).unwrap();
        }
        let found = fs::read_to_string(&path).unwrap_or_default();
        assert!(found == text, "{name} is stale: run the tests of lockstep-shared with UPDATE=1");
    }

    #[test]
    fn the_schema_in_the_documentation_is_fresh() {
        let text = serde_json::to_string_pretty(&pipeline_schema()).unwrap();
        fresh("pipeline.schema.json", &format!("{text}\n"));
    }

    #[test]
    fn the_reference_of_the_pipeline_file_is_fresh() {
        fresh("pipeline.md", &pipeline_reference());
    }

    #[test]
    fn the_reference_of_error_codes_is_fresh() {
        fresh("error-codes.md", &error_code::reference());
    }

    #[test]
    fn every_example_is_json_and_every_reference_has_its_definition() {
        fn walk(value: &Value, definitions: &Value) {
            if let Some(Value::String(target)) = value.get("$ref") {
                let name = target.rsplit('/').next().unwrap();
                assert!(definitions.get(name).is_some_and(Value::is_object), "{target}");
            }
            match value {
                Value::Object(fields) => fields.values().for_each(|field| walk(field, definitions)),
                Value::Array(items) => items.iter().for_each(|item| walk(item, definitions)),
                _ => {}
            }
        }
        fn examples(table: &'static Table) {
            for key in table.keys {
                serde_json::from_str::<Value>(key.example).expect(key.name);
                tables(&key.shape).into_iter().for_each(examples);
            }
        }
        let schema = pipeline_schema();
        walk(&schema, &schema["$defs"]);
        examples(&keys::DOCUMENT);
    }

    #[test]
    fn names_have_the_grammar_of_their_types() {
        assert_eq!(name::<WorkflowName>(LABEL)["maxLength"], 63);
        assert_eq!(name::<PartyName>(TOKEN)["type"], "string");
    }
}
