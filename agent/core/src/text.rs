//! Texts cut so that a record stays within its size (PROTOCOL section 2, "Sizes").

use std::collections::BTreeSet;

use lockstep_shared::{
    fold::{cut, tail},
    record::{Images, MAX_LISTED, MAX_OUTPUT_BYTES, MAX_UNDO_OUTPUT_BYTES},
};

/// The longest error that a record carries: with 8 KiB of output and the envelope it stays well
/// below the 16 KiB that a record may take.
const MAX_ERROR_BYTES: usize = 3 * 1024;

/// How much of the images that run a record carries: some thirty.
const MAX_IMAGES_BYTES: usize = 4 * 1024;

/// The longest item of a list: ten of them stay beside an error.
const MAX_ITEM_BYTES: usize = 512;

/// The longest name of an instance or a build.
const MAX_LABEL_BYTES: usize = 256;

/// An error for a record.
pub(crate) fn error(text: &str) -> String {
    cut(text, MAX_ERROR_BYTES)
}

/// The end of what was printed, for a record.
pub(crate) fn output(text: &str) -> String {
    tail(text, MAX_OUTPUT_BYTES).to_owned()
}

/// As many of the images as fit beside an output.
pub(crate) fn images(images: &Images) -> Images {
    let size = |(image, digests): (&String, &BTreeSet<String>)| {
        image.len() + digests.iter().map(|digest| digest.len() + 3).sum::<usize>() + 6
    };
    let mut room = MAX_IMAGES_BYTES;
    let mut fits = |entry: &(&String, &BTreeSet<String>)| {
        let left = room.checked_sub(size(*entry));
        room = left.unwrap_or(room);
        left.is_some()
    };
    let kept = images.iter().filter(|entry| fits(entry));
    kept.map(|(image, digests)| (image.clone(), digests.clone())).collect()
}

/// The end of what undos printed, for a record that lists what is left as well.
pub(crate) fn undo_output(text: &str) -> String {
    tail(text, MAX_UNDO_OUTPUT_BYTES).to_owned()
}

/// A self-chosen name, for a record.
pub(crate) fn label(text: &str) -> String {
    cut(text, MAX_LABEL_BYTES)
}

/// The first ten of a list and how many more there are, for a record.
pub(crate) fn list(items: &[String]) -> Vec<String> {
    let mut short: Vec<String> =
        items.iter().take(MAX_LISTED).map(|item| cut(item, MAX_ITEM_BYTES)).collect();
    if let Some(more) = items.len().checked_sub(MAX_LISTED).filter(|more| *more > 0) {
        short.push(format!("and {more} more"));
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_names_ten_and_counts_the_rest() {
        let items: Vec<String> = (1..=13).map(|number| format!("pvc {number}")).collect();
        let short = list(&items);
        assert_eq!(short.len(), 11);
        assert_eq!(short[10], "and 3 more");
        assert_eq!(list(&items[..10]).len(), 10);
    }

    #[test]
    fn images_that_do_not_fit_are_left_out_and_the_others_are_not() {
        let digest = |of: &str| BTreeSet::from([format!("sha256:{of:0<64}")]);
        let mut all: Images =
            (0..100).map(|number| (format!("shop/web:{number:03}"), digest("a"))).collect();
        all.insert("a".repeat(5000), digest("b"));
        let kept = images(&all);
        assert!(kept.len() > 30 && kept.len() < 60, "{}", kept.len());
        assert!(kept.contains_key("shop/web:000"));
        let bytes = kept.iter().map(|(image, digests)| image.len() + digests.len() * 71);
        assert!(bytes.sum::<usize>() <= MAX_IMAGES_BYTES);
        assert_eq!(images(&kept), kept);
    }
}
