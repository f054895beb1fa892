//! The pipeline files that examples and documents show are valid, without a warning.

use lockstep_shared::{
    error_code::Code,
    pipeline::{Inputs, Pipeline},
};

use crate::tree::{TextFile, files, no_findings};

/// The pipelines of one file: the file itself, or the blocks of a document.
fn pipelines(file: &TextFile) -> Vec<String> {
    if file.path.starts_with("examples/") && file.ends_with("/pipeline.yaml") {
        return vec![file.text.clone()];
    }
    if !file.ends_with(".md") {
        return Vec::new();
    }
    let blocks = file.text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.filter_map(whole).collect()
}

/// A block as a whole file; a block of only `spec` gets a head, others are fragments.
fn whole(block: &str) -> Option<String> {
    let head = "apiVersion: lockstep.dev/v1alpha1\nkind: Pipeline\nmetadata: { name: shown }\n";
    if block.contains("kind: Pipeline") {
        Some(block.to_owned())
    } else {
        block.starts_with("spec:\n").then(|| format!("{head}{block}"))
    }
}

#[test]
fn every_pipeline_that_is_shown_is_valid_without_a_warning() {
    let (mut found, mut count) = (Vec::new(), 0);
    for file in files() {
        for text in pipelines(&file) {
            count += 1;
            let planned = Pipeline::parse(&file.path, &text)
                .and_then(|pipeline| pipeline.plan(&Inputs::default()));
            match planned {
                // That an approval has a time limit is told, and is as it should be.
                Ok(planned)
                    if planned.warnings.findings().iter().all(|f| f.code == Code::ApprovalTime) => {
                }
                Ok(planned) => found.push(planned.warnings.to_plain_text()),
                Err(diagnostics) => found.push(diagnostics.to_plain_text()),
            }
        }
    }
    assert!(count >= 7, "only {count} pipelines found");
    no_findings("pipelines that are shown and not valid", &found);
}
