//! RUN.

use super::key::{Hole, Key, json};
use super::stage::{Scope, State, with_shell};
use super::types::{Action, Entitlement, FileSource, Mount, Network, RunStep, Script, Sharing};
use crate::error::{Problem, Suggestion};
use crate::syntax::{self, CommandLine, MountKind, MountSpec, Run};
use linkspan_images::absolute_path;

/// Where BuildKit puts scripts.
const SCRIPTS: &str = "/dev/pipes";

pub(super) fn plan(
    scope: &Scope<'_>,
    number: usize,
    run: &Run,
    state: &mut State,
) -> Result<(Action, Option<Key>), Problem> {
    let (arguments, script) = command(run, state);
    let mut mounts = Vec::new();
    let mut sockets = 0;
    for text in &run.mounts {
        let spec = MountSpec::parse(text, &|value| scope.expand(value, state))?;
        mounts.push(mount(scope, number, spec, state, &mut sockets)?);
    }
    let working_dir = Some(state.image.config.working_dir.clone()).filter(|dir| !dir.is_empty());
    let step = RunStep {
        env: state.env.entries(),
        proxy_env: scope.globals.proxies.clone(),
        user: state.image.config.user.clone(),
        working_dir: working_dir.unwrap_or_else(|| "/".to_owned()),
        network: network(scope, run)?,
        insecure: insecure(scope, run)?,
        arguments,
        mounts,
        script,
    };
    let key = key(scope, &step, state);
    let line = match state.arguments_for_history() {
        Some(values) => format!("RUN {values} {} # buildkit", step.arguments.join(" ")),
        None => format!("RUN {} # buildkit", step.arguments.join(" ")),
    };
    scope.remember(state, line, true);
    Ok((Action::Run(Box::new(step)), Some(key)))
}

/// The command with its heredocs.
fn command(run: &Run, state: &State) -> (Vec<String>, Option<Script>) {
    let (CommandLine::Shell(text), Some(first)) = (&run.command, run.heredocs.first()) else {
        return (with_shell(&run.command, state), None);
    };
    if !syntax::is_heredoc(text) {
        // A shell that knows heredocs reads them itself.
        let mut whole = text.clone();
        for heredoc in &run.heredocs {
            whole += &format!("\n{}{}", heredoc.content, heredoc.name);
        }
        return (with_shell(&CommandLine::Shell(whole), state), None);
    }
    let content = match first.chomp {
        true => syntax::without_tabs(&first.content),
        false => first.content.clone(),
    };
    if content.starts_with("#!") {
        let path = format!("{SCRIPTS}/{}", first.name);
        return (vec![path.clone()], Some(Script { path, content }));
    }
    (with_shell(&CommandLine::Shell(content), state), None)
}

fn network(scope: &Scope<'_>, run: &Run) -> Result<Network, Problem> {
    const MODES: [&str; 3] = ["default", "none", "host"];
    let network = match run.network.as_deref().map(str::to_ascii_lowercase).as_deref() {
        None => scope.options.network,
        Some("default") => Network::Default,
        Some("none") => Network::None,
        Some("host") => Network::Host,
        Some(other) => {
            let suggestion = Suggestion::nearest(other, MODES);
            return Err(Problem::Network { mode: other.to_owned(), suggestion });
        }
    };
    if network == Network::Host && !scope.options.allow.contains(&Entitlement::NetworkHost) {
        return Err(Problem::Entitlement { entitlement: "network.host" });
    }
    Ok(network)
}

fn insecure(scope: &Scope<'_>, run: &Run) -> Result<bool, Problem> {
    match run.security.as_deref().map(str::to_ascii_lowercase).as_deref() {
        None | Some("sandbox") => Ok(false),
        Some("insecure") if scope.options.allow.contains(&Entitlement::SecurityInsecure) => {
            Ok(true)
        }
        Some("insecure") => Err(Problem::Entitlement { entitlement: "security.insecure" }),
        Some(other) => {
            let suggestion = Suggestion::nearest(other, ["sandbox", "insecure"]);
            Err(Problem::Security { mode: other.to_owned(), suggestion })
        }
    }
}

