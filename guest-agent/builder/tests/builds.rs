//! Builds on a store of their own. Commands are played: what RUN does to files is written into the
//! folder that would be the upper layer of its container.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use linkspan_build::{Failure, ImageConfig, ImageInfo, Images, Options, Outcome, Plan, plan};
use linkspan_builder::{
    Build, Builder, Command, Context, Ended, Error, Instruction, InstructionState, Machine,
    Progress, RunOptions, StepState,
};
use linkspan_files::{Folder, Node};
use linkspan_images::{ImportOptions, Platform, Store};

/// A store, a builder, a context.
struct Bench {
    _work: tempfile::TempDir,
    context: PathBuf,
    builder: Builder,
    store: Arc<Store>,
    played: Player,
    options: Options,
    run: RunOptions,
    threads: usize,
}

/// Plays commands: `write PATH TEXT`, `fail`, `see` (writes down its mounts).
#[derive(Default)]
struct Player {
    ran: Mutex<Vec<String>>,
    mounts: Mutex<BTreeMap<String, PathBuf>>,
    downloads: HashMap<String, Vec<u8>>,
    agents: Mutex<Vec<String>>,
}

impl Machine for Player {
    fn run(
        &self,
        command: Command<'_>,
        output: &(dyn Fn(bool, &[u8]) + Sync),
    ) -> Result<Ended, String> {
        let words = command.plan.process.args.last().expect("a command").clone();
        self.ran.lock().unwrap().push(words.clone());
        let upper = &command.plan.rootfs.upper;
        for mount in &command.plan.mounts {
            // As linkspan-init makes them.
            let point = upper.join(mount.destination.strip_prefix("/").unwrap());
            fs::create_dir_all(point.parent().unwrap()).unwrap();
            if let linkspan_runtime::plan::MountKind::Bind(bind) = &mount.kind {
                self.mounts
                    .lock()
                    .unwrap()
                    .insert(mount.destination.display().to_string(), bind.source.clone());
                if bind.source.is_dir() {
                    fs::create_dir_all(&point).unwrap();
                } else if !point.exists() {
                    fs::write(&point, "").unwrap();
                }
            } else {
                fs::create_dir_all(&point).unwrap();
            }
        }
        output(false, b"it runs\n");
        let mut code = 0;
        for line in words.split(" && ") {
            match line.splitn(3, ' ').collect::<Vec<_>>()[..] {
                ["write", path, text] => {
                    let path = upper.join(path.trim_start_matches('/'));
                    fs::create_dir_all(path.parent().unwrap()).unwrap();
                    fs::write(path, text).unwrap();
                }
                ["keep", mount, text] => {
                    let source = self.mounts.lock().unwrap()[mount].clone();
                    let mut before = fs::read_to_string(source.join("kept")).unwrap_or_default();
                    before += text;
                    fs::write(source.join("kept"), before).unwrap();
                }
                ["read", mount, to] => {
                    let source = self.mounts.lock().unwrap()[mount].clone();
                    fs::write(upper.join(to), fs::read(source).unwrap()).unwrap();
                }
                ["env", name, to] => {
                    let prefix = format!("{name}=");
                    let env = &command.plan.process.env;
                    let value = env.iter().find_map(|entry| entry.strip_prefix(&prefix));
                    fs::write(upper.join(to), value.unwrap_or_default()).unwrap();
                }
                ["socket", mount, to] => {
                    let source = self.mounts.lock().unwrap()[mount].clone();
                    let found = fs::metadata(source).unwrap();
                    assert!(found.file_type().is_socket());
                    let mode = format!("{:o} {}", found.mode() & 0o7777, found.uid());
                    fs::write(upper.join(to), mode).unwrap();
                }
                ["fail"] => code = 3,
                _ => {}
            }
        }
        Ok(Ended { code, out_of_memory: false })
    }

