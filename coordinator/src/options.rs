//! What a coordinator can be told.

use lockstep_bus::StreamOptions;

/// A coordinator's own flags.
#[derive(Debug, Clone, clap::Args)]
pub struct CoordinatorArgs {
    /// Replicas of the streams, if this coordinator creates them; 3 in production
    #[arg(long, env = "LOCKSTEP_REPLICAS", value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(u8).range(1..=5))]
    replicas: u8,
    /// How this coordinator calls itself in the log [default: the host's name and process id]
    #[arg(long, env = "LOCKSTEP_INSTANCE", value_name = "NAME")]
    instance: Option<String>,
}

/// What a coordinator is told.
#[derive(Debug, Clone)]
pub struct Options {
    /// How streams are created if they are absent.
    pub streams: StreamOptions,
    /// How this coordinator calls itself in the log.
    pub instance: String,
}

impl From<CoordinatorArgs> for Options {
    fn from(args: CoordinatorArgs) -> Self {
        let streams =
            StreamOptions { replicas: usize::from(args.replicas), ..StreamOptions::default() };
        Self { streams, instance: args.instance.unwrap_or_else(default_instance) }
    }
}

fn default_instance() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let host = host.or_else(|| std::env::var("HOSTNAME").ok()).unwrap_or_default();
    let host = host.trim();
    format!("{}-{}", if host.is_empty() { "coordinator" } else { host }, std::process::id())
}
