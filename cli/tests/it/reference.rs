//! The reference pages say what the program says; `UPDATE=1` writes them anew.

use std::path::PathBuf;

use crate::world::lockstep;

fn check(name: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../docs/reference")
        .join(name)
        .with_extension("md");
    let ran = lockstep(&["reference", name]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::create_dir_all(path.parent().expect("it is in a folder")).expect("made");
        std::fs::write(&path, &ran.out).expect("written");
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == ran.out,
        "docs/reference/{name}.md is stale: UPDATE=1 cargo test -p lockstep-cli --test it reference"
    );
}

#[test]
fn the_page_of_every_verb_is_fresh() {
    check("cli");
}

#[test]
fn the_page_of_exit_codes_is_fresh() {
    check("exit-codes");
}