    fn fetch(&self, url: &str, to: &Path) -> Result<(), String> {
        let bytes = self.downloads.get(url).ok_or("not found")?;
        fs::write(to, bytes).map_err(|error| error.to_string())
    }

    fn ssh_agent(&self, id: &str, socket: &Path) -> Result<Box<dyn Send>, String> {
        self.agents.lock().unwrap().push(id.to_owned());
        let listener = UnixListener::bind(socket).map_err(|error| error.to_string())?;
        Ok(Box::new(listener))
    }

    fn is_cancelled(&self) -> bool {
        false
    }
}

#[derive(Default)]
struct Told(Mutex<Vec<(String, StepState)>>, Mutex<Vec<String>>);

impl Progress for Told {
    fn step(&self, title: &str, state: StepState, _: Duration) {
        self.0.lock().unwrap().push((title.to_owned(), state));
    }

    fn instruction(&self, told: Instruction<'_>) {
        let state = match told.state {
            InstructionState::Begins => "begins",
            InstructionState::Runs(_) => "runs",
            InstructionState::Cached(_) => "cached",
            InstructionState::Done(Some(_)) => "done",
            InstructionState::Done(None) => "nothing",
        };
        let Instruction { number, total, text, .. } = told;
        self.1.lock().unwrap().push(format!("{number}/{total} {text}: {state}"));
    }

    fn output(&self, _: &str, _: bool, _: &[u8], _: Duration) {}
}

/// What a build came to.
struct Done {
    id: String,
    steps: (usize, usize),
    files: Option<Folder>,
    config: serde_json::Value,
    instructions: Vec<String>,
}

impl Done {
    fn text(&self, path: &str) -> Option<String> {
        match self.files.as_ref()?.find(Path::new(path), true).unwrap()? {
            Node::Leaf(leaf) => {
                let file = fs::File::from(leaf.open().unwrap());
                Some(std::io::read_to_string(file).unwrap())
            }
            Node::Folder(_) => Some("a folder".to_owned()),
        }
    }

    fn stat(&self, path: &str) -> Option<(u32, u32, u32, i64)> {
        let node = self.files.as_ref()?.find(Path::new(path), false).unwrap()?;
        let stat = node.stat().unwrap();
        Some((stat.st_mode & 0o7777, stat.st_uid, stat.st_gid, stat.st_mtime))
    }

    fn names(&self, path: &str) -> Vec<String> {
        let node = self.files.as_ref().unwrap().find(Path::new(path), true).unwrap();
        let Some(Node::Folder(folder)) = node else { panic!("{path} is no folder") };
        let names = folder.names().unwrap().into_iter();
        names.map(|name| name.into_string().unwrap()).collect()
    }
}

