//! `${{ params.x }}` and `${{ matrix.y }}`.

use super::{matrix::Combination, params::Values};
use crate::{
    diagnostics::{At, Findings, Place},
    error_code::Code,
    pipeline::{
        suggest,
        tree::{Form, Node, NodeKind, Scalar},
    },
};

const OPEN: &str = "${{";
const CLOSE: &str = "}}";

/// What expressions may refer to at some place of the file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scope<'a> {
    /// The whole text of the file, to point into.
    source: &'a str,
    params: &'a Values,
    matrix: Option<&'a Combination>,
}

impl<'a> Scope<'a> {
    /// Parameters only.
    pub(crate) fn new(source: &'a str, params: &'a Values) -> Self {
        Self { source, params, matrix: None }
    }

    /// The same with the values of a combination.
    pub(crate) fn within(self, combination: Option<&'a Combination>) -> Self {
        Self { matrix: combination, ..self }
    }

    /// Whether a text as it is written refers to the matrix.
    pub(crate) fn uses_matrix(written: &str) -> bool {
        pieces(written).any(|piece| match piece {
            Piece::Expression { inner, .. } => inner.starts_with("matrix."),
            Piece::Plain(_) | Piece::Unclosed(_) => false,
        })
    }

    /// A copy of the node in which all expressions are replaced.
    pub(crate) fn replaced(&self, node: &Node, findings: &mut Findings) -> Node {
        self.replaced_except(node, "", findings)
    }

    /// The same, with one key of the outermost map left as it is.
    pub(crate) fn replaced_except(
        &self,
        node: &Node,
        except: &str,
        findings: &mut Findings,
    ) -> Node {
        let kind = match &node.kind {
            NodeKind::Null => NodeKind::Null,
            NodeKind::Unknown => NodeKind::Unknown,
            NodeKind::Scalar(scalar) => self.scalar(scalar, node.place, findings),
            NodeKind::List(items) => {
                NodeKind::List(items.iter().map(|item| self.replaced(item, findings)).collect())
            }
            NodeKind::Map(entries) => {
                let replaced = entries.iter().map(|(key, value)| {
                    refuse_in_key(key, findings);
                    let value = if key.value == except {
                        value.clone()
                    } else {
                        self.replaced(value, findings)
                    };
                    (key.clone(), value)
                });
                NodeKind::Map(replaced.collect())
            }
        };
        Node { place: node.place, kind }
    }

    fn scalar(&self, scalar: &Scalar, place: Place, findings: &mut Findings) -> NodeKind {
        if !scalar.text.contains(OPEN) {
            return NodeKind::Scalar(scalar.clone());
        }
        let mut text = String::new();
        let mut known = true;
        for piece in pieces(&scalar.text) {
            let value = match piece {
                Piece::Plain(plain) => Some(plain.to_owned()),
                Piece::Unclosed(whole) => {
                    findings
                        .report(Code::UnknownExpression, "an expression is not closed")
                        .at(self.within_scalar(place, whole), "no `}}` follows")
                        .help("write `${{ params.NAME }}`");
                    None
                }
                Piece::Expression { whole, inner } => {
                    self.value(whole, inner, self.within_scalar(place, whole), findings)
                }
            };
            match value {
                Some(value) => text.push_str(&value),
                None => known = false,
            }
        }
        if known {
            let form = Form::Replaced(scalar.text.clone());
            NodeKind::Scalar(Scalar { text, form })
        } else {
            NodeKind::Unknown
        }
    }

    /// The place of a piece of a scalar, if the source spells it as the value does.
    fn within_scalar(&self, scalar: Place, piece: &str) -> Place {
        let written = self.source.get(scalar.range()).unwrap_or_default();
        written.find(piece).map_or(scalar, |offset| Place {
            start: scalar.start + offset,
            length: piece.trim_end().len(),
        })
    }

