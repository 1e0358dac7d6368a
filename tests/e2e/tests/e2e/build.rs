//! `linkspan build` in a real VM. What a Dockerfile should come to is mostly asserted by a RUN of its
//! own: a build that succeeds is one that was right.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Mutex;
use std::thread;

use linkspan_test_dockerfiles::{Image, MACHINE, cases};
use linkspan_test_e2e::{Done, Host};
use linkspan_test_registry::skopeo;
use tempfile::TempDir;

use crate::{Shared, unique};

/// A build context.
struct Files(TempDir);

impl Files {
    fn new(files: &[(&str, &str)]) -> Self {
        let files_of = Self(tempfile::tempdir().expect("a temporary folder"));
        for (path, content) in files {
            files_of.write(path, content);
        }
        files_of
    }

    fn write(&self, path: &str, content: &str) {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(&path, content).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("a file of ours");
    }

    fn path(&self) -> &str {
        self.0.path().to_str().expect("a path that is text")
    }

    fn build(&self, host: &Host, flags: &[&str]) -> Done {
        let mut args = vec!["build", "--progress", "plain"];
        args.extend_from_slice(flags);
        args.push(self.path());
        host.run(&args)
    }
}

/// Builds a Dockerfile with these files; it succeeds.
#[track_caller]
fn built(host: &Host, dockerfile: &str, files: &[(&str, &str)], flags: &[&str]) -> Done {
    let context = Files::new(files);
    context.write("Dockerfile", dockerfile);
    context.build(host, flags).ok()
}

/// The id of the image that it comes to.
#[track_caller]
fn id(host: &Host, context: &Files, flags: &[&str]) -> String {
    let mut all = vec!["-q"];
    all.extend_from_slice(flags);
    let id = context.build(host, &all).ok().text();
    assert!(id.starts_with("sha256:"), "{id}");
    id
}

/// Two builds at one time, as many as there are processors.
const AT_ONCE: usize = 2;

/// What a build comes to, as an archive that no machine keeps.
fn image(host: &Host, context: &str, flags: &[String]) -> Result<Image, Done> {
    let output = "type=oci,dest=-,compression=uncompressed,force-compression=true";
    let mut args = vec!["build", "--progress", "plain", "-o", output];
    args.extend(flags.iter().map(String::as_str));
    args.push(context);
    let done = host.run(&args);
    if done.code == 0 { Ok(Image::read(&done.out)) } else { Err(done) }
}

fn table(host: &Host) {
    let plain = Files::new(&[("Dockerfile", "FROM busybox\n")]);
    let base = image(host, plain.path(), &[]).expect("the image that is there");
    let cases = Mutex::new(cases(MACHINE).into_iter());
    let wrong = Mutex::new(Vec::new());
    let work = || loop {
        let case = cases.lock().expect("no thread panics with it").next();
        let Some(case) = case else { return };
        let context = Files::new(&[("Dockerfile", &case.dockerfile)]);
        case.write(Path::new(context.path()));
        let difference = match image(host, context.path(), &case.flags) {
            Ok(made) => case.difference(&base, &made),
            Err(done) => Some(format!("#### {}\n{}", case.name, done.err)),
        };
        wrong.lock().expect("no thread panics with it").extend(difference);
    };
    thread::scope(|scope| (0..AT_ONCE).for_each(|_| drop(scope.spawn(work))));
    let wrong = wrong.into_inner().expect("no thread panics with it");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn tar_of(path: &str, content: &str) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    tar.append_data(&mut header, path, content.as_bytes()).expect("a tar in memory");
    tar.into_inner().expect("a tar in memory")
}

