//! `linkspand`: wiring only. Takes the home's lock, opens the log and the sockets, makes the
//! drivers, the engine and the faces, and ends in order. Machines outlive it: the next daemon
//! adopts them.

mod budgets;
mod drivers;
mod fs_device;
mod limits;
mod log;
mod signals;
mod vsock_device;

use std::{
    io::{ErrorKind, Write as _},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use linkspan_engine::{Engine, EngineOptions, HostEngine};
use linkspan_proto::DAEMON_RUNS_EXIT_CODE;
use linkspan_state::{Config, Lock, Paths, StateError, image::ImageSearch};
use linkspan_transport::local;
use tokio_util::sync::CancellationToken;

/// What calls that are under way get when the daemon is asked to end.
const GRACE: Duration = Duration::from_secs(2);

/// The Linkspan daemon: runs machines for `linkspan` and the desktop app.
///
/// It is started when it is needed and listens on sockets of this user only.
#[derive(Debug, Parser)]
#[command(name = "linkspand", version)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// The folder of all state. Default: `LINKSPAN_HOME`, else the user's folder for application
    /// data.
    #[arg(long, value_name = "FOLDER")]
    home: Option<PathBuf>,
    /// Stay in this terminal's session, and log to it too.
    #[arg(long)]
    foreground: bool,
    /// What to log: error, warn, info, debug, trace, or directives like `linkspan_machine=debug,info`.
    #[arg(long, value_name = "FILTER", env = "LINKSPAN_LOG", default_value = "info")]
    log: String,
}

/// What this program is besides the daemon.
#[derive(Debug, Subcommand)]
enum Command {
    #[command(name = vsock_device::VSOCK_DEVICE, hide = true)]
    VsockDevice(vsock_device::VsockDevice),
    #[command(name = fs_device::FS_DEVICE, hide = true)]
    FsDevice(fs_device::FsDevice),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if !arguments.foreground {
        signals::leave_session();
    }
    let done = match &arguments.command {
        Some(Command::VsockDevice(device)) => device.run(&arguments.log),
        Some(Command::FsDevice(device)) => device.run(&arguments.log),
        None => run(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Standard error is the log's file, whose disk may be full: no reason to panic.
            let _ = writeln!(std::io::stderr(), "linkspand: {error:#}");
            let taken = matches!(error.downcast_ref(), Some(StateError::Locked { .. }));
            if taken { exit_code(DAEMON_RUNS_EXIT_CODE) } else { ExitCode::FAILURE }
        }
    }
}

fn exit_code(code: i32) -> ExitCode {
    u8::try_from(code).map_or(ExitCode::FAILURE, ExitCode::from)
}

fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let paths = match &arguments.home {
        Some(home) => Paths::at(home)?,
        None => Paths::discover()?,
    };
    // Before the log is opened: the one who holds the lock writes it.
    let lock = Lock::acquire(&paths.daemon_lock(), "this home")?;
    log::start(&paths.daemon_log(), &arguments.log, arguments.foreground)?;
    limits::open_files();
    let config = Config::load(&paths)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("linkspand")
        .build()
        .context("cannot start the runtime")?;
    let result = runtime.block_on(serve(paths, config));
    if let Err(error) = &result {
        tracing::error!("{error:#}");
    }
    // What still hangs (a read of the serial log, say) does not keep the daemon.
    runtime.shutdown_timeout(GRACE);
    drop(lock);
    result
}

async fn serve(paths: Paths, config: Config) -> anyhow::Result<()> {
    let ended = CancellationToken::new();
    // Before anybody can reach us: who does may ask us to end at once.
    let mut requests = signals::Requests::listen().context("cannot wait for signals")?;
    // gRPC last: a client that reaches it may use the others.
    let streams = bind(paths.streams_socket()).await?;
    let docker = bind(paths.docker_socket()).await?;
    let grpc = bind(paths.daemon_socket()).await?;
    let home = paths.home().display().to_string();
    let engine = HostEngine::open(EngineOptions {
        driver: drivers::for_this_host(&paths)?,
        images: ImageSearch::usual(&config),
        budgets: budgets::from_environment()?,
        paths,
        config,
        ended: ended.clone(),
    })
    .await?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), pid = std::process::id(), home, "ready");

    let engine: Arc<dyn Engine> = engine;
    let faces = async {
        tokio::join!(
            linkspan_gateway::serve_grpc(grpc, engine.clone(), ended.clone()),
            linkspan_gateway::serve_streams(streams, engine.clone(), ended.clone()),
            linkspan_gateway::serve_docker(docker, engine.clone(), ended.clone()),
        )
    };
    let mut faces = std::pin::pin!(faces);
    tokio::select! {
        // They end by themselves only when they cannot accept clients, and have said so.
        _ = &mut faces => return Err(anyhow::anyhow!("the sockets are broken")),
        () = ended.cancelled() => tracing::info!("asked to end by a client"),
        signal = requests.next() => {
            tracing::info!(signal, "asked to end by the system");
        }
    }
    ended.cancel();
    if tokio::time::timeout(GRACE, faces).await.is_err() {
        tracing::info!("calls that were still under way are cut");
    }
    tracing::info!("ended; machines that run keep running");
    Ok(())
}

/// Listens. We hold the home's lock, so who else listens can only be a daemon that was killed and
/// whose files the system is just closing, one by one: it is given a moment.
async fn bind(path: PathBuf) -> anyhow::Result<local::Listener> {
    let deadline = Instant::now() + GRACE;
    loop {
        match local::Listener::bind(&path) {
            Err(error) if error.kind() == ErrorKind::AddrInUse && Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            result => {
                return result.with_context(|| format!("cannot listen on `{}`", path.display()));
            }
        }
    }
}