impl Bench {
    fn new() -> Self {
        let work = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(work.path().join("images")).unwrap());
        let folder = work.path().join("build");
        let memory = work.path().join("memory");
        let builder = Builder::open(&folder, &memory, Arc::clone(&store)).unwrap();
        let context = work.path().join("context");
        fs::create_dir(&context).unwrap();
        let options = Options { build_platform: Platform::here(), ..Options::default() };
        let bench = Self {
            _work: work,
            context,
            builder,
            store,
            played: Player::default(),
            options,
            run: RunOptions::default(),
            threads: 2,
        };
        bench.import_base();
        bench
    }

    /// `base`: /etc/passwd and group, a folder /tmp of mode 1777, and a link /var/run to /run.
    fn import_base(&self) {
        let mut tar = tar::Builder::new(Vec::new());
        let mut add = |path: &str, mode: u32, content: Option<&str>| {
            let mut header = tar::Header::new_ustar();
            let bytes = content.unwrap_or_default().as_bytes();
            header.set_size(bytes.len() as u64);
            header.set_mode(mode);
            header.set_mtime(1_000_000);
            if content.is_none() {
                header.set_entry_type(tar::EntryType::Directory);
            }
            tar.append_data(&mut header, path, bytes).unwrap();
        };
        add("etc/", 0o755, None);
        add("etc/passwd", 0o644, Some("root:x:0:0::/:\napp:x:1000:1001::/:\n"));
        add("etc/group", 0o644, Some("root:x:0:\nextra:x:2000:\n"));
        add("tmp/", 0o1777, None);
        add("run/", 0o755, None);
        add("var/", 0o755, None);
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        tar.append_link(&mut header, "var/run", "/run").unwrap();
        let options = ImportOptions { reference: Some("base".into()), ..ImportOptions::default() };
        self.store.import(&tar.into_inner().unwrap()[..], &options, |_| {}).unwrap();
    }

    fn file(&self, path: &str, content: &str) {
        let path = self.context.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(std::time::UNIX_EPOCH + Duration::from_secs(2_000_000)).unwrap();
    }

    fn plan(&self, text: &str) -> (Plan, HashMap<String, linkspan_images::HeldImage>) {
        let (mut known, mut held) = (Images::new(), HashMap::new());
        loop {
            match plan(text, &self.options, &known).unwrap() {
                Outcome::Plan(plan) => return (*plan, held),
                Outcome::Missing(missing) => {
                    for request in missing {
                        let image = self.store.hold_image(&request.reference).unwrap();
                        let config = ImageConfig::parse(&image.config_json).unwrap();
                        let digest = image.id.to_string();
                        held.insert(digest.clone(), image);
                        known.insert(request, ImageInfo { digest, config });
                    }
                }
            }
        }
    }

    fn try_build(&self, text: &str) -> Result<Done, Failure<Error>> {
        let (plan, images) = self.plan(text);
        let context = Context::read(&self.context, &plan.context).unwrap();
        let told = Told::default();
        let run = self.run.clone();
        let build = Build::new(&self.builder, &plan, &context, &images, run, &self.played, &told);
        let finished = build.execute(self.threads)?;
        let instructions = told.1.lock().unwrap().clone();
        let image = finished.image(&["built".to_owned()]).unwrap();
        let detail = self.store.inspect("built").unwrap();
        Ok(Done {
            id: image.id.to_string(),
            steps: finished.steps(),
            files: finished.files().unwrap(),
            config: serde_json::from_slice(&detail.config_json).unwrap(),
            instructions,
        })
    }

    #[track_caller]
    fn build(&self, text: &str) -> Done {
        self.try_build(text).unwrap_or_else(|failure| panic!("{text}: {:?}", failure.error))
    }

    #[track_caller]
    fn fails(&self, text: &str) -> String {
        match self.try_build(text) {
            Ok(_) => panic!("{text} was built"),
            Err(failure) => failure.error.to_string(),
        }
    }
}

#[test]
fn files_and_folders_of_the_context_are_copied() {
    let bench = Bench::new();
    bench.file("a/one", "1");
    bench.file("a/deep/two", "2");
    symlink("one", bench.context.join("a/link")).unwrap();
    let done = bench.build("FROM base\nCOPY a /to/\nCOPY a/one /file\nCOPY a/one /tmp\n");
    assert_eq!(done.text("/to/one").unwrap(), "1");
    assert_eq!(done.text("/to/deep/two").unwrap(), "2");
    assert_eq!(done.text("/file").unwrap(), "1");
    assert_eq!(done.text("/tmp/one").unwrap(), "1");
    assert_eq!(done.stat("/to/one").unwrap(), (0o644, 0, 0, 2_000_000));
    // What was there keeps its attributes; what was made on the way has no time of the clock.
    assert_eq!(done.stat("/tmp").unwrap().0, 0o1777);
    assert_eq!(done.names("/to"), ["deep", "link", "one"]);
}

#[test]
fn a_destination_may_lead_by_a_link_of_the_image() {
    let bench = Bench::new();
    bench.file("f", "x");
    let done = bench.build("FROM base\nCOPY f /var/run/deep/f\n");
    assert_eq!(done.text("/run/deep/f").unwrap(), "x");
    assert_eq!(done.stat("/run/deep").unwrap(), (0o755, 0, 0, 0));
}

