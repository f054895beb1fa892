//! What a coordinator can be told.

use lockstep_bus::StreamOptions;

/// A coordinator's own flags.
#[derive(Debug, Clone, clap::Args)]
pub struct CoordinatorArgs {
    /// Replicas of the streams, if this coordinator creates them; 3 in production
    #[arg(long, env = "LOCKSTEP_REPLICAS", value_name = "N", default_value_t = 1,
          value_parser = clap::value_parser!(u8).range(1..=5))]
    replicas: u8,
    /// Size limit of the log, if this coordinator creates it: bytes, or with K, M or G
    /// [default: 8G]
    #[arg(long, env = "LOCKSTEP_LOG_MAX_BYTES", value_name = "SIZE", value_parser = size)]
    log_max_bytes: Option<u64>,
    /// Size limit of the bundles, if this coordinator creates their stream [default: 16G]
    #[arg(long, env = "LOCKSTEP_BUNDLE_MAX_BYTES", value_name = "SIZE", value_parser = size)]
    bundle_max_bytes: Option<u64>,
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
        let usual = StreamOptions::default();
        let streams = StreamOptions {
            replicas: usize::from(args.replicas),
            log_max_bytes: args.log_max_bytes.unwrap_or(usual.log_max_bytes),
            bundle_max_bytes: args.bundle_max_bytes.unwrap_or(usual.bundle_max_bytes),
        };
        Self { streams, instance: args.instance.unwrap_or_else(default_instance) }
    }
}

/// A size in bytes; `K`, `M` and `G` are powers of 1024, with or without `iB`.
fn size(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no size: use a number of bytes, or one with K, M or G");
    let digits = text.trim_end_matches("iB");
    let (digits, factor) = match digits.char_indices().last() {
        Some((at, 'K')) => (&digits[..at], 1 << 10),
        Some((at, 'M')) => (&digits[..at], 1 << 20),
        Some((at, 'G')) => (&digits[..at], 1 << 30),
        _ => (digits, 1),
    };
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    number.checked_mul(factor).filter(|bytes| *bytes > 0).ok_or_else(wrong)
}

fn default_instance() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let host = host.or_else(|| std::env::var("HOSTNAME").ok()).unwrap_or_default();
    let host = host.trim();
    format!("{}-{}", if host.is_empty() { "coordinator" } else { host }, std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_a_number_of_bytes_or_of_their_powers() {
        assert_eq!(size("1024"), Ok(1024));
        assert_eq!(size("8G"), Ok(8 << 30));
        assert_eq!(size("512MiB"), Ok(512 << 20));
        for text in ["", "0", "G", "-1", "1T", "99999999999G", "1.5G", "é"] {
            assert!(size(text).is_err(), "{text:?} was accepted");
        }
    }
}
