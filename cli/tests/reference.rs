//! The reference pages say what the program says; `UPDATE=1` writes them anew.

use std::{path::PathBuf, process::Command};

fn page(name: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_lockstep"))
        .args(["reference", name])
        .env("COLUMNS", "100")
        .output()
        .expect("the program runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("a page is text")
}

fn check(name: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../docs/reference")
        .join(name)
        .with_extension("md");
    let fresh = page(name);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::create_dir_all(path.parent().expect("it is in a folder")).expect("made");
        std::fs::write(&path, &fresh).expect("written");
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == fresh,
        "docs/reference/{name}.md is stale: UPDATE=1 cargo test -p lockstep-cli --test reference"
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