#[test]
fn owner_and_mode_are_as_asked_for() {
    let bench = Bench::new();
    bench.file("d/f", "x");
    let text = "FROM base\nCOPY --chown=app d /a/\nCOPY --chown=7 --chmod=750 d/f /b\n\
                COPY --chown=app:extra d/f /c\nCOPY --chmod=u=rwX,go= d /e/\n";
    let done = bench.build(text);
    let owner = |path: &str| done.stat(path).map(|(mode, uid, gid, _)| (mode, uid, gid)).unwrap();
    assert_eq!(owner("/a/f"), (0o644, 1000, 1001));
    assert_eq!(owner("/b"), (0o750, 7, 7));
    assert_eq!(owner("/c"), (0o644, 1000, 2000));
    assert_eq!(owner("/e/f"), (0o600, 0, 0));
    assert_eq!(owner("/e").0, 0o700);
    let error = bench.fails("FROM base\nCOPY --chown=nobody-here d/f /b\n");
    assert!(error.contains("nobody-here") && error.contains("/etc/passwd"), "{error}");
}

#[test]
fn a_second_build_finds_every_layer_and_makes_the_same_image() {
    let bench = Bench::new();
    bench.file("f", "x");
    let text = "FROM base\nRUN write /made text\nCOPY f /f\nWORKDIR /work/deep\nENV A=1\n";
    let first = bench.build(text);
    assert_eq!(first.steps, (3, 0));
    let second = bench.build(text);
    assert_eq!(second.steps, (0, 3));
    assert_eq!(first.id, second.id);
    assert_eq!(bench.played.ran.lock().unwrap().len(), 1);
}

#[test]
fn what_does_not_run_is_the_same_without_the_cache() {
    let mut bench = Bench::new();
    bench.file("f", "x");
    let text = "FROM base\nCOPY f /deep/f\nCOPY <<E /here\ntext\nE\nWORKDIR /work\nENV A=1\n";
    let first = bench.build(text);
    bench.options.no_cache = true;
    let second = bench.build(text);
    assert_eq!(second.steps, (3, 0));
    assert_eq!(first.id, second.id);
}

#[test]
fn a_changed_content_or_mode_is_not_found_again() {
    let bench = Bench::new();
    bench.file("f", "x");
    let text = "FROM base\nCOPY f /f\n";
    let first = bench.build(text);
    bench.file("f", "y");
    let content = bench.build(text);
    assert_eq!((content.steps, content.text("/f").unwrap()), ((1, 0), "y".into()));
    let path = bench.context.join("f");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let mode = bench.build(text);
    assert_eq!((mode.steps, mode.stat("/f").unwrap().0), ((1, 0), 0o755));
    // Back again: both are known.
    bench.file("f", "x");
    let again = bench.build(text);
    assert_eq!((again.steps, again.id), ((0, 1), first.id));
}

#[test]
fn a_time_alone_changes_nothing() {
    let bench = Bench::new();
    bench.file("f", "x");
    let first = bench.build("FROM base\nCOPY f /f\n");
    fs::write(bench.context.join("f"), "x").unwrap();
    assert_ne!(fs::metadata(bench.context.join("f")).unwrap().mtime(), 2_000_000);
    let second = bench.build("FROM base\nCOPY f /f\n");
    assert_eq!((second.steps, second.id), ((0, 1), first.id));
}

#[test]
fn stages_give_their_files_and_only_needed_ones_are_built() {
    let bench = Bench::new();
    let text = "FROM base AS one\nRUN write /out/a A\nFROM base AS unused\nRUN fail\n\
                FROM base AS two\nRUN write /out/b B\nFROM scratch\n\
                COPY --from=one /out/ /x/\nCOPY --from=two /out/b /x/\nCOPY --from=base /etc/group /g\n";
    let done = bench.build(text);
    assert_eq!(done.names("/x"), ["a", "b"]);
    assert!(done.text("/g").unwrap().starts_with("root"));
    assert!(bench.fails("FROM base\nCOPY --from=base /no /x\n").contains("base"));
    let missing = bench.fails("FROM base AS one\nRUN true\nFROM base\nCOPY --from=one /no /x\n");
    assert!(missing.contains("`/no`: not found in stage one"), "{missing}");
}

