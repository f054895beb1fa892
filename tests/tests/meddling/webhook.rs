//! An admission webhook, served by the test over TLS on loopback.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use base64::{Engine, engine::general_purpose::STANDARD};
use rcgen::{CertificateParams, KeyPair};
use rustls::{ServerConfig, ServerConnection, StreamOwned, pki_types::PrivateKeyDer};
use serde_json::{Value, json};

/// How long a connection may be silent.
const SILENCE: Duration = Duration::from_secs(5);

/// More than any review of a test's objects.
const LARGEST_REVIEW: usize = 1 << 20;

/// What a webhook says to a request.
pub(crate) enum Admission {
    Allowed,
    Denied(&'static str),
    /// JSON patch operations.
    Patched(Value),
    /// Nothing, and hangs up.
    Silent,
}

/// How a webhook decides, from the `request` of an AdmissionReview.
pub(crate) type Judge = fn(&Value) -> Admission;

/// A running webhook; gone when it is dropped.
pub(crate) struct Webhook {
    address: SocketAddr,
    authority: String,
    judge: Arc<Mutex<Judge>>,
    stopped: Arc<AtomicBool>,
    server: Option<JoinHandle<()>>,
}

impl Webhook {
    pub(crate) fn serve(judge: Judge) -> Result<Self> {
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new(["127.0.0.1".to_owned()])?.self_signed(&key)?;
        let private = PrivateKeyDer::try_from(key.serialize_der()).map_err(anyhow::Error::msg)?;
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], private)?;
        let (config, listener) = (Arc::new(config), TcpListener::bind("127.0.0.1:0")?);
        let address = listener.local_addr()?;
        let (judge, stopped) = (Arc::new(Mutex::new(judge)), Arc::new(AtomicBool::new(false)));
        let (judges, stops) = (judge.clone(), stopped.clone());
        let server = std::thread::spawn(move || {
            std::thread::scope(|connections| {
                for stream in listener.incoming().map_while(Result::ok) {
                    if stops.load(Ordering::SeqCst) {
                        return;
                    }
                    let (config, judges) = (config.clone(), &judges);
                    // Whoever asked is told by the connection's end that nothing came of it.
                    connections.spawn(move || answer(stream, config, judges).ok());
                }
            });
        });
        let authority = STANDARD.encode(certificate.pem());
        Ok(Self { address, authority, judge, stopped, server: Some(server) })
    }

    /// Decides otherwise from now on.
    pub(crate) fn judge(&self, judge: Judge) {
        *self.judge.lock().unwrap_or_else(PoisonError::into_inner) = judge;
    }

    /// The configuration of this webhook for a namespace's ConfigMaps and Deployments. `kind` is
    /// `Validating` or `Mutating`.
    pub(crate) fn configuration(&self, kind: &str, namespace: &str) -> Value {
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": format!("{kind}WebhookConfiguration"),
            "metadata": { "name": namespace },
            "webhooks": [{
                "name": "house.example.com",
                "clientConfig": {
                    "url": format!("https://{}/", self.address), "caBundle": self.authority,
                },
                "rules": [
                    { "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"],
                      "operations": ["CREATE", "UPDATE"] },
                    { "apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments"],
                      "operations": ["CREATE", "UPDATE"] },
                ],
                "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": namespace } },
                "failurePolicy": "Fail", "sideEffects": "NoneOnDryRun",
                "admissionReviewVersions": ["v1"],
            }],
        })
    }
}

impl Drop for Webhook {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        // It stands waiting for the next one.
        TcpStream::connect(self.address).ok();
        self.server.take().map(JoinHandle::join);
    }
}

/// Answers the one request of a connection.
fn answer(stream: TcpStream, config: Arc<ServerConfig>, judge: &Mutex<Judge>) -> Result<()> {
    stream.set_read_timeout(Some(SILENCE))?;
    stream.set_write_timeout(Some(SILENCE))?;
    let mut stream = StreamOwned::new(ServerConnection::new(config)?, stream);
    let review: Value = serde_json::from_slice(&body(&mut stream)?)?;
    let request = &review["request"];
    let judge = *judge.lock().unwrap_or_else(PoisonError::into_inner);
    let mut response = json!({ "uid": request["uid"], "allowed": true });
    match judge(request) {
        Admission::Allowed => {}
        Admission::Denied(why) => {
            response["allowed"] = false.into();
            response["status"] = json!({ "message": why });
        }
        Admission::Silent => return Ok(()),
        Admission::Patched(patch) => {
            response["patchType"] = "JSONPatch".into();
            response["patch"] = STANDARD.encode(patch.to_string()).into();
        }
    }
    let review = json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response,
    })
    .to_string();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n{review}",
        review.len()
    )?;
    stream.conn.send_close_notify();
    stream.flush().context("the answer is sent")
}

/// The body of a request.
fn body(stream: &mut impl Read) -> Result<Vec<u8>> {
    let (mut bytes, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        let head = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        if let Some(head) = head {
            let length = String::from_utf8_lossy(&bytes[..head])
                .lines()
                .filter_map(|line| line.split_once(':'))
                .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
                .and_then(|(_, length)| length.trim().parse::<usize>().ok())
                .context("the request says how long it is")?;
            if bytes.len() >= head + 4 + length {
                return Ok(bytes[head + 4..head + 4 + length].to_vec());
            }
        }
        let read = stream.read(&mut chunk)?;
        if read == 0 || bytes.len() > LARGEST_REVIEW {
            bail!("the request has no end");
        }
        bytes.extend_from_slice(&chunk[..read]);
    }
}
