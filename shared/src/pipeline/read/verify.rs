//! The `verify` step and how it asks.

use super::step::{Common, command};
use crate::{
    diagnostics::{Findings, Place},
    error_code::Code,
    pipeline::{
        draft::StepDraft,
        fields::Fields,
        keys, reader,
        tree::{Node, NodeKind},
    },
    plan::{Action, Probe, Verify},
    time::Span,
};

/// The pause between two questions of a `verify` step.
const INTERVAL: Span = Span::seconds(1);

/// Reads a `verify` step.
pub(super) fn step(place: Place, body: &Node, findings: &mut Findings) -> Option<StepDraft> {
    let fields = Fields::open(body, &keys::VERIFY, findings)?;
    let common = Common::read(&fields, findings);
    let probe = fields
        .exactly_one(&["http", "tcp", "command"], findings)
        .and_then(|kind| probe(kind, fields.get(kind)?, findings));
    let hold = reader::given(fields.get("for"), Span(0), |node| {
        reader::duration(node, "`for`", true, findings).map(|hold| hold.value)
    });
    let interval = reader::given(fields.get("interval"), INTERVAL, |node| {
        reader::duration(node, "`interval`", false, findings).map(|pause| pause.value)
    });
    let action = Action::Verify(Verify { probe: probe?, hold: hold?, interval: interval? });
    Some(common.finish_usual(place, action))
}

fn probe(kind: &str, node: &Node, findings: &mut Findings) -> Option<Probe> {
    match kind {
        "http" => http(node, findings),
        "tcp" => {
            let address = reader::filled(node, "`tcp`", findings)?;
            let port = address.value.rsplit_once(':').and_then(|(host, port)| {
                (!host.is_empty()).then(|| port.parse::<u16>().ok()).flatten()
            });
            if port.is_none_or(|port| port == 0) {
                findings
                    .report(Code::BadValue, format!("`tcp` cannot be {:?}", address.value))
                    .at(address.place, "no `host:port`")
                    .help("write it like `localhost:5432`");
                return None;
            }
            Some(Probe::Tcp(address.value))
        }
        _ => command(node, "`command`", findings).map(Probe::Command),
    }
}

fn http(node: &Node, findings: &mut Findings) -> Option<Probe> {
    const USUAL: u16 = 200;
    if let NodeKind::Scalar(_) = node.kind {
        return Some(Probe::Http { url: url(node, findings)?, status: USUAL, body: None });
    }
    let fields = Fields::open(node, &keys::HTTP, findings)?;
    let address = fields.require("url", findings).and_then(|node| url(node, findings));
    let status = reader::given(fields.get("status"), USUAL, |node| {
        let status = reader::count(node, "`status`", (100, 599), findings)?;
        u16::try_from(status).ok()
    });
    let body = reader::given(fields.get("body"), None, |node| {
        reader::filled(node, "`body`", findings).map(|body| Some(body.value))
    });
    Some(Probe::Http { url: address?, status: status?, body: body? })
}

fn url(node: &Node, findings: &mut Findings) -> Option<String> {
    let found = reader::filled(node, "`url`", findings)?;
    let rest = found.value.strip_prefix("http://").or_else(|| found.value.strip_prefix("https://"));
    let host = rest.and_then(|rest| rest.split(['/', '?', '#']).next());
    let spaced = found.value.contains(char::is_whitespace);
    if host.is_none_or(|host| host.is_empty() || host.starts_with(':')) || spaced {
        findings
            .report(Code::BadValue, format!("`url` cannot be {:?}", found.value))
            .at(found.place, "not an address")
            .help("write it like `http://localhost:8080/healthz`");
        return None;
    }
    Some(found.value)
}
