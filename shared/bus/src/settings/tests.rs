//! Where each setting comes from, and what is said when it is wrong.

use std::collections::BTreeMap;

use clap::Parser;

use super::*;

const SEED: &str = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY";

/// A home folder with contexts, and an environment.
struct World {
    home: tempfile::TempDir,
    variables: BTreeMap<String, String>,
}

impl World {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(home.path().join("config/nats/context")).unwrap();
        let variables = BTreeMap::from([
            ("HOME".to_owned(), home.path().display().to_string()),
            ("XDG_CONFIG_HOME".to_owned(), home.path().join("config").display().to_string()),
        ]);
        Self { home, variables }
    }

    fn set(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    fn file(self, path: &str, text: &str) -> Self {
        std::fs::write(self.home.path().join(path), text).unwrap();
        self
    }

    fn resolve(&self, args: &ConnectionArgs) -> Result<Connection, SettingsError> {
        Connection::resolve_with(args, &|name| self.variables.get(name).cloned())
    }

    fn path(&self, path: &str) -> PathBuf {
        self.home.path().join(path)
    }
}

#[test]
fn without_any_setting_the_local_server_is_used() {
    let connection = World::new().resolve(&ConnectionArgs::default()).unwrap();
    assert_eq!(connection, Connection::to(DEFAULT_URL));
}

#[test]
fn a_flag_wins_over_a_variable_and_a_variable_over_the_selected_context() {
    let world = World::new()
        .file("config/nats/context.txt", "prod\n")
        .file(
            "config/nats/context/prod.json",
            r#"{"url":"nats://context:4222","jetstream_domain":"hub","inbox_prefix":"_I","user":"u","password":"p"}"#,
        )
        .set("NATS_URL", "nats://one:4222, nats://two:4222");
    let connection = world.resolve(&ConnectionArgs::default()).unwrap();
    assert_eq!(connection.urls, ["nats://one:4222", "nats://two:4222"]);
    assert_eq!(connection.js_domain.as_deref(), Some("hub"));
    assert_eq!(connection.inbox_prefix.as_deref(), Some("_I"));
    assert_eq!(connection.identity, Identity::User("u".to_owned(), "p".to_owned()));
    let args = ConnectionArgs {
        server: Some("nats://flag:4222".to_owned()),
        js_domain: Some("leaf".to_owned()),
        ..ConnectionArgs::default()
    };
    let connection = world.resolve(&args).unwrap();
    assert_eq!(connection.urls, ["nats://flag:4222"]);
    assert_eq!(connection.js_domain.as_deref(), Some("leaf"));
}

