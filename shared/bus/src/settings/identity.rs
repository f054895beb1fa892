//! What proves to NATS who we are, and where it is read.

use std::{fmt, path::PathBuf};

use super::{
    error::{Origin, SettingsError},
    read,
};

/// What proves to NATS who we are.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Identity {
    /// Nothing; or what the address itself says.
    #[default]
    None,
    /// A credentials file's text: a JWT and a seed.
    Credentials(String),
    /// An nkey seed.
    Nkey(String),
    /// A user and a password.
    User(String, String),
    /// A token.
    Token(String),
}

impl fmt::Debug for Identity {
    /// The kind only: what is in it is secret.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.kind())
    }
}

impl Identity {
    /// What kind of proof it is, in words for a message.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::None => "no credentials",
            Self::Credentials(_) => "a credentials file",
            Self::Nkey(_) => "an nkey",
            Self::User(..) => "a user and password",
            Self::Token(_) => "a token",
        }
    }
}

/// What one place says about who we are, before it is read.
#[derive(Debug, Default)]
pub(super) struct Given {
    pub(super) creds: Option<PathBuf>,
    pub(super) nkey: Option<PathBuf>,
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    pub(super) token: Option<String>,
}

impl Given {
    /// The one identity that it states; a credentials file wins over a key, as in the nats CLI.
    pub(super) fn identity(self, origin: &Origin) -> Result<Identity, SettingsError> {
        if let Some(path) = self.creds {
            let text = read(&path, "credentials file")?;
            if !text.contains("BEGIN NATS USER JWT") || find_seed(&text).is_none() {
                return Err(SettingsError::Credentials { path });
            }
            return Ok(Identity::Credentials(text));
        }
        if let Some(path) = self.nkey {
            let text = read(&path, "nkey file")?;
            let seed = find_seed(&text).ok_or(SettingsError::Nkey { path })?;
            return Ok(Identity::Nkey(seed));
        }
        match (self.user, self.password, self.token) {
            (None, None, None) => Ok(Identity::None),
            (Some(user), Some(password), _) => Ok(Identity::User(user, password)),
            (None, _, Some(token)) | (Some(_), None, Some(token)) => Ok(Identity::Token(token)),
            // The nats CLI's rule: a user without a password is a token.
            (Some(token), None, None) => Ok(Identity::Token(token)),
            (None, Some(_), None) => Err(SettingsError::PasswordAlone { origin: origin.clone() }),
        }
    }
}

/// The user seed in a text: alone on a line, as in nkey files and credentials files.
fn find_seed(text: &str) -> Option<String> {
    let is_seed = |line: &&str| {
        line.len() == 58
            && line.starts_with("SU")
            && line.bytes().all(|b| b.is_ascii_uppercase() || (b'2'..=b'7').contains(&b))
    };
    text.lines().map(str::trim).find(is_seed).map(str::to_owned)
}
