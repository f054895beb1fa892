//! Real processes: how they begin, print, end, and are ended.

use super::*;
use crate::command::{end_left_over, permits};
use std::path::Path;

fn setting(workdir: &Path) -> Setting {
    Setting {
        key: lockstep_shared::id::RunKey {
            pipeline: "shop".parse().unwrap(),
            run: "r1".parse().unwrap(),
        },
        workflow: "backend".parse().unwrap(),
        params: BTreeMap::new(),
        workdir: workdir.to_owned(),
        traceparent: Some("00-1-2-01".to_owned()),
    }
}

/// A permit that is always given.
fn always() -> Permit {
    let (permit, mut questions) = permits();
    tokio::spawn(async move {
        while let Some(question) = questions.recv().await {
            let _ = question.send(Ok(()));
        }
    });
    permit
}

struct World {
    folder: tempfile::TempDir,
    setting: Setting,
    gate: Gate,
    stop: CancellationToken,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDirectory::open(&folder.path().join("state")).unwrap();
        let setting = setting(folder.path());
        let gate = Gate { state, step: 0, permit: always() };
        Self { folder, setting, gate, stop: CancellationToken::new() }
    }

    async fn shell(&self, text: &str, timeout: Span) -> Finished {
        self.run(&Command::Shell(text.to_owned()), timeout).await
    }

    async fn run(&self, command: &Command, timeout: Span) -> Finished {
        let env = BTreeMap::new();
        let call = Call { command, env: &env, workdir: None, timeout, step: "deploy", attempt: 1 };
        run(&self.setting, &call, Some(&self.gate), &self.stop).await
    }

    fn group(&self) -> Option<GroupRecord> {
        self.gate.state.group(&self.setting.key.pipeline, &self.setting.workflow).unwrap()
    }

    fn read(&self, name: &str) -> Option<String> {
        std::fs::read_to_string(self.folder.path().join(name)).ok()
    }

    async fn wait_for(&self, name: &str) -> String {
        for _ in 0..500 {
            if let Some(text) = self.read(name).filter(|text| text.ends_with('\n')) {
                return text.trim().to_owned();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{name} was not written within 5 s");
    }
}

fn is_alive(process: &str) -> bool {
    start_of(Pid::from_raw(process.parse().unwrap()).unwrap()).is_some()
}

async fn dies(process: &str) {
    for _ in 0..500 {
        if !is_alive(process) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("process {process} is still alive after 5 s");
}

#[tokio::test]
async fn a_command_runs_in_the_working_directory_and_its_output_is_kept_in_order() {
    let world = World::new();
    let done = world
        .shell("echo out; echo err >&2; echo $LOCKSTEP_STEP $TRACEPARENT; pwd", Span::seconds(10));
    let done = done.await;
    done.result.unwrap();
    let folder = world.folder.path().display();
    assert_eq!(done.output, format!("out\nerr\ndeploy 00-1-2-01\n{folder}"));
    assert_eq!(world.group(), None, "an ended group is forgotten");
}

#[tokio::test]
async fn a_failing_line_of_a_shell_text_fails_the_command() {
    let world = World::new();
    let done = world.shell("echo before\nfalse\necho after", Span::seconds(10)).await;
    assert_eq!(
        done.result.unwrap_err().to_string(),
        "`echo before; false; echo after` ended with exit status 1"
    );
    assert_eq!(done.output, "before");
}

#[tokio::test]
async fn a_list_is_not_looked_at_by_a_shell() {
    let world = World::new();
    let list = ["printf", "%s|", "$HOME", "a b", "*"].map(str::to_owned).to_vec();
    let done = world.run(&Command::Exec(list), Span::seconds(10)).await;
    done.result.unwrap();
    assert_eq!(done.output, "$HOME|a b|*|");
}

#[tokio::test]
async fn a_daemon_that_keeps_the_output_open_does_not_hold_the_step_up() {
    let world = World::new();
    let began = std::time::Instant::now();
    let done = world.shell("setsid sleep 60 & echo $! > daemon; echo ready", Span::seconds(30));
    let done = done.await;
    done.result.unwrap();
    assert_eq!(done.output, "ready");
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    let daemon = world.wait_for("daemon").await;
    assert!(is_alive(&daemon), "the daemon was killed");
    let daemon = Pid::from_raw(daemon.parse().unwrap()).unwrap();
    let _ = rustix::process::kill_process(daemon, Signal::KILL);
}

#[tokio::test]
async fn at_the_time_out_the_whole_group_is_killed() {
    let world = World::new();
    let text = "sleep 60 & echo $! > child; echo waiting; wait";
    let done = world.shell(text, Span(500)).await;
    let error = done.result.unwrap_err().to_string();
    assert!(error.ends_with("took longer than 500ms and was killed"), "{error}");
    assert_eq!(done.output, "waiting");
    assert!(!is_alive(&world.wait_for("child").await));
}

#[tokio::test]
async fn who_ignores_the_polite_signal_is_killed_all_the_same() {
    let world = World::new();
    let text = "trap '' TERM; echo $$ > stubborn; while true; do sleep 0.1; done";
    let done = world.shell(text, Span(300)).await;
    assert!(matches!(done.result, Err(CommandError::TimedOut { .. })));
    assert!(!is_alive(&world.wait_for("stubborn").await));
}

#[tokio::test]
async fn a_command_that_is_stopped_is_not_a_success() {
    let world = World::new();
    let stop = world.stop.clone();
    let (done, ()) =
        tokio::join!(world.shell("echo $$ > me; sleep 60", Span::seconds(60)), async {
            world.wait_for("me").await;
            stop.cancel();
        });
    assert!(matches!(done.result, Err(CommandError::Stopped { .. })));
}

#[tokio::test]
async fn nothing_is_started_whose_group_cannot_be_remembered() {
    let world = World::new();
    let blocked = world.folder.path().join("state/shop.backend");
    std::fs::write(&blocked, b"a file where a folder should be").unwrap();
    let done = world.shell("echo done > done", Span::seconds(10)).await;
    assert!(matches!(done.result, Err(CommandError::NotRemembered { .. })), "{done:?}");
    assert_eq!(world.read("done"), None);
}

#[tokio::test]
async fn nothing_is_started_that_is_not_permitted_any_more() {
    let mut world = World::new();
    let (permit, mut questions) = permits();
    world.gate.permit = permit;
    let refuse = async {
        let question = questions.recv().await.expect("somebody asks");
        question.send(Err("epoch 2 has taken over".to_owned())).unwrap();
    };
    let (done, ()) = tokio::join!(world.shell("echo done > done", Span::seconds(10)), refuse);
    let error = done.result.unwrap_err().to_string();
    assert!(error.ends_with("was not started: epoch 2 has taken over"), "{error}");
    assert_eq!(world.read("done"), None);
}

#[tokio::test]
async fn a_missing_program_and_a_missing_folder_are_named() {
    let world = World::new();
    let done = world.run(&Command::Exec(vec!["no-such-program".into()]), Span::seconds(9)).await;
    let error = done.result.unwrap_err().to_string();
    assert!(error.contains("`no-such-program`") && error.contains("127"), "{error}");
    let call = Call {
        command: &Command::Shell("true".into()),
        env: &BTreeMap::new(),
        workdir: Some("missing"),
        timeout: Span::seconds(9),
        step: "deploy",
        attempt: 1,
    };
    let done = run(&world.setting, &call, None, &world.stop).await;
    let error = done.result.unwrap_err().to_string();
    assert!(error.contains("/missing"), "{error}");
}

#[tokio::test]
async fn a_successor_ends_what_its_predecessor_left_running() {
    let world = World::new();
    let text = "trap '' TERM; sleep 60 & echo $! > child; wait";
    let command = Command::Shell(text.to_owned());
    let call_env = BTreeMap::new();
    let call = Call {
        command: &command,
        env: &call_env,
        workdir: None,
        timeout: Span::seconds(60),
        step: "deploy",
        attempt: 1,
    };
    // An agent that dies does not run its destructors.
    let (running, _output) = start(&world.setting, &call, Some(&world.gate)).await.unwrap();
    let record = world.group().expect("the group was remembered");
    let child = world.wait_for("child").await;

    let other = GroupRecord { started: "another/1".to_owned(), ..record.clone() };
    assert!(!end_left_over(&other, "shop", "backend").await.unwrap(), "a reused number");
    assert!(is_alive(&child), "somebody else's process was killed");

    assert!(end_left_over(&record, "shop", "backend").await.unwrap());
    assert!(!is_alive(&child));
    drop(running);
}

#[tokio::test]
async fn a_group_whose_first_process_is_dead_is_known_by_its_environment() {
    let world = World::new();
    let command = Command::Shell("sleep 60 & echo $! > child; wait".to_owned());
    let call_env = BTreeMap::new();
    let call = Call {
        command: &command,
        env: &call_env,
        workdir: None,
        timeout: Span::seconds(60),
        step: "deploy",
        attempt: 1,
    };
    let (mut running, _output) = start(&world.setting, &call, Some(&world.gate)).await.unwrap();
    let record = world.group().expect("the group was remembered");
    let child = world.wait_for("child").await;
    rustix::process::kill_process(running.group, Signal::KILL).unwrap();
    running.child.wait().await.unwrap();

    let other = GroupRecord { attempt: 2, ..record.clone() };
    assert!(!end_left_over(&other, "shop", "backend").await.unwrap());
    assert!(is_alive(&child), "somebody else's process was killed");
    assert!(end_left_over(&record, "shop", "backend").await.unwrap());
    dies(&child).await;
    running.over = true;
}
