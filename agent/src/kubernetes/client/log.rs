//! What containers print.

use std::time::Duration;

use futures::AsyncReadExt;
use kube::{api::LogParams, core::Request};

use super::{Cluster, Refusal, Resource};

/// How long reading one log may take.
const LOG_LIMIT: Duration = Duration::from_secs(3);

/// How much of a log is read for its last lines.
const MAX_READ_BYTES: u32 = 64 * 1024;

/// One container's log.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogOf {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod.
    pub pod: String,
    /// The container.
    pub container: String,
    /// Whether of the container that ended, and not of the one in its place.
    pub previous: bool,
}

impl Cluster {
    /// The last lines of a container's log, of at most 64 KiB. Asked once.
    ///
    /// # Errors
    /// [`Refusal`] if there is none, or the server does not give it.
    pub async fn log(&self, log: &LogOf, lines: u32) -> Result<String, Refusal> {
        let what = format!("read the log of pod {}", log.pod);
        let path = Request::new(Resource::pod().path(Some(&log.namespace)));
        let params = LogParams {
            container: Some(log.container.clone()),
            previous: log.previous,
            tail_lines: Some(lines.into()),
            limit_bytes: Some(MAX_READ_BYTES.into()),
            ..LogParams::default()
        };
        let asked = async {
            let request = path.logs(&log.pod, &params).map_err(kube::Error::BuildRequest)?;
            let stream = self.client.request_stream(request).await?;
            let mut text = Vec::new();
            // What broke off is still the log.
            let _ = stream.take(MAX_READ_BYTES.into()).read_to_end(&mut text).await;
            Ok(text)
        };
        let text = self.limited(&what, LOG_LIMIT, asked).await?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}