#[test]
fn an_identity_is_taken_whole_from_one_place() {
    let world = World::new()
        .file("config/nats/context/prod.json", r#"{"user":"u","password":"p"}"#)
        .set("NATS_CONTEXT", "prod")
        .set("NATS_TOKEN", "t");
    let connection = world.resolve(&ConnectionArgs::default()).unwrap();
    assert_eq!(connection.identity, Identity::Token("t".to_owned()));
}

#[test]
fn a_user_without_a_password_is_a_token_as_in_the_nats_cli() {
    let world = World::new().set("NATS_USER", "secret");
    let connection = world.resolve(&ConnectionArgs::default()).unwrap();
    assert_eq!(connection.identity, Identity::Token("secret".to_owned()));
    let error = World::new().set("NATS_PASSWORD", "x").resolve(&ConnectionArgs::default());
    assert!(error.unwrap_err().to_string().contains("NATS_USER"));
}

#[test]
fn credentials_and_keys_are_read_from_their_files() {
    let creds = super::context::credentials_text("a.b.c", SEED);
    let world =
        World::new().file("user.creds", &creds).file("user.nk", &format!("# key\n{SEED}\n"));
    let with_creds =
        ConnectionArgs { creds: Some(world.path("user.creds")), ..ConnectionArgs::default() };
    assert_eq!(world.resolve(&with_creds).unwrap().identity, Identity::Credentials(creds));
    let with_key =
        ConnectionArgs { nkey: Some(world.path("user.nk")), ..ConnectionArgs::default() };
    assert_eq!(world.resolve(&with_key).unwrap().identity, Identity::Nkey(SEED.to_owned()));
    let swapped =
        ConnectionArgs { creds: Some(world.path("user.nk")), ..ConnectionArgs::default() };
    let error = world.resolve(&swapped).unwrap_err().to_string();
    assert!(error.contains("user.nk") && error.contains("nsc generate creds"), "{error}");
    let missing =
        ConnectionArgs { nkey: Some(world.path("absent.nk")), ..ConnectionArgs::default() };
    assert!(world.resolve(&missing).unwrap_err().to_string().contains("absent.nk"));
}

#[test]
fn a_context_may_name_files_below_the_home_folder() {
    let world = World::new()
        .file("ca.pem", "x")
        .file("user.nk", SEED)
        .file(
            "config/nats/context/home.json",
            r#"{"ca":"~/ca.pem","nkey":"~/user.nk","tls_first":true}"#,
        )
        .set("NATS_CONTEXT", "home");
    let connection = world.resolve(&ConnectionArgs::default()).unwrap();
    assert_eq!(connection.tls.ca, Some(world.path("ca.pem")));
    assert!(connection.tls.first);
    assert_eq!(connection.identity, Identity::Nkey(SEED.to_owned()));
}

#[test]
fn a_missing_context_is_named_with_those_that_exist() {
    let world = World::new()
        .file("config/nats/context/prod.json", "{}")
        .file("config/nats/context/test.json", "{}")
        .set("NATS_CONTEXT", "prdo");
    let error = world.resolve(&ConnectionArgs::default()).unwrap_err().to_string();
    assert!(error.contains("prdo") && error.contains("prod, test"), "{error}");
    let outside = World::new().set("NATS_CONTEXT", "../../etc/passwd");
    assert!(matches!(
        outside.resolve(&ConnectionArgs::default()),
        Err(SettingsError::NoContext { .. })
    ));
}

#[test]
fn what_we_cannot_do_is_refused_rather_than_ignored() {
    let nsc = World::new()
        .file("config/nats/context/n.json", r#"{"nsc":"nsc://a/b/c"}"#)
        .set("NATS_CONTEXT", "n");
    assert!(nsc.resolve(&ConnectionArgs::default()).unwrap_err().to_string().contains("nsc"));
    let proxy = World::new().set("NATS_SOCKS_PROXY", "socks5://p:1");
    assert!(proxy.resolve(&ConnectionArgs::default()).unwrap_err().to_string().contains("SOCKS"));
    let half = World::new().file("c.pem", "x");
    let args = ConnectionArgs { tls_cert: Some(half.path("c.pem")), ..ConnectionArgs::default() };
    assert!(half.resolve(&args).unwrap_err().to_string().contains("NATS_KEY"));
}

#[test]
fn bad_values_are_named_with_what_to_write_instead() {
    let cases = [
        ("NATS_URL", "http://x", "nats://host:port"),
        ("NATS_TIMEOUT", "soon", "5s"),
        ("NATS_TIMEOUT", "-1s", "5s"),
        ("LOCKSTEP_PREFIX", "a.*", "a.*"),
    ];
    for (name, value, hint) in cases {
        let error = World::new().set(name, value).resolve(&ConnectionArgs::default());
        let error = error.unwrap_err().to_string();
        assert!(error.contains(hint), "{name}={value}: {error}");
    }
    let world = World::new().set("NATS_TIMEOUT", "1m30s");
    assert_eq!(world.resolve(&ConnectionArgs::default()).unwrap().timeout.as_secs(), 90);
}

#[test]
fn a_password_in_an_address_is_never_shown() {
    let connection = Connection::to("nats://user:secret@host:4222");
    assert_eq!(connection.shown_urls(), "nats://host:4222");
    let user = Identity::User("u".to_owned(), "secret".to_owned());
    assert!(!format!("{user:?}").contains("secret"));
}

#[derive(clap::Parser)]
struct Program {
    #[command(flatten)]
    connection: ConnectionArgs,
}

#[test]
fn no_flag_takes_a_secret() {
    let parsed = Program::parse_from(["x", "--server", "nats://h", "--tlsfirst"]);
    assert!(parsed.connection.tls_first);
    for flag in ["--password=x", "--user=x", "--token=x"] {
        assert!(Program::try_parse_from(["x", flag]).is_err(), "{flag} was taken");
    }
}
