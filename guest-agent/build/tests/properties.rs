//! What holds for any text.

use std::collections::BTreeSet;

use linkspan_build::{
    Ignore, ImageConfig, ImageInfo, Images, Matched, Options, Outcome, Plan, Result, plan,
};
use proptest::prelude::*;

fn planned(text: &str) -> Result<Plan> {
    let mut images = Images::new();
    let build_platform = linkspan_images::Platform {
        os: "linux".into(),
        architecture: "amd64".into(),
        variant: String::new(),
    };
    let options = Options { build_platform, ..Options::default() };
    loop {
        match plan(text, &options, &images)? {
            Outcome::Plan(plan) => return Ok(*plan),
            Outcome::Missing(missing) => images.extend(missing.into_iter().map(|request| {
                let config = ImageConfig::default();
                (request, ImageInfo { digest: "sha256:0".into(), config })
            })),
        }
    }
}

/// Spans are within the text, on the boundaries of characters, and their lines are right.
fn check(text: &str) -> std::result::Result<(), TestCaseError> {
    let spans = match planned(text) {
        Err(error) => {
            let report = error.report("Dockerfile", text);
            prop_assert!(report.contains("error: "), "{report}");
            error.span.into_iter().collect::<Vec<_>>()
        }
        Ok(plan) => {
            let stages = plan.stages.iter();
            stages.flat_map(|s| s.steps.iter().map(|step| step.span).chain([s.span])).collect()
        }
    };
    for span in spans {
        prop_assert!(span.start < span.end && span.end <= text.len(), "{span:?}");
        prop_assert!(text.get(span.start..span.end).is_some(), "{span:?}");
        let line = |at: usize| text[..at].matches('\n').count() + 1;
        prop_assert_eq!(line(span.start), span.first_line);
        prop_assert_eq!(line(span.end), span.last_line);
    }
    Ok(())
}

/// Pieces of which a random mixture is often nearly right.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "FROM scratch\n",
        "FROM a AS b\n",
        "FROM b\n",
        "ARG A=1\n",
        "ENV ",
        "ENV A=",
        "LABEL ",
        "RUN ",
        "COPY ",
        "ADD ",
        "CMD ",
        "ENTRYPOINT ",
        "SHELL ",
        "ONBUILD ",
        "HEALTHCHECK ",
        "EXPOSE ",
        "VOLUME ",
        "USER ",
        "WORKDIR ",
        "STOPSIGNAL ",
        "MAINTAINER ",
        "--mount=type=",
        "--from=b ",
        "--chmod=u+x ",
        "cache,target=/x ",
        "--",
        "=",
        "<<EOF",
        "<<-'E'",
        "\nEOF\n",
        "\nE\n",
        "\\\n",
        "\\",
        "`",
        "\n",
        "\r\n",
        " ",
        "\t",
        "# escape=`\n",
        "# syntax=docker/dockerfile:1\n",
        "# check=skip=all\n",
        "#",
        "$A",
        "${A:-",
        "${A#",
        "${A/x/",
        "${",
        "}",
        "\"",
        "'",
        "[\"a\"]",
        "[",
        "a",
        "é",
        "\u{feff}",
        "\u{0}",
        "1s",
    ]);
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_it_panic_and_spans_stay_inside(text in pieces()) {
        check(&text)?;
    }

    #[test]
    fn no_text_after_a_from_makes_it_panic(text in pieces()) {
        check(&format!("FROM scratch\n{text}"))?;
    }

    #[test]
    fn no_characters_make_it_panic(text in any::<String>()) {
        check(&text)?;
        check(&format!("FROM scratch\nENV A={text}"))?;
    }

    #[test]
    fn no_ignore_file_makes_it_panic(text in any::<String>(), path in "[a-c/.*]{0,8}") {
        if let Ok(ignore) = Ignore::parse(&text, ".dockerignore") {
            let _ = ignore.ignores(&path);
        }
    }

    #[test]
    fn a_plan_is_always_the_same(text in pieces()) {
        let show = |plan: Result<Plan>| plan.map(|plan| serde_json::to_string(&plan).unwrap());
        let text = format!("FROM scratch\n{text}");
        prop_assert_eq!(show(planned(&text)), show(planned(&text)));
    }

    #[test]
    fn ignoring_is_what_the_simple_rules_say(
        lines in prop::collection::vec("!?/?(a|b|ab|\\*|\\*\\*|\\?|\\[ab\\]|a\\*|\\*b)(/(a|b|\\*|\\*\\*|\\?)){0,2}/?", 0..5),
        path in "[ab]{1,2}(/[ab]{1,2}){0,3}",
    ) {
        let ignore = Ignore::parse(&lines.join("\n"), ".dockerignore").unwrap();
        prop_assert_eq!(ignore.ignores(&path), reference::ignores(&lines, &path), "{:?} of {:?}", path, lines);
    }

    #[test]
    fn a_walk_and_a_question_give_the_same(
        lines in prop::collection::vec("!?(a|b|\\*|\\*\\*/a|a/b|\\*/b)", 0..5),
        path in "[ab](/[ab]){0,3}",
    ) {
        let ignore = Ignore::parse(&lines.join("\n"), ".dockerignore").unwrap();
        let (mut ignored, mut matched, mut at) = (false, Matched::default(), String::new());
        for part in path.split('/') {
            at = if at.is_empty() { part.to_owned() } else { format!("{at}/{part}") };
            let pruned = ignored && !ignore.may_keep_below(at.rsplit_once('/').map_or("", |(up, _)| up));
            (ignored, matched) = ignore.check(&at, &matched);
            // What is not walked into has nothing that is kept.
            prop_assert!(!pruned || ignored, "{at} of {path} in {lines:?}");
        }
        prop_assert_eq!(ignored, ignore.ignores(&path));
    }
}

