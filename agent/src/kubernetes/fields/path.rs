//! Where a part of an object is.

use std::fmt;

use super::Element;

/// The way from an object to a part of it, printed as the API server prints it in conflicts:
/// `.spec.template.spec.containers[name="web"].image`.
///
/// There is no parser of this text: the name of an annotation may contain dots, so the text alone
/// is ambiguous. [`FieldSet::find`](super::FieldSet::find) looks it up among paths that exist.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Path(Vec<Element>);

impl Path {
    /// The way through nothing but fields, from the object itself.
    pub fn of_fields(names: &[&str]) -> Self {
        Self(names.iter().map(|name| Element::field(name)).collect())
    }

    /// The steps, outermost first.
    pub fn elements(&self) -> &[Element] {
        &self.0
    }

    /// Whether this is the object itself.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this is a map that the API takes apart for every kind, whoever owns what of it: a
    /// Secret written through `stringData` has `data` that nobody owns.
    pub(super) fn is_taken_apart(&self) -> bool {
        let names: Option<Vec<&str>> = self.0.iter().map(Element::name).collect();
        matches!(
            names.as_deref(),
            Some(
                [] | ["metadata"]
                    | ["metadata", "labels" | "annotations"]
                    | ["data" | "binaryData" | "stringData"]
            )
        )
    }

    /// One step further.
    #[must_use]
    pub fn join(&self, element: Element) -> Self {
        let mut elements = self.0.clone();
        elements.push(element);
        Self(elements)
    }

    /// Whether this is `other` or lies inside of it.
    pub fn starts_with(&self, other: &Self) -> bool {
        self.0.starts_with(&other.0)
    }

    /// This path and all that it lies in, outermost first, without the object itself.
    pub fn and_ancestors(&self) -> impl DoubleEndedIterator<Item = Path> + '_ {
        (1..=self.0.len()).map(|length| Self(self.0[..length].to_vec()))
    }
}

impl From<Vec<Element>> for Path {
    fn from(elements: Vec<Element>) -> Self {
        Self(elements)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|element| write!(formatter, "{element}"))
    }
}
