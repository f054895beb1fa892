//! The examples, played as their READMEs say, by the real programs: exit codes, what was served
//! before, between and after (asked over HTTP), and what the messages say.
//!
//! The commands are taken from the READMEs word for word; only ports are added, so that several
//! tests can play at once. A README that shows another command than the one that works fails here.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use lockstep_tests::world::{free_port, program};
use tempfile::TempDir;

/// How long one command may take on a busy machine; usually it is a few seconds.
const LIMIT: Duration = Duration::from_secs(180);

/// A copy of `examples/` in a folder of its own, as a checkout has it.
struct Stage {
    folder: TempDir,
    example: &'static str,
    ports: Vec<String>,
}

/// What a command printed and how it ended.
struct Played {
    code: Option<i32>,
    text: String,
    /// Which versions were served while it ran, in the order in which they were first seen.
    seen: Vec<BTreeMap<String, String>>,
}

impl Stage {
    fn new(example: &'static str, ports: &[&str]) -> Result<Self> {
        // The first test of a process decides; all decide the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::Builder::new().prefix("lockstep-example-").tempdir()?;
        copy(&repository().join("examples"), &folder.path().join("examples"))?;
        let port = |name: &&str| Ok(format!(" --param {name}={}", free_port()?));
        let ports = ports.iter().map(port).collect::<Result<_>>()?;
        Ok(Self { folder, example, ports })
    }

    /// Runs a README's command in a shell, as a reader would, and watches the pages meanwhile.
    async fn play(&self, command: &str) -> Result<Played> {
        let dev = command.starts_with("lockstep dev");
        let ports = if dev { self.ports.concat() } else { String::new() };
        let programs = program("lockstep")?;
        let programs = programs.parent().context("a program is in a folder")?;
        let path = format!("{}:{}", programs.display(), std::env::var("PATH")?);
        let log = self.folder.path().join("log");
        let output = fs::File::create(&log)?;
        let mut running = tokio::process::Command::new("sh")
            .args(["-c", &format!("exec 2>&1; {command}{ports}")])
            .current_dir(self.folder.path())
            .env("PATH", path)
            .env("XDG_CONFIG_HOME", self.folder.path())
            .stdin(Stdio::null())
            .stdout(output)
            .kill_on_drop(true)
            .spawn()?;
        let mut seen = Vec::new();
        let watched = async {
            loop {
                let served = self.served().await;
                if seen.last() != Some(&served) {
                    seen.push(served);
                }
                if let Some(status) = running.try_wait()? {
                    return anyhow::Ok(status.code());
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let ended = tokio::time::timeout(LIMIT, watched).await;
        let text = fs::read_to_string(&log)?;
        let code = ended.with_context(|| format!("{command} did not end; it said\n{text}"))??;
        Ok(Played { code, text, seen })
    }

    /// Plays a command that has to end with this code.
    async fn expect(&self, code: i32, command: &str) -> Result<Played> {
        let played = self.play(command).await?;
        let (ended, text) = (played.code, &played.text);
        ensure!(ended == Some(code), "{command}: exit code {ended:?}, not {code}; it said\n{text}");
        Ok(played)
    }

    /// Every service that answers now, with the version that it serves.
    async fn served(&self) -> BTreeMap<String, String> {
        let folder = self.folder.path().join("examples").join(self.example).join("served");
        let mut served = BTreeMap::new();
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let state = fs::read_to_string(entry.path().join("server.pid")).unwrap_or_default();
            if let Some(port) = state.lines().nth(1)
                && let Ok(version) = ask(&format!("http://127.0.0.1:{port}/version")).await
            {
                served.insert(entry.file_name().to_string_lossy().into_owned(), version);
            }
        }
        served
    }

    /// The commands that the example's README shows, in order.
    fn commands(&self) -> Result<Vec<String>> {
        commands_of(&format!("examples/{}/README.md", self.example))
    }

    /// What `served/history.log` tells, oldest first: milliseconds, service, what it did.
    fn history(&self) -> Result<Vec<(u128, String)>> {
        let path = format!("examples/{}/served/history.log", self.example);
        let text = fs::read_to_string(self.folder.path().join(path))?;
        let line = |line: &str| {
            let (stamp, did) = line.split_once(' ').context("a stamp and a text")?;
            let (date, time) = stamp.split_once('T').context("a date and a time")?;
            let mut seconds = time.trim_end_matches("+00:00").split(':');
            let seconds =
                seconds.try_fold(0.0, |sum, part| anyhow::Ok(sum * 60.0 + part.parse::<f64>()?))?;
            let day: u128 = date.replace('-', "").parse()?;
            Ok((day * 86_400_000 + (seconds * 1000.0) as u128, did.to_owned()))
        };
        text.lines().map(line).collect()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // Nothing to stop is as good.
        let _ = std::process::Command::new("python3")
            .args(["site.py", "stop", "--folder"])
            .arg(format!("{}/served", self.example))
            .current_dir(self.folder.path().join("examples"))
            .output();
    }
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (name, kind) = (entry.file_name(), entry.file_type()?);
        // What somebody's own play left in the checkout is no part of the example.
        if kind.is_dir() && name != "served" && name != ".lockstep" && name != "__pycache__" {
            copy(&entry.path(), &to.join(name))?;
        } else if kind.is_file() {
            fs::copy(entry.path(), to.join(name))?;
        }
    }
    Ok(())
}

/// The lines of a document's `sh` blocks that run something of ours.
fn commands_of(document: &str) -> Result<Vec<String>> {
    let text = fs::read_to_string(repository().join(document))?;
    let blocks = text.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    let lines = blocks.flat_map(str::lines).filter(|line| line.contains("examples/"));
    Ok(lines.map(str::to_owned).collect())
}

async fn ask(url: &str) -> Result<String> {
    let answer = async { reqwest::get(url).await?.error_for_status()?.text().await };
    let text = tokio::time::timeout(Duration::from_secs(3), answer).await??;
    Ok(text.trim().to_owned())
}

fn versions(services: &[(&str, &str)]) -> BTreeMap<String, String> {
    services.iter().map(|(name, version)| ((*name).to_owned(), (*version).to_owned())).collect()
}

/// The one line that has all of these words, in any order.
fn line_with<'a>(text: &'a str, words: &[&str]) -> Result<&'a str> {
    let found = text.lines().find(|line| words.iter().all(|word| line.contains(word)));
    found.with_context(|| format!("no line has all of {words:?}; it said\n{text}"))
}

