//! Whether an append may be published: only on a connection over which the log was compared with
//! what was known of it, and only until it is recalled (PROTOCOL section 5).

use lockstep_bus::{Bus, Link};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// What the loop says of its appends; each append has a [`Passage`] of it.
pub(super) struct Gate {
    link: watch::Receiver<Link>,
    /// The connection over which the log was last compared; 0 while that is not known.
    compared: watch::Sender<u64>,
    recall: CancellationToken,
}

/// One append's way to the log.
pub(super) struct Passage {
    link: watch::Receiver<Link>,
    compared: watch::Receiver<u64>,
    recall: CancellationToken,
}

impl Gate {
    /// Open for the connection that stands when what is known of the log is first asked for.
    pub(super) fn new(bus: &Bus) -> Self {
        let link = bus.link();
        let generation = link.borrow().generation;
        Self { link, compared: watch::Sender::new(generation), recall: CancellationToken::new() }
    }

    /// The connection that stands now, or stood last.
    pub(super) fn generation(&self) -> u64 {
        self.link.borrow().generation
    }

    /// Nothing passes until it is opened.
    pub(super) fn close(&self) {
        self.compared.send_replace(0);
    }

    /// Lets appends pass for as long as this connection stands.
    pub(super) fn open(&self, generation: u64) {
        self.compared.send_replace(generation);
    }

    /// Gives up every append that has not ended.
    pub(super) fn recall(&mut self) {
        std::mem::take(&mut self.recall).cancel();
    }

    pub(super) fn passage(&self) -> Passage {
        Passage {
            link: self.link.clone(),
            compared: self.compared.subscribe(),
            recall: self.recall.clone(),
        }
    }
}

impl Passage {
    /// Ends once the append is recalled.
    pub(super) fn recalled(&self) -> impl Future<Output = ()> + 'static {
        self.recall.clone().cancelled_owned()
    }

    /// Ends once it may be published.
    pub(super) async fn opened(&mut self) {
        while !self.is_open() {
            self.changed().await;
        }
    }

    /// Ends once it may not be published any more.
    pub(super) async fn closed(&mut self) {
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
