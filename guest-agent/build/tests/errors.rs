//! The words of errors: `tests/errors.txt`, written anew with `LINKSPAN_BLESS=1`.

mod support;

use std::fmt::Write as _;
use std::path::Path;

#[test]
fn every_wrong_dockerfile_says_what_where_and_why() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/errors.txt");
    let committed = std::fs::read_to_string(&file).unwrap();
    let (mut text, mut count) = (String::new(), 0);
    for case in support::read(&file) {
        let error = match case.plan() {
            Err(error) => error.report("Dockerfile", &case.dockerfile),
            Ok(_) => panic!("{}: there is a plan", case.name),
        };
        count += 1;
        let _ = writeln!(text, "#### {}", case.name);
        for (key, value) in [("options", &case.options), ("images", &case.images)] {
            if value != &serde_json::json!({}) {
                let _ = writeln!(text, "{key}: {value}");
            }
        }
        let _ = writeln!(text, "----\n{}----\n{}", case.dockerfile, error);
    }
    let text = format!("{}\n", text.trim_end());
    if std::env::var_os("LINKSPAN_BLESS").is_some() {
        std::fs::write(&file, &text).unwrap();
        return;
    }
    assert!(count >= 30, "only {count} errors");
    for (number, (is, should)) in text.lines().zip(committed.lines()).enumerate() {
        assert_eq!(is, should, "line {} of tests/errors.txt", number + 1);
    }
    assert_eq!(text.lines().count(), committed.lines().count());
}
