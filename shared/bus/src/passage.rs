//! Whether an append may be published: only on a connection over which the log was compared with
//! what was known of it, and only until it is recalled (PROTOCOL section 5). What was meant for one
//! log must not be stored in an older one that was restored.

use std::time::Duration;

use lockstep_shared::codec::Draft;
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    append::{AppendError, Appended},
    connect::{Bus, Link},
};

/// What the loop says of its appends; each append has a [`Passage`] of it.
pub struct Gate {
    link: watch::Receiver<Link>,
    /// The connection over which the log was last compared; 0 while that is not known.
    compared: watch::Sender<u64>,
    recall: CancellationToken,
}

/// One append's way to the log.
pub struct Passage {
    link: watch::Receiver<Link>,
    compared: watch::Receiver<u64>,
    recall: CancellationToken,
}

impl Gate {
    /// Open for the connection that stands when what is known of the log is first asked for.
    pub fn new(bus: &Bus) -> Self {
        let link = bus.link();
        let generation = link.borrow().generation;
        Self { link, compared: watch::Sender::new(generation), recall: CancellationToken::new() }
    }

    /// Closed until somebody has read the log.
    pub fn closed(bus: &Bus) -> Self {
        let gate = Self::new(bus);
        gate.close();
        gate
    }

    /// The connection that stands now, or stood last.
    pub fn generation(&self) -> u64 {
        self.link.borrow().generation
    }

    /// Nothing passes until it is opened.
    pub fn close(&self) {
        self.compared.send_replace(0);
    }

    /// Lets appends pass for as long as this connection stands.
    pub fn open(&self, generation: u64) {
        self.compared.send_replace(generation);
    }

    /// Gives up every append that has not ended.
    pub fn recall(&mut self) {
        std::mem::take(&mut self.recall).cancel();
    }

    /// A way for one append.
    pub fn passage(&self) -> Passage {
        Passage {
            link: self.link.clone(),
            compared: self.compared.subscribe(),
            recall: self.recall.clone(),
        }
    }
}

impl Passage {
    /// Ends once the append is recalled.
    pub fn recalled(&self) -> impl Future<Output = ()> + 'static {
        self.recall.clone().cancelled_owned()
    }

    /// Appends once that may be, for at most `limit` from then on. `None` if it ceased to be
    /// permitted meanwhile: it is in doubt.
    pub async fn append(
        &mut self,
        bus: &Bus,
        draft: &Draft,
        limit: Duration,
    ) -> Option<Result<Appended, AppendError>> {
        self.opened().await;
        tokio::select! {
            // Looked at before each attempt to go on.
            biased;
            () = self.closed() => None,
            answer = bus.append(draft, Instant::now() + limit) => Some(answer),
        }
    }

    async fn opened(&mut self) {
        while !self.is_open() {
            self.changed().await;
        }
    }

    async fn closed(&mut self) {
        while self.is_open() {
            self.changed().await;
        }
    }

    fn is_open(&mut self) -> bool {
        let link = self.link.borrow_and_update();
        link.up && link.generation == *self.compared.borrow_and_update()
    }

    /// A connection or a loop that is gone changes nothing any more.
    async fn changed(&mut self) {
        let changed = tokio::select! {
            changed = self.link.changed() => changed,
            changed = self.compared.changed() => changed,
        };
        if changed.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
