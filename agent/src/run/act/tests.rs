//! Orders of two runs of one workflow at its one target.

use std::{collections::BTreeMap, path::Path, time::Duration};

use lockstep_bus::DevServer;
use lockstep_shared::{
    plan::{Action, Command, RunCommand, Step, Target as PlannedTarget, Undo, Workflow},
    time::Span,
};
use tokio::{sync::mpsc::Receiver, task::JoinHandle};

use super::*;
use crate::{
    command::{Question, permits},
    kubernetes::client::Access,
    run::Board,
    serve::Options,
    state::StateDirectory,
    undo::UndoStore,
};

/// How long anything may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(30);

/// How long a wait has to last to be one.
const A_WHILE: Duration = Duration::from_secs(2);

/// A step whose undo goes on until it is let go.
fn step() -> Step {
    let shell = |text: &str| Command::Shell(text.to_owned());
    let undo = "touch begun; until test -e go; do sleep 0.05; done; touch undone";
    let spec = RunCommand {
        command: shell("true"),
        undo: Some(Undo::Command(shell(undo))),
        env: BTreeMap::new(),
        workdir: None,
        idempotent: false,
    };
    let (name, timeout) = ("deploy".to_owned(), Span::seconds(60));
    Step { name, action: Action::Run(spec), timeout, retries: 0, tolerated: false }
}

async fn post(server: &DevServer, folder: &Path) -> Post {
    let workflow: lockstep_shared::id::WorkflowName = "backend".parse().unwrap();
    let options = Options {
        pipeline: "shop".parse().unwrap(),
        workflows: vec![workflow.clone()],
        state_dir: folder.join("state"),
        instance: None,
        allow_commands: true,
        workdir: folder.to_owned(),
        cluster: None,
        kubernetes: Access::default(),
        degrade_grace: A_WHILE,
        evidence: Default::default(),
        undo_history: crate::UNDO_HISTORY,
        traceparent: None,
        version: crate::VERSION.to_owned(),
    };
    Post {
        bus: Bus::connect(&server.connection(), "agent", LIMIT).await.unwrap(),
        state: StateDirectory::open(&options.state_dir).unwrap(),
        options: Arc::new(options),
        workflow,
        instance: "host".to_owned(),
        clock: Clock::new(),
        board: Board::new(),
        turn: Turn::default(),
    }
}

/// One run's orders, each of which is permitted.
fn run(post: &Post, run: &str) -> (Acts, JoinHandle<()>) {
    let key = RunKey { pipeline: post.options.pipeline.clone(), run: run.parse().unwrap() };
    let workflow = Workflow {
        target: PlannedTarget::Command {},
        steps: vec![step()],
        waived: false,
        waived_steps: Vec::new(),
        bundle: None,
    };
    let planned =
        Planned { workflow: Arc::new(workflow), params: BTreeMap::new(), plan_only: false };
    let (permit, questions) = permits();
    let seat = Seat { undo: UndoStore::Disk(post.state.clone()), cluster: Ok(None) };
    (Acts::new(post, &key, Some(planned), &seat, permit), tokio::spawn(permit_all(questions)))
}

async fn permit_all(mut questions: Receiver<Question>) {
    while let Some(question) = questions.recv().await {
        question.send(Ok(())).unwrap();
    }
}

async fn appears(file: &Path) {
    let looked = async {
        while !file.exists() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LIMIT, looked).await.expect("the command begins");
}

#[tokio::test]
async fn another_runs_living_command_is_no_leftover_and_is_waited_for() {
    let (server, folder) = (DevServer::start().await.unwrap(), tempfile::tempdir().unwrap());
    let post = post(&server, folder.path()).await;
    let ((mut debt, _permits), (mut newer, _too)) = (run(&post, "r1"), run(&post, "r2"));
    debt.begin(Act::Undo { step: 0 }, 1);
    let script = async {
        appears(&folder.path().join("begun")).await;
        newer.begin(Act::Stop, 1);
        let waits = tokio::time::timeout(A_WHILE, newer.next()).await;
        assert!(waits.is_err(), "it did not wait for its turn: {waits:?}");

        // What has not begun can be stopped while it waits.
        newer.begin(Act::Start { step: 0, attempt: 1 }, 1);
        let waits = tokio::time::timeout(Duration::from_millis(50), newer.next()).await;
        assert!(waits.is_err(), "it did not wait for its turn: {waits:?}");
        newer.begin(Act::Stop, 1);
        let stopped = tokio::time::timeout(LIMIT, newer.next()).await.expect("it is stopped");
        let failed = matches!(
            &stopped,
            Some(Some(Event::Reported(Report::Failed { error, .. }))) if error == NOT_BEGUN
        );
        assert!(failed, "{stopped:?}");
        std::fs::write(folder.path().join("go"), "").unwrap();
    };
    let (undone, ()) = tokio::join!(debt.next(), script);
    let expected =
        Event::Reported(Report::Undone { step: 0, residue: Vec::new(), output: String::new() });
    assert_eq!(undone, Some(Some(expected)));
    let stop = tokio::time::timeout(LIMIT, newer.next()).await.expect("its turn comes");
    assert_eq!(stop, Some(None));
}
