//! One request on its way to the API server, and the answer's way back.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::{
    Method, Request, Response,
    body::Incoming,
    header::{CONNECTION, HOST, TRANSFER_ENCODING},
    http::request::Parts,
};
use reqwest::{Body, Certificate, Client};
use serde_json::Value;
use tokio::{sync::oneshot, task::JoinSet};

use super::book::{Book, Write};

/// The most that a request may carry: more than the API server takes.
const MAX_BODY: usize = 4 * 1024 * 1024;

/// Sends on what comes.
pub(super) struct Relay {
    client: Client,
    server: String,
    book: Arc<Book>,
    /// Writes on their way: none is lost with its connection.
    writing: Mutex<JoinSet<()>>,
}

impl Relay {
    /// One to the server of a kubeconfig. It shows no credentials of its own: the token is the
    /// sender's.
    pub(super) fn new(config: &Value, server: &str, book: Arc<Book>) -> Result<Self> {
        let authority = config.pointer("/clusters/0/cluster/certificate-authority-data");
        let authority = authority.and_then(Value::as_str);
        let authority = authority.context("the kubeconfig has no certificate-authority-data")?;
        let client = Client::builder()
            .tls_certs_only([Certificate::from_pem(&STANDARD.decode(authority)?)?])
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy();
        let server = server.trim_end_matches('/').to_owned();
        Ok(Self { client: client.build()?, server, book, writing: Mutex::default() })
    }

    /// Answers a request with what the server answers, as it comes.
    pub(super) async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<Body>> {
        let (head, body) = request.into_parts();
        let body = Limited::new(body, MAX_BODY).collect().await;
        let body = body.map_err(anyhow::Error::from_boxed)?.to_bytes();
        let Some(write) = Write::of(&head, &body) else {
            if head.method == Method::GET {
                self.book.was_read(head.uri.path());
            }
            return self.send(head, body).await;
        };
        let (tell, told) = oneshot::channel();
        let relay = self.clone();
        let writing = async move {
            // Its sender may be gone.
            let _ = tell.send(relay.write(write, head, body).await);
        };
        self.tasks(|tasks| {
            while tasks.try_join_next().is_some() {}
            tasks.spawn(writing);
        });
        told.await.context("the write was dropped")?
    }

    async fn write(&self, write: Write, head: Parts, body: Bytes) -> Result<Response<Body>> {
        let (place, hold) = self.book.came(write);
        if let Some(hold) = hold {
            hold.passes().await;
        }
        self.book.sent(place);
        let answer = self.send(head, body).await?;
        if let Some(hold) = self.book.answered(place, answer.status().as_u16()) {
            hold.passes().await;
        }
        Ok(answer)
    }

    async fn send(&self, head: Parts, body: Bytes) -> Result<Response<Body>> {
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        let mut headers = head.headers;
        for name in [HOST, CONNECTION, TRANSFER_ENCODING] {
            headers.remove(name);
        }
        let url = format!("{}{path}", self.server);
        let request = self.client.request(head.method, url).headers(headers).body(body);
        let mut answer: Response<Body> = request.send().await?.into();
        for name in [CONNECTION, TRANSFER_ENCODING] {
            answer.headers_mut().remove(name);
        }
        Ok(answer)
    }

    /// Drops every write that is on its way.
    pub(super) fn drop_held(&self) {
        self.tasks(JoinSet::abort_all);
    }

    fn tasks(&self, work: impl FnOnce(&mut JoinSet<()>)) {
        work(&mut self.writing.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
