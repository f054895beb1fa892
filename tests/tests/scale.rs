//! Many Deployments in one workflow, and many workflows in one run, beside kubectl. Prints ratios
//! and memory; how long things take is no reason to fail.

use anyhow::{Result, ensure};
use lockstep_tests::{
    bench::{Compared, Shape, compare},
    cluster::Cluster,
};

/// One agent, whatever it deploys, stays below this.
const AGENT_KIB: u32 = 200 * 1024;

#[tokio::test]
async fn fifty_deployments_of_a_workflow_and_twenty_workflows_of_a_run() -> Result<()> {
    let cluster = Cluster::shared().await?;
    println!("{}", Compared::HEAD);
    for shape in [Shape { workflows: 1, deployments: 50 }, Shape { workflows: 20, deployments: 1 }]
    {
        let mut compared = compare(cluster, shape, 2).await?;
        println!("{}", compared.line());
        ensure!(compared.agent_kib < AGENT_KIB, "an agent takes {} KiB", compared.agent_kib);
    }
    Ok(())
}
