//! Where NATS is and who we are there: flags, then environment, then the nats CLI's context files.
//!
//! Every setting is looked up in that order, one by one; only the identity is taken whole from the
//! first place that says anything about it, so that the credentials of one place never mix with
//! those of another. Secrets never come by flag; a path to one may (DESIGN section 9).

mod context;
mod error;
mod identity;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use lockstep_shared::subject::Subjects;

use self::{context::Context, error::Origin, identity::Given};
pub use self::{error::SettingsError, identity::Identity};

/// Looks a variable up.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The address tried when nothing says otherwise.
pub const DEFAULT_URL: &str = "nats://127.0.0.1:4222";

/// How long one request to NATS may take unless `NATS_TIMEOUT` says otherwise, as in the nats CLI.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

/// What `--help` says of the variables that no flag stands for.
pub const ENVIRONMENT_HELP: &str = "\
Secrets come by environment or file only: NATS_USER and NATS_PASSWORD (a user without a password \
is a token), NATS_TOKEN, or a context file of the nats CLI \
($XDG_CONFIG_HOME/nats/context/<name>.json, chosen by --nats-context or `nats context select`).";

/// The connection flags that every program takes; flatten it into a clap parser.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "NATS", after_help = ENVIRONMENT_HELP)]
pub struct ConnectionArgs {
    /// Addresses of NATS servers, separated by commas [default: nats://127.0.0.1:4222]
    #[arg(
        long,
        short = 's',
        env = "NATS_URL",
        hide_env_values = true,
        value_name = "URL",
        global = true
    )]
    pub server: Option<String>,
    /// A connection context of the nats CLI, by name
    #[arg(long, env = "NATS_CONTEXT", value_name = "NAME", global = true)]
    pub nats_context: Option<String>,
    /// A credentials file: a JWT and its seed
    #[arg(long, env = "NATS_CREDS", value_name = "FILE", global = true)]
    pub creds: Option<PathBuf>,
    /// A file with an nkey seed
    #[arg(long, env = "NATS_NKEY", value_name = "FILE", global = true)]
    pub nkey: Option<PathBuf>,
    /// Our TLS certificate
    #[arg(long, alias = "tlscert", env = "NATS_CERT", value_name = "FILE", global = true)]
    pub tls_cert: Option<PathBuf>,
    /// The key of our TLS certificate
    #[arg(long, alias = "tlskey", env = "NATS_KEY", value_name = "FILE", global = true)]
    pub tls_key: Option<PathBuf>,
    /// The certificate authorities to trust instead of the system's
    #[arg(long, alias = "tlsca", env = "NATS_CA", value_name = "FILE", global = true)]
    pub tls_ca: Option<PathBuf>,
    /// Begin TLS before the server's greeting
    #[arg(long, alias = "tlsfirst", global = true)]
    pub tls_first: bool,
    /// The JetStream domain to ask
    #[arg(long, env = "NATS_JS_DOMAIN", value_name = "DOMAIN", global = true)]
    pub js_domain: Option<String>,
    /// What the subjects of answers to us begin with
    #[arg(long, env = "NATS_INBOX_PREFIX", value_name = "PREFIX", global = true)]
    pub inbox_prefix: Option<String>,
    /// How long one request to NATS may take [default: 5s]
    #[arg(long, env = "NATS_TIMEOUT", value_name = "DURATION", global = true)]
    pub nats_timeout: Option<String>,
    /// What all of Lockstep's subjects begin with [default: lockstep]
    #[arg(long, env = "LOCKSTEP_PREFIX", value_name = "PREFIX", global = true)]
    pub prefix: Option<String>,
}

/// Everything that it takes to connect, resolved and read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// Addresses of servers.
    pub urls: Vec<String>,
    /// What proves who we are.
    pub identity: Identity,
    /// Certificates and how TLS begins.
    pub tls: Tls,
    /// The JetStream domain to ask, if it is not the connection's own.
    pub js_domain: Option<String>,
    /// What the subjects of answers to us begin with.
    pub inbox_prefix: Option<String>,
    /// The subjects that Lockstep uses there.
    pub subjects: Subjects,
    /// How long one request may take.
    pub timeout: Duration,
}

/// Certificates and how TLS begins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// The authorities to trust; the system's if absent.
    pub ca: Option<PathBuf>,
    /// Our certificate.
    pub cert: Option<PathBuf>,
    /// Our certificate's key.
    pub key: Option<PathBuf>,
    /// Whether TLS comes before the server's greeting.
    pub first: bool,
}

impl Connection {
    /// A connection to one address, without credentials.
    pub fn to(url: &str) -> Self {
        Self {
            urls: vec![url.to_owned()],
            identity: Identity::None,
            tls: Tls::default(),
            js_domain: None,
            inbox_prefix: None,
            subjects: Subjects::default(),
            timeout: DEFAULT_TIMEOUT,
        }
    }

    /// Resolves flags, this process' environment and the nats CLI's context files.
    ///
    /// # Errors
    /// [`SettingsError`] says which setting is wrong, where it came from and what to do.
    pub fn resolve(args: &ConnectionArgs) -> Result<Self, SettingsError> {
        Self::resolve_with(args, &|name| std::env::var(name).ok())
    }

