//! Parameters: what the file declares and what the run was given.

use std::collections::BTreeMap;

use crate::{
    diagnostics::{At, Findings, Place},
    error_code::Code,
    pipeline::suggest,
};

/// The parameters that a file declares.
#[derive(Debug, Clone, Default)]
pub(crate) struct Params {
    /// By name.
    pub(crate) declared: BTreeMap<String, Declared>,
}

/// A declared parameter.
#[derive(Debug, Clone, Default)]
pub(crate) struct Declared {
    /// Where its name is written.
    pub(crate) place: Place,
    /// Its value if the run is given none.
    pub(crate) default: Option<At<String>>,
    /// The only values it may have; empty means any.
    pub(crate) allowed: Vec<String>,
}

/// Values by name; `None` stands for a value whose absence was reported.
pub(crate) type Values = BTreeMap<String, Option<String>>;

impl Params {
    /// The value of each parameter.
    pub(crate) fn values(
        &self,
        given: &BTreeMap<String, String>,
        findings: &mut Findings,
    ) -> Values {
        for name in given.keys().filter(|name| !self.declared.contains_key(*name)) {
            self.undeclared(name, findings);
        }
        self.declared
            .iter()
            .map(|(name, declared)| (name.clone(), declared.value(name, given.get(name), findings)))
            .collect()
    }

    fn undeclared(&self, name: &str, findings: &mut Findings) {
        let known = || self.declared.keys().map(String::as_str);
        let finding = findings.report(
            Code::UnknownParam,
            format!("the run was given the parameter `{name}`, which the file does not declare"),
        );
        if let Some(near) = suggest::nearest(name, known()) {
            finding.help(format!("did you mean `{near}`?"));
        } else if !self.declared.is_empty() {
            finding.help(format!("the file declares {}", suggest::listed(known())));
        }
    }
}

impl Declared {
    fn value(&self, name: &str, given: Option<&String>, findings: &mut Findings) -> Option<String> {
        let (value, place) = match (given, &self.default) {
            (Some(value), _) => (value.clone(), self.place),
            (None, Some(default)) => (default.value.clone(), default.place),
            (None, None) => {
                let example = self.allowed.first().map_or("VALUE", String::as_str);
                findings
                    .report(Code::ParamWithoutValue, format!("the parameter `{name}` has no value"))
                    .at(self.place, "declared here without a default")
                    .help(format!("pass `--param {name}={example}`, or give it a `default`"));
                return None;
            }
        };
        if self.allowed.is_empty() || self.allowed.contains(&value) {
            return Some(value);
        }
        let allowed = suggest::listed(self.allowed.iter().map(String::as_str));
        let near = suggest::nearest(&value, self.allowed.iter().map(String::as_str));
        findings
            .report(Code::BadParam, format!("the parameter `{name}` cannot be {value:?}"))
            .at(place, format!("has to be one of {allowed}"))
            .help(near.map_or_else(
                || format!("use one of {allowed}"),
                |near| format!("did you mean `{near}`?"),
            ));
        None
    }
}
