//! "Which runs of mine are open?": asked by agents and parties, answered by a coordinator that has
//! read to the end (PROTOCOL section 2).

use lockstep_shared::id::{PartyName, PipelineName, RunId};
use tokio::time::Instant;

use crate::{connect::Bus, reading::ReadError};

/// The questions that arrive.
pub struct Questions {}

/// One question.
pub struct Question {
    /// The pipeline asked about.
    pub pipeline: PipelineName,
    /// The workflow or foreign party asked about.
    pub party: PartyName,
}

impl Bus {
    /// Asks for the open runs of a party, oldest first; `None` if nobody who knows answered.
    ///
    /// # Errors
    /// [`ReadError::Denied`] or [`ReadError::Closed`].
    pub async fn ask_open(
        &self,
        _pipeline: &PipelineName,
        _party: &PartyName,
        _until: Instant,
    ) -> Result<Option<Vec<RunId>>, ReadError> {
        panic!("being written")
    }

    /// Takes the questions from now on.
    pub async fn open_questions(&self) -> Questions {
        panic!("being written")
    }
}

impl Questions {
    /// The next question; cancel-safe. `None` once the connection was closed.
    pub async fn next(&mut self) -> Option<Question> {
        panic!("being written")
    }
}

impl Question {
    /// Answers it.
    pub async fn answer(self, _runs: &[RunId]) {
        panic!("being written")
    }
}
