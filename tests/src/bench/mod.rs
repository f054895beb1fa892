//! The two sides of the barrier benchmark: real agents with a foreign party as the last to
//! arrive, and bare clients that do no more than NATS must; and both of the deployment benchmark.

mod deploy;
mod floor;
mod real;

use std::time::Duration;

pub use deploy::{Compared, Shape, compare};
pub use floor::Floor;
pub use real::{Agents, Gate};

/// The value below which this percentage of the values lies.
pub fn percentile(values: &mut [Duration], percent: usize) -> Duration {
    values.sort_unstable();
    let index = (values.len() * percent).div_ceil(100).saturating_sub(1);
    values.get(index).copied().unwrap_or_default()
}
