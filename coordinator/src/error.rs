//! Why a coordinator ends by itself.

use lockstep_bus::stream::StreamError;

/// Why a coordinator ends by itself.
#[derive(Debug, thiserror::Error)]
pub enum CoordinatorError {
    /// The streams cannot be used.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// The connection was closed for good.
    #[error("the connection to NATS was closed for good; see the log above for why")]
    Closed,
}

impl CoordinatorError {
    /// Whether the configuration is at fault rather than the server's absence.
    pub fn is_configuration(&self) -> bool {
        matches!(self, Self::Stream(StreamError::Mismatch { .. }))
    }
}