#[test]
fn a_stage_that_makes_the_same_files_leaves_the_copy_found() {
    let bench = Bench::new();
    let text = |n| {
        format!(
            "FROM base AS one\nRUN write /f same && write /other {n}\nFROM scratch\nCOPY --from=one /f /f\n"
        )
    };
    let first = bench.build(&text(1));
    let second = bench.build(&text(2));
    assert_eq!(second.steps, (1, 1));
    assert_eq!(first.id, second.id);
}

#[test]
fn mount_points_are_no_part_of_a_layer() {
    let mut bench = Bench::new();
    bench.run.secrets.insert("key".into(), b"hush".to_vec());
    let text = "FROM base\nRUN --mount=type=secret,id=key --mount=type=cache,target=/cache/deep \
                --mount=type=tmpfs,target=/mem write /made x\n";
    let done = bench.build(text);
    assert_eq!(done.names("/"), ["etc", "made", "run", "tmp", "var"]);
    assert_eq!(done.names("/etc"), ["group", "passwd"]);
    assert!(done.names("/run").is_empty());
    assert_eq!(done.stat("/etc").unwrap().3, 1_000_000);
}

#[test]
fn a_secret_is_read_and_is_nowhere_in_the_image() {
    let mut bench = Bench::new();
    bench.run.secrets.insert("key".into(), b"hush".to_vec());
    let text =
        "FROM base\nRUN --mount=type=secret,id=key,target=/s,env=KEY read /s seen && env KEY env\n";
    let done = bench.build(text);
    assert_eq!(
        (done.text("/seen").unwrap(), done.text("/env").unwrap()),
        ("hush".into(), "hush".into())
    );
    assert!(!done.config.to_string().contains("hush"));
    bench.run.secrets.clear();
    let error = bench.fails("FROM base\nRUN --mount=type=secret,id=other,required=true true\n");
    assert!(error.contains("`other` is required"), "{error}");
}

#[test]
fn an_ssh_agent_is_a_socket_while_its_command_runs_and_goes_with_it() {
    let mut bench = Bench::new();
    bench.run.ssh.insert("default".into());
    let done = bench.build(
        "FROM base\nRUN --mount=type=ssh,mode=660,uid=7,gid=8 \
         socket /run/buildkit/ssh_agent.0 seen && env SSH_AUTH_SOCK env\n\
         RUN --mount=type=ssh,id=other env SSH_AUTH_SOCK none\n",
    );
    assert_eq!(done.text("/seen").unwrap(), "660 7");
    assert_eq!(done.text("/env").unwrap(), "/run/buildkit/ssh_agent.0");
    assert_eq!(done.text("/none").unwrap(), "");
    assert_eq!(*bench.played.agents.lock().unwrap(), ["default"]);
    let socket = bench.played.mounts.lock().unwrap()["/run/buildkit/ssh_agent.0"].clone();
    assert!(!socket.exists(), "{} stays behind", socket.display());
    assert_eq!(done.names("/run"), Vec::<String>::new());
    let error = bench.fails("FROM base\nRUN --mount=type=ssh,id=other,required=true true\n");
    assert!(error.contains("SSH agent `other` is required"), "{error}");
}

