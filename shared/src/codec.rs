//! Between stored bytes and entries of the log.
//!
//! Decides whether a stored message is valid *by itself* (PROTOCOL section 3): it parses, its
//! inner subject is its subject, its source fits, its kind and protocol are known, and no server
//! position was smuggled in. What a valid record means is the fold's business.

use serde::{Deserialize, Serialize};

use crate::{
    id::{RunKey, Sequence},
    plan::PROTOCOL,
    record::{MAX_CLOSED_BYTES, MAX_RECORD_BYTES, Record},
    source::Source,
    subject::{Family, STREAM, Slot, Subjects},
    time::Timestamp,
};

/// A message as a reader got it, before anything in it is believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawMessage {
    /// Its position in the stream: from the consumer's acknowledgement subject, or the *last*
    /// `Nats-Sequence` header of a direct get or republished copy.
    pub seq: Sequence,
    /// When the server stored it, likewise.
    pub time: Timestamp,
    /// The subject it was stored under.
    pub subject: String,
    /// Its headers in order, with every value of a name.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub payload: Vec<u8>,
    /// Which way it came.
    pub via: Via,
}

/// Which way a message came, and so which headers the server itself added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// A consumer: headers as stored.
    Consumer,
    /// A direct get or a republished copy: the server's own position headers stand last.
    Copy,
}

/// A message of the log, judged by itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Entry {
    /// Its position in the stream.
    pub seq: Sequence,
    /// When the server stored it.
    pub time: Timestamp,
    /// The run it belongs to.
    pub key: RunKey,
    /// Its slot in that run.
    pub slot: Slot,
    /// The record, or why it is rubbish.
    pub content: Result<Stated, Rubbish>,
}

/// A valid record with who stated it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Stated {
    /// The event's id: `ce-id`.
    pub event: String,
    /// Who wrote it, by role.
    pub source: Source,
    /// What it says.
    pub record: Record,
}

/// Why a stored message is not a record; everybody skips it and the next slot is used.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Rubbish {
    /// It was stored with headers that only the server may add.
    #[error("it carries a forged position ({0})")]
    ForgedPosition(&'static str),
    /// A header is absent or unreadable.
    #[error("its header {0} is missing or unreadable")]
    Header(&'static str),
    /// The body is no JSON of a known kind.
    #[error("its body is no record: {0}")]
    Body(String),
    /// The subject inside is another one.
    #[error("it says that it belongs to {0:?}")]
    Subject(String),
    /// The kind does not belong into this slot.
    #[error("a {0} has no place here")]
    Kind(&'static str),
    /// The writer's role does not fit the slot.
    #[error("its source {0:?} does not write here")]
    Source(String),
    /// It is written in another version of the protocol.
    #[error("it speaks protocol {0}; this build speaks {PROTOCOL}")]
    Protocol(u32),
}

/// A record ready to be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// Where it goes.
    pub subject: String,
    /// The event's id, for `ce-id` and, until it turns out used elsewhere, `Nats-Msg-Id`.
    pub event: String,
    /// All headers but `Nats-Msg-Id`.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub payload: Vec<u8>,
}

/// Why a record cannot be published.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a {kind} of {bytes} bytes is larger than the {limit} that this record may take")]
pub struct TooLarge {
    /// The record's kind.
    pub kind: &'static str,
    /// Its size as stored.
    pub bytes: usize,
    /// The limit for its kind.
    pub limit: usize,
}

#[derive(Serialize)]
struct BodyOut<'a> {
    subject: &'a str,
    protocol: u32,
    #[serde(flatten)]
    record: &'a Record,
}

#[derive(Deserialize)]
struct Envelope {
    subject: String,
    protocol: u32,
}

const TYPE_PREFIX: &str = "dev.lockstep.";
const JSON: &str = "application/json";

