//! Every program under exactly the rights that docs/operations.md gives its role, and what is made
//! of a right that is missing.
//!
//! The server's configuration is made from the document's own table, so that it cannot rot.

use std::{collections::BTreeMap, fmt::Write as _, path::Path};

use anyhow::{Context, Result, ensure};
use lockstep_bus::dev_server::DevServerOptions;
use lockstep_shared::record::{Record, RunResult};
use lockstep_tests::world::{Ended, Process, SOON, World, key};

/// What one role may do.
#[derive(Debug, Clone, Default)]
struct Rights {
    publish: Vec<String>,
    subscribe: Vec<String>,
}

/// The rights of every role of the table, by the first word of the role.
fn documented() -> Result<BTreeMap<String, Rights>> {
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operations.md");
    let text = std::fs::read_to_string(document)?;
    let rows = text.lines().skip_while(|line| !line.starts_with("| role | publish | subscribe |"));
    let mut roles = BTreeMap::new();
    let mut as_viewer = Vec::new();
    for row in rows.skip(2).take_while(|line| line.starts_with('|')) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [role, publish, subscribe] = cells[..] else {
            anyhow::bail!("a row has 3 cells: {row}")
        };
        let name = role.split(' ').next().context("a role has a name")?.to_owned();
        let quoted = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        roles.insert(
            name.clone(),
            Rights { publish: quoted(publish), subscribe: quoted(subscribe) },
        );
        as_viewer.push((name, publish.contains("a viewer"), subscribe.contains("a viewer")));
    }
    let viewer: Rights = roles.get("viewer").cloned().context("the table has a viewer")?;
    for (name, publish, subscribe) in as_viewer {
        let rights = roles.get_mut(&name).context("just inserted")?;
        rights.publish.extend(viewer.publish.iter().filter(|_| publish).cloned());
        rights.subscribe.extend(viewer.subscribe.iter().filter(|_| subscribe).cloned());
    }
    Ok(roles)
}

/// A user of this role; `P`, `W` and `Q` stand for this pipeline, workflow and party.
struct User<'a> {
    name: &'a str,
    role: &'a str,
    workflow: &'a str,
    /// What it lacks all the same.
    without: &'a str,
}

const fn user<'a>(name: &'a str, role: &'a str) -> User<'a> {
    User { name, role, workflow: "", without: "nothing" }
}

const USERS: &[User<'_>] = &[
    user("coordinator", "coordinator"),
    User { workflow: "backend", ..user("backend", "agent") },
    User { workflow: "frontend", ..user("frontend", "agent") },
    user("qa", "foreign"),
    user("submitter", "submitter"),
    user("operator", "operator"),
    user("viewer", "viewer"),
    User { without: "lockstep.beat", ..user("deaf-coordinator", "coordinator") },
    User { workflow: "backend", without: "lockstep.beat", ..user("deaf-spare", "agent") },
];

/// A configuration that lets in these users, and `test`, who may do everything.
fn configuration() -> Result<String> {
    let roles = documented()?;
    let mut users = "{ user: test, password: p }\n".to_owned();
    for User { name, role, workflow, without } in USERS {
        let rights = roles.get(*role).with_context(|| format!("the table has no {role}"))?;
        let filled = |subject: &String| {
            let tokens = subject.split('.').map(|token| match token {
                "P" => "shop",
                "W" => workflow,
                "Q" => "qa",
                token => token,
            });
            tokens.collect::<Vec<_>>().join(".")
        };
        let publish: Vec<String> = rights.publish.iter().map(filled).collect();
        let heard = rights.subscribe.iter().map(filled);
        let subscribe: Vec<String> =
            heard.filter(|subject| !subject.starts_with(without)).collect();
        writeln!(
            users,
            "{{ user: {name}, password: p, permissions: {{ publish: {publish:?}, subscribe: {subscribe:?} }} }}"
        )?;
    }
    Ok(format!(
        "accounts {{ A {{ jetstream: enabled, users: [\n{users}] }} }}\nno_auth_user: test\n"
    ))
}

/// A world in which everybody has a role's rights and no more.
struct Office {
    world: World,
    folder: std::path::PathBuf,
}