/// The rules once more, in the simplest way, without regular expressions.
mod reference {
    /// Characters of a pattern against those of a path; `*` and `?` stop at a slash, `**` does not.
    fn matches(pattern: &[u8], path: &[u8]) -> bool {
        match pattern {
            [] => path.is_empty(),
            [b'*', b'*', b'/', rest @ ..] if !rest.is_empty() => {
                let ends = (0..path.len()).filter(|at| path[*at] == b'/').map(|at| at + 1);
                [0].into_iter().chain(ends).any(|at| matches(rest, &path[at..]))
            }
            [b'*', b'*'] => true,
            [b'*', rest @ ..] => {
                let most = path.iter().position(|c| *c == b'/').unwrap_or(path.len());
                (0..=most).any(|at| matches(rest, &path[at..]))
            }
            [b'?', rest @ ..] => {
                matches!(path, [c, others @ ..] if *c != b'/' && matches(rest, others))
            }
            [b'[', b'a', b'b', b']', rest @ ..] => {
                matches!(path, [b'a' | b'b', others @ ..] if matches(rest, others))
            }
            [c, rest @ ..] => matches!(path, [d, others @ ..] if c == d && matches(rest, others)),
        }
    }

    pub(super) fn ignores(lines: &[String], path: &str) -> bool {
        // Each folder on the way first: what it matched, its contents match. A pattern counts for
        // a folder only where it could change the result.
        let parts: Vec<&str> = path.split('/').collect();
        let mut inherited = vec![false; lines.len()];
        let mut ignored = false;
        for end in 1..=parts.len() {
            let here = parts[..end].join("/");
            ignored = false;
            for (index, line) in lines.iter().enumerate() {
                let exception = line.starts_with('!');
                let pattern = line.trim_start_matches('!').trim_matches('/');
                if !inherited[index] && exception == ignored {
                    inherited[index] = matches(pattern.as_bytes(), here.as_bytes());
                }
                if inherited[index] {
                    ignored = !exception;
                }
            }
        }
        ignored
    }
}

#[test]
fn a_hundred_thousand_braces_are_an_error_and_no_overflow() {
    for open in ["${A:-", "${A#", "\"${A:-"] {
        let text = format!("FROM scratch\nENV A={}", open.repeat(10_000));
        assert!(planned(&text).is_err());
    }
}

#[test]
fn a_thousand_stages_on_each_other_are_planned() {
    let mut text = String::from("FROM scratch AS s0\n");
    for number in 1..1000 {
        text += &format!("FROM s{} AS s{number}\nENV A{number}=1\n", number - 1);
    }
    assert_eq!(planned(&text).unwrap().stages.len(), 1000);
}

#[test]
fn keys_of_different_commands_differ() {
    let text =
        "FROM scratch\nRUN a\nRUN b\nRUN --network=none a\nUSER u\nRUN a\nCOPY a /\nCOPY a /b";
    let plan = planned(text).unwrap();
    let keys = plan.stages[0].steps.iter().filter_map(|step| step.key.as_ref());
    let digests: Vec<String> =
        keys.map(|key| key.digest("p", |_| Some("content".to_owned())).unwrap()).collect();
    assert_eq!(digests.iter().collect::<BTreeSet<_>>().len(), digests.len());
}

#[test]
fn variables_that_double_are_an_error_and_no_exhaustion() {
    for line in ["ENV A=$A$A\n", "ARG A=$A$A\n", "ENV A=${A//x/xx}\n"] {
        let error = planned(&format!("FROM scratch\nENV A=x\n{}", line.repeat(60))).unwrap_err();
        assert!(error.to_string().contains("longer than"), "{error}");
    }
    let text = format!("FROM scratch\nENV A={}\nLABEL b={}", "x".repeat(60_000), "$A".repeat(100));
    let error = planned(&text).unwrap_err();
    assert!(error.to_string().contains("longer than"), "{error}");
}

#[test]
fn triggers_that_multiply_are_an_error() {
    let mut text = String::from("FROM scratch AS s\n");
    text += &"ONBUILD ENV A=1\n".repeat(500);
    for number in 0..300 {
        text += &format!("FROM s AS t{number}\n");
    }
    text += "FROM scratch\n";
    for number in 0..300 {
        text += &format!("COPY --from=t{number} / /\n");
    }
    let error = planned(&text).unwrap_err();
    assert!(error.to_string().contains("more than 100000 instructions"), "{error}");
}