#[test]
fn instructions_are_told_in_the_order_of_the_file() {
    let mut bench = Bench::new();
    bench.threads = 1;
    let text = "FROM base AS one\nRUN write /made text\nENV A=1\nFROM scratch\n\
                COPY --from=one /made /x\n";
    assert_eq!(
        bench.build(text).instructions,
        [
            "1/5 FROM base AS one: begins",
            "1/5 FROM base AS one: done",
            "2/5 RUN write /made text: begins",
            "2/5 RUN write /made text: runs",
            "2/5 RUN write /made text: done",
            "3/5 ENV A=1: begins",
            "3/5 ENV A=1: nothing",
            "4/5 FROM scratch: begins",
            "4/5 FROM scratch: nothing",
            "5/5 COPY --from=one /made /x: begins",
            "5/5 COPY --from=one /made /x: done",
        ]
    );
    let again = bench.build(text).instructions;
    assert_eq!(again[2], "2/5 RUN write /made text: cached");
    assert_eq!(again.last().unwrap(), "5/5 COPY --from=one /made /x: cached");
}

#[test]
fn a_cache_mount_outlives_the_build() {
    let bench = Bench::new();
    let run = |n| format!("FROM base\nRUN --mount=type=cache,id=c,target=/c keep /c {n}\n");
    bench.build(&run(1));
    let done = bench.build(&run(2));
    assert!(!done.names("/").contains(&"c".to_owned()));
    let kept = bench.played.mounts.lock().unwrap()["/c"].join("kept");
    assert_eq!(fs::read_to_string(kept).unwrap(), "12");
}

#[test]
fn a_bind_mount_shows_files_of_elsewhere() {
    let bench = Bench::new();
    bench.file("d/f", "from the context");
    let text = "FROM base AS one\nRUN write /o/f staged\nFROM base\n\
                RUN --mount=target=/d,source=d/f read /d a\n\
                RUN --mount=from=one,source=/o/f,target=/o read /o b\n";
    let done = bench.build(text);
    assert_eq!(done.text("/a").unwrap(), "from the context");
    assert_eq!(done.text("/b").unwrap(), "staged");
}

#[test]
fn add_unpacks_archives_of_the_context_and_nothing_else() {
    let bench = Bench::new();
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(2);
    header.set_mode(0o640);
    header.set_uid(5);
    header.set_gid(6);
    header.set_mtime(77);
    tar.append_data(&mut header, "in/f", &b"hi"[..]).unwrap();
    fs::write(bench.context.join("a.tar"), tar.into_inner().unwrap()).unwrap();
    bench.file("plain", "no archive");
    let done = bench.build("FROM base\nADD a.tar /x/\nADD plain /x/\nCOPY a.tar /x/\n");
    assert_eq!(done.stat("/x/in/f").unwrap(), (0o640, 5, 6, 77));
    assert_eq!(done.text("/x/plain").unwrap(), "no archive");
    assert_eq!(done.names("/x"), ["a.tar", "in", "plain"]);
}

#[test]
fn a_download_has_its_name_and_its_checksum() {
    let mut bench = Bench::new();
    bench.played.downloads.insert("http://host/dir/f.txt".into(), b"far".to_vec());
    let sum = "sha256:0000000000000000000000000000000000000000000000000000000000000000";
    let done = bench.build("FROM base\nADD http://host/dir/f.txt /x/\n");
    assert_eq!(done.text("/x/f.txt").unwrap(), "far");
    assert_eq!(done.stat("/x/f.txt").unwrap(), (0o600, 0, 0, 0));
    let wrong =
        bench.fails(&format!("FROM base\nADD --checksum={sum} http://host/dir/f.txt /x/\n"));
    assert!(wrong.contains("--checksum"), "{wrong}");
    let gone = bench.fails("FROM base\nADD http://host/none /x\n");
    assert!(gone.contains("http://host/none"), "{gone}");
}

#[test]
fn wildcards_parents_and_exclusions_choose_files() {
    let bench = Bench::new();
    for file in ["a.txt", "b.txt", "c.md", "d/e/f.txt", "d/e/g.md"] {
        bench.file(file, file);
    }
    let text = "FROM base\nCOPY *.txt /w/\nCOPY --parents d/e/*.txt /p/\n\
                COPY --exclude=**/*.md d /x/\nCOPY no*thing /w/\n";
    let done = bench.build(text);
    assert_eq!(done.names("/w"), ["a.txt", "b.txt"]);
    assert_eq!(done.names("/p/d/e"), ["f.txt"]);
    assert_eq!(done.names("/x/e"), ["f.txt"]);
}

