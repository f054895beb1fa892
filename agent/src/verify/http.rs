//! The question by HTTP.

use std::{sync::OnceLock, time::Duration};

use super::Wrong;

/// How much of a body is searched for the text that it must contain.
const MAX_BODY_BYTES: usize = 1024 * 1024;

/// Asks once. A redirect is an answer like any other: to follow it would ask somebody else.
pub(super) async fn ask(
    url: &str,
    status: u16,
    body: Option<&str>,
    limit: Duration,
) -> Result<(), Wrong> {
    let asked = async {
        let client = client()?;
        let answer = client.get(url).send().await.map_err(|e| unanswered(url, e))?;
        let found = answer.status().as_u16();
        if found != status {
            return Err(Wrong(format!("{url} answered {found}, not {status}")));
        }
        match body {
            Some(text) => contains(url, answer, text).await,
            None => Ok(()),
        }
    };
    let too_slow = || Wrong(format!("{url} did not answer within {} s", limit.as_secs()));
    tokio::time::timeout(limit, asked).await.unwrap_or_else(|_| Err(too_slow()))
}

async fn contains(url: &str, mut answer: reqwest::Response, text: &str) -> Result<(), Wrong> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|e| unanswered(url, e))? {
        body.extend_from_slice(&chunk);
        if body.len() >= MAX_BODY_BYTES {
            break;
        }
    }
    if String::from_utf8_lossy(&body).contains(text) {
        return Ok(());
    }
    Err(Wrong(format!("{url} answered with a body that does not contain {text:?}")))
}

fn unanswered(url: &str, error: reqwest::Error) -> Wrong {
    let Wrong(why) = Wrong::because(error.without_url());
    Wrong(format!("{url} did not answer: {why}"))
}

/// One client for all questions, made when the first is asked: the system's certificates are
/// read then, and an agent that asks nothing does without.
fn client() -> Result<&'static reqwest::Client, Wrong> {
    static CLIENT: OnceLock<Result<reqwest::Client, String>> = OnceLock::new();
    let made = CLIENT.get_or_init(|| build().map_err(|error| Wrong::because(error).0));
    made.as_ref().map_err(|error| Wrong(format!("no HTTP client can be made: {error}")))
}

fn build() -> reqwest::Result<reqwest::Client> {
    // Somebody else in the process may have chosen a provider; then that one is used.
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("lockstep-agent/", env!("CARGO_PKG_VERSION")))
        // A kept connection would ask the process of before, not the one deployed since.
        .pool_max_idle_per_host(0)
        .build()
}
