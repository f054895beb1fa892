//! What the doctor looks at, in order.

use std::time::Duration;

use lockstep_bus::{
    Bus, Connection, ConnectionArgs,
    stream::{StreamError, StreamReport, StreamReports},
};
use lockstep_shared::time::{Span, Timestamp};
use tokio::time::Instant;

use super::{
    Look, State,
    role::{self, Claim, Role},
};
use crate::{
    exit::Exit,
    failure::Failure,
    find,
    online::{close, connect_to, settings, soon},
    report::{Coordinator, rough},
    watching::coordinator,
    who::now,
};

/// How far two clocks may be apart before a person should know: deadlines are judged by the
/// server's, but what people read on their screens is not.
const SKEW: Span = Span::seconds(2);

/// The smallest `max_payload` with which the sizes of the protocol hold as they are.
const FULL_PAYLOAD: usize = 1024 * 1024;

/// The oldest server that knows everything that is used here.
const OLDEST_SERVER: (u32, u32) = (2, 12);

/// The server that this build is tested with.
const TESTED_SERVER: &str = "2.15.1";

/// How full a stream may be before a person should know.
const FILL_WARNING: u64 = 60;

/// How long one look may take.
const LOOK: Duration = Duration::from_secs(5);

pub(super) async fn look(args: &ConnectionArgs, claim: &Claim, looks: &mut Vec<Look>) -> Exit {
    let connection = match settings(args) {
        Ok(connection) => connection,
        Err(failure) => {
            looks.push(Look::of("settings", &failure));
            return Exit::Invalid;
        }
    };
    looks.push(Look::ok("settings", shown(&connection)));
    let bus = match connect_to(&connection, "doctor").await {
        Ok(bus) => bus,
        Err(failure) => {
            let failure = Failure { help: None, ..failure };
            looks.push(Look {
                next: Some(
                    "check the address and the credentials; `lockstep dev FILE` brings its own \
                     server"
                        .to_owned(),
                ),
                ..Look::of("connection", &failure)
            });
            return Exit::Unavailable;
        }
    };
    look_at_server(&bus, looks);
    if claim.role.is_none_or(Role::follows) {
        look_at_streams(&bus, looks).await;
        looks.push(look_at_following(&bus).await);
    } else {
        look_at_log(&bus, looks).await;
    }
    looks.push(look_at_reading(&bus, claim).await);
    looks.push(look_at_coordinator(&bus, claim).await);
    looks.push(look_at_clock(&bus).await);
    // A rehearsal that is denied tells it itself.
    looks.extend(look_at_refusals(&bus));
    looks.extend(role::look(&bus, claim).await);
    close(bus).await;
    let worst = looks.iter().map(|look| look.state).max().unwrap_or(State::Ok);
    if worst == State::Fail { Exit::Unavailable } else { Exit::Done }
}

fn shown(connection: &Connection) -> String {
    let domain = connection.js_domain.as_ref().map(|domain| format!(", domain {domain}"));
    format!(
        "{} with {}, subjects {}.>{}",
        connection.shown_urls(),
        connection.identity.kind(),
        connection.subjects.prefix(),
        domain.unwrap_or_default()
    )
}

fn look_at_server(bus: &Bus, looks: &mut Vec<Look>) {
    let version = bus.server_version();
    let numbers: Vec<u32> = version.split('.').map_while(|part| part.parse().ok()).collect();
    let old = matches!(numbers.as_slice(), [major, minor, ..] if (*major, *minor) < OLDEST_SERVER);
    looks.push(if old {
        Look::fail(
            "server",
            format!("nats-server {version} is too old"),
            &format!(
                "use {}.{} or newer; {TESTED_SERVER} is tested",
                OLDEST_SERVER.0, OLDEST_SERVER.1
            ),
        )
    } else {
        Look::ok("server", format!("nats-server {version}"))
    });
    let payload = bus.max_payload();
    looks.push(if payload < FULL_PAYLOAD {
        Look::warn(
            "max_payload",
            format!("{payload} bytes: plans are limited to that less 64 KiB"),
            "set the server's max_payload to 1MB or more",
        )
    } else {
        Look::ok("max_payload", format!("{payload} bytes"))
    });
}

async fn look_at_streams(bus: &Bus, looks: &mut Vec<Look>) {
    match bus.inspect_streams(Instant::now() + LOOK).await {
        Ok(StreamReports { log, bundles }) => {
            for stream in [&log, &bundles] {
                looks.extend(look_at_stream(stream));
            }
        }
        Err(error) => {
            let next = match &error {
                StreamError::Absent(_) => "start lockstep-coordinator: it creates the streams",
                StreamError::Mismatch { .. } => {
                    "correct these fields, or give Lockstep an account or a prefix of its own"
                }
                StreamError::NoJetStream(_) | StreamError::NoRoom { .. } => {
                    "give the server JetStream with enough storage for this account"
                }
                StreamError::Denied(_) => {
                    "a viewer's credentials are enough for this; an agent's or a party's are \
                     looked at with --role agent or --role party"
                }
                StreamError::Failed { .. } => "try again; if it stays, look into the server's log",
            };
            looks.push(Look::fail("streams", error.to_string(), next));
        }
    }
}

/// The same, as far as it is seen by who reads without consumers, perhaps from an account of its
/// own.
async fn look_at_log(bus: &Bus, looks: &mut Vec<Look>) {
    match bus.log_report(Instant::now() + LOOK).await {
        Ok(log) => looks.extend(look_at_stream(&log)),
        Err(error) => looks.push(Look::fail(
            "streams",
            error.to_string(),
            "allow the log's state ($JS.API.STREAM.INFO.LOCKSTEP) to these credentials, and start \
             lockstep-coordinator, which creates the streams",
        )),
    }
}