    /// The same with an environment of one's own; flags win over it.
    ///
    /// # Errors
    /// As [`Connection::resolve`].
    pub fn resolve_with(
        args: &ConnectionArgs,
        environment: Environment<'_>,
    ) -> Result<Self, SettingsError> {
        let variable = |name: &str| environment(name).filter(|value| !value.is_empty());
        let text = |flag: &Option<String>, name: &str| flag.clone().or_else(|| variable(name));
        let path = |flag: &Option<PathBuf>, name: &str| {
            flag.clone().or_else(|| variable(name).map(PathBuf::from))
        };
        let context = Context::load(text(&args.nats_context, "NATS_CONTEXT"), environment)?;
        if let Some(proxy) = variable("NATS_SOCKS_PROXY").or_else(|| context.socks_proxy.clone()) {
            return Err(SettingsError::Proxy { proxy });
        }
        let given = Given {
            creds: path(&args.creds, "NATS_CREDS"),
            nkey: path(&args.nkey, "NATS_NKEY"),
            user: variable("NATS_USER"),
            password: variable("NATS_PASSWORD"),
            token: variable("NATS_TOKEN"),
        };
        Ok(Self {
            urls: urls(text(&args.server, "NATS_URL").as_deref(), &context)?,
            identity: match given.identity(&Origin::Environment)? {
                Identity::None => context.identity()?,
                identity => identity,
            },
            tls: tls(
                Tls {
                    ca: path(&args.tls_ca, "NATS_CA"),
                    cert: path(&args.tls_cert, "NATS_CERT"),
                    key: path(&args.tls_key, "NATS_KEY"),
                    first: args.tls_first,
                },
                &context,
            )?,
            js_domain: text(&args.js_domain, "NATS_JS_DOMAIN").or(context.jetstream_domain.clone()),
            inbox_prefix: text(&args.inbox_prefix, "NATS_INBOX_PREFIX")
                .or(context.inbox_prefix.clone()),
            subjects: match text(&args.prefix, "LOCKSTEP_PREFIX") {
                Some(prefix) => prefix.parse()?,
                None => Subjects::default(),
            },
            timeout: match text(&args.nats_timeout, "NATS_TIMEOUT") {
                Some(timeout) => parse_timeout(&timeout)?,
                None => DEFAULT_TIMEOUT,
            },
        })
    }

    /// The addresses without the passwords that they may hold, for messages.
    pub fn shown_urls(&self) -> String {
        let shown: Vec<String> = self.urls.iter().map(|url| without_secret(url)).collect();
        shown.join(", ")
    }
}

/// The address without user and password.
fn without_secret(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").map_or(("", url), |(scheme, rest)| (scheme, rest));
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    if scheme.is_empty() { host.to_owned() } else { format!("{scheme}://{host}") }
}

fn urls(given: Option<&str>, context: &Context) -> Result<Vec<String>, SettingsError> {
    let text = given.or(context.url.as_deref()).unwrap_or(DEFAULT_URL);
    let urls: Vec<String> =
        text.split(',').map(|url| url.trim().to_owned()).filter(|url| !url.is_empty()).collect();
    for url in &urls {
        url.parse::<async_nats::ServerAddr>().map_err(|source| SettingsError::Url {
            url: without_secret(url),
            reason: source.to_string(),
        })?;
    }
    if urls.is_empty() {
        return Err(SettingsError::Url { url: text.to_owned(), reason: "it is empty".to_owned() });
    }
    Ok(urls)
}

fn tls(given: Tls, context: &Context) -> Result<Tls, SettingsError> {
    let tls = Tls {
        ca: given.ca.or_else(|| context.path(&context.ca)),
        cert: given.cert.or_else(|| context.path(&context.cert)),
        key: given.key.or_else(|| context.path(&context.key)),
        first: given.first || context.tls_first,
    };
    for path in [&tls.ca, &tls.cert, &tls.key].into_iter().flatten() {
        read(path, "TLS file")?;
    }
    match (&tls.cert, &tls.key) {
        (Some(_), None) => Err(SettingsError::Incomplete {
            have: "a certificate",
            lack: "its key (--tls-key, NATS_KEY)",
        }),
        (None, Some(_)) => Err(SettingsError::Incomplete {
            have: "a certificate's key",
            lack: "the certificate (--tls-cert, NATS_CERT)",
        }),
        _ => Ok(tls),
    }
}

fn read(path: &Path, what: &'static str) -> Result<String, SettingsError> {
    std::fs::read_to_string(path).map_err(|source| SettingsError::Unreadable {
        path: path.to_owned(),
        what,
        source,
    })
}

fn parse_timeout(text: &str) -> Result<Duration, SettingsError> {
    let wrong = || SettingsError::Timeout { text: text.to_owned() };
    let parsed: jiff::SignedDuration = text.parse().map_err(|_| wrong())?;
    let timeout = Duration::try_from(parsed).map_err(|_| wrong())?;
    if timeout.is_zero() { Err(wrong()) } else { Ok(timeout) }
}

#[cfg(test)]
mod tests;
