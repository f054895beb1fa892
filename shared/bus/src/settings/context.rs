//! The context files of the nats CLI: `$XDG_CONFIG_HOME/nats/context/<name>.json`, and
//! `context.txt` beside that folder for the selected one.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{
    Environment, Identity,
    error::{Origin, SettingsError},
    identity::Given,
};

/// One context, with the fields that make a connection.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Context {
    #[serde(skip)]
    file: PathBuf,
    #[serde(skip)]
    home: PathBuf,
    #[serde(deserialize_with = "non_empty")]
    pub(super) url: Option<String>,
    #[serde(deserialize_with = "non_empty")]
    pub(super) socks_proxy: Option<String>,
    #[serde(deserialize_with = "non_empty")]
    pub(super) jetstream_domain: Option<String>,
    #[serde(deserialize_with = "non_empty")]
    pub(super) inbox_prefix: Option<String>,
    #[serde(deserialize_with = "non_empty")]
    pub(super) ca: Option<String>,
    #[serde(deserialize_with = "non_empty")]
    pub(super) cert: Option<String>,
    #[serde(deserialize_with = "non_empty")]
    pub(super) key: Option<String>,
    pub(super) tls_first: bool,
    #[serde(deserialize_with = "non_empty")]
    token: Option<String>,
    #[serde(deserialize_with = "non_empty")]
    user: Option<String>,
    #[serde(deserialize_with = "non_empty")]
    password: Option<String>,
    #[serde(deserialize_with = "non_empty")]
    creds: Option<String>,
    #[serde(deserialize_with = "non_empty")]
    nkey: Option<String>,
    #[serde(deserialize_with = "non_empty")]
    user_jwt: Option<String>,
    #[serde(deserialize_with = "non_empty")]
    user_seed: Option<String>,
    #[serde(deserialize_with = "non_empty")]
    nsc: Option<String>,
    #[serde(deserialize_with = "non_empty")]
    jetstream_api_prefix: Option<String>,
}

/// The nats CLI writes absent settings as empty texts.
fn non_empty<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<String>::deserialize(from)?.filter(|text| !text.is_empty()))
}

impl Context {
    /// The context of that name, else the selected one, else an empty one.
    pub(super) fn load(
        name: Option<String>,
        environment: Environment<'_>,
    ) -> Result<Self, SettingsError> {
        let home = PathBuf::from(environment("HOME").unwrap_or_default());
        let config = environment("XDG_CONFIG_HOME")
            .filter(|folder| !folder.is_empty())
            .map_or_else(|| home.join(".config"), PathBuf::from)
            .join("nats");
        let selected = || {
            let text = std::fs::read_to_string(config.join("context.txt")).ok()?;
            Some(text.trim().to_owned()).filter(|name| !name.is_empty())
        };
        match name.or_else(selected) {
            Some(name) => Self::read(&config.join("context"), &name, home),
            None => Ok(Self::default()),
        }
    }

    fn read(folder: &Path, name: &str, home: PathBuf) -> Result<Self, SettingsError> {
        let file = folder.join(format!("{name}.json"));
        // A name is a file's name: it must not lead anywhere else.
        let text = if name.contains(['/', '\\']) || name.starts_with('.') {
            None
        } else {
            std::fs::read_to_string(&file).ok()
        };
        let Some(text) = text else {
            let known = known_contexts(folder);
            return Err(SettingsError::NoContext { name: name.to_owned(), path: file, known });
        };
        let mut context: Self = serde_json::from_str(&text)
            .map_err(|source| SettingsError::Context { path: file.clone(), source })?;
        context.file = file;
        context.home = home;
        context.refuse_unsupported()?;
        Ok(context)
    }

    /// Saying no is better than connecting as somebody else or to another place.
    fn refuse_unsupported(&self) -> Result<(), SettingsError> {
        let unsupported = if self.nsc.is_some() {
            Some(("an nsc lookup", "name the credentials file as `creds` instead"))
        } else if self.jetstream_api_prefix.is_some() {
            Some((
                "jetstream_api_prefix",
                "use jetstream_domain, or the account imports that the documentation describes",
            ))
        } else {
            None
        };
        match unsupported {
            Some((what, instead)) => {
                Err(SettingsError::Unsupported { path: self.file.clone(), what, instead })
            }
            None => Ok(()),
        }
    }

    /// A path of the context, with `~` for the home folder.
    pub(super) fn path(&self, value: &Option<String>) -> Option<PathBuf> {
        value.as_ref().map(|text| match text.strip_prefix("~/") {
            Some(rest) => self.home.join(rest),
            None => PathBuf::from(text),
        })
    }

    /// Who we are, as far as the context says.
    pub(super) fn identity(&self) -> Result<Identity, SettingsError> {
        if let (Some(jwt), Some(seed)) = (&self.user_jwt, &self.user_seed) {
            return Ok(Identity::Credentials(credentials_text(jwt, seed)));
        }
        let given = Given {
            creds: self.path(&self.creds),
            nkey: self.path(&self.nkey),
            user: self.user.clone(),
            password: self.password.clone(),
            token: self.token.clone(),
        };
        given.identity(&Origin::Context(self.file.clone()))
    }
}

/// A JWT and its seed in the form of a credentials file.
pub(super) fn credentials_text(jwt: &str, seed: &str) -> String {
    format!(
        "-----BEGIN NATS USER JWT-----\n{}\n------END NATS USER JWT------\n\n\
         -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
        jwt.trim(),
        seed.trim()
    )
}

fn known_contexts(folder: &Path) -> String {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some(entry.file_name().to_str()?.strip_suffix(".json")?.to_owned()))
        .collect();
    names.sort();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
