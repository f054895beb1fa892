//! A plan as a Mermaid flowchart: workflows are lanes, barriers the points where lanes meet.

use std::{collections::BTreeMap, fmt::Write as _};

use crate::{
    id::BarrierId,
    plan::{Action, Barrier, OnFailure, Plan, Workflow},
};

/// The plan as the text of a Mermaid flowchart, the same for the same plan.
pub fn mermaid(plan: &Plan) -> String {
    let mut chart = Chart { text: String::from("flowchart LR\n"), meetings: meetings(plan) };
    for (index, (name, workflow)) in plan.workflows.iter().enumerate() {
        chart.lane(index, name.as_str(), workflow);
    }
    for (id, barrier) in &plan.barriers {
        chart.meeting(id, barrier);
    }
    let commits = plan.on_failure == OnFailure::RollbackAll;
    if commits {
        chart.line("  commit(((\"commit\")))");
    }
    for (index, workflow) in plan.workflows.values().enumerate() {
        chart.way(index, workflow, commits);
    }
    chart.text
}

/// The node of each barrier; ids are not used, because Mermaid reads some words as its own.
fn meetings(plan: &Plan) -> BTreeMap<BarrierId, String> {
    plan.barriers.keys().enumerate().map(|(n, id)| (id.clone(), format!("b{n}"))).collect()
}

struct Chart {
    text: String,
    meetings: BTreeMap<BarrierId, String>,
}

impl Chart {
    fn line(&mut self, line: &str) {
        writeln!(self.text, "{line}").expect("a String takes every write");
    }

    /// The steps of a workflow that are not meetings, in a box of their own.
    fn lane(&mut self, index: usize, name: &str, workflow: &Workflow) {
        let waived = if workflow.waived { " (waived)" } else { "" };
        self.line(&format!("  subgraph w{index}[\"{}{waived}\"]", escaped(name)));
        self.line("    direction LR");
        self.line(&format!("    w{index}start((\" \"))"));
        for (step, of) in workflow.steps.iter().enumerate() {
            if !matches!(of.action, Action::Barrier(_)) {
                let kind = of.action.kind();
                let label = if of.name == kind {
                    kind.to_owned()
                } else {
                    format!("{kind}: {}", escaped(&of.name))
                };
                self.line(&format!("    w{index}s{step}[\"{label}\"]"));
            }
        }
        self.line("  end");
    }

    /// A barrier, and who arrives at it from outside.
    fn meeting(&mut self, id: &BarrierId, barrier: &Barrier) {
        let Some(node) = self.meetings.get(id).cloned() else { return };
        let title = barrier
            .title
            .as_deref()
            .map_or_else(String::new, |title| format!("<br/>{}", escaped(title)));
        let clock = barrier.timeout;
        self.line(&format!("  {node}{{{{\"{id}{title}<br/>{clock}\"}}}}"));
        for (party, name) in barrier.foreign.iter().enumerate() {
            self.line(&format!("  {node}p{party}([\"{name}\"]) -.-> {node}"));
        }
    }

    /// A workflow's way through its steps and meetings.
    fn way(&mut self, index: usize, workflow: &Workflow, commits: bool) {
        let mut way = vec![format!("w{index}start")];
        for (step, of) in workflow.steps.iter().enumerate() {
            way.push(match &of.action {
                Action::Barrier(id) => match self.meetings.get(id) {
                    Some(node) => node.clone(),
                    None => continue,
                },
                _ => format!("w{index}s{step}"),
            });
        }
        if commits && !workflow.waived {
            way.push("commit".to_owned());
        }
        if way.len() > 1 {
            self.line(&format!("  {}", way.join(" --> ")));
        }
    }
}

/// A text as Mermaid shows it unread: its own and HTML's special characters as entities.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' | '<' | '>' | '&' | '#' | '`' | '\\' | '{' | '}' | '[' | ']' | '|' | ';' => {
                write!(safe, "#{};", u32::from(c)).expect("a String takes every write");
            }
            c if c.is_control() => safe.push(' '),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::{Inputs, Pipeline};

    fn chart(text: &str) -> String {
        let pipeline = Pipeline::parse("pipeline.yaml", text).unwrap();
        mermaid(&pipeline.plan(&Inputs::default()).unwrap().plan)
    }

    #[test]
    fn lanes_meet_at_their_barriers_and_at_the_commit() {
        let shop = include_str!("../testdata/good/shop.yaml");
        assert_eq!(
            chart(shop),
            "\
flowchart LR
  subgraph w0[\"backend\"]
    direction LR
    w0start((\" \"))
    w0s0[\"deploy\"]
  end
  subgraph w1[\"frontend\"]
    direction LR
    w1start((\" \"))
    w1s1[\"deploy\"]
    w1s2[\"verify\"]
  end
  b0{{\"BE<br/>Backend service deployment done<br/>10m\"}}
  b1{{\"FE<br/>Frontend service deployment done<br/>10m\"}}
  commit(((\"commit\")))
  w0start --> w0s0 --> b0 --> b1 --> commit
  w1start --> b0 --> w1s1 --> w1s2 --> b1 --> commit
"
        );
    }

    #[test]
    fn a_name_cannot_break_out_of_its_label() {
        let shop = include_str!("../testdata/good/shop.yaml");
        let chart = chart(&shop.replace(
            "Backend service deployment done,",
            "'x\"]; click b0 \"javascript:alert(1)\" <img>',",
        ));
        assert!(!chart.contains("<img>") && !chart.contains("x\"]"), "{chart}");
    }
}