/// The record as a CloudEvent in binary mode.
///
/// # Errors
/// [`TooLarge`] if the body is over its kind's limit.
pub fn encode(
    subjects: &Subjects,
    key: &RunKey,
    slot: &Slot,
    record: &Record,
    source: &Source,
    now: Timestamp,
    traceparent: Option<&str>,
) -> Result<Draft, TooLarge> {
    let subject = subjects.slot(key, slot);
    let body = BodyOut { subject: &subject, protocol: PROTOCOL, record };
    let payload = serde_json::to_vec(&body).expect("a record has only string keys");
    let event = uuid::Uuid::now_v7().to_string();
    let mut headers = vec![
        ("ce-specversion".to_owned(), "1.0".to_owned()),
        ("ce-id".to_owned(), event.clone()),
        ("ce-type".to_owned(), format!("{TYPE_PREFIX}{}", record.kind())),
        ("ce-source".to_owned(), source.to_string()),
        ("ce-subject".to_owned(), subject.clone()),
        ("ce-time".to_owned(), now.to_string()),
        ("content-type".to_owned(), JSON.to_owned()),
        ("Nats-Expected-Stream".to_owned(), STREAM.to_owned()),
    ];
    if let Some(traceparent) = traceparent {
        headers.push(("traceparent".to_owned(), traceparent.to_owned()));
    }
    let headers_size: usize = headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    let bytes = payload.len() + headers_size;
    let limit = match record {
        // The plan's own limit is checked where it is made; this leaves room for the envelope.
        Record::Plan { .. } => crate::plan::MAX_PLAN_BYTES + 8 * 1024,
        Record::Closed { .. } => MAX_CLOSED_BYTES,
        _ => MAX_RECORD_BYTES,
    };
    if bytes > limit {
        return Err(TooLarge { kind: record.kind(), bytes, limit });
    }
    Ok(Draft { subject, event, headers, payload })
}

/// Judges a message by itself; `None` if its subject is no slot of ours.
pub fn decode(subjects: &Subjects, message: &RawMessage) -> Option<Entry> {
    let (key, slot) = subjects.parse(&message.subject)?;
    let content = judge(message, &key, &slot);
    Some(Entry { seq: message.seq, time: message.time, key, slot, content })
}

fn judge(message: &RawMessage, key: &RunKey, slot: &Slot) -> Result<Stated, Rubbish> {
    refuse_forged_position(message)?;
    let event = header(message, "ce-id")?.to_owned();
    let kind = header(message, "ce-type")?;
    let source = header(message, "ce-source")?;
    let envelope: Envelope = serde_json::from_slice(&message.payload).map_err(body)?;
    if envelope.subject != message.subject {
        return Err(Rubbish::Subject(envelope.subject));
    }
    if envelope.protocol != PROTOCOL {
        return Err(Rubbish::Protocol(envelope.protocol));
    }
    let record: Record = serde_json::from_slice(&message.payload).map_err(body)?;
    if kind.strip_prefix(TYPE_PREFIX) != Some(record.kind()) {
        return Err(Rubbish::Header("ce-type"));
    }
    if !belongs(&record, &slot.family) {
        return Err(Rubbish::Kind(record.kind()));
    }
    if let Record::Plan { plan, .. } = &record {
        if plan.protocol != PROTOCOL {
            return Err(Rubbish::Protocol(plan.protocol));
        }
        if plan.pipeline != key.pipeline {
            return Err(Rubbish::Body(format!("it is a plan of pipeline {}", plan.pipeline)));
        }
    }
    let source = source
        .parse::<Source>()
        .ok()
        .filter(|parsed| parsed.fits(&key.pipeline, &slot.family))
        .ok_or_else(|| Rubbish::Source(source.to_owned()))?;
    Ok(Stated { event, source, record })
}

fn body(error: serde_json::Error) -> Rubbish {
    Rubbish::Body(error.to_string())
}

