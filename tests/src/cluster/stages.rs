//! Fake nodes: what their pods do is said by the image's name, as kwok's stages.
//!
//! The tag's last word decides, so that `shop/web:2` becomes ready and `shop/web:2-crashloop` does
//! not:
//!
//! | word | what a pod does |
//! |---|---|
//! | none | becomes ready; as a Job's pod, completes |
//! | `slow` | the same, after 5 s |
//! | `unready` | runs and is never ready |
//! | `crashloop` | crashes, waits, runs, crashes |
//! | `pullfail` | its image cannot be had |
//! | `complete` | ends with 0 |
//! | `fail` | ends with 1; is a crash loop where the pod is to be restarted |
//!
//! Two annotations of a pod change it while it lives: [`BEHAVE`] takes such a word (`ready` for
//! none), [`AFTER`] a duration such as `20s` for how long it takes to get there. The pods of a real
//! node know the same words (`bin/cluster-pod.rs`).

use std::path::Path;

/// The annotation that says what a pod does from now on, whatever its image is called.
pub const BEHAVE: &str = "test.lockstep.dev/behave";

/// The annotation that says how long a pod takes until it is ready, complete or failed.
pub const AFTER: &str = "test.lockstep.dev/after";

const STAGES: &str = include_str!("stages.yaml");

/// The word, from the annotation or the image, and what it means for this pod.
const BEHAVIOUR: &str = r#"
(.metadata.annotations["test.lockstep.dev/behave"]
 // ([.spec.containers[].image
     | capture("[:-](?<word>slow|unready|crashloop|pullfail|complete|fail)(@.*)?$").word][0])
 // "ready") as $word
| any(.metadata.ownerReferences[]?; .kind == "Job") as $job
| if $word == "fail" and .spec.restartPolicy != "Never" then "crashloop"
  elif $job and ($word == "ready" or $word == "slow") then "complete"
  else $word end"#;

/// How long it takes, where that is not said by the stage.
const DELAY: &str = r#"
.metadata.annotations["test.lockstep.dev/after"]
// (if any(.spec.containers[].image; test("[:-]slow(@.*)?$")) then "5s" else null end)"#;

const NOT_DELETED: &str = "{ key: '.metadata.deletionTimestamp', operator: DoesNotExist }";

/// The configuration of kwok; every container's log is that of `logs`.
pub(super) fn stages(logs: &Path) -> String {
    STAGES
        .replace("NOT_DELETED", NOT_DELETED)
        .replace("BEHAVIOUR", &quoted(BEHAVIOUR))
        .replace("DELAY", &quoted(DELAY))
        .replace("LOGS_FILE", &quoted(&logs.display().to_string()))
}

/// A YAML string on one line.
fn quoted(text: &str) -> String {
    let line: Vec<&str> = text.split_whitespace().collect();
    format!("'{}'", line.join(" ").replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stages_are_filled_in_with_what_is_documented() {
        let text = stages(Path::new("/logs of all"));
        for left in ["key: BEHAVIOUR", "DELAY }", "- NOT_DELETED", "logsFile: LOGS_FILE"] {
            assert!(!text.contains(left), "{left} is left in\n{text}");
        }
        assert!(text.contains("logsFile: '/logs of all'"), "{text}");
        assert!(BEHAVIOUR.contains(BEHAVE) && DELAY.contains(AFTER));
    }

    #[test]
    fn an_expression_is_one_line_of_yaml() {
        assert_eq!(quoted("a\n  | b == 'c'"), "'a | b == ''c'''");
    }
}
