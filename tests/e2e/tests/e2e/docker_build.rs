//! `docker build` with Docker's own command line and the classic builder (`DOCKER_BUILDKIT=0`), in a
//! real machine.

use std::{fs, path::Path};

use linkspan_test_e2e::{Done, Host};
use tempfile::TempDir;

use crate::{
    Shared,
    docker::{docker, there_is_one, with_stdin},
    unique,
};

/// A build context.
struct Files(TempDir);

impl Files {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = Self(tempfile::tempdir().expect("a temporary folder"));
        for (path, content) in files {
            folder.write(path, content);
        }
        folder
    }

    fn write(&self, path: &str, content: &str) {
        let path = self.path().join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, content).expect("a file");
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn build(&self, host: &Host, flags: &[&str]) -> Done {
        let context = self.path().to_str().expect("a path that is text");
        docker(host, &[&["build"], flags, &[context]].concat())
    }
}

fn inspected(host: &Host, image: &str, what: &str) -> String {
    docker(host, &["image", "inspect", "-f", what, image]).ok().text()
}

fn builds(host: &Host) {
    if !there_is_one() {
        return;
    }
    let (name, other) = (unique("classic/app"), unique("classic/other"));
    let context = Files::new(&[
        (
            "Dockerfile",
            "ARG BASE=busybox\nFROM $BASE AS make\nARG WORD=none\nCOPY . /in/\n\
             RUN echo $WORD > /made && ls /in\nRUN echo loud >&2\n\
             FROM busybox\nCOPY --from=make /made /in /out/\nENV A=b\n\
             CMD [\"cat\", \"/out/made\"]\n",
        ),
        (".dockerignore", "left-out\n"),
        ("left-out", "x"),
        ("kept", "x"),
    ]);
    let flags = ["-t", &name, "-t", &other, "--build-arg", "WORD=heard", "--label", "of=classic"];
    let done = context.build(host, &flags).ok().text();
    for words in [
        "Step 1/9 : FROM $BASE AS make\n ---> ",
        "Step 4/9 : RUN echo $WORD > /made && ls /in\n ---> Running in ",
        "kept\n",
        "\u{1b}[91mloud\n\u{1b}[0m",
        " ---> Removed intermediate container ",
        "Step 9/9 : CMD",
        &format!("Successfully tagged {name}:latest"),
        &format!("Successfully tagged {other}:latest"),
    ] {
        assert!(done.contains(words), "{words:?}: {done}");
    }
    assert!(!done.contains("left-out") && !done.contains("Using cache"), "{done}");
    assert_eq!(docker(host, &["run", "--rm", &name]).ok().text(), "heard");
    let id = inspected(host, &name, "{{.Id}}");
    let short = done.split("Successfully built ").nth(1).and_then(|rest| rest.get(..12));
    assert_eq!(id.strip_prefix("sha256:").and_then(|hex| hex.get(..12)), short);
    assert_eq!(
        inspected(host, &name, "{{.Config.Labels.of}} {{.Config.Env}}").split(' ').next(),
        Some("classic")
    );
    let history = docker(host, &["history", "--no-trunc", "--format", "{{.CreatedBy}}", &name]);
    let history = history.ok().text();
    assert!(history.contains("COPY /made /in /out/") && history.contains("ENV A=b"), "{history}");

    // Again: all of it is there, and it is the same image.
    let again = context.build(host, &flags).ok().text();
    assert_eq!(again.matches(" ---> Using cache").count(), 6, "{again}");
    assert_eq!(inspected(host, &name, "{{.Id}}"), id);
    let uncached =
        context.build(host, &["--no-cache", "--target", "make", "-t", &other]).ok().text();
    assert!(!uncached.contains("Using cache") && uncached.contains("Step 5/5"), "{uncached}");
    let quiet = context
        .build(host, &["-q", "-t", &name, "--build-arg", "WORD=heard", "--label", "of=classic"]);
    assert_eq!(quiet.ok().text(), id);
    let _ = docker(host, &["rmi", &name, &other]).ok();
}

