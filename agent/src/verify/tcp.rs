//! The question by TCP: whether somebody accepts the connection.

use std::time::Duration;

use tokio::net::TcpStream;

use super::Wrong;

pub(super) async fn ask(address: &str, limit: Duration) -> Result<(), Wrong> {
    match tokio::time::timeout(limit, TcpStream::connect(address)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(Wrong(format!("{address} does not accept connections: {error}"))),
        Err(_) => {
            Err(Wrong(format!("{address} accepted no connection within {} s", limit.as_secs())))
        }
    }
}
