//! Small stories played by the real programs through `lockstep dev`: who meets whom, and who has
//! to arrive although a step of its failed.

use std::{fs, process::Stdio, time::Duration};

use anyhow::{Context, Result, ensure};
use lockstep_tests::world::program;

/// Plays a pipeline's `spec` in a folder of its own; what each step left in the file `told`, in
/// order, and everything that was printed.
async fn play(code: i32, spec: &str) -> Result<(Vec<String>, String)> {
    let folder = tempfile::Builder::new().prefix("lockstep-story-").tempdir()?;
    let head = "apiVersion: lockstep.dev/v1alpha1\nkind: Pipeline\nmetadata: { name: story }\n";
    fs::write(folder.path().join("pipeline.yaml"), format!("{head}{spec}"))?;
    let running = tokio::process::Command::new(program("lockstep")?)
        .args(["dev", "pipeline.yaml"])
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(Duration::from_secs(120), running).await;
    let output = output.context("the story did not end")??;
    let text = String::from_utf8_lossy(&[output.stderr, output.stdout].concat()).into_owned();
    ensure!(output.status.code() == Some(code), "{:?}, not {code}; it said\n{text}", output.status);
    let told = fs::read_to_string(folder.path().join("told")).unwrap_or_default();
    Ok((told.lines().map(str::to_owned).collect(), text))
}

#[tokio::test]
async fn parity_11_three_workflows_meet_two_by_two() -> Result<()> {
    let (told, _) = play(
        0,
        "
spec:
  barriers: { X: {}, Y: {} }
  workflows:
    - name: a
      target: { command: {} }
      steps: [{ run: 'sleep 1; echo a >> told' }, { barrier: X }]
    - name: b
      target: { command: {} }
      steps: [{ barrier: X }, { run: 'echo b >> told' }, { barrier: Y }]
    - name: c
      target: { command: {} }
      steps: [{ barrier: Y }, { run: 'echo c >> told' }]
",
    )
    .await?;
    assert_eq!(told, ["a", "b", "c"], "b waits for a at X, c for b at Y");
    Ok(())
}

#[tokio::test]
async fn parity_13_a_step_whose_failure_is_ignored_does_not_arrive_for_its_workflow() -> Result<()>
{
    let (told, text) = play(
        0,
        "
spec:
  barriers: { X: {} }
  workflows:
    - name: a
      target: { command: {} }
      steps:
        - run: { command: 'echo a fails >> told; exit 3', onFailure: continue }
        - run: 'sleep 1; echo a goes on >> told'
        - barrier: X
    - name: b
      target: { command: {} }
      steps: [{ barrier: X }, { run: 'echo b >> told' }]
",
    )
    .await?;
    assert_eq!(told, ["a fails", "a goes on", "b"], "X waits for a's own arrival");
    ensure!(text.contains("exit status 3"), "the ignored failure is not told:\n{text}");
    Ok(())
}

#[tokio::test]
async fn parity_13_a_step_whose_failure_is_ignored_is_still_undone() -> Result<()> {
    let (told, text) = play(
        4,
        "
spec:
  workflows:
    - name: a
      target: { command: {} }
      steps:
        - run: { command: 'exit 3', undo: 'echo undone >> told', onFailure: continue }
        - run: { name: breaks, command: 'exit 4' }
",
    )
    .await?;
    assert_eq!(told, ["undone"], "{text}");
    Ok(())
}

#[tokio::test]
async fn parity_31_a_wait_and_one_workflow_without_barriers() -> Result<()> {
    let (told, _) = play(
        0,
        "
spec:
  workflows:
    - name: alone
      target: { command: {} }
      steps:
        - run: 'date +%s%N > began'
        - wait: 1500ms
        - run: 'expr \\( $(date +%s%N) - $(cat began) \\) / 1000000 >> told'
        - verify: { command: 'test -s told', for: 1s, timeout: 20s }
",
    )
    .await?;
    let waited: u64 = told.first().context("nothing was told")?.parse()?;
    ensure!(waited >= 1500, "it waited {waited} ms only");
    Ok(())
}

#[tokio::test]
async fn parity_23_a_failure_after_the_last_barrier_is_caught_by_the_commit_barrier() -> Result<()>
{
    let (told, text) = play(
        4,
        "
spec:
  barriers: { LAST: {} }
  workflows:
    - name: backend
      target: { command: {} }
      steps:
        - run: { command: 'echo backend >> told', undo: 'echo backend undone >> told' }
        - barrier: LAST
    - name: frontend
      target: { command: {} }
      steps:
        - barrier: LAST
        - run: { name: deploy, command: 'sleep 1; echo frontend >> told; exit 9', undo: 'true' }
",
    )
    .await?;
    assert_eq!(told, ["backend", "frontend", "backend undone"], "{text}");
    ensure!(text.contains("exit status 9"), "the backend is told nothing of the cause:\n{text}");
    Ok(())
}

#[tokio::test]
async fn parity_31_three_workflows_meet_in_whatever_order_they_are_declared() -> Result<()> {
    let workflows = [
        "
    - name: a
      target: { command: {} }
      steps: [{ run: 'echo a >> told' }, { barrier: X }, { barrier: Y }]",
        "
    - name: b
      target: { command: {} }
      steps: [{ barrier: X }, { run: 'echo b >> told' }, { barrier: Y }]",
        "
    - name: c
      target: { command: {} }
      steps: [{ barrier: X }, { barrier: Y }, { run: 'echo c >> told' }]",
    ];
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let declared: String = order.iter().map(|number| workflows[*number]).collect();
        let spec = format!("spec:\n  barriers: {{ X: {{}}, Y: {{}} }}\n  workflows:{declared}\n");
        let (told, text) = play(0, &spec).await?;
        assert_eq!(told, ["a", "b", "c"], "declared as {order:?}:\n{text}");
    }
    Ok(())
}
