//! Durations as people write them: `1h30m`, `10s`, `250ms`.

use std::time::Duration;

use crate::time::Span;

/// The longest duration that is read: the log keeps nothing for longer.
const MAX: Span = Span::minutes(366 * 24 * 60);

const UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Reads the value of a flag: a duration, or whole seconds.
///
/// # Errors
/// What is wrong with it, and how it is written.
pub fn of_flag(text: &str) -> Result<Duration, String> {
    let span = match text.parse::<u64>() {
        Ok(_) => parse(&format!("{text}s")),
        Err(_) => parse(text),
    };
    span.map(Duration::from).map_err(|reason| {
        format!("{text:?} is not a duration: {reason}; write `10s`, `5m`, `1h30m` or seconds")
    })
}

/// Reads a duration; the error says which rule the text breaks.
pub(crate) fn parse(text: &str) -> Result<Span, &'static str> {
    if text.is_empty() {
        return Err("it is empty");
    }
    let mut rest = text;
    let mut total: u64 = 0;
    let mut smaller: &[(&str, u64)] = &UNITS;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (number, behind) = rest.split_at(digits);
        let letters = behind.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(behind.len());
        let (unit, next) = behind.split_at(letters);
        if number.is_empty() {
            return Err("a whole number has to stand before each unit");
        }
        if unit.is_empty() {
            return Err("the number has no unit");
        }
        let Some(index) = smaller.iter().position(|(name, _)| *name == unit) else {
            return Err(if UNITS.iter().any(|(name, _)| *name == unit) {
                "units go from large to small, each once"
            } else {
                "the unit is unknown"
            });
        };
        let count: u64 = number.parse().map_err(|_| "it is too long")?;
        total = count
            .checked_mul(smaller[index].1)
            .and_then(|millis| total.checked_add(millis))
            .ok_or("it is too long")?;
        smaller = &smaller[index + 1..];
        rest = next;
    }
    if Span(total) > MAX { Err("it is longer than a year") } else { Ok(Span(total)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_read_as_it_is_shown() {
        for text in ["1h30m", "10s", "250ms", "2h", "1m500ms", "0s"] {
            assert_eq!(parse(text).unwrap().to_string(), text);
        }
        assert_eq!(parse("90m"), Ok(Span::minutes(90)));
    }

    #[test]
    fn a_flag_may_say_whole_seconds() {
        assert_eq!(of_flag("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(of_flag("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(of_flag("90"), Ok(Duration::from_secs(90)));
        for wrong in ["", "m", "5x", "-1s", "1h ", "0.5", "99999999999999999999s"] {
            assert!(of_flag(wrong).is_err(), "{wrong:?} was accepted");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused_with_the_rule_it_breaks() {
        for (text, reason) in [
            ("", "empty"),
            ("10", "no unit"),
            ("10 s", "no unit"),
            ("1.5h", "no unit"),
            ("-5s", "whole number"),
            ("s", "whole number"),
            ("10d", "unknown"),
            ("10S", "unknown"),
            ("5s1m", "large to small"),
            ("1m1m", "large to small"),
            ("99999999999999999999s", "too long"),
            ("9999999h", "longer than a year"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(reason), "{text:?}: {error}");
        }
    }
}