#[test]
fn what_is_not_there_is_named_and_why() {
    let mut bench = Bench::new();
    bench.file("left-out", "x");
    assert!(
        bench
            .fails("FROM base\nCOPY none /x\n")
            .contains("`/none`: not found in the build context")
    );
    bench.options.ignore = linkspan_build::Ignore::parse("left-out", ".dockerignore").unwrap();
    let error = bench.fails("FROM base\nCOPY left-out /x\n");
    assert!(error.contains(".dockerignore leaves it out"), "{error}");
}

#[test]
fn folders_and_files_do_not_replace_each_other() {
    let bench = Bench::new();
    bench.file("d/f", "x");
    let error = bench.fails("FROM base\nCOPY d /etc/passwd\n");
    assert!(error.contains("/etc/passwd"), "{error}");
    let error = bench.fails("FROM base\nRUN write /x/f/deep y\nCOPY d /x/\n");
    assert!(error.contains("/x/f"), "{error}");
}

#[test]
fn a_command_that_fails_is_told_with_its_code_and_keeps_nothing() {
    let bench = Bench::new();
    let failure = bench.try_build("FROM base\nENV A=1\nRUN fail\n").err().unwrap();
    assert_eq!(failure.step, 1);
    let text = failure.error.to_string();
    assert_eq!(text, "process \"/bin/sh -c fail\" did not complete successfully: exit code: 3");
    assert!(bench.try_build("FROM base\nENV A=1\nRUN fail\n").is_err());
    assert_eq!(bench.played.ran.lock().unwrap().len(), 2);
}

#[test]
fn an_epoch_is_the_time_of_all_that_is_made() {
    let mut bench = Bench::new();
    bench.options.build_args.insert("SOURCE_DATE_EPOCH".into(), "1234".into());
    bench.file("f", "x");
    let text = "FROM base\nCOPY f /d/f\nRUN write /r x\nWORKDIR /w\n";
    let done = bench.build(text);
    for path in ["/d", "/d/f", "/r", "/w"] {
        assert_eq!(done.stat(path).unwrap().3, 1234, "{path}");
    }
    assert_eq!(done.config["created"], "1970-01-01T00:20:34Z");
    bench.options.no_cache = true;
    assert_eq!(bench.build(text).id, done.id);
}

#[test]
fn the_configuration_names_its_layers_and_history() {
    let bench = Bench::new();
    let done = bench.build("FROM base\nENV A=1\nRUN write /x y\nCMD [\"x\"]\n");
    let layers = done.config["rootfs"]["diff_ids"].as_array().unwrap();
    assert_eq!(layers.len(), 2);
    let history = done.config["history"].as_array().unwrap();
    assert!(history.iter().all(|line| line["created"].is_string()), "{history:?}");
    assert_eq!(done.config["created"], history.last().unwrap()["created"]);
    let with_layers = history.iter().filter(|line| line["empty_layer"] != true).count();
    assert_eq!(with_layers, layers.len());
    assert_eq!(done.config["config"]["Cmd"], serde_json::json!(["x"]));
}

#[test]
fn layers_of_the_cache_survive_a_collection_and_a_reopened_builder_finds_them() {
    let bench = Bench::new();
    let text = "FROM base\nRUN write /x y\n";
    bench.build(text);
    let removed = bench.store.remove(
        "built",
        linkspan_images::RemoveOptions { force: true, ..Default::default() },
        |_| Vec::new(),
        |layer| bench.builder.uses_layer(layer),
    );
    removed.unwrap();
    bench.store.collect(|layer| bench.builder.uses_layer(layer)).unwrap();
    assert_eq!(bench.build(text).steps, (0, 1));
}
