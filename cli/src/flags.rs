//! Values of flags that more than one verb takes.

use std::time::Duration;

/// A duration as the pipeline file writes it (`1h30m`, `10s`, `250ms`), or whole seconds.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a duration: write `10s`, `5m`, `1h30m` or seconds");
    if let Ok(whole) = text.parse::<u64>() {
        return Ok(Duration::from_secs(whole));
    }
    let mut total: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).filter(|at| *at > 0);
        let (number, behind) = rest.split_at(digits.ok_or_else(wrong)?);
        let unit = behind.find(|c: char| c.is_ascii_digit()).unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(unit);
        let millis = match unit {
            "h" => 3_600_000,
            "m" => 60_000,
            "s" => 1_000,
            "ms" => 1,
            _ => return Err(wrong()),
        };
        let part = number.parse::<u64>().ok().and_then(|number| number.checked_mul(millis));
        total = part.and_then(|part| total.checked_add(part)).ok_or_else(wrong)?;
        rest = behind;
    }
    if text.is_empty() { Err(wrong()) } else { Ok(Duration::from_millis(total)) }
}

/// A parameter as `--param NAME=VALUE` writes it.
pub(crate) fn param(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(format!("{text:?} is not NAME=VALUE")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_read_as_the_pipeline_file_writes_it() {
        assert_eq!(seconds("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(seconds("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(seconds("90"), Ok(Duration::from_secs(90)));
        for wrong in ["", "m", "5x", "-1s", "1h ", "99999999999999999999s"] {
            assert!(seconds(wrong).is_err(), "{wrong:?} was accepted");
        }
    }

    #[test]
    fn a_parameter_has_a_name() {
        assert_eq!(param("version=v2=x"), Ok(("version".to_owned(), "v2=x".to_owned())));
        assert!(param("version").is_err());
        assert!(param("=x").is_err());
    }
}
