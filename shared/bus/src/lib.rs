//! The log over NATS JetStream: append, read, bundles, beats, connection settings and a
//! development server.
//!
//! Decides how bytes reach the log and come back, and when a reading counts (PROTOCOL sections 2,
//! 4 and 5). Deliberately does not know what a record means: that is `lockstep_shared::fold`'s
//! business, and what to do about it the agents' and coordinators'.

pub mod append;
pub mod beat;
pub mod bell;
pub mod bundle;
pub mod connect;
pub mod dev_server;
pub mod discreet;
pub mod follow;
pub mod health;
pub mod history;
mod inbox;
mod link;
pub mod open;
pub mod passage;
mod pauses;
pub mod reading;
pub mod rehearse;
pub mod settings;
mod slot;
pub mod stream;
mod unreadable;
mod wire;

pub use append::{AppendError, Appended};
pub use bell::{Bell, Ring};
pub use connect::{Bus, ConnectError, Denial, Link};
pub use dev_server::{DevServer, DevServerError, DevServerOptions};
pub use discreet::is_discreet;
pub use follow::{Follow, Follower, Heading};
pub use health::{ServerHealth, Syncing};
pub use history::{Continuity, Landmark, LogState};
pub use passage::{Gate, Passage};
pub use pauses::pauses;
pub use reading::{ReadError, Reading};
pub use settings::{Connection, ConnectionArgs, SettingsError};
pub use stream::{StreamError, StreamOptions, StreamReport, StreamReports};
