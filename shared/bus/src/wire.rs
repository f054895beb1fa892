//! Between the client library's messages and the codec's.
//!
//! A stored message may carry any status line and any headers its writer liked; the server adds
//! its own values last. So whether an answer *is* a stored message is told by the position that
//! the server added, and only last values are believed.

use async_nats::{HeaderMap, Message};
use lockstep_shared::{
    codec::{RawMessage, Via},
    id::Sequence,
    time::Timestamp,
};

pub(crate) const SEQUENCE: &str = "Nats-Sequence";
pub(crate) const SUBJECT: &str = "Nats-Subject";
pub(crate) const TIME: &str = "Nats-Time-Stamp";
pub(crate) const NUM_PENDING: &str = "Nats-Num-Pending";
pub(crate) const UP_TO: &str = "Nats-UpTo-Sequence";
pub(crate) const MESSAGE_ID: &str = "Nats-Msg-Id";

/// Whether the server says that this is a stored message: its own answers have no such header.
pub(crate) fn is_stored(message: &Message) -> bool {
    last(message, SEQUENCE).is_some() && last(message, SUBJECT).is_some()
}

/// Whether a consumer delivered this: the server's own words to a consumer's listener have no
/// such reply subject.
pub(crate) fn is_delivery(message: &Message) -> bool {
    message.reply.as_deref().is_some_and(|reply| reply.starts_with("$JS.ACK."))
}

/// The last value of a header, which is the server's where the server adds one.
pub(crate) fn last<'a>(message: &'a Message, name: &str) -> Option<&'a str> {
    message.headers.as_ref()?.get_last(name).map(|value| value.as_str())
}

/// The last value of a header, as a number.
pub(crate) fn last_number(message: &Message, name: &str) -> Option<u64> {
    last(message, name)?.parse().ok()
}

/// A stored message that came by direct get or as a republished copy; `None` if the server did
/// not say where it stands.
pub(crate) fn from_copy(message: Message) -> Option<RawMessage> {
    let seq = last_number(&message, SEQUENCE)?;
    let time = parse_time(last(&message, TIME)?)?;
    let subject = last(&message, SUBJECT)?.to_owned();
    Some(raw(message, seq, time, subject, Via::Copy))
}

/// A stored message that a consumer delivered; `None` if its reply subject names no position.
pub(crate) fn from_consumer(message: Message) -> Option<(Delivery, RawMessage)> {
    let delivery = Delivery::parse(message.reply.as_deref()?)?;
    let subject = message.subject.to_string();
    let raw = raw(message, delivery.stream_seq, delivery.time, subject, Via::Consumer);
    Some((delivery, raw))
}

fn raw(message: Message, seq: Sequence, time: Timestamp, subject: String, via: Via) -> RawMessage {
    let mut headers = Vec::new();
    for (name, values) in message.headers.iter().flat_map(HeaderMap::iter) {
        for value in values {
            headers.push((name.to_string(), value.as_str().to_owned()));
        }
    }
    RawMessage { seq, time, subject, headers, payload: message.payload.to_vec(), via }
}

/// Where a delivered message stands, from its acknowledgement subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Delivery {
    pub(crate) stream_seq: Sequence,
    pub(crate) consumer_seq: u64,
    pub(crate) time: Timestamp,
    /// How many matching messages stood behind this one when it was sent.
    pub(crate) pending: u64,
}

impl Delivery {
    /// `$JS.ACK.[<domain>.<account>.]<stream>.<consumer>.<tries>.<stream seq>.<consumer seq>.<ns>.<pending>[.<random>]`
    pub(crate) fn parse(reply: &str) -> Option<Self> {
        let tokens: Vec<&str> = reply.strip_prefix("$JS.ACK.")?.split('.').collect();
        let numbers = match tokens.len() {
            7 => &tokens[3..7],
            9.. => &tokens[5..9],
            _ => return None,
        };
        let number = |index: usize| numbers[index].parse::<u64>().ok();
        Some(Self {
            stream_seq: number(0)?,
            consumer_seq: number(1)?,
            time: Timestamp(number(2)? / 1_000_000),
            pending: number(3)?,
        })
    }
}

/// RFC 3339 with nanoseconds, cut to milliseconds as [`Delivery`] cuts them.
pub(crate) fn parse_time(text: &str) -> Option<Timestamp> {
    let instant: jiff::Timestamp = text.parse().ok()?;
    u64::try_from(instant.as_millisecond()).ok().map(Timestamp)
}

/// How many bytes the headers take on the wire.
pub(crate) fn header_bytes(headers: &HeaderMap) -> usize {
    let line = |name: usize, value: usize| name + ": ".len() + value + "\r\n".len();
    let lines: usize = headers
        .iter()
        .flat_map(|(name, values)| values.iter().map(move |value| (name, value)))
        .map(|(name, value)| line(AsRef::<str>::as_ref(name).len(), value.as_str().len()))
        .sum();
    "NATS/1.0\r\n\r\n".len() + lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_is_read_with_and_without_a_domain() {
        let expected = Delivery {
            stream_seq: 7,
            consumer_seq: 3,
            time: Timestamp(1_700_000_000_123),
            pending: 2,
        };
        for reply in [
            "$JS.ACK.LOCKSTEP.c.1.7.3.1700000000123456789.2",
            "$JS.ACK.hub.ACC.LOCKSTEP.c.1.7.3.1700000000123456789.2",
            "$JS.ACK.hub.ACC.LOCKSTEP.c.1.7.3.1700000000123456789.2.rnd",
        ] {
            assert_eq!(Delivery::parse(reply), Some(expected), "{reply}");
        }
        for reply in ["$JS.ACK.LOCKSTEP.c.1.x.3.1.2", "$JS.FC.LOCKSTEP.c.x", "_INBOX.1", "$JS.ACK."]
        {
            assert_eq!(Delivery::parse(reply), None, "{reply}");
        }
    }

    #[test]
    fn both_ways_of_reading_cut_a_time_alike() {
        assert_eq!(
            parse_time("2023-11-14T22:13:20.123999999Z"),
            Some(Timestamp(1_700_000_000_123))
        );
        assert_eq!(parse_time("yesterday"), None);
    }
}
