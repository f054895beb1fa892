//! Whole runs on a cluster of three NATS servers, one of which is killed in the middle (PARITY 17).

use anyhow::{Context, Result, ensure};
use lockstep_bus::{Bus, Connection, DevServer, dev_server::DevServerOptions};
use lockstep_shared::{fold::RunFold, record::RunResult};
use lockstep_tests::world::{Ended, Process, SOON, World, free_port, key};

const SPEC: &str = "apiVersion: lockstep.dev/v1alpha1\nkind: Pipeline\nmetadata: { name: shop }\nspec:\n  \
    barriers: { BE: {}, FE: {} }\n  params: { gate: { required: true } }\n  workflows:\n    \
    - { name: backend, target: { command: {} }, steps: [ { run: 'until test -e ${{ params.gate }}; do sleep 0.1; done' }, { barrier: BE }, { barrier: FE } ] }\n    \
    - { name: frontend, target: { command: {} }, steps: [ { barrier: BE }, { run: 'true' }, { barrier: FE } ] }\n";

/// The first server is the world's own.
struct Cluster {
    world: World,
    others: Vec<DevServer>,
    urls: String,
    folder: std::path::PathBuf,
}

impl Cluster {
    async fn new() -> Result<Self> {
        let ports = [free_port()?, free_port()?, free_port()?];
        let routes: Vec<String> =
            ports.iter().map(|port| format!("nats://127.0.0.1:{port}")).collect();
        let node = |number: usize| DevServerOptions {
            config: format!(
                "server_name: n{number}\ncluster {{ name: c, listen: \"127.0.0.1:{}\", routes: {routes:?} }}\n",
                ports[number]
            ),
            ..DevServerOptions::default()
        };
        let (world, second, third) = tokio::join!(
            World::with(node(0)),
            DevServer::with_options(node(1)),
            DevServer::with_options(node(2))
        );
        let (world, others) = (world?, vec![second?, third?]);
        let urls = [world.nats.url(), others[0].url(), others[1].url()].join(",");
        let folder = world.folder().join("shop");
        std::fs::create_dir(&folder)?;
        std::fs::write(folder.join("pipeline.yaml"), SPEC)?;
        Ok(Self { world, others, urls, folder })
    }

    fn server(&mut self, number: usize) -> &mut DevServer {
        match number.checked_sub(1) {
            None => &mut self.world.nats,
            Some(other) => &mut self.others[other],
        }
    }

    fn start(&self, name: &str, program: &str, arguments: &[&str]) -> Result<Process> {
        let everywhere = [("NATS_URL", self.urls.as_str())];
        self.world.start_as(name, program, arguments, &self.folder, &everywhere)
    }

    fn agent(&self, workflow: &str) -> Result<Process> {
        let state = self.world.folder().join(workflow).to_string_lossy().into_owned();
        let serve = ["serve", "--pipeline", "shop", "--workflow", workflow, "--allow-commands"];
        let arguments = [&serve[..], &["--state-dir", &state]].concat();
        self.start(workflow, "lockstep-agent", &arguments)
    }

    async fn bus(&self) -> Result<Bus> {
        let urls = self.urls.split(',').map(str::to_owned).collect();
        let all = Connection { urls, ..self.world.nats.connection() };
        Ok(Bus::connect(&all, "test", SOON).await?)
    }
}

/// Each server is killed in the course of one run, so that whoever is connected where, everybody
/// loses a connection in the middle of a run.
#[tokio::test]
async fn parity_17_a_run_goes_on_across_the_kill_of_any_server_of_three() -> Result<()> {
    let mut cluster = Cluster::new().await?;
    let mut coordinators = Vec::new();
    for name in ["one", "two"] {
        let coordinator = cluster.start(name, "lockstep-coordinator", &["--replicas", "3"])?;
        coordinator.prints("read the log to its end", 2 * SOON).await?;
        coordinators.push(coordinator);
    }
    let agents = [cluster.agent("backend")?, cluster.agent("frontend")?];
    let bus = cluster.bus().await?;
    ensure!(bus.log_report(tokio::time::Instant::now() + SOON).await?.replicas == 3);
    for victim in 0..3 {
        let (id, gate) = (format!("r{victim}"), format!("gate=go-{victim}"));
        let run = ["run", "pipeline.yaml", "--run-id", &id, "--param", &gate];
        let mut run = cluster.start(&format!("run-{id}"), "lockstep", &run)?;
        let key = key("shop", &id)?;
        let waits = |fold: &RunFold| {
            let (_, barrier) = fold.barriers().iter().find(|(id, _)| id.as_str() == "BE")?;
            let backend = fold.workflows().iter().find(|(name, _)| name.as_str() == "backend")?.1;
            (barrier.arrivals.len() == 1 && !backend.steps.is_empty()).then_some(())
        };
        cluster.world.wait_for(&bus, &key, "the frontend waits", 2 * SOON, waits).await?;
        cluster.server(victim).kill();
        std::fs::write(cluster.folder.join(format!("go-{victim}")), "")?;
        let logs = || agents.iter().chain(&coordinators).map(Process::tail).collect::<String>();
        let ended = run.end(3 * SOON).await.with_context(logs)?;
        ensure!(ended == Ended::Code(0), "{ended:?}\n{}{}", run.tail(), logs());
        let closed = cluster.world.closed(&bus, &key, SOON).await?;
        ensure!(closed == RunResult::Succeeded, "{closed:?}\n{}", logs());
        let fold = cluster.world.fold(&bus, &key).await?;
        ensure!(fold.alarm().is_none(), "{:?}", fold.alarm());
        cluster.server(victim).restart().await?;
    }
    Ok(())
}