impl Office {
    async fn new(workflows: &str) -> Result<Self> {
        let options = DevServerOptions { config: configuration()?, ..Default::default() };
        let world = World::with(options).await?;
        let folder = world.folder().join("shop");
        std::fs::create_dir(&folder)?;
        let pipeline = format!(
            "apiVersion: lockstep.dev/v1alpha1\nkind: Pipeline\nmetadata: {{ name: shop }}\nspec:\n{workflows}"
        );
        std::fs::write(folder.join("pipeline.yaml"), pipeline)?;
        Ok(Self { world, folder })
    }

    fn start(&self, user: &str, name: &str, program: &str, arguments: &[&str]) -> Result<Process> {
        // A verb says nothing of a refusal that costs it nothing, unless it is asked.
        let credentials = [("NATS_USER", user), ("NATS_PASSWORD", "p"), ("LOCKSTEP_LOG", "info")];
        self.world.start_as(name, program, arguments, &self.folder, &credentials)
    }

    fn agent(&self, user: &str, workflow: &str, state: &str) -> Result<Process> {
        let state = self.world.folder().join(state).to_string_lossy().into_owned();
        let serve = ["serve", "--pipeline", "shop", "--workflow", workflow, "--allow-commands"];
        let arguments = [&serve[..], &["--state-dir", &state]].concat();
        self.start(user, state.rsplit('/').next().unwrap_or(user), "lockstep-agent", &arguments)
    }

    async fn coordinator(&self, user: &str) -> Result<Process> {
        let coordinator = self.start(user, user, "lockstep-coordinator", &[])?;
        coordinator.prints("read the log to its end", SOON).await?;
        Ok(coordinator)
    }

    /// Runs a verb to its end, expects this exit code and not a word of a refusal.
    async fn verb(&self, user: &str, arguments: &[&str], code: i32) -> Result<String> {
        let name = format!("{user}-{}", arguments.join("-").replace('/', "_"));
        let mut verb = self.start(user, &name, "lockstep", arguments)?;
        let ended = verb.end(2 * SOON).await?;
        ensure!(ended == Ended::Code(code), "{user} {arguments:?}: {ended:?}\n{}", verb.tail());
        not_refused(&verb)?;
        Ok(verb.output())
    }
}

fn not_refused(process: &Process) -> Result<()> {
    let refused = process.output().contains("does not permit");
    ensure!(!refused, "something was refused\n{}", process.tail());
    Ok(())
}

const APPROVED: &str = "  \
      barriers: { BE: {}, go-live: { parties: [qa] } }\n  \
      workflows:\n    \
        - { name: backend, target: { command: {} }, steps: [ { run: { command: 'true', undo: 'true' } }, { barrier: BE }, { barrier: go-live } ] }\n    \
        - { name: frontend, target: { command: {} }, steps: [ { barrier: BE }, { run: { command: 'true', undo: 'true' } }, { barrier: go-live } ] }\n";

#[tokio::test]
async fn every_role_can_do_its_work_with_the_rights_that_are_documented() -> Result<()> {
    let office = Office::new(APPROVED).await?;
    let coordinator = office.coordinator("coordinator").await?;
    let backend = office.agent("backend", "backend", "backend")?;
    let spare = office.agent("backend", "backend", "spare")?;
    let frontend = office.agent("frontend", "frontend", "frontend")?;
    let run = ["run", "pipeline.yaml", "--run-id", "r1"];
    let mut run = office.start("submitter", "run", "lockstep", &run)?;
    let arrive =
        ["barrier", "arrive", "go-live", "--party", "qa", "--pipeline", "shop", "--wait-for-run"];
    office.verb("qa", &arrive, 0).await?;
    ensure!(run.end(2 * SOON).await? == Ended::Code(0), "{}{}", run.tail(), backend.tail());
    office
        .verb("qa", &["barrier", "wait", "go-live", "--party", "qa", "--run", "shop/r1"], 0)
        .await?;

    for verb in [&["status", "r1"][..], &["ls"], &["events", "r1"], &["logs", "r1"]] {
        office.verb("viewer", verb, 0).await?;
        office.verb("operator", verb, 0).await?;
    }
    office.verb("submitter", &["plan", "pipeline.yaml", "--live"], 0).await?;

    let detached = ["run", "pipeline.yaml", "--run-id", "r2", "--detach"];
    office.verb("submitter", &detached, 0).await?;
    office.verb("operator", &["abort", "r2", "--reason", "no", "--wait"], 0).await?;
    let watch = ["status", "r2", "--watch"];
    let mut watch = office.start("viewer", "watch", "lockstep", &watch)?;
    watch.end(SOON).await?;
    for process in [&coordinator, &backend, &spare, &frontend, &run, &watch] {
        not_refused(process)?;
    }
    Ok(())
}

