//! The `verify` step: asks until the answer is right and stays right, and goes on asking.
//!
//! Decides what a right answer is and when it has been right for long enough. Deliberately knows
//! nothing of the log: what a wrong answer after the step's end means is decided elsewhere.

mod http;
mod tcp;
mod watch;

use std::{collections::BTreeMap, time::Duration};

use lockstep_shared::{
    plan::{Probe, Verify},
    time::Span,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    command::{Call, Setting, run},
    error_text,
};

pub use watch::{Health, watch};

/// How long one question may take, so that a server that never answers counts as wrong soon.
const ASK_LIMIT: Duration = Duration::from_secs(10);

/// The least pause between two questions, whatever the plan says.
const MIN_PAUSE: Duration = Duration::from_millis(20);

/// The answer is wrong, and how.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Wrong(String);

/// What a `verify` step asks, and in whose name.
#[derive(Debug, Clone)]
pub struct Question {
    /// The step's question.
    pub verify: Verify,
    /// Where a command probe runs.
    pub setting: Setting,
    /// The step's name.
    pub step: String,
    /// The attempt.
    pub attempt: u32,
}

/// Why a `verify` step did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The answer was not right for long enough in time.
    #[error("{last}; it was not right for {hold} within {timeout}")]
    Wrong {
        /// The last wrong answer.
        last: Wrong,
        /// How long it had to be right.
        hold: Span,
        /// How much time there was.
        timeout: Span,
    },
    /// It was right, but there was no time to see whether it stays so.
    #[error("the answer was right, but not for {hold} within {timeout}")]
    TooShort {
        /// How long it had to be right.
        hold: Span,
        /// How much time there was.
        timeout: Span,
    },
    /// The agent was told to stop.
    #[error("it was stopped before its end")]
    Stopped,
}

impl Question {
    /// Asks until the answer has been right for `for` without a gap.
    ///
    /// # Errors
    /// [`VerifyError`] if that is not so within `timeout`, or `stop` is cancelled.
    pub async fn settle(&self, timeout: Span, stop: &CancellationToken) -> Result<(), VerifyError> {
        let mut last = None;
        tokio::select! {
            () = self.hold(&mut last, stop) => return Ok(()),
            () = stop.cancelled() => return Err(VerifyError::Stopped),
            () = tokio::time::sleep(timeout.into()) => {}
        }
        let hold = self.verify.hold;
        Err(match last {
            Some(last) => VerifyError::Wrong { last, hold, timeout },
            None => VerifyError::TooShort { hold, timeout },
        })
    }

    /// Done once the answer has been right for long enough; `last` is the last wrong one.
    async fn hold(&self, last: &mut Option<Wrong>, stop: &CancellationToken) {
        let mut right_since = None;
        loop {
            match self.ask(stop).await {
                Ok(()) => {
                    let since = *right_since.get_or_insert_with(Instant::now);
                    if since.elapsed() >= Duration::from(self.verify.hold) {
                        return;
                    }
                }
                Err(wrong) => {
                    tracing::debug!(step = self.step, answer = %wrong, "not yet");
                    right_since = None;
                    *last = Some(wrong);
                }
            }
            tokio::time::sleep(self.pause(right_since)).await;
        }
    }

    /// The pause before the next question: no longer than what is left to hold.
    fn pause(&self, right_since: Option<Instant>) -> Duration {
        let interval = Duration::from(self.verify.interval);
        let left = right_since
            .map(|since| Duration::from(self.verify.hold).saturating_sub(since.elapsed()));
        left.map_or(interval, |left| interval.min(left)).max(MIN_PAUSE)
    }

    /// Asks once.
    ///
    /// # Errors
    /// How the answer is wrong.
    pub async fn ask(&self, stop: &CancellationToken) -> Result<(), Wrong> {
        match &self.verify.probe {
            Probe::Http { url, status, body } => {
                http::ask(url, *status, body.as_deref(), ASK_LIMIT).await
            }
            Probe::Tcp(address) => tcp::ask(address, ASK_LIMIT).await,
            Probe::Command(command) => {
                let call = Call {
                    command,
                    env: &BTreeMap::new(),
                    workdir: None,
                    timeout: Span(ASK_LIMIT.as_millis().try_into().unwrap_or(u64::MAX)),
                    step: &self.step,
                    attempt: self.attempt,
                };
                run(&self.setting, &call, None, stop).await.result.map_err(Wrong::because)
            }
        }
    }
}

impl Wrong {
    fn because(error: impl std::error::Error) -> Self {
        Self(error_text(&error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockstep_shared::plan::Command;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    fn question(probe: Probe, hold: Span) -> Question {
        Question {
            verify: Verify { probe, hold, interval: Span(20) },
            setting: Setting {
                key: lockstep_shared::id::RunKey {
                    pipeline: "shop".parse().unwrap(),
                    run: "r1".parse().unwrap(),
                },
                workflow: "backend".parse().unwrap(),
                params: BTreeMap::new(),
                workdir: "/".into(),
                traceparent: None,
            },
            step: "check".to_owned(),
            attempt: 1,
        }
    }

    /// Answers each connection with the next of these texts, and with the last one ever after.
    async fn server(answers: Vec<&'static str>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            for number in 0.. {
                let (mut peer, _) = listener.accept().await.unwrap();
                let _ = peer.read(&mut [0; 1024]).await;
                let answer = answers[number.min(answers.len() - 1)];
                let _ = peer.write_all(answer.as_bytes()).await;
            }
        });
        address
    }

