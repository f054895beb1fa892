//! Barrier order: whether workflows would wait for each other in a circle.
//!
//! A barrier is met by all of its workflows at once, so two barriers that one workflow meets in
//! a row are ordered for the whole run. If these orders form no circle, a barrier that comes first
//! among the unmet ones can always be met next; if they do, none of its barriers ever can. So this
//! finds exactly the plans that would get stuck. A foreign party waits at nothing and orders
//! nothing.

use std::collections::{BTreeMap, VecDeque};

use petgraph::{
    algo::kosaraju_scc,
    graph::{DiGraph, NodeIndex},
    visit::EdgeRef,
};

use crate::{
    diagnostics::{At, Findings},
    error_code::Code,
    id::BarrierId,
    pipeline::{Draft, WorkflowDraft},
};

/// Above this a shortest circle is looked for from one barrier only; it is a circle all the same.
const MAX_STARTS: usize = 100;

/// A workflow meets at one barrier before another.
#[derive(Clone, Copy)]
struct Before<'a> {
    workflow: &'a WorkflowDraft,
    earlier: &'a At<BarrierId>,
    later: &'a At<BarrierId>,
}

type Graph<'a> = DiGraph<&'a BarrierId, Before<'a>>;

/// Reports each group of barriers that wait for each other, by a shortest circle through it.
pub(super) fn check(draft: &Draft, findings: &mut Findings) {
    let graph = graph(draft);
    for group in kosaraju_scc(&graph) {
        if group.len() > 1
            && let Some(circle) = shortest_circle(&graph, &group)
        {
            report(&circle, findings);
        }
    }
}

fn graph(draft: &Draft) -> Graph<'_> {
    let mut graph = Graph::new();
    let mut nodes: BTreeMap<&BarrierId, NodeIndex> = BTreeMap::new();
    // By name, so that the order of the file changes nothing in what is reported.
    let mut workflows: Vec<&WorkflowDraft> =
        draft.workflows.iter().filter(|workflow| !workflow.waived).collect();
    workflows.sort_by_key(|workflow| &workflow.name.value);
    for workflow in workflows {
        let mut before: Option<&At<BarrierId>> = None;
        for later in workflow.meetings() {
            let to = *nodes.entry(&later.value).or_insert_with(|| graph.add_node(&later.value));
            if let Some(earlier) = before
                // The same barrier twice is reported on its own.
                && earlier.value != later.value
            {
                let from = nodes[&earlier.value];
                graph.add_edge(from, to, Before { workflow, earlier, later });
            }
            before = Some(later);
        }
    }
    graph
}

/// A shortest circle through a strongly connected group.
fn shortest_circle<'a>(graph: &Graph<'a>, group: &[NodeIndex]) -> Option<Vec<Before<'a>>> {
    let mut starts = group.to_vec();
    starts.sort_by_key(|node| graph[*node]);
    let starts = if starts.len() > MAX_STARTS { &starts[..1] } else { &starts[..] };
    let circles = starts.iter().filter_map(|start| circle_through(graph, *start));
    circles.min_by_key(Vec::len)
}

fn circle_through<'a>(graph: &Graph<'a>, start: NodeIndex) -> Option<Vec<Before<'a>>> {
    let mut reached: BTreeMap<NodeIndex, (NodeIndex, Before<'a>)> = BTreeMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(node) = queue.pop_front() {
        for edge in graph.edges(node) {
            if edge.target() == start {
                let mut circle = vec![*edge.weight()];
                let mut at = node;
                while at != start {
                    let (from, before) = reached[&at];
                    circle.push(before);
                    at = from;
                }
                circle.reverse();
                return Some(circle);
            }
            reached.entry(edge.target()).or_insert_with(|| {
                queue.push_back(edge.target());
                (node, *edge.weight())
            });
        }
    }
    None
}

fn report(circle: &[Before<'_>], findings: &mut Findings) {
    // Whoever meets at a barrier before the next one waits there for the workflow that has yet to
    // pass the barrier before.
    let waits = circle.iter().enumerate().map(|(index, wait)| {
        let missing = circle[(index + circle.len() - 1) % circle.len()].workflow;
        let (waiter, barrier) = (&wait.workflow.name.value, &wait.earlier.value);
        format!("{waiter} waits at {barrier} for {}", missing.name.value)
    });
    let waits: Vec<String> = waits.collect();
    let finding =
        findings.report(Code::BarrierOrder, format!("circular wait: {}", waits.join(", ")));
    for wait in circle {
        let (workflow, earlier, later) =
            (&wait.workflow.name.value, &wait.earlier.value, &wait.later.value);
        finding
            .at(wait.earlier.place, format!("{workflow} meets at {earlier} first ..."))
            .at(wait.later.place, format!("... and at {later} later"));
    }
}