#[tokio::test]
async fn the_doctor_is_content_with_the_rights_that_are_documented() -> Result<()> {
    let office = Office::new(APPROVED).await?;
    let _coordinator = office.coordinator("coordinator").await?;
    for (user, role) in [
        ("coordinator", &["coordinator"][..]),
        ("backend", &["agent", "--pipeline", "shop", "--workflow", "backend"]),
        ("qa", &["party", "--pipeline", "shop", "--party", "qa"]),
        ("submitter", &["submitter"]),
        ("operator", &["operator"]),
        ("viewer", &["viewer"]),
    ] {
        let arguments = [&["doctor", "--role"][..], role].concat();
        office.verb(user, &arguments, 0).await?;
    }
    // A right that is missing is found: another role's, and one to listen.
    for (user, role, missing) in [
        ("frontend", "backend", "lockstep.run.shop.doctor.workflow.backend.1"),
        ("deaf-spare", "backend", "subscribe to lockstep.beat.shop.doctor.backend"),
    ] {
        let role = ["doctor", "--role", "agent", "--pipeline", "shop", "--workflow", role];
        let mut doctor = office.start(user, &format!("doctor-{user}"), "lockstep", &role)?;
        ensure!(doctor.end(SOON).await? == Ended::Code(8), "{}", doctor.tail());
        ensure!(doctor.output().contains(missing), "{missing}\n{}", doctor.tail());
    }
    Ok(())
}

const LONG: &str = "  workflows:\n    \
    - { name: backend, target: { command: {} }, steps: [ { run: 'true' }, { wait: 37s } ] }\n";

/// The wait is longer than a spare's patience (15 s) and a coordinator's (30 s).
#[tokio::test]
async fn who_may_not_hear_beats_neither_takes_over_nor_loses_a_living_agent() -> Result<()> {
    let office = Office::new(LONG).await?;
    let coordinator = office.coordinator("deaf-coordinator").await?;
    coordinator.prints("subscribe to lockstep.beat.", SOON).await?;
    let backend = office.agent("backend", "backend", "backend")?;
    backend.prints("ready", SOON).await?;
    let run = ["run", "pipeline.yaml", "--run-id", "r1"];
    let mut run = office.start("submitter", "run", "lockstep", &run)?;
    let (bus, key) = (office.world.bus().await?, key("shop", "r1")?);
    let joined = |fold: &lockstep_shared::fold::RunFold| {
        fold.workflows().values().next().filter(|state| state.epoch > 0).map(|_| ())
    };
    office.world.wait_for(&bus, &key, "joined", SOON, joined).await?;
    let spare = office.agent("deaf-spare", "backend", "spare")?;
    spare.prints("cannot hear whether another agent of backend is alive", SOON).await?;
    spare.prints("subscribe to lockstep.beat.shop.r1.backend", SOON).await?;
    ensure!(run.end(2 * SOON).await? == Ended::Code(0), "{}{}", run.tail(), spare.tail());
    ensure!(office.world.closed(&bus, &key, SOON).await? == RunResult::Succeeded);
    let records = office.world.records(&bus, &key).await?;
    let joins = records.iter().filter(|record| matches!(record, Record::Joined { .. })).count();
    ensure!(joins == 1, "the spare took a living agent over\n{}", spare.tail());
    let lost = records.iter().any(|record| matches!(record, Record::AgentLost { .. }));
    ensure!(!lost, "a living agent was recorded as lost\n{}", coordinator.tail());
    ensure!(
        coordinator.output().contains("cannot hear whether agents are alive"),
        "{}",
        coordinator.tail()
    );
    Ok(())
}