#[tokio::test]
async fn parity_01_parity_02_shop_is_deployed_as_one_and_the_frontend_only_after_a_steady_backend()
-> Result<()> {
    let stage = Stage::new("shop", &["backend_port", "frontend_port"])?;
    let commands = stage.commands()?;
    ensure!(stage.served().await.is_empty(), "something is served before the first deploy");

    let old = " --param backend_version=v1 --param frontend_version=v1";
    stage.expect(0, &format!("{}{old}", commands[0])).await?;
    assert_eq!(stage.served().await, versions(&[("backend", "v1"), ("frontend", "v1")]));

    let played = stage.expect(0, &commands[0]).await?;
    let old = versions(&[("backend", "v1"), ("frontend", "v1")]);
    let between = versions(&[("backend", "v2"), ("frontend", "v1")]);
    let new = versions(&[("backend", "v2"), ("frontend", "v2")]);
    assert_eq!(stage.served().await, new);
    // A service that restarts is missing for a moment; a whole picture is one of these, in order.
    let whole: Vec<_> = played.seen.into_iter().filter(|seen| seen.len() == 2).collect();
    assert_eq!(whole, [old, between, new], "what was served while the run went on");

    let history = stage.history()?;
    let at = |what: &str| {
        let found = history.iter().find(|(_, did)| did == what);
        found.map(|(at, _)| *at).with_context(|| format!("{what:?} is not in {history:?}"))
    };
    let steady = at("frontend deploy of v2 begins")?.checked_sub(at("backend serves v2")?);
    let steady = steady.context("the frontend was deployed before the backend served")?;
    ensure!(steady >= 1000, "the backend was watched for 1 s, but only {steady} ms lie between");
    Ok(())
}