/// A build into archives of both kinds and a folder: skopeo reads each, and the machine has no image more.
fn as_archives(host: &Host, folder: &Path) {
    let name = format!("{}:v1", unique("built/archive"));
    let context = Files::new(&[("f", "x")]);
    context.write(
        "Dockerfile",
        "FROM busybox\nCOPY f /f\nRUN echo x > /made\nCMD [\"cat\", \"/made\"]\n",
    );
    let place = |file: &str| folder.join(file).display().to_string();
    let epoch = ["--no-cache", "--build-arg", "SOURCE_DATE_EPOCH=1000000000", "-t", &name];
    let build = |output: &str| {
        let flags = [&epoch[..], &["-o", output]].concat();
        context.build(host, &flags).ok()
    };
    let (one, two) = (place("one.tar"), place("two.tar"));
    let _ = build(&format!("type=oci,dest={one}"));
    let _ = build(&format!("type=oci,dest={two}"));
    assert_eq!(fs::read(&one).expect("an archive"), fs::read(&two).expect("an archive"));
    let both = build("type=docker,dest=-").out;
    fs::write(place("both.tar"), &both).expect("a file of ours");
    let _ = build(&format!("type=oci,tar=false,dest={}", place("layout")));
    let zstd = place("zstd.tar");
    let _ = build(&format!("type=oci,dest={zstd},compression=zstd,compression-level=1"));
    host.run(&["inspect", "--type", "image", &name]).fails(1, &[&name]);

    let config = |from: &str| skopeo(&["inspect", "--config", "--raw", from]);
    let kinds = |archive: &str| {
        let manifest = skopeo(&["inspect", "--raw", &format!("oci-archive:{archive}:v1")]);
        let kind = |kind: &str| manifest.matches(kind).count();
        (kind("tar+gzip\""), kind("tar+zstd\""))
    };
    // The built-in base is a plain layer too, and one comes of COPY, one of RUN.
    assert_eq!(kinds(&one), (3, 0));
    assert_eq!(kinds(&zstd), (0, 3));
    let expected = config(&format!("oci-archive:{one}:v1"));
    assert_eq!(config(&format!("oci-archive:{zstd}:v1")), expected);
    assert!(expected.contains(r#""Cmd":["cat","/made"]"#), "{expected}");
    assert_eq!(config(&format!("oci-archive:{}:v1", place("both.tar"))), expected);
    assert_eq!(config(&format!("oci:{}:v1", place("layout"))), expected);
    assert_eq!(config(&format!("docker-archive:{}:{name}", place("both.tar"))), expected);
    for archive in [fs::read(&one).expect("an archive"), fs::read(&zstd).expect("an archive"), both]
    {
        let loaded = host.run_with_stdin(&["load"], &archive).ok().text();
        assert!(loaded.contains(&name), "{loaded}");
        assert_eq!(host.run(&["run", "--rm", &name]).ok().text(), "x");
        let _ = host.run(&["rmi", &name]).ok();
    }
}

pub(crate) const TESTS: &[Shared] = &[
    ("dockerfiles_come_to_the_files_and_the_configuration_that_the_table_says", table),
    ("an_image_that_was_built_runs_as_it_says", |host| {
        let name = unique("built/app");
        let text = "FROM busybox\nENV GREETING=hello\nLABEL a=b\nEXPOSE 80\nVOLUME /data\n\
                    HEALTHCHECK --interval=5s CMD true\nSTOPSIGNAL SIGINT\nWORKDIR /work\n\
                    CMD echo $GREETING from $(pwd)\n";
        let _ = built(host, text, &[], &["-t", &name, "--label", "c=d"]);
        assert_eq!(host.run(&["run", "--rm", &name]).ok().text(), "hello from /work");
        let image = host.run(&["inspect", "--type", "image", &name]).ok().json();
        let config = &image[0]["Config"];
        assert_eq!(config["Labels"], serde_json::json!({"a": "b", "c": "d"}));
        assert_eq!(config["Healthcheck"]["Test"], serde_json::json!(["CMD-SHELL", "true"]));
        assert_eq!(config["StopSignal"], "SIGINT");
        let _ = host.run(&["rmi", &name]).ok();
    }),
    ("a_build_twice_is_one_image_and_all_cached", |host| {
        let marker = unique("twice");
        let context = Files::new(&[("f", &marker)]);
        context.write("Dockerfile", "FROM busybox\nCOPY f /f\nRUN cat /f > /g\nWORKDIR /w\n");
        let first = id(host, &context, &[]);
        let again = context.build(host, &[]).ok();
        assert_eq!(again.err.matches("CACHED").count(), 4, "{}", again.err);
        assert_eq!(first, id(host, &context, &[]));
        // A changed content and a changed mode are not found.
        context.write("f", "changed");
        assert_ne!(first, id(host, &context, &[]));
        context.write("f", &marker);
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(Path::new(context.path()).join("f"), mode).expect("a file of ours");
        assert_ne!(first, id(host, &context, &[]));
        context.write("f", &marker);
        assert_eq!(first, id(host, &context, &[]));
    }),
    ("an_epoch_makes_the_same_image_without_the_cache", |host| {
        let context = Files::new(&[("f", "x")]);
        context.write("Dockerfile", "FROM busybox\nCOPY f /d/f\nRUN echo x > /made\n");
        let flags = ["--no-cache", "--build-arg", "SOURCE_DATE_EPOCH=1000000000"];
        assert_eq!(id(host, &context, &flags), id(host, &context, &flags));
    }),
    ("a_dockerignore_leaves_out_and_lets_in", |host| {
        let text = "FROM busybox\nCOPY . /c/\nRUN test \"$(ls -A /c | tr '\\n' ' ')\" = 'Dockerfile keep.log src '\n";
        let files = [
            (".dockerignore", "*.log\n!keep.log\n.dockerignore\nnode_modules\n"),
            ("a.log", ""),
            ("keep.log", ""),
            ("node_modules/x/y", ""),
            ("src/main", ""),
        ];
        let _ = built(host, text, &files, &[]);
        let left_out = [(".dockerignore", "secret\n"), ("secret", "x")];
        let context = Files::new(&left_out);
        context.write("Dockerfile", "FROM busybox\nCOPY secret /s\n");
        context.build(host, &[]).fails(1, &["/secret", ".dockerignore", "Dockerfile:2"]);
    }),
    ("add_unpacks_archives", |host| {
        let context = Files::new(&[]);
        fs::write(Path::new(context.path()).join("a.tar"), tar_of("in/f", "hi")).expect("a file");
        context.write("Dockerfile", "FROM busybox\nADD a.tar /x/\nCOPY a.tar /y/\nRUN test $(cat /x/in/f) = hi && test -s /y/a.tar\n");
        let _ = context.build(host, &[]).ok();
    }),
    ("onbuild_triggers_run_in_the_next_build", |host| {
        let name = unique("built/trigger");
        let _ = built(
            host,
            "FROM busybox\nONBUILD COPY f /f\nONBUILD RUN test -f /f\n",
            &[],
            &["-t", &name],
        );
        let next = built(host, &format!("FROM {name}\nRUN test -s /f\n"), &[("f", "x")], &[]);
        assert!(next.err.contains("ONBUILD RUN"), "{}", next.err);
    }),
    ("a_secret_is_there_while_it_runs_and_nowhere_else", |host| {
        let name = unique("built/secret");
        let context = Files::new(&[("key", "hush-hush")]);
        let file = format!("id=key,src={}/key", context.path());
        context.write("Dockerfile", "FROM busybox\nRUN --mount=type=secret,id=key test $(wc -c < /run/secrets/key) = 9 && test $(stat -c %a /run/secrets/key) = 400\nRUN test ! -e /run/secrets/key\nRUN --mount=type=secret,id=key,env=KEY test ${#KEY} = 9\n");
        let _ = context.build(host, &["--secret", &file, "-t", &name]).ok();
        let image = host.run(&["inspect", "--type", "image", &name]).ok().text();
        assert!(!image.contains("hush"), "{image}");
        let required = "FROM busybox\nRUN --mount=type=secret,id=none,required=true true\n";
        context.write("Dockerfile", required);
        context.build(host, &[]).fails(1, &["`none` is required", "--secret"]);
    }),
    ("an_ssh_agent_of_the_host_is_reached_from_its_command_alone", |host| {
        let context = Files::new(&[]);
        let socket = Path::new(context.path()).join("agent");
        let agent = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
        // Answers each line with the same in capital letters, as no agent does.
        std::thread::spawn(move || {
            for stream in agent.incoming().map_while(Result::ok) {
                std::thread::spawn(move || {
                    let mut line = String::new();
                    let mut reader = std::io::BufReader::new(&stream);
                    let read = std::io::BufRead::read_line(&mut reader, &mut line);
                    if read.is_ok() {
                        let _ =
                            std::io::Write::write_all(&mut &stream, line.to_uppercase().as_bytes());
                    }
                });
            }
        });
        context.write(".dockerignore", "agent\n");
        context.write(
            "Dockerfile",
            "FROM checker\nUSER 7\n\
             RUN --mount=type=ssh,uid=7,mode=600 /checker dial $SSH_AUTH_SOCK hello && \
             test $(stat -c %a-%u $SSH_AUTH_SOCK) = 600-7\n\
             RUN test -z \"$SSH_AUTH_SOCK\" && test ! -e /run/buildkit\n\
             RUN --mount=type=ssh,id=other test -z \"$SSH_AUTH_SOCK\"\n",
        );
        let flag = format!("default={}", socket.display());
        let done = context.build(host, &["--no-cache", "--ssh", &flag]).ok();
        assert!(done.err.contains(" HELLO"), "{}", done.err);
        let key = format!("default={}/Dockerfile", context.path());
        context.build(host, &["--ssh", &key]).fails(1, &["ssh-add"]);
    }),
    ("a_command_that_fails_is_shown_with_its_last_lines", |host| {
        let context = Files::new(&[]);
        context.write(
            "Dockerfile",
            "FROM busybox\nENV A=1\nRUN echo so far; echo so bad >&2; exit 7\n",
        );
        let done = context.build(host, &[]);
        done.fails(1, &["so far", "so bad", "Dockerfile:3", ">>> RUN echo so far", "exit code: 7"]);
        context.write("Dockerfile", "FROM busybox\nRUN true\nCOPI a b\n");
        context.build(host, &[]).fails(1, &["Dockerfile:3", "COPI", "COPY"]);
        context.write("Dockerfile", "FROM busybox\nRUN --mount=type=ssh,required=true true\n");
        context.build(host, &[]).fails(1, &["SSH"]);
    }),
    ("progress_is_buildkits", |host| {
        let marker = unique("progress");
        let done = built(host, &format!("FROM busybox\nRUN echo {marker}; sleep 0.1\n"), &[], &[]);
        assert!(done.err.contains(&format!("[2/2] RUN echo {marker}")), "{}", done.err);
        let line = done.err.lines().find(|line| line.ends_with(&marker) && !line.contains("RUN"));
        assert!(line.is_some_and(|line| line.starts_with('#')), "{}", done.err);
        assert!(done.err.contains("DONE"), "{}", done.err);
        assert_eq!(done.text(), "");
    }),
    ("a_dockerfile_or_a_tar_may_come_from_standard_input", |host| {
        let stdin = b"FROM busybox\nRUN true\n";
        let done = host.run_with_stdin(&["build", "-q", "-"], stdin).ok();
        assert!(done.text().starts_with("sha256:"), "{done:?}");
        let mut tar = tar::Builder::new(Vec::new());
        for (path, text) in
            [("sub/File", "FROM busybox\nCOPY f /f\nRUN test $(cat /f) = hi\n"), ("f", "hi")]
        {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, path, text.as_bytes()).expect("a tar in memory");
        }
        let bytes = tar.into_inner().expect("a tar in memory");
        let _ = host.run_with_stdin(&["build", "-f", "sub/File", "-"], &bytes).ok();
        let context = Files::new(&[("f", "x")]);
        let text = b"FROM busybox\nCOPY f /f\n";
        let _ = host.run_with_stdin(&["build", "-f", "-", context.path()], text).ok();
    }),
    ("the_files_of_a_stage_come_out", |host| {
        let context = Files::new(&[]);
        context.write("Dockerfile", "FROM busybox AS make\nRUN mkdir /o && echo made > /o/f\nFROM scratch AS out\nCOPY --from=make /o/ /\nFROM busybox\nRUN exit 1\n");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let place = folder.path().join("out");
        let place = place.to_str().expect("text");
        let _ = context.build(host, &["--target", "out", "-o", place]).ok();
        assert_eq!(fs::read_to_string(Path::new(place).join("f")).expect("a file"), "made\n");
        let tar = context.build(host, &["--target", "out", "-o", "-"]).ok().out;
        let mut archive = tar::Archive::new(tar.as_slice());
        let names: Vec<_> = archive
            .entries()
            .expect("a tar")
            .map(|entry| entry.expect("an entry").path().expect("a path").display().to_string())
            .collect();
        assert_eq!(names, ["f"]);
    }),
    ("an_image_goes_out_as_an_archive_and_none_stays", |host| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        as_archives(host, folder.path());
    }),
    ("warnings_are_shown_and_check_fails_on_them", |host| {
        let context = Files::new(&[]);
        context.write("Dockerfile", "FROM busybox\nMAINTAINER me\nRUN exit 1\n");
        let done = context.build(host, &["--check"]);
        assert_eq!(done.code, 1);
        assert!(done.err.contains("MaintainerDeprecated"), "{}", done.err);
        context.write("Dockerfile", "FROM busybox\nRUN exit 1\n");
        assert!(context.build(host, &["--check"]).ok().text().contains("no warnings"));
    }),
    ("what_cannot_be_done_is_refused_by_name", |host| {
        let context = Files::new(&[]);
        context.write("Dockerfile", "FROM busybox\n");
        for (flags, words) in [
            (&["--cache-from", "x"][..], "--cache-from"),
            (&["--cache-to", "type=inline"], "--cache-to"),
            (&["--annotation", "a=b"], "--annotation"),
            (&["--push"], "--tag"),
            (&["--ssh", "default=/no/such/socket"], "/no/such/socket"),
            (&["--network", "mine"], "--network `mine`"),
            (&["-o", "type=oci,dest=x,compression=estargz"], "estargz"),
            (&["-o", "type=oci,dest=x,compression-level=10"], "gzip has 0 to 9"),
            (&["-o", "type=registry,compression=zstd"], "another compression"),
            (&["-o", "type=docker,dest=x,tar=false"], "tar=false"),
            (&["-o", "type=oci,dest=x", "--load"], "--load"),
            (&["-t", "Not A Name"], "Not A Name"),
        ] {
            context.build(host, flags).fails(1, &[words]);
        }
        host.run(&["build", "https://example.com/x.git"]).fails(1, &["git"]);
        host.run(&["build", "/no/such/folder"]).fails(1, &["/no/such/folder"]);
        context.write("Dockerfile", "FROM busybox\nADD https://example.com/x.git /x\n");
        context.build(host, &[]).fails(1, &["git"]);
        context.write("Dockerfile", "FROM busybox\nRUN --network=host true\n");
        context.build(host, &[]).fails(1, &["network.host"]);
    }),
    ("stages_that_do_not_need_each_other_run_together", |host| {
        // Each waits for the other's sign in a cache that both share.
        let wait = |own: &str, other: &str| {
            format!(
                "RUN --mount=type=cache,id=meet,target=/m touch /m/{own}; n=0; until test -e /m/{other}; do n=$((n+1)); test $n -lt 600 || exit 1; sleep 0.1; done"
            )
        };
        let text = format!(
            "FROM busybox AS a\n{}\nFROM busybox AS b\n{}\nFROM scratch\nCOPY --from=a /bin/true /a\nCOPY --from=b /bin/true /b\n",
            wait("a", "b"),
            wait("b", "a")
        );
        let _ = built(host, &text, &[], &["--no-cache"]);
    }),
];

