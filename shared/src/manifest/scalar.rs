//! Plain values where go-yaml, which kubectl reads with, and our YAML reader disagree.
//!
//! `spelt` is always how the value is written in the text, quotes included.

use serde_json::{Number, Value};

/// From here on Go writes a whole float with an exponent, which is no whole number any more.
const WHOLE_BELOW: f64 = 1e21;

/// A boolean; go-yaml knows three spellings of each word, ours any mixture of cases.
pub(super) fn boolean(value: bool, spelt: &str) -> Value {
    const WORDS: [&str; 8] = ["y", "yes", "true", "on", "n", "no", "false", "off"];
    let known = |word: &str| {
        let (first, rest) = word.split_at(1);
        let capitalized = first.to_uppercase() + rest;
        spelt == word || spelt == capitalized || spelt == word.to_uppercase()
    };
    // What an explicit tag makes of a quoted text is not ours to doubt.
    if spelt.starts_with(['"', '\'']) || WORDS.into_iter().any(known) {
        return Value::Bool(value);
    }
    Value::String(spelt.to_owned())
}

/// A float; `None` if JSON has no such number.
pub(super) fn float(number: f64, spelt: &str) -> Option<Value> {
    if number.is_finite() {
        return Some(finite(number));
    }
    // To go-yaml what is too large is a text, as a commit's hash may be: 7e12345.
    let digits = spelt.starts_with(|first: char| first.is_ascii_digit() || first == '+');
    digits.then(|| Value::String(spelt.to_owned()))
}

/// A whole number of more than 64 bits: to go-yaml a float if it is a decimal one, else a text.
pub(super) fn huge(spelt: &str) -> Value {
    let number = spelt.parse().ok().and_then(|number| float(number, spelt));
    number.unwrap_or_else(|| Value::String(spelt.to_owned()))
}

/// On its way through JSON a whole float becomes a whole number: 1.0 is 1.
fn finite(number: f64) -> Value {
    let whole = number.fract() == 0.0 && number.abs() < WHOLE_BELOW;
    let printed = format!("{number:.0}");
    match printed.parse::<i64>() {
        Ok(integer) if whole => Value::from(integer),
        _ => Number::from_f64(number).map_or(Value::Null, Value::Number),
    }
}

/// A text; without quotes go-yaml takes out underscores before it looks for a number.
pub(super) fn text(value: String, spelt: &str) -> Value {
    let numeric = |first: char| first.is_ascii_digit() || ['+', '-', '.'].contains(&first);
    if spelt != value || !value.contains('_') || !value.starts_with(numeric) {
        return Value::String(value);
    }
    let bare = value.replace('_', "");
    whole(&bare).or_else(|| decimal(&bare).map(finite)).unwrap_or(Value::String(value))
}

/// A whole number as Go's `ParseInt` with base 0 reads it.
fn whole(text: &str) -> Option<Value> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'-' => ("-", &text[1..]),
        b'+' => ("", &text[1..]),
        _ => ("", text),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = match lower.get(..2) {
        Some("0x") => (16, &lower[2..]),
        Some("0o") => (8, &lower[2..]),
        Some("0b") => (2, &lower[2..]),
        Some(prefix) if prefix.starts_with('0') => (8, &lower[1..]),
        _ => (10, lower.as_str()),
    };
    // `from_str_radix` takes a second sign, ParseInt does not.
    if digits.starts_with(['+', '-']) {
        return None;
    }
    i64::from_str_radix(&format!("{sign}{digits}"), radix).ok().map(Value::from)
}

/// A decimal number as go-yaml's pattern has it; Rust would take words like `inf` too.
fn decimal(text: &str) -> Option<f64> {
    let numeric = |c: char| c.is_ascii_digit() || ['+', '-', '.', 'e', 'E'].contains(&c);
    if !text.chars().all(numeric) {
        return None;
    }
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_boolean_has_three_spellings() {
        for spelt in ["yes", "Yes", "YES", "y", "Y", "\"yes\""] {
            assert_eq!(boolean(true, spelt), json!(true), "{spelt}");
        }
        assert_eq!(boolean(true, "yEs"), json!("yEs"));
    }

    #[test]
    fn a_whole_float_is_a_whole_number() {
        for (number, value) in [
            (1.0, json!(1)),
            (1e3, json!(1000)),
            (0.1, json!(0.1)),
            (-2.0, json!(-2)),
            (1e20, json!(1e20)),
            (1e300, json!(1e300)),
        ] {
            assert_eq!(float(number, ""), Some(value), "{number}");
        }
    }

    #[test]
    fn what_is_too_large_for_a_number_is_a_text_and_infinity_is_nothing() {
        assert_eq!(float(f64::INFINITY, "7e12345"), Some(json!("7e12345")));
        assert_eq!(float(f64::INFINITY, ".inf"), None);
        assert_eq!(float(f64::NAN, ".nan"), None);
    }

    #[test]
    fn underscores_are_taken_out_of_what_is_then_a_number() {
        for (spelt, value) in [
            ("1_0.5", json!(10.5)),
            ("1_", json!(1)),
            ("-1__0", json!(-10)),
            ("0_17", json!(15)),
            ("0_x1F", json!(31)),
            ("1_e3", json!(1000)),
            ("1_a", json!("1_a")),
            ("+_-1", json!("+_-1")),
            ("_1", json!("_1")),
            ("1_1.2.3", json!("1_1.2.3")),
        ] {
            assert_eq!(text(spelt.to_owned(), spelt), value, "{spelt}");
        }
        assert_eq!(text("1_0.5".to_owned(), "\"1_0.5\""), json!("1_0.5"), "quoted");
    }
}
