//! An agent in a NATS account of its own, without JetStream and without consumers, takes part in
//! a run. The server's configuration is the one that docs/protocol.md prints.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use lockstep_bus::dev_server::DevServerOptions;
use lockstep_shared::record::RunResult;
use lockstep_tests::world::{Ended, SOON, World, key};

const PASSWORD: &str = "loopback-only";

/// The configuration that the documentation prints, with passwords.
fn documented_accounts() -> Result<String> {
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/protocol.md");
    let text = std::fs::read_to_string(document)?;
    let start = text.find("```\naccounts {").context("docs/protocol.md prints the accounts")?;
    let block = &text[start + 4..];
    let end = block.find("```").context("the block ends")?;
    let block = block[..end]
        .replace("$COORDINATOR_PASSWORD", PASSWORD)
        .replace("$BACKEND_PASSWORD", PASSWORD);
    Ok(format!("{block}\nno_auth_user: coordinator\n"))
}

#[tokio::test]
async fn an_agent_of_an_account_of_its_own_takes_part() -> Result<()> {
    let options = DevServerOptions { config: documented_accounts()?, ..Default::default() };
    let world = World::with(options).await?;
    let folder = world.folder().join("shop");
    std::fs::create_dir(&folder)?;
    let pipeline = "apiVersion: lockstep.dev/v1alpha1\nkind: Pipeline\nmetadata: { name: shop }\nspec:\n  \
         barriers: { BE: {} }\n  workflows:\n    \
         - { name: backend, target: { command: {} }, steps: [ { run: 'echo backend >> order' }, { barrier: BE } ] }\n    \
         - { name: frontend, target: { command: {} }, steps: [ { barrier: BE }, { run: 'echo frontend >> order' } ] }\n";
    std::fs::write(folder.join("pipeline.yaml"), pipeline)?;
    let _coordinator = world.ready_coordinator("coordinator").await?;
    let _frontend = world.agent("shop", &["frontend"], &folder, "state-frontend")?;
    let state = world.folder().join("state-backend").to_string_lossy().into_owned();
    let arguments = [
        "serve",
        "--pipeline",
        "shop",
        "--workflow",
        "backend",
        "--allow-commands",
        "--state-dir",
        &state,
    ];
    let account = [("NATS_USER", "backend"), ("NATS_PASSWORD", PASSWORD)];
    let backend = world.start_as("backend", "lockstep-agent", &arguments, &folder, &account)?;
    let run = ["run", "pipeline.yaml", "--run-id", "r1"];
    let mut run = world.start("run", "lockstep", &run, &folder)?;
    ensure!(run.end(2 * SOON).await? == Ended::Code(0), "{}{}", run.tail(), backend.tail());
    let bus = world.bus().await?;
    ensure!(world.closed(&bus, &key("shop", "r1")?, SOON).await? == RunResult::Succeeded);
    let order = std::fs::read_to_string(folder.join("order"))?;
    ensure!(order == "backend\nfrontend\n", "{order:?}");
    Ok(())
}