fn fails(host: &Host) {
    if !there_is_one() {
        return;
    }
    let context = Files::new(&[("Dockerfile", "FROM busybox\nRUN echo so far; exit 7\n")]);
    let done = context.build(host, &[]);
    assert!(done.text().contains("so far"), "{done:?}");
    done.fails(7, &["The command '/bin/sh -c echo so far; exit 7' returned a non-zero code: 7"]);
    let done = context.build(host, &["-q"]);
    assert!(done.err.contains("so far") || done.text().contains("so far"), "{done:?}");
    assert_eq!(done.code, 7);
    context.write("Dockerfile", "FROM busybox\nCOPY nothing /x\n");
    let missing = "file not found in build context or excluded by .dockerignore: stat nothing: file does not exist";
    context.build(host, &[]).fails(1, &[&format!("COPY failed: {missing}")]);
    context.write("Dockerfile", "FROM busybox AS a\nFROM busybox\nCOPY --from=a /nothing /x\n");
    context.build(host, &[]).fails(1, &["COPY failed: stat nothing: file does not exist"]);
    context.write("Dockerfile", "FROM busybox\nCOPI a b\n");
    context.build(host, &[]).fails(1, &["COPI"]);
    context.write("Dockerfile", "FROM busybox\n");
    context.build(host, &["--target", "nobody"]).fails(1, &["nobody"]);
    context.build(host, &["--network", "mine"]).fails(1, &["mine"]);
    context.build(host, &["-f", "Other"]).fails(1, &["Other"]);
}

fn takes_standard_input(host: &Host) {
    if !there_is_one() {
        return;
    }
    let name = unique("classic/stdin");
    let text = b"FROM busybox\nRUN echo made > /f\nCMD cat /f\n";
    let built = with_stdin(host, &["build", "-t", &name, "-"], text).ok().text();
    assert!(built.contains("Step 3/3 : CMD cat /f"), "{built}");
    assert_eq!(docker(host, &["run", "--rm", &name]).ok().text(), "made");
    // A Dockerfile of elsewhere, with this context.
    let context = Files::new(&[("f", "hi")]);
    let path = context.path().to_str().expect("text").to_owned();
    let text = b"FROM busybox\nCOPY f /f\nCMD cat /f\n";
    let _ = with_stdin(host, &["build", "-t", &name, "-f", "-", &path], text).ok();
    assert_eq!(docker(host, &["run", "--rm", &name]).ok().text(), "hi");
    let _ = docker(host, &["rmi", &name]).ok();
}

fn limits_and_names(host: &Host) {
    if !there_is_one() {
        return;
    }
    let context = Files::new(&[(
        "Dockerfile",
        "FROM busybox\nRUN grep -q '10.9.8.7.*somewhere' /etc/hosts\nRUN test $(ulimit -n) = 77\n\
         RUN df -k /dev/shm | grep -q ' 2048 '\n",
    )]);
    let flags = [
        "--no-cache",
        "--add-host",
        "somewhere:10.9.8.7",
        "--ulimit",
        "nofile=77:77",
        "--shm-size",
        "2m",
        "--memory",
        "64m",
    ];
    let _ = context.build(host, &flags).ok();
    context.write("Dockerfile", "FROM busybox\nRUN test \"$(ls /sys/class/net)\" = lo\n");
    let _ = context.build(host, &["--no-cache", "--network", "none"]).ok();
    context.build(host, &["--memory", "1"]).fails(1, &["emory"]);
}

fn shows_and_prunes_what_builds_keep(host: &Host) {
    if !there_is_one() {
        return;
    }
    let context = Files::new(&[("Dockerfile", "FROM busybox\nRUN echo classic-cache > /f\n")]);
    let _ = context.build(host, &[]).ok();
    let rows =
        docker(host, &["system", "df", "--format", "{{.Type}}: {{.TotalCount}}"]).ok().text();
    let count = rows.lines().find_map(|row| row.strip_prefix("Build Cache: "));
    assert!(count.is_some_and(|count| count != "0"), "{rows}");
    // Nothing here is ten years old, so nothing of anybody else's goes.
    let pruned =
        docker(host, &["builder", "prune", "--force", "--filter", "until=87600h"]).ok().text();
    assert!(pruned.contains("0B"), "{pruned}");
}

pub(crate) const TESTS: &[Shared] = &[
    ("the_classic_builders_words_and_images", builds),
    ("what_fails_has_its_code_and_its_words", fails),
    ("a_dockerfile_may_come_from_standard_input", takes_standard_input),
    ("commands_have_the_limits_and_names_that_were_asked_for", limits_and_names),
    ("what_builds_keep_is_counted_and_pruned", shows_and_prunes_what_builds_keep),
];
