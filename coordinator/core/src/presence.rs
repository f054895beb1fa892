//! Whether this coordinator sees the log and the beats, and since when without a break.

use lockstep_shared::time::{Span, Timestamp};

/// How long nothing overdue is recorded after a start, a reconnect or an own pause (PROTOCOL
/// section 7, "Clocks"): what was stored meanwhile gets time to show.
pub const SETTLING: Span = Span::seconds(15);

/// A call that is later than this shows that the process itself was paused (PROTOCOL section 6).
pub const LATE: Span = Span::seconds(5);

/// While a run is open the shell calls at least this often, so that a pause shows as a late call.
pub const HEARTBEAT: Span = Span::seconds(1);

/// Deafness is told every few seconds; after this without a word of it, it is news again.
const FORGOTTEN: Span = Span::minutes(1);

/// What this coordinator can see.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Presence {
    /// Whether the log has been read to the end at least once.
    pub(crate) ready: bool,
    pub(crate) connected: bool,
    /// Since when nothing was missed.
    pub(crate) since: Timestamp,
    /// When it was last known that beats could not be heard.
    pub(crate) deaf_at: Option<Timestamp>,
}

impl Default for Presence {
    fn default() -> Self {
        Self { ready: false, connected: true, since: Timestamp(0), deaf_at: None }
    }
}

impl Presence {
    /// Beats cannot be heard, whatever else is; whether that is news.
    pub(crate) fn deaf(&mut self, now: Timestamp) -> bool {
        let before = self.deaf_at.replace(now);
        before.is_none_or(|before| now.since(before) > FORGOTTEN)
    }

    /// Since when no beat could be missed.
    pub(crate) fn hearing_since(&self) -> Timestamp {
        self.since.max(self.deaf_at.unwrap_or_default())
    }

    /// Whether clocks and beats can be judged at all.
    pub(crate) fn can_judge(&self) -> bool {
        self.ready && self.connected
    }

    /// When something that runs out at `due` may be recorded: what ran out while nobody looked
    /// waits until this coordinator has settled.
    pub(crate) fn not_before(&self, due: Timestamp) -> Timestamp {
        if due < self.since { self.since.after(SETTLING) } else { due }
    }
}
