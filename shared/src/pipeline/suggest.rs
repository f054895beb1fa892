//! What a misspelt word probably meant.

/// The known word that is nearest to `word`, if one is near enough to be meant.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |text: &str| text.replace(['-', '_'], "").to_lowercase();
    let meant = plain(word);
    let limit = (meant.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&meant, &plain(candidate)), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, candidate)| candidate)
}

/// The words as a sentence lists them: quoted, the first ten, then the count of the others.
pub(crate) fn listed<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    const SHOWN: usize = crate::record::MAX_LISTED;
    let all: Vec<String> = words.into_iter().map(|word| format!("`{word}`")).collect();
    let more = all.len().saturating_sub(SHOWN);
    let text = all.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    match more {
        0 => text,
        more => format!("{text} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognized_and_another_word_is_not() {
        assert_eq!(nearest("BEE", ["BE", "FE"]), Some("BE"));
        assert_eq!(nearest("allow-single", ["title", "allowSingle"]), Some("allowSingle"));
        assert_eq!(nearest("steps", ["name", "target"]), None);
        assert_eq!(nearest("tiemout", ["timeout"]), Some("timeout"));
    }
}
