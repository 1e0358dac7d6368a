//! The table of Dockerfiles and what comes of them: `tests/cases`.

mod support;

use std::collections::BTreeSet;

#[test]
fn every_case_of_the_table_gives_what_it_says() {
    let (mut wrong, mut names) = (Vec::new(), BTreeSet::new());
    for file in support::case_files() {
        for case in support::read(&file) {
            let name = format!("{}: {}", file.file_stem().unwrap().to_string_lossy(), case.name);
            let expected = serde_json::from_str(&case.expected)
                .unwrap_or_else(|error| panic!("{name}: {error}"));
            let difference = match case.plan() {
                Ok(plan) => support::difference(&expected, &support::view(&plan), ""),
                Err(error) => Some(error.report("Dockerfile", &case.dockerfile)),
            };
            wrong.extend(difference.map(|difference| format!("{name}\n{difference}")));
            assert!(names.insert(name.clone()), "{name} is there twice");
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n\n{}", wrong.len(), names.len(), wrong.join("\n\n"));
    assert!(names.len() >= 120, "the table has only {} cases", names.len());
}
