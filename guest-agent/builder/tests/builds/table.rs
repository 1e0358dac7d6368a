//! The tables of Dockerfiles that need nothing that runs, each with its files and its configuration.

use std::fs;

use linkspan_build::Ignore;
use linkspan_images::ArchiveFormat;
use linkspan_test_dockerfiles::{COPY, Case, Image, SELECT, SETTINGS, STAGES, cases};

use crate::bench::Bench;

#[test]
fn what_is_copied_goes_where_it_should_and_has_the_owner_and_mode_it_should() {
    all_come_to_what_they_say(COPY);
}

#[test]
fn the_files_that_are_named_are_copied_and_no_others() {
    all_come_to_what_they_say(SELECT);
}

#[test]
fn stages_take_from_each_other_what_they_name() {
    all_come_to_what_they_say(STAGES);
}

#[test]
fn the_configuration_is_what_the_instructions_say() {
    all_come_to_what_they_say(SETTINGS);
}

/// One store for all: they find each other's layers, as builds of one machine do.
#[track_caller]
fn all_come_to_what_they_say(table: &str) {
    let mut bench = Bench::new();
    let folders = tempfile::tempdir().unwrap();
    let base = image(&bench, "FROM base\n").unwrap();
    let cases = cases(table);
    let mut wrong = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        bench.context = folders.path().join(number.to_string());
        fs::create_dir(&bench.context).unwrap();
        case.write(&bench.context);
        options(&mut bench, case);
        for listed in [false, true] {
            bench.listed = listed;
            wrong.extend(match image(&bench, &case.dockerfile) {
                Ok(made) => case.difference(&base, &made),
                Err(error) => Some(format!("#### {}\n{error}", case.name)),
            });
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

/// What the flags of a case say.
fn options(bench: &mut Bench, case: &Case) {
    let options = &mut bench.options;
    (options.target, options.build_args, options.labels) = Default::default();
    for flag in case.flags.chunks(2) {
        let [flag, value] = flag else { panic!("{}: {flag:?}", case.name) };
        let pair = || value.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
        match flag.as_str() {
            "--target" => options.target = Some(value.clone()),
            "--build-arg" => options.build_args.extend(pair()),
            "--label" => options.labels.extend(pair()),
            _ => panic!("{}: {flag}", case.name),
        }
    }
    let ignore = fs::read_to_string(bench.context.join(".dockerignore")).unwrap_or_default();
    options.ignore = Ignore::parse(&ignore, ".dockerignore").unwrap();
}

fn image(bench: &Bench, dockerfile: &str) -> Result<Image, String> {
    let mut archive = Vec::new();
    let saved = bench.finish(dockerfile, |finished| {
        finished
            .save(&[], ArchiveFormat::Oci, None, &mut archive)
            .map_err(|error| error.to_string())
    });
    saved.map_err(|failure| failure.error.to_string())?.0?;
    Ok(Image::read(&archive))
}