fn mount(
    scope: &Scope<'_>,
    number: usize,
    spec: MountSpec,
    state: &State,
    sockets: &mut usize,
) -> Result<Mount, Problem> {
    const CACHE_MODE: u32 = 0o755;
    const SECRET_MODE: u32 = 0o400;
    const SOCKET_MODE: u32 = 0o600;
    let MountSpec { from, source, required, uid, gid, mode, size, env, .. } = spec;
    let (uid, gid) = (uid.unwrap_or(0), gid.unwrap_or(0));
    let folder = &state.image.config.working_dir;
    let given = spec.target.filter(|target| !target.is_empty());
    let target = || {
        let text = given.clone().unwrap_or_default();
        match absolute_path(folder, &text) {
            target if target == "/" => Err(Problem::MountTarget { target }),
            target => Ok(target),
        }
    };
    let source_path = || absolute_path("/", source.as_deref().unwrap_or_default());
    Ok(match spec.kind {
        MountKind::Bind => Mount::Bind {
            from: from.map_or(Ok(FileSource::Context), |from| scope.source(&from, number))?,
            source: source_path(),
            target: target()?,
            writable: !spec.read_only,
        },
        MountKind::Cache => Mount::Cache {
            // Two caches of one target are one cache, wherever they are mounted.
            id: spec.id.map_or_else(&target, Ok)?,
            target: target()?,
            sharing: match spec.sharing.as_deref() {
                Some("private") => Sharing::Private,
                Some("locked") => Sharing::Locked,
                _ => Sharing::Shared,
            },
            read_only: spec.read_only,
            from: from.map_or(Ok(FileSource::Scratch), |from| scope.source(&from, number))?,
            source: source_path(),
            uid,
            gid,
            mode: mode.unwrap_or(CACHE_MODE),
        },
        MountKind::Tmpfs => Mount::Tmpfs { target: target()?, size },
        MountKind::Secret => {
            let base = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
            let id = source.or(spec.id).unwrap_or_else(|| base(given.as_deref().unwrap_or("")));
            let place = match (&given, &env) {
                (Some(target), _) => Some(absolute_path(folder, target)),
                (None, Some(_)) => None,
                (None, None) => Some(format!("/run/secrets/{}", base(&id))),
            };
            let mode = mode.unwrap_or(SECRET_MODE);
            Mount::Secret { id, target: place, env, required, uid, gid, mode }
        }
        MountKind::Ssh => {
            let place = format!("/run/buildkit/ssh_agent.{sockets}");
            *sockets += 1;
            Mount::Ssh {
                id: spec.id.unwrap_or_else(|| "default".to_owned()),
                target: given.as_deref().map_or(place, |target| absolute_path(folder, target)),
                required,
                uid,
                gid,
                mode: mode.unwrap_or(SOCKET_MODE),
            }
        }
    })
}

fn key(scope: &Scope<'_>, step: &RunStep, state: &State) -> Key {
    let mut holes = Vec::new();
    let mut mounts = Vec::new();
    for mount in &step.mounts {
        let (from, source) = match mount {
            // What a secret is does not matter to a cache, nor what a cache has.
            Mount::Secret { .. } | Mount::Ssh { .. } | Mount::Tmpfs { .. } => {
                mounts.push(json(mount));
                continue;
            }
            Mount::Cache { from, source, id, target, .. } => {
                mounts.push(json(&("cache", id, target)));
                (from, source)
            }
            Mount::Bind { from, source, target, writable } => {
                mounts.push(json(&("bind", source, target, writable)));
                (from, source)
            }
        };
        let (paths, excludes) = (vec![source.clone()], Vec::new());
        match from {
            FileSource::Context => holes.push(Hole::ContextFiles { paths, excludes }),
            FileSource::Stage(stage) => {
                holes.push(Hole::StageFiles { stage: *stage, paths, excludes });
            }
            FileSource::Image { digest, .. } => mounts.push(digest.clone()),
            FileSource::Scratch => {}
        }
    }
    let mut known = vec![
        ("run", json(&step.arguments)),
        ("platform", state.platform.to_string()),
        ("env", json(&step.env)),
        ("user", step.user.clone()),
        ("folder", step.working_dir.clone()),
        ("network", json(&step.network)),
        ("insecure", step.insecure.to_string()),
        ("mounts", json(&mounts)),
        ("script", json(&step.script)),
    ];
    // No time in the layer is later.
    known.extend(scope.globals.epoch.map(|epoch| ("epoch", epoch.to_string())));
    Key { parent: state.parent.clone(), known, holes }
}