    const GOOD: &str = "HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\nv2 here";
    const BAD: &str = "HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n";
    const MOVED: &str = "HTTP/1.1 302 Found\r\nlocation: /x\r\ncontent-length: 0\r\n\r\n";

    fn http(address: &str, body: Option<&str>) -> Probe {
        let body = body.map(str::to_owned);
        Probe::Http { url: format!("http://{address}/healthz"), status: 200, body }
    }

    #[tokio::test]
    async fn it_asks_until_the_answer_is_right() {
        let address = server(vec![BAD, BAD, GOOD]).await;
        let asked = question(http(&address, Some("v2")), Span(0));
        asked.settle(Span::seconds(10), &CancellationToken::new()).await.unwrap();
    }

    #[tokio::test]
    async fn a_wrong_answer_in_between_begins_the_hold_anew() {
        let mut answers = vec![GOOD, GOOD, BAD];
        answers.push(GOOD);
        let address = server(answers).await;
        let asked = question(http(&address, None), Span(300));
        let began = std::time::Instant::now();
        asked.settle(Span::seconds(10), &CancellationToken::new()).await.unwrap();
        assert!(began.elapsed() >= Duration::from_millis(340), "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn what_was_wrong_last_is_in_the_error() {
        let address = server(vec![BAD]).await;
        let asked = question(http(&address, None), Span(0));
        let error = asked.settle(Span(200), &CancellationToken::new()).await.unwrap_err();
        assert!(error.to_string().contains("answered 503, not 200"), "{error}");

        let address = server(vec![GOOD]).await;
        let asked = question(http(&address, Some("v3")), Span(0));
        let error = asked.settle(Span(200), &CancellationToken::new()).await.unwrap_err();
        assert!(error.to_string().contains("does not contain \"v3\""), "{error}");

        let asked = question(http(&address, None), Span::seconds(60));
        let error = asked.settle(Span(200), &CancellationToken::new()).await.unwrap_err();
        assert!(matches!(error, VerifyError::TooShort { .. }), "{error}");
    }

    #[tokio::test]
    async fn a_redirect_is_an_answer_and_not_followed() {
        let address = server(vec![MOVED, GOOD]).await;
        let asked = question(http(&address, None), Span(0));
        let wrong = asked.ask(&CancellationToken::new()).await.unwrap_err();
        assert!(wrong.to_string().contains("answered 302"), "{wrong}");
    }

    #[tokio::test]
    async fn a_closed_port_is_a_wrong_answer_and_an_open_one_a_right_one() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asked = question(Probe::Tcp(address.clone()), Span(0));
        asked.ask(&CancellationToken::new()).await.unwrap();
        drop(listener);
        let wrong = asked.ask(&CancellationToken::new()).await.unwrap_err();
        assert!(wrong.to_string().contains(&address), "{wrong}");
    }

    #[tokio::test]
    async fn a_command_asks_by_its_exit_status() {
        let probe = |text: &str| Probe::Command(Command::Shell(text.to_owned()));
        let asked = question(probe("test \"$LOCKSTEP_WORKFLOW\" = backend"), Span(0));
        asked.ask(&CancellationToken::new()).await.unwrap();
        let wrong = question(probe("exit 3"), Span(0)).ask(&CancellationToken::new()).await;
        assert!(wrong.unwrap_err().to_string().contains("exit status 3"));
    }

    #[tokio::test]
    async fn a_degraded_service_is_told_after_its_grace_and_again_when_it_is_right() {
        let folder = tempfile::tempdir().unwrap();
        let flag = folder.path().join("down");
        let text = format!("test ! -e {}", flag.display());
        let asked = question(Probe::Command(Command::Shell(text)), Span(0));
        let (sender, mut health) = tokio::sync::watch::channel(Health::Right);
        let stop = CancellationToken::new();
        let watching = watch(&asked, Duration::from_millis(200), &sender, &stop);
        let seen = async {
            std::fs::write(&flag, b"").unwrap();
            let began = std::time::Instant::now();
            let degraded = |found: &Health| matches!(found, Health::Degraded(_));
            let limit = Duration::from_secs(10);
            tokio::time::timeout(limit, health.wait_for(degraded)).await.unwrap().unwrap();
            assert!(began.elapsed() >= Duration::from_millis(200));
            std::fs::remove_file(&flag).unwrap();
            let right = |found: &Health| *found == Health::Right;
            tokio::time::timeout(limit, health.wait_for(right)).await.unwrap().unwrap();
            stop.cancel();
        };
        tokio::join!(watching, seen);
    }
}
