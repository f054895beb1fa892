//! What a rollback leaves other than it was, in words for the user.

use std::fmt;

use super::super::fields::Path;

/// What differs from the pre-image when a rollback is through with an object (rules 25, 26, 30).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Residue {
    /// Somebody else deleted the object, or is deleting it: it is not brought back.
    Gone,
    /// Somebody else deleted the object and made another one of its name.
    Replaced,
    /// Another manager has changed since what our write had changed.
    Taken {
        /// What it changed; a list item if it made the whole item anew.
        path: Path,
        /// Who it is.
        manager: String,
    },
    /// An item that our write had changed was removed since, by whom is not recorded.
    Removed {
        /// The item.
        path: Path,
    },
    /// What our write added stays, since another manager has put something of its own inside.
    Held {
        /// The item or field that stays as a whole.
        path: Path,
        /// Who holds something inside.
        manager: String,
    },
    /// The value does not come back, or does not stay away: a webhook or the server itself insists.
    KeptByAdmission {
        /// Where.
        path: Path,
    },
    /// The server had chosen the value and has refused to give it again.
    NotGivenAgain {
        /// Where.
        path: Path,
    },
}

impl fmt::Display for Residue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => write!(
                formatter,
                "it was deleted by somebody else during the run and was not brought back; apply \
                 its former manifest if it is missed"
            ),
            Self::Replaced => write!(
                formatter,
                "it was deleted and made anew by somebody else during the run, and was left as \
                 it is; compare it with its former manifest"
            ),
            Self::Taken { path, manager } => write!(
                formatter,
                "{path} was changed by {manager:?} after this run had written it, and was left; \
                 set it by hand if it is wrong"
            ),
            Self::Removed { path } => write!(
                formatter,
                "{path} was removed by somebody else after this run had written it, and was not \
                 brought back; add it by hand if it is missed"
            ),
            Self::Held { path, manager } => write!(
                formatter,
                "{path} was added by this run and stays, because {manager:?} has written inside \
                 of it since; remove both by hand if it is not wanted"
            ),
            Self::KeptByAdmission { path } => write!(
                formatter,
                "{path} does not go back to what it was: an admission webhook or the server \
                 keeps it; look for the webhook that writes it"
            ),
            Self::NotGivenAgain { path } => write!(
                formatter,
                "{path} had been chosen by the server, which refused to give that value again; \
                 clients that know the old one have to be told the new one"
            ),
        }
    }
}
