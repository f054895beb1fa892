//! Every file of `testdata/bad` beside the text that is said of it.

use std::fs;

use super::{folder, plan};

#[test]
fn what_is_said_of_each_bad_file_is_what_is_written_beside_it() {
    let update = std::env::var_os("UPDATE").is_some();
    let mut files: Vec<_> = fs::read_dir(folder("bad"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    files.sort();
    assert!(files.len() > 40, "only {} files", files.len());
    let mut wrong = Vec::new();
    for file in files {
        let said = match plan(&fs::read_to_string(&file).unwrap()) {
            Ok(planned) => {
                format!("accepted\n{}", planned.warnings.to_plain_text())
            }
            Err(refused) => refused.to_plain_text(),
        };
        let expected = file.with_extension("txt");
        if update {
            fs::write(&expected, &said).unwrap();
        } else if fs::read_to_string(&expected).unwrap_or_default() != said {
            wrong.push(format!("{}:\n{said}", file.display()));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of them changed; look at them and accept them with UPDATE=1\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
