//! Asking, at the last moment, whether a target may still be written to.
//!
//! Between the order and the act time passes: what an earlier incarnation left has to be ended,
//! the group has to be remembered. So the answer that counts is the one given right before the act.

use tokio::sync::{mpsc, oneshot};

/// How many questions may wait: a workflow acts one step at a time.
const MAX_WAITING: usize = 8;

/// A question, to be answered with a reason if the answer is no.
pub type Question = oneshot::Sender<Result<(), String>>;

/// The asking side; clones ask the same.
#[derive(Debug, Clone)]
pub struct Permit(mpsc::Sender<Question>);

/// A permit and the questions that it leads to.
pub fn permits() -> (Permit, mpsc::Receiver<Question>) {
    let (sender, receiver) = mpsc::channel(MAX_WAITING);
    (Permit(sender), receiver)
}

impl Permit {
    /// Whether the target may be written to now.
    ///
    /// # Errors
    /// Why not, as a sentence without a full stop.
    pub async fn ask(&self) -> Result<(), String> {
        let gone = || "this agent is ending".to_owned();
        let (sender, receiver) = oneshot::channel();
        self.0.send(sender).await.map_err(|_| gone())?;
        receiver.await.map_err(|_| gone())?
    }
}
