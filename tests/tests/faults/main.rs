//! Faults at every point of a run on a real control plane. The product has no hook for this: a
//! proxy stands between each agent and its API server.

mod every_write;
mod finalizer;
mod large;
mod lost;
mod machines;
mod mixed;
mod outage;
mod plain;
mod site;
mod states;
