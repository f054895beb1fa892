//! Where connections come in: a port on loopback, with TLS, that can be shut.

use std::sync::Arc;

use anyhow::{Context, Result};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

use super::{MOMENT, relay::Relay};
use crate::cluster::authority::Pair;

/// A port, and who answers there.
pub(super) struct Door {
    port: u16,
    acceptor: TlsAcceptor,
    relay: Arc<Relay>,
}

impl Door {
    /// One that shows this certificate.
    pub(super) fn new(port: u16, shown: &Pair, relay: Arc<Relay>) -> Result<Self> {
        let certificate = CertificateDer::from_pem_file(&shown.certificate)?;
        let key = PrivateKeyDer::from_pem_file(&shown.key)?;
        let config = ServerConfig::builder().with_no_client_auth();
        let config = config.with_single_cert(vec![certificate], key)?;
        Ok(Self { port, acceptor: TlsAcceptor::from(Arc::new(config)), relay })
    }

    /// Opens and shuts as is wanted, and tells when that is so.
    pub(super) async fn keep(
        self,
        mut listener: TcpListener,
        mut wanted: watch::Receiver<bool>,
        stands: watch::Sender<bool>,
    ) -> Result<()> {
        loop {
            stands.send_replace(true);
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    accepted = listener.accept() => {
                        let (stream, _) = accepted.context("a connection")?;
                        connections.spawn(self.serve(stream));
                    }
                    Some(_) = connections.join_next() => {}
                    shut = wanted.wait_for(|open| !open) => {
                        shut?;
                        break;
                    }
                }
            }
            drop(listener);
            connections.shutdown().await;
            stands.send_replace(false);
            wanted.wait_for(|open| *open).await?;
            let bound = TcpListener::bind(("127.0.0.1", self.port)).await;
            listener = bound.context("the proxy's port")?;
        }
    }

    /// Serves one connection until it ends, however it does.
    fn serve(&self, stream: TcpStream) -> impl Future<Output = ()> + Send + 'static {
        let (acceptor, relay) = (self.acceptor.clone(), self.relay.clone());
        async move {
            let accepted = tokio::time::timeout(MOMENT, acceptor.accept(stream)).await;
            let Ok(Ok(stream)) = accepted else { return };
            let answers = service_fn(move |request| {
                let answered = relay.clone().answer(request);
                async move { answered.await.map_err(std::io::Error::other) }
            });
            let served = http1::Builder::new().serve_connection(TokioIo::new(stream), answers);
            // An agent that is killed ends it in the middle.
            let _ = served.await;
        }
    }
}