    fn value(
        &self,
        whole: &str,
        inner: &str,
        place: Place,
        findings: &mut Findings,
    ) -> Option<String> {
        if let Some(name) = inner.strip_prefix("params.") {
            if let Some(value) = self.params.get(name) {
                // Without a value it was reported where it is declared.
                return value.clone();
            }
            let known = self.params.keys().map(String::as_str);
            unknown(format!("there is no parameter `{name}`"), name, known, place, findings);
            return None;
        }
        let Some(axis) = inner.strip_prefix("matrix.") else {
            findings
                .report(Code::UnknownExpression, format!("`{whole}` is no known expression"))
                .at(place, "neither `params.NAME` nor `matrix.AXIS`");
            return None;
        };
        let Some(combination) = self.matrix else {
            findings
                .report(Code::UnknownExpression, format!("`{whole}` stands outside of a matrix"))
                .at(place, "there is no matrix here")
                .help("use it in a workflow that has a `matrix`, outside of `matrix` itself");
            return None;
        };
        let value = combination.values.get(axis);
        if value.is_none() {
            let known = combination.values.keys().map(String::as_str);
            let message = format!("this combination of the matrix has no `{axis}`");
            unknown(message, axis, known, place, findings);
        }
        value.cloned()
    }
}

fn unknown<'a>(
    message: String,
    name: &str,
    known: impl Iterator<Item = &'a str> + Clone,
    place: Place,
    findings: &mut Findings,
) {
    let finding = findings.report(Code::UnknownExpression, message).at(place, "not declared");
    if let Some(near) = suggest::nearest(name, known.clone()) {
        finding.help(format!("did you mean `{near}`?"));
    } else if known.clone().next().is_some() {
        finding.help(format!("declared are {}", suggest::listed(known)));
    }
}

fn refuse_in_key(key: &At<String>, findings: &mut Findings) {
    if key.value.contains(OPEN) {
        findings
            .report(Code::UnknownExpression, "an expression stands in a key")
            .at(key.place, "only values are replaced")
            .help("write the key out");
    }
}

enum Piece<'a> {
    Plain(&'a str),
    Expression { whole: &'a str, inner: &'a str },
    Unclosed(&'a str),
}

fn pieces(text: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let Some(start) = rest.find(OPEN) else {
            return Some(Piece::Plain(std::mem::take(&mut rest)));
        };
        if start > 0 {
            let (plain, behind) = rest.split_at(start);
            rest = behind;
            return Some(Piece::Plain(plain));
        }
        let Some(end) = rest.find(CLOSE) else {
            return Some(Piece::Unclosed(std::mem::take(&mut rest)));
        };
        let (whole, behind) = rest.split_at(end + CLOSE.len());
        rest = behind;
        Some(Piece::Expression { whole, inner: whole[OPEN.len()..end].trim() })
    })
}

/// Whether a text as it is written is one expression and nothing else, and names a parameter.
pub(super) fn is_one_param(written: &str) -> bool {
    let mut pieces = pieces(written.trim());
    let first = pieces.next();
    let is_param = matches!(
        first,
        Some(Piece::Expression { inner, .. }) if inner.starts_with("params.")
    );
    is_param && pieces.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(pairs: &[(&str, &str)]) -> Values {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), Some((*value).to_owned()))).collect()
    }

    fn replace(text: &str) -> (NodeKind, Findings) {
        let params = values(&[("version", "v2"), ("count", "3")]);
        let mut findings = Findings::default();
        let node = Node {
            place: Place { start: 0, length: text.len() },
            kind: NodeKind::Scalar(Scalar { text: text.to_owned(), form: Form::Text }),
        };
        let kind = Scope::new(text, &params).replaced(&node, &mut findings).kind;
        (kind, findings)
    }

    #[test]
    fn expressions_are_replaced_wherever_they_stand_in_a_text() {
        let (kind, _) = replace("a ${{ params.version }}-${{params.count}} b");
        let NodeKind::Scalar(scalar) = kind else { panic!("{kind:?}") };
        assert_eq!(scalar.text, "a v2-3 b");
    }

    #[test]
    fn what_is_unknown_is_reported_once_and_leaves_an_unknown_value() {
        for text in ["${{ params.verson }}", "${{ secrets.KEY }}", "${{ matrix.x }}", "x ${{ a"] {
            let (kind, findings) = replace(text);
            assert_eq!(kind, NodeKind::Unknown, "{text}");
            assert!(findings.has(Code::UnknownExpression), "{text}");
        }
    }

    #[test]
    fn a_shell_variable_is_no_expression() {
        let (kind, findings) = replace("echo ${HOME} $x {{ y }}");
        assert!(matches!(kind, NodeKind::Scalar(_)));
        assert!(!findings.has_errors());
    }
}
