//! Pauses between attempts: longer each time, and not the same for all who try at once.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};

/// Pauses without end, doubled from the first up to the longest, each with up to as much again by
/// chance.
pub fn pauses(first: Duration, longest: Duration) -> impl Iterator<Item = Duration> + Send {
    ExponentialBuilder::default()
        .with_min_delay(first)
        .with_max_delay(longest)
        .with_jitter()
        .without_max_times()
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_from_the_first_to_about_the_longest() {
        let (first, longest) = (Duration::from_millis(50), Duration::from_secs(1));
        let pauses: Vec<Duration> = pauses(first, longest).take(20).collect();
        assert!(pauses[0] >= first && pauses[0] <= first * 2);
        assert!(pauses.iter().all(|pause| *pause <= longest * 2));
        assert!(pauses[19] >= longest);
    }
}
