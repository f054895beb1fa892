//! `images`: references of container images replaced by name, as kustomize does.
//!
//! Every list called `containers`, `initContainers` or `ephemeralContainers` counts, however deep
//! and in whatever kind, definitions of custom resources apart: what they hold are schemas.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// The lists whose items have an image.
const LISTS: [&str; 3] = ["containers", "initContainers", "ephemeralContainers"];

/// A reference taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Image<'a> {
    name: &'a str,
    tag: Option<&'a str>,
    digest: Option<&'a str>,
}

impl<'a> Image<'a> {
    /// A colon before the last slash belongs to a registry's port.
    fn split(reference: &'a str) -> Self {
        let (rest, digest) = match reference.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (reference, None),
        };
        let path = rest.find('/').unwrap_or(0);
        match rest[path..].find(':') {
            Some(colon) => {
                let (name, tag) = rest.split_at(path + colon);
                Self { name, tag: Some(&tag[1..]), digest }
            }
            None => Self { name: rest, tag: None, digest },
        }
    }
}

/// Whether a text can be what an image is replaced by.
pub(crate) fn is_reference(text: &str) -> bool {
    let image = Image::split(text);
    let part = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    part(image.name) && image.tag.is_none_or(part) && image.digest.is_none_or(part)
}

/// Replaces the images of an object; the names that were found are added to `used`.
pub(super) fn replace(
    object: &mut Value,
    images: &BTreeMap<String, String>,
    used: &mut BTreeSet<String>,
) {
    if !images.is_empty() && object["kind"] != "CustomResourceDefinition" {
        walk(object, images, used);
    }
}

fn walk(value: &mut Value, images: &BTreeMap<String, String>, used: &mut BTreeSet<String>) {
    match value {
        Value::Object(entries) => {
            for (key, value) in entries {
                match value {
                    Value::Array(items) if LISTS.contains(&key.as_str()) => {
                        items.iter_mut().for_each(|item| container(item, images, used));
                    }
                    other => walk(other, images, used),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| walk(item, images, used)),
        _ => {}
    }
}

fn container(item: &mut Value, images: &BTreeMap<String, String>, used: &mut BTreeSet<String>) {
    let Some(Value::String(reference)) = item.get_mut("image") else {
        return walk(item, images, used);
    };
    let now = Image::split(reference);
    let Some((name, wanted)) = images.get_key_value(now.name) else { return };
    used.insert(name.clone());
    let wanted = Image::split(wanted);
    // A bare name keeps the tag and digest that the manifest has.
    let (tag, digest) = match (wanted.tag, wanted.digest) {
        (None, None) => (now.tag, now.digest),
        written => written,
    };
    let mut replaced = wanted.name.to_owned();
    for (mark, part) in [(':', tag), ('@', digest)] {
        if let Some(part) = part {
            replaced.push(mark);
            replaced.push_str(part);
        }
    }
    *reference = replaced;
}

/// The names of all images of an object, for a message.
pub(super) fn names(object: &Value, names: &mut BTreeSet<String>) {
    match object {
        Value::Object(entries) => {
            for (key, value) in entries {
                if let (Value::Array(items), true) = (value, LISTS.contains(&key.as_str())) {
                    let images = items.iter().filter_map(|item| item["image"].as_str());
                    names.extend(images.map(|image| Image::split(image).name.to_owned()));
                }
                self::names(value, names);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| self::names(item, names)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn replaced(reference: &str, name: &str, by: &str) -> String {
        let mut pod = json!({ "kind": "Pod", "spec": { "containers": [{ "image": reference }] } });
        let images = BTreeMap::from([(name.to_owned(), by.to_owned())]);
        replace(&mut pod, &images, &mut BTreeSet::new());
        pod["spec"]["containers"][0]["image"].as_str().unwrap().to_owned()
    }

    #[test]
    fn an_image_is_found_by_its_whole_name() {
        for (reference, name, by, becomes) in [
            ("web", "web", "web:v2", "web:v2"),
            ("web:v1", "web", "r.example.com:5000/web:v2", "r.example.com:5000/web:v2"),
            ("r.example.com:5000/web", "r.example.com:5000/web", "web:v2", "web:v2"),
            ("r.example.com:5000/web:v1", "web", "web:v2", "r.example.com:5000/web:v1"),
            ("web-admin:v1", "web", "web:v2", "web-admin:v1"),
            ("web:v1@sha256:aa", "web", "web@sha256:bb", "web@sha256:bb"),
            ("web@sha256:aa", "web", "web:v2", "web:v2"),
            ("web:v1", "web", "mirror/web", "mirror/web:v1"),
            ("web:v1@sha256:aa", "web", "mirror/web", "mirror/web:v1@sha256:aa"),
            ("web:v1", "web", "web:v2@sha256:bb", "web:v2@sha256:bb"),
        ] {
            assert_eq!(replaced(reference, name, by), becomes, "{reference} {name} {by}");
        }
    }

    #[test]
    fn every_list_of_containers_counts_however_deep() {
        let mut object = json!({
            "kind": "CronJob",
            "spec": { "jobTemplate": { "spec": { "template": { "spec": {
                "initContainers": [{ "image": "web:v1" }],
                "containers": [{ "image": "web:v1" }, { "name": "no image" }],
                "ephemeralContainers": [{ "image": "web:v1" }],
            } } } }, "list": [{ "containers": [{ "image": "web:v1" }] }], "image": "web:v1" },
        });
        let mut definition = object.clone();
        definition["kind"] = json!("CustomResourceDefinition");
        let images = BTreeMap::from([("web".to_owned(), "web:v2".to_owned())]);
        let mut used = BTreeSet::new();
        replace(&mut object, &images, &mut used);
        assert_eq!(object.to_string().matches("web:v2").count(), 4);
        assert_eq!(object["spec"]["image"], "web:v1", "not in a list of containers");
        assert_eq!(used, BTreeSet::from(["web".to_owned()]));
        replace(&mut definition, &images, &mut used);
        assert!(!definition.to_string().contains("web:v2"), "a schema is left alone");
    }

    #[test]
    fn what_is_no_reference_is_told_from_what_is_one() {
        for good in ["web", "web:v2", "r:5000/a/web:v2@sha256:aa", "web@sha256:aa"] {
            assert!(is_reference(good), "{good}");
        }
        for bad in ["", ":v2", "web:", "web@", "we b:v2", "web:v 2"] {
            assert!(!is_reference(bad), "{bad}");
        }
    }
}
