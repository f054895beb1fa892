//! Values of flags that more than one verb takes.

pub(crate) use lockstep_shared::pipeline::duration::of_flag as seconds;

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
    fn a_parameter_has_a_name() {
        assert_eq!(param("version=v2=x"), Ok(("version".to_owned(), "v2=x".to_owned())));
        assert!(param("version").is_err());
        assert!(param("=x").is_err());
    }
}
