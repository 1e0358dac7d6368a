//! A store, a builder, a context, and a player of commands.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use linkspan_build::{Failure, ImageConfig, ImageInfo, Images, Options, Outcome, Plan, plan};
use linkspan_builder::{
    Build, Builder, Command, Context, Ended, Error, Finished, Instruction, InstructionState,
    Machine, Progress, RunOptions, StepState,
};
use linkspan_files::{Folder, Node};
use linkspan_images::{ImportOptions, Platform, Store};

use crate::client;

/// A store, a builder, a context.
pub(crate) struct Bench {
    work: tempfile::TempDir,
    pub(crate) context: PathBuf,
    pub(crate) builder: Builder,
    pub(crate) store: Arc<Store>,
    pub(crate) played: Player,
    pub(crate) options: Options,
    pub(crate) run: RunOptions,
    pub(crate) threads: usize,
    /// The context is told of by a client, folder by folder; otherwise it is a folder of the builder's.
    pub(crate) listed: bool,
}

/// Plays commands: `write PATH TEXT`, `fail`, `see` (writes down its mounts).
#[derive(Default)]
pub(crate) struct Player {
    pub(crate) ran: Mutex<Vec<String>>,
    pub(crate) mounts: Mutex<BTreeMap<String, PathBuf>>,
    pub(crate) downloads: HashMap<String, Vec<u8>>,
    pub(crate) agents: Mutex<Vec<String>>,
    /// The mount points of the last command, in their order.
    pub(crate) points: Mutex<Vec<String>>,
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
        let points = command.plan.mounts.iter().map(|mount| mount.destination.display());
        *self.points.lock().unwrap() = points.map(|point| point.to_string()).collect();
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
pub(crate) struct Told(Mutex<Vec<(String, StepState)>>, Mutex<Vec<String>>);

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
pub(crate) struct Done {
    pub(crate) id: String,
    pub(crate) steps: (usize, usize),
    pub(crate) files: Option<Folder>,
    pub(crate) config: serde_json::Value,
    pub(crate) instructions: Vec<String>,
}

impl Done {
    pub(crate) fn text(&self, path: &str) -> Option<String> {
        match self.files.as_ref()?.find(Path::new(path), true).unwrap()? {
            Node::Leaf(leaf) => {
                let file = fs::File::from(leaf.open().unwrap());
                Some(std::io::read_to_string(file).unwrap())
            }
            Node::Folder(_) => Some("a folder".to_owned()),
        }
    }

    pub(crate) fn stat(&self, path: &str) -> Option<(u32, u32, u32, i64)> {
        let node = self.files.as_ref()?.find(Path::new(path), false).unwrap()?;
        let stat = node.stat().unwrap();
        Some((stat.st_mode & 0o7777, stat.st_uid, stat.st_gid, stat.st_mtime))
    }

    pub(crate) fn names(&self, path: &str) -> Vec<String> {
        let node = self.files.as_ref().unwrap().find(Path::new(path), true).unwrap();
        let Some(Node::Folder(folder)) = node else { panic!("{path} is no folder") };
        let names = folder.names().unwrap().into_iter();
        names.map(|name| name.into_string().unwrap()).collect()
    }
}

impl Bench {
    pub(crate) fn new() -> Self {
        let work = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(work.path().join("images")).unwrap());
        let folder = work.path().join("build");
        let memory = work.path().join("memory");
        let builder = Builder::open(&folder, &memory, Arc::clone(&store)).unwrap();
        let context = work.path().join("context");
        fs::create_dir(&context).unwrap();
        let options = Options { build_platform: Platform::here(), ..Options::default() };
        let bench = Self {
            work,
            context,
            builder,
            store,
            played: Player::default(),
            options,
            run: RunOptions::default(),
            threads: 2,
            listed: false,
        };
        bench.import_base();
        bench
    }

    /// `base`: /etc/passwd and group, a folder /tmp of mode 1777, and a link /var/run to /run.
    pub(crate) fn import_base(&self) {
        let mut tar = tar::Builder::new(Vec::new());
        let mut add = |path: &str, mode: u32, content: Option<&str>| {
            let mut header = tar::Header::new_ustar();
            let bytes = content.unwrap_or_default().as_bytes();
            header.set_size(bytes.len() as u64);
            header.set_mode(mode);
            header.set_uid(0);
            header.set_gid(0);
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
        header.set_mode(0o777);
        header.set_uid(0);
        header.set_gid(0);
        tar.append_link(&mut header, "var/run", "/run").unwrap();
        let options = ImportOptions { reference: Some("base".into()), ..ImportOptions::default() };
        self.store.import(&tar.into_inner().unwrap()[..], &options, |_| {}).unwrap();
    }

    /// As at the next boot.
    pub(crate) fn open_again(&mut self) {
        let memory = self.work.path().join("memory");
        self.builder = Builder::open(&self.folder(), &memory, Arc::clone(&self.store)).unwrap();
    }

    /// Of the builder.
    pub(crate) fn folder(&self) -> PathBuf {
        self.work.path().join("build")
    }

    pub(crate) fn file(&self, path: &str, content: &str) {
        let path = self.context.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(std::time::UNIX_EPOCH + Duration::from_secs(2_000_000)).unwrap();
    }

    pub(crate) fn plan(&self, text: &str) -> (Plan, HashMap<String, linkspan_images::HeldImage>) {
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

    pub(crate) fn try_build(&self, text: &str) -> Result<Done, Failure<Error>> {
        let (mut done, instructions) = self.finish(text, |finished| {
            let image = finished.image(&["built".to_owned()]).unwrap();
            let detail = self.store.inspect("built").unwrap();
            Done {
                id: image.id.to_string(),
                steps: finished.steps(),
                files: finished.files().unwrap(),
                config: serde_json::from_slice(&detail.config_json).unwrap(),
                instructions: Vec::new(),
            }
        })?;
        done.instructions = instructions;
        Ok(done)
    }

    /// Builds, and gives what `take` makes of it, and what was told of instructions.
    pub(crate) fn finish<T>(
        &self,
        text: &str,
        take: impl FnOnce(&Finished<'_>) -> T,
    ) -> Result<(T, Vec<String>), Failure<Error>> {
        let (plan, images) = self.plan(text);
        let context = match self.listed {
            true => client::context(&self.builder, &self.context, &plan.context),
            false => Context::read(&self.context, &plan.context).unwrap(),
        };
        let told = Told::default();
        let run = self.run.clone();
        let build = Build::new(&self.builder, &plan, &context, &images, run, &self.played, &told);
        let finished = build.execute(self.threads)?;
        let taken = take(&finished);
        drop(finished);
        Ok((taken, told.1.into_inner().unwrap()))
    }

    #[track_caller]
    pub(crate) fn build(&self, text: &str) -> Done {
        self.try_build(text).unwrap_or_else(|failure| panic!("{text}: {:?}", failure.error))
    }

    #[track_caller]
    pub(crate) fn fails(&self, text: &str) -> String {
        match self.try_build(text) {
            Ok(_) => panic!("{text} was built"),
            Err(failure) => failure.error.to_string(),
        }
    }
}