#[tokio::test]
async fn parity_03_shop_goes_back_as_one_and_the_backend_names_the_frontends_failure() -> Result<()>
{
    let stage = Stage::new("shop", &["backend_port", "frontend_port"])?;
    let commands = stage.commands()?;
    stage.expect(0, &commands[0]).await?;
    let good = versions(&[("backend", "v2"), ("frontend", "v2")]);
    assert_eq!(stage.served().await, good);

    let played = stage.expect(4, &commands[1]).await?;
    assert_eq!(stage.served().await, good, "after the rollback");
    let broken = versions(&[("backend", "v3"), ("frontend", "v3-broken")]);
    ensure!(played.seen.contains(&broken), "v3 was never served: {:?}", played.seen);
    line_with(&played.text, &["backend", "frontend", "healthy", "503"])?;

    let history = stage.history()?;
    for done in ["backend serves v2 again", "frontend serves v2 again"] {
        let count = history.iter().filter(|(_, did)| did == done).count();
        ensure!(count == 1, "{done:?} stands {count} times in {history:?}");
    }

    // A rollback that finished leaves no debt: the next run goes through.
    stage.expect(0, &commands[0]).await?;
    assert_eq!(stage.served().await, good);
    Ok(())
}

#[tokio::test]
async fn parity_20_one_region_of_three_fails_and_all_three_go_back() -> Result<()> {
    let stage = Stage::new("regions", &[])?;
    let commands = stage.commands()?;
    let all = |version| versions(&[("ap", version), ("eu", version), ("us", version)]);

    stage.expect(0, &commands[0]).await?;
    assert_eq!(stage.served().await, all("v2"));

    let played = stage.expect(4, &commands[1]).await?;
    assert_eq!(stage.served().await, all("v2"), "after the rollback");
    line_with(&played.text, &["deploy-ap", "regions/ap.json"])?;

    let checked = stage.expect(0, &commands[2]).await?;
    assert_eq!(checked.text, "ap v2 is well\neu v2 is well\nus v2 is well\n");
    Ok(())
}

#[tokio::test]
async fn parity_29_one_platform_of_three_fails_and_the_others_keep_the_version() -> Result<()> {
    let stage = Stage::new("matrix", &[])?;
    let commands = stage.commands()?;
    let all = |version| versions(&[("alpine", version), ("debian", version), ("fedora", version)]);

    stage.expect(0, &commands[0]).await?;
    assert_eq!(stage.served().await, all("v2"));

    let played = stage.expect(4, &commands[1]).await?;
    let partial = versions(&[("alpine", "v3"), ("debian", "v3"), ("fedora", "v2")]);
    assert_eq!(stage.served().await, partial, "a result for each platform");
    for platform in ["test-alpine", "test-debian", "test-fedora"] {
        line_with(&played.text, &[platform])?;
    }
    line_with(&played.text, &["test-fedora", "builds/fedora.txt"])?;

    let checked = stage.expect(0, &commands[2]).await?;
    assert_eq!(checked.text, "alpine v3 is well\ndebian v3 is well\nfedora v2 is well\n");
    Ok(())
}

#[tokio::test]
async fn parity_30_integration_tests_that_fail_take_both_services_back() -> Result<()> {
    let stage = Stage::new("integration-tests", &["backend_port", "frontend_port"])?;
    let commands = stage.commands()?;
    let both = |version| versions(&[("backend", version), ("frontend", version)]);

    stage.expect(0, &commands[0]).await?;
    assert_eq!(stage.served().await, both("v2"));

    let played = stage.expect(4, &commands[1]).await?;
    ensure!(played.seen.contains(&both("v3")), "v3 was never served: {:?}", played.seen);
    assert_eq!(stage.served().await, both("v2"), "after the rollback");
    line_with(&played.text, &["frontend v3 calls API 3", "backend v3 does not serve"])?;
    line_with(&played.text, &["backend", "tests", "integration tests"])?;
    Ok(())
}

#[test]
fn the_readme_shows_the_commands_that_the_shop_is_played_with() -> Result<()> {
    let lockstep = |document: &str| -> Result<Vec<String>> {
        let commands = commands_of(document)?;
        Ok(commands.into_iter().filter(|line| line.starts_with("lockstep dev")).collect())
    };
    let shop = lockstep("examples/shop/README.md")?;
    assert_eq!(lockstep("README.md")?, shop);
    let demo = fs::read_to_string(repository().join("scripts/demo"))?.replace(" \\\n    ", " ");
    for command in shop {
        if !demo.contains(&format!("{command}\n")) {
            bail!("scripts/demo does not play {command:?}");
        }
    }
    Ok(())
}