/// All readers must agree, whichever way the message came: a consumer shows stored headers as
/// they are, a copy has the server's own values behind the stored ones.
fn refuse_forged_position(message: &RawMessage) -> Result<(), Rubbish> {
    let count = |name: &str| message.headers.iter().filter(|(key, _)| key == name).count();
    let own = match message.via {
        Via::Consumer => 0,
        Via::Copy => 1,
    };
    for name in ["Nats-Stream", "Nats-Sequence"] {
        if count(name) > own {
            return Err(Rubbish::ForgedPosition(name));
        }
    }
    if count("Nats-Scheduler") > 0 {
        return Err(Rubbish::ForgedPosition("Nats-Scheduler"));
    }
    Ok(())
}

fn header<'a>(message: &'a RawMessage, name: &'static str) -> Result<&'a str, Rubbish> {
    let found = message.headers.iter().find(|(key, _)| key == name);
    found.map(|(_, value)| value.as_str()).ok_or(Rubbish::Header(name))
}

/// Whether a record of this kind may stand in this family.
fn belongs(record: &Record, family: &Family) -> bool {
    match record {
        Record::Plan { .. } => matches!(family, Family::Plan),
        Record::Admitted {} | Record::Refused { .. } => matches!(family, Family::Admission),
        Record::Joined { .. }
        | Record::StepStarted { .. }
        | Record::StepFinished { .. }
        | Record::Failed { .. }
        | Record::RollingBack { .. }
        | Record::RolledBack { .. }
        | Record::RollbackFailed { .. }
        | Record::Finalized { .. }
        | Record::Left { .. } => matches!(family, Family::Workflow(_)),
        Record::Arrived { .. } => matches!(family, Family::Party(..)),
        // Foreign parties know only the barriers that a user declared.
        Record::PartyFailed { .. } => {
            matches!(family, Family::Party(barrier, _) if !barrier.is_built_in())
        }
        Record::Released { .. } => {
            matches!(family, Family::BarrierVerdict(barrier) if !barrier.is_commit())
        }
        Record::Aborted { .. } => match family {
            Family::BarrierVerdict(barrier) => !barrier.is_commit(),
            Family::Verdict | Family::Outcome(_) => true,
            _ => false,
        },
        Record::Committed { .. } => matches!(family, Family::Verdict | Family::Outcome(_)),
        Record::DeadlinePassed { .. } | Record::AgentLost { .. } => matches!(family, Family::Clock),
        Record::AbortRequested { .. }
        | Record::ResumeRequested { .. }
        | Record::AcceptRequested { .. } => matches!(family, Family::Request),
        Record::Closed { .. } => matches!(family, Family::Closed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::BarrierId;

    fn key() -> RunKey {
        RunKey { pipeline: "shop".parse().unwrap(), run: "r1".parse().unwrap() }
    }

    fn coordinator() -> Source {
        Source::Coordinator("c1".to_owned())
    }

    fn stored(slot: &Slot, record: &Record, source: &Source) -> RawMessage {
        let subjects = Subjects::default();
        let draft =
            encode(&subjects, &key(), slot, record, source, Timestamp(1), None).expect("it fits");
        RawMessage {
            seq: 7,
            time: Timestamp(9),
            subject: draft.subject,
            headers: draft.headers,
            payload: draft.payload,
            via: Via::Consumer,
        }
    }

    fn rubbish(message: &RawMessage) -> Rubbish {
        decode(&Subjects::default(), message).unwrap().content.unwrap_err()
    }

    fn released() -> RawMessage {
        let slot = Family::BarrierVerdict("BE".parse().unwrap()).slot(2);
        stored(&slot, &Record::Released { at: 5 }, &coordinator())
    }

    #[test]
    fn a_record_is_read_back_as_it_was_written() {
        let entry = decode(&Subjects::default(), &released()).unwrap();
        assert_eq!((entry.seq, entry.time, entry.key), (7, Timestamp(9), key()));
        let stated = entry.content.unwrap();
        assert_eq!(stated.record, Record::Released { at: 5 });
        assert_eq!(stated.source, coordinator());
    }

    #[test]
    fn a_stored_position_is_a_forgery_whichever_way_it_comes() {
        for name in ["Nats-Stream", "Nats-Sequence", "Nats-Scheduler"] {
            let mut message = released();
            message.headers.push((name.to_owned(), "1".to_owned()));
            assert!(matches!(rubbish(&message), Rubbish::ForgedPosition(_)), "{name}");
            message.via = Via::Copy;
            message.headers.push(("Nats-Stream".to_owned(), STREAM.to_owned()));
            message.headers.push(("Nats-Sequence".to_owned(), "7".to_owned()));
            assert!(matches!(rubbish(&message), Rubbish::ForgedPosition(_)), "{name}");
        }
        let mut copy = released();
        copy.via = Via::Copy;
        copy.headers.push(("Nats-Stream".to_owned(), STREAM.to_owned()));
        copy.headers.push(("Nats-Sequence".to_owned(), "7".to_owned()));
        assert!(decode(&Subjects::default(), &copy).unwrap().content.is_ok());
    }

    #[test]
    fn a_record_moved_to_another_subject_is_rubbish() {
        let mut message = released();
        message.subject = "lockstep.run.shop.r1.barrier.FE.verdict.1".to_owned();
        assert!(matches!(rubbish(&message), Rubbish::Subject(_)));
    }

    #[test]
    fn a_writer_in_another_ones_slot_is_rubbish() {
        let slot = Family::Verdict.slot(1);
        let agent = Source::Agent(key().pipeline, "backend".parse().unwrap(), "i".to_owned());
        let message = stored(&slot, &Record::Committed { at: 5 }, &agent);
        assert!(matches!(rubbish(&message), Rubbish::Source(_)));
    }

    #[test]
    fn a_kind_in_the_wrong_family_is_rubbish() {
        let commit = Family::BarrierVerdict(BarrierId::commit()).slot(1);
        let message = stored(&commit, &Record::Released { at: 5 }, &coordinator());
        assert_eq!(rubbish(&message), Rubbish::Kind("Released"));
        let message = stored(&Family::Verdict.slot(1), &Record::Admitted {}, &coordinator());
        assert_eq!(rubbish(&message), Rubbish::Kind("Admitted"));
    }

    #[test]
    fn parity_32_another_protocol_is_named_even_if_its_kinds_are_unknown() {
        let mut message = released();
        message.payload = serde_json::to_vec(&serde_json::json!({
            "subject": message.subject, "protocol": 2, "kind": "Reconsidered",
        }))
        .unwrap();
        assert_eq!(rubbish(&message), Rubbish::Protocol(2));
    }

    #[test]
    fn a_server_reply_in_a_slot_is_rubbish() {
        for payload in [&br#"{"stream":"LOCKSTEP","seq":3}"#[..], b"", b"\xff\xfe", b"[]", b"null"]
        {
            let mut message = released();
            message.payload = payload.to_vec();
            assert!(matches!(rubbish(&message), Rubbish::Body(_)));
            message.headers.clear();
            assert!(matches!(rubbish(&message), Rubbish::Header(_)));
        }
    }

    #[test]
    fn a_record_over_its_size_is_refused_before_it_is_sent() {
        let reason = "x".repeat(MAX_RECORD_BYTES);
        let record = Record::Refused { reason, cancelled: false, at: None };
        let slot = Family::Admission.slot(1);
        let refused = encode(
            &Subjects::default(),
            &key(),
            &slot,
            &record,
            &coordinator(),
            Timestamp(1),
            None,
        );
        assert!(refused.is_err_and(|error| error.kind == "Refused"));
    }

    #[test]
    fn damaged_bytes_never_panic() {
        let good = released();
        for at in 0..good.payload.len() {
            for flip in [1, 0x20, 0x80] {
                let mut message = good.clone();
                message.payload[at] ^= flip;
                let _ = decode(&Subjects::default(), &message);
                message.payload.truncate(at);
                let _ = decode(&Subjects::default(), &message);
            }
        }
    }
}