fn look_at_stream(stream: &StreamReport) -> Vec<Look> {
    let mut looks = vec![Look::ok(
        "stream",
        format!(
            "{}: {} records, {} replicas, kept {}",
            stream.name,
            stream.messages,
            stream.replicas,
            kept(stream.max_age)
        ),
    )];
    for warning in &stream.warnings {
        looks.push(Look::warn(
            "safety",
            warning.as_str(),
            "fine for development; see docs/operations.md for production",
        ));
    }
    let percent = stream.fill_percent();
    let found = format!("{}: {percent} % of {} bytes", stream.name, stream.max_bytes);
    looks.push(if stream.refuses_plans() {
        Look::fail("fill", found, "no new run is accepted: raise max_bytes, or wait for max_age")
    } else if percent > FILL_WARNING {
        Look::warn("fill", found, "above 80 % no new run is accepted: raise max_bytes in time")
    } else {
        Look::ok("fill", found)
    });
    looks
}

fn kept(max_age: Span) -> String {
    if max_age == Span(u64::MAX) { "for ever".to_owned() } else { format!("for {max_age}") }
}

/// By a consumer.
async fn look_at_following(bus: &Bus) -> Look {
    match find::planned(bus).await {
        Ok(planned) => Look::ok("following", format!("{} runs are in the log", planned.len())),
        Err(failure) => Look::of("following", &failure),
    }
}

/// By a direct get.
async fn look_at_reading(bus: &Bus, claim: &Claim) -> Look {
    let filter = [bus.subjects().plans_of(&claim.key().pipeline)];
    match bus.read(&filter, 0, soon()).await {
        // More than one reading may hold is an answer too.
        Ok(_) | Err(lockstep_bus::ReadError::TooMany) => Look::ok("reading", "may read records"),
        Err(error) => Look::fail(
            "reading",
            error.to_string(),
            "allow direct gets ($JS.API.DIRECT.GET.LOCKSTEP) to these credentials",
        ),
    }
}

async fn look_at_coordinator(bus: &Bus, claim: &Claim) -> Look {
    if claim.role == Some(Role::Coordinator) {
        return Look::ok("coordinator", "not asked: a coordinator's credentials answer");
    }
    // Any pipeline will do: it is the answer that counts, not what it says.
    let told = coordinator(bus, &claim.key(), Some(claim.party())).await;
    match told.coordinator {
        Coordinator::Alive => Look::ok("coordinator", "answers"),
        Coordinator::Silent => Look::fail(
            "coordinator",
            "none answers: nothing is admitted, released, timed out or closed",
            "start lockstep-coordinator; any number may run",
        ),
        Coordinator::NotAsked | Coordinator::Unknown if claim.role.is_some() => Look::fail(
            "coordinator",
            told.why.unwrap_or_else(|| "nobody could be asked".to_owned()),
            "grant it; docs/operations.md lists what each role needs",
        ),
        Coordinator::NotAsked | Coordinator::Unknown => Look::warn(
            "coordinator",
            told.why.unwrap_or_else(|| "nobody could be asked".to_owned()),
            "ask with credentials of an agent, party, submitter, operator or viewer",
        ),
    }
}

async fn look_at_clock(bus: &Bus) -> Look {
    let asked = now();
    let server = match bus.server_time(Instant::now() + LOOK).await {
        Ok(server) => server.and_then(|text| text.parse::<jiff::Timestamp>().ok()),
        Err(error) => {
            return Look::warn("clock", error.to_string(), "the clocks could not be compared");
        }
    };
    let Some(server) = server else {
        return Look::warn(
            "clock",
            "the server does not tell its time",
            "compare the clocks by hand",
        );
    };
    let server = Timestamp(u64::try_from(server.as_millisecond()).unwrap_or(0));
    skew(asked, server, now())
}

/// The server's time must lie between question and answer, give or take.
fn skew(asked: Timestamp, server: Timestamp, answered: Timestamp) -> Look {
    let behind = server.since(answered);
    let ahead = asked.since(server);
    let apart = behind.max(ahead);
    if apart <= SKEW {
        return Look::ok("clock", format!("within {SKEW} of the server's"));
    }
    let which = if behind > ahead { "behind" } else { "ahead of" };
    Look::warn(
        "clock",
        format!("the clock here is {} {which} the server's", rough(apart)),
        "deadlines go by the server's clock; set this machine's clock (NTP), or times shown here \
         mislead",
    )
}

/// What the server refused meanwhile.
fn look_at_refusals(bus: &Bus) -> Option<Look> {
    let link = bus.link();
    let denial = link.borrow().denial.clone();
    denial.map(|(_, denial)| {
        Look::warn(
            "permissions",
            denial.to_string(),
            "grant it, or use the credentials of the role that has it",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_without_an_age_limit_are_kept_for_ever() {
        assert_eq!(kept(Span(u64::MAX)), "for ever");
        assert_eq!(kept(Span::minutes(60 * 72)), "for 72h");
    }

    #[test]
    fn a_clock_is_judged_by_question_and_answer() {
        let look = |server| skew(Timestamp(10_000), Timestamp(server), Timestamp(10_500));
        assert_eq!(look(10_200).state, State::Ok);
        assert_eq!(look(8_500).state, State::Ok, "within the tolerance");
        assert!(look(1_000).found.contains("9s ahead of"));
        assert!(look(20_500).found.contains("10s behind"));
    }
}
