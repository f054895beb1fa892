//! The real programs on real nats-servers: what they do together, and what they do when one of them,
//! or the server, is not as it should be. Most of them wait most of the time, so they are one program.

mod accounts;
mod cluster;
mod outages;
mod permissions;
mod refusals;
mod rubbish;
mod standby;
mod stories;
mod strangers;