/// In a machine of its own, because it removes what others build on.
pub(crate) const OWN: &[crate::Own] = &[("prune_gives_back_what_no_image_shares", || {
    let host = Host::new();
    let _ = host.run(&["machine", "init", "--cpus", "2", "--memory", "1024", "--disk", "4"]).ok();
    let context = Files::new(&[("f", "x")]);
    context.write("Dockerfile", "FROM busybox\nCOPY f /f\nRUN --mount=type=cache,target=/c dd if=/dev/zero of=/big bs=1M count=3 && echo > /c/f\n");
    let _ = context.build(&host, &["-t", "kept"]).ok();
    let usage = host.run(&["builder", "du"]).ok().text();
    for kind in ["regular", "exec.cachemount", "source.local"] {
        assert!(usage.contains(kind), "{usage}");
    }
    // The image shares its layers.
    let pruned = host.run(&["builder", "prune", "--force"]).ok().text();
    assert!(!pruned.contains("MB"), "{pruned}");
    let again = context.build(&host, &[]).ok();
    assert!(
        again.err.contains("CACHED [3/3]") || again.err.matches("CACHED").count() == 3,
        "{}",
        again.err
    );
    let _ = host.run(&["rmi", "kept"]).ok();
    let _ = host.run(&["image", "prune", "--all", "--force"]).ok();
    let pruned = host.run(&["builder", "prune", "--all", "--force"]).ok().text();
    assert!(pruned.contains("MB"), "{pruned}");
    host.run(&["builder", "prune", "--force", "--filter", "color=red"]).fails(1, &["color"]);
    host.leaves_nothing();
})];
