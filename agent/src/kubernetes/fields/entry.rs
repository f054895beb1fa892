//! The entries of `managedFields`: who owns which paths.

use serde_json::{Map, Value};

use super::{FieldSet, FieldsError, exists};
use crate::kubernetes::object::MANAGER;

/// How an entry's manager wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// By server-side apply: what a later apply leaves out is removed.
    Apply,
    /// By anything else: create, update, other patches.
    Update,
}

impl Operation {
    /// The server's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Apply => "Apply",
            Self::Update => "Update",
        }
    }
}

/// What one manager owns of one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The manager's name.
    pub manager: String,
    /// How it wrote.
    pub operation: Operation,
    /// The subresource it wrote through, such as `status` or `scale`.
    pub subresource: Option<String>,
    /// The version in whose terms the paths are. Those of another version than the object's may
    /// name nothing in it.
    pub api_version: String,
    /// When the manager last changed what it owns, in whole seconds of the server's clock.
    pub time: Option<String>,
    /// What it owns.
    pub fields: FieldSet,
}

impl Entry {
    /// Whether this program wrote it.
    pub fn is_ours(&self) -> bool {
        self.manager == MANAGER && self.subresource.is_none()
    }

    /// Whether it is what this program owns by apply; else it is what it wrote by other patches.
    pub fn is_applied_by_us(&self) -> bool {
        self.is_ours() && self.operation == Operation::Apply
    }

    /// Whether it was written by scaling: by an autoscaler, or by `kubectl scale`.
    pub fn is_scale(&self) -> bool {
        self.subresource.as_deref() == Some("scale")
    }

    /// Whether the cluster's own autoscaler wrote it: a person scales under another name.
    pub fn is_autoscalers(&self) -> bool {
        self.is_scale() && self.manager == "kube-controller-manager"
    }

    /// Whether the server would keep both in one entry, apart from versions.
    pub fn is_same_writer(&self, other: &Self) -> bool {
        self.manager == other.manager
            && self.operation == other.operation
            && self.subresource == other.subresource
    }

    /// What it owns, in terms of `object`: of an entry in another version's terms, only the paths
    /// that name something in this one.
    pub fn fields_in(&self, object: &Value) -> FieldSet {
        let is_same = object.get("apiVersion").and_then(Value::as_str) == Some(&self.api_version);
        match is_same || self.api_version.is_empty() {
            true => self.fields.clone(),
            false => self.fields.filter(|path| exists(object, path)),
        }
    }

    fn read(value: &Value) -> Result<Self, FieldsError> {
        let text = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
        let operation = match value.get("operation").and_then(Value::as_str) {
            Some("Apply") => Operation::Apply,
            Some("Update") => Operation::Update,
            _ => return Err(FieldsError::Entry("operation")),
        };
        match value.get("fieldsType").and_then(Value::as_str) {
            Some("FieldsV1") | None => {}
            Some(_) => return Err(FieldsError::Entry("fieldsType")),
        }
        Ok(Self {
            manager: text("manager").unwrap_or_default(),
            operation,
            subresource: text("subresource").filter(|name| !name.is_empty()),
            api_version: text("apiVersion").unwrap_or_default(),
            time: text("time"),
            fields: value.get("fieldsV1").map_or(Ok(FieldSet::new()), FieldSet::from_v1)?,
        })
    }

    /// The entry as the server keeps it.
    pub fn to_value(&self) -> Value {
        let mut entry = Map::new();
        let mut text = |name: &str, text: &str| entry.insert(name.to_owned(), text.into());
        text("manager", &self.manager);
        text("operation", self.operation.as_str());
        text("apiVersion", &self.api_version);
        text("fieldsType", "FieldsV1");
        if let Some(subresource) = &self.subresource {
            text("subresource", subresource);
        }
        if let Some(time) = &self.time {
            text("time", time);
        }
        entry.insert("fieldsV1".to_owned(), self.fields.to_v1());
        Value::Object(entry)
    }
}

/// All entries of an object; none if it has no `managedFields`.
///
/// # Errors
/// [`FieldsError`] if one cannot be read: nothing may be decided on half of what is owned.
pub fn entries(object: &Value) -> Result<Vec<Entry>, FieldsError> {
    let list = object.pointer("/metadata/managedFields").and_then(Value::as_array);
    list.into_iter().flatten().map(Entry::read).collect()
}

/// All that the chosen entries own together, in terms of `object`.
pub fn owned<'a>(
    object: &Value,
    entries: impl IntoIterator<Item = &'a Entry>,
    choose: impl Fn(&Entry) -> bool,
) -> FieldSet {
    let mut fields = FieldSet::new();
    for entry in entries.into_iter().filter(|entry| choose(entry)) {
        fields.extend(&entry.fields_in(object));
    }
    fields
}

/// All that the managers of some objects tell of what lies inside of what: which lists are keyed
/// and by which fields, and which values are not taken apart.
///
/// # Errors
/// [`FieldsError`] if an entry cannot be read.
pub fn shape<'a>(objects: impl IntoIterator<Item = &'a Value>) -> Result<FieldSet, FieldsError> {
    let mut shape = FieldSet::new();
    for object in objects {
        shape.extend(&owned(object, &entries(object)?, |_| true));
    }
    Ok(shape)
}
