//! The typed client of the daemon: finds its socket, starts it when absent, checks versions.
//!
//! Owns: where the daemon is looked for, how it is started, what every call carries with it
//! (machine, request id), message size limits. Everything it returns fails with a
//! [`Failure`]. It does not: decide anything about containers or machines, render, or retry a
//! call on its own.
//!
//! ```no_run
//! # async fn example() -> Result<(), linkspan_client::Failure> {
//! use linkspan_client::{Client, ConnectOptions};
//! let client = Client::connect(ConnectOptions::default()).await?;
//! let listed = client
//!     .containers(None)
//!     .list(linkspan_proto::v1::ListContainersRequest::default())
//!     .await?;
//! # Ok(()) }
//! ```

mod calls;
mod raw;
mod start;
mod upload;

pub use calls::{
    AgentCalls, BuildCalls, ContainerCalls, EventCalls, FileCalls, HostCalls, ImageCalls,
    MAX_MESSAGE_BYTES, MachineCalls, NetworkCalls, RegistryCalls, SystemCalls, Tag, VolumeCalls,
    Wire,
};
pub use linkspan_proto::{REQUEST_ID_KEY, error::Failure};
pub use raw::RawCalls;
pub use upload::new_stream_id;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use hyper_util::rt::TokioIo;
use linkspan_proto::{
    PROTOCOL_VERSION,
    error::ErrorCode,
    host::v1::{HostHelloRequest, HostHelloResponse, HostShutdownRequest},
};
use linkspan_state::Paths;
use linkspan_transport::local;
use parking_lot::Mutex;
use tonic::{
    Code,
    transport::{Channel, Endpoint},
};

/// What this program calls itself in a Hello.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The most that a daemon that accepts connections may take for its Hello.
const HELLO_DEADLINE: Duration = Duration::from_secs(10);

/// How much may be on its way without an acknowledgement: standard output of a container passes
/// through here, and HTTP/2's 64 KiB would make every chunk wait for the other side.
const WINDOW: u32 = 8 * 1024 * 1024;
const FRAME: u32 = 1024 * 1024;
/// Error details travel in headers, and may carry the end of a serial log.
const HEADERS: u32 = 1024 * 1024;

/// How to reach the daemon.
#[derive(Debug, Clone)]
pub struct ConnectOptions {
    /// The state folder. `None`: `LINKSPAN_HOME`, else the platform's place for it.
    pub home: Option<PathBuf>,
    /// Start the daemon when none runs. Otherwise that is an error of the kind `Unavailable`.
    pub start_daemon: bool,
    /// The daemon's program. `None`: `linkspand` beside this program, then on the `PATH`.
    pub daemon_program: Option<PathBuf>,
    /// How long a daemon may take from its start to its first answer.
    pub start_timeout: Duration,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            home: None,
            start_daemon: true,
            daemon_program: None,
            start_timeout: Duration::from_secs(15),
        }
    }
}

/// A daemon that has said Hello. Cheap to clone; clones share one connection, which is made anew
/// when it is lost.
#[derive(Debug, Clone)]
pub struct Client {
    channel: Channel,
    paths: Arc<Paths>,
    daemon: Arc<HostHelloResponse>,
}

impl Client {
    /// Connects to the daemon, and starts it first when there is none.
    ///
    /// # Errors
    /// `Unavailable` when there is no daemon and none is to be started, or it did not come up;
    /// `NotFound` when its program is not installed; `VersionMismatch` when it speaks another
    /// protocol version.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn connect(options: ConnectOptions) -> Result<Self, Failure> {
        let client = Self::reach(&options).await?;
        client.check_version()?;
        Ok(client)
    }

    /// Without the version check, so that a daemon of another version can still be ended.
    async fn reach(options: &ConnectOptions) -> Result<Self, Failure> {
        let paths = Arc::new(paths(options.home.as_deref())?);
        let deadline = Instant::now() + options.start_timeout;
        let mut started = None;
        loop {
            match local::connect(&paths.daemon_socket()).await {
                Ok(stream) => match Self::hello(&paths, stream, options.start_timeout).await {
                    Ok(client) => return Ok(client),
                    // A daemon that is just ending (or was killed, and the system is still clearing
                    // it away) accepted us and hung up.
                    Err(status) if is_broken(&status) => {
                        if Instant::now() >= deadline {
                            return Err(not_answering(&paths, &status));
                        }
                    }
                    Err(status) => return Err(not_answering(&paths, &status)),
                },
                Err(error) if !error.nobody_listens() => {
                    return Err(Failure::new(ErrorCode::Unavailable, error.to_string()));
                }
                Err(_) if !options.start_daemon => {
                    return Err(Failure::new(ErrorCode::Unavailable, "the daemon does not run"));
                }
                Err(_) if started.as_ref().is_none_or(start::Started::is_worth_a_retry) => {
                    started = Some(start::Started::spawn(options, &paths)?);
                    continue;
                }
                Err(_) => {}
            }
            if let Some(started) = &mut started {
                started.check(&paths, deadline, options.start_timeout)?;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn hello(
        paths: &Arc<Paths>,
        first: local::Stream,
        start_timeout: Duration,
    ) -> Result<Self, tonic::Status> {
        let limit = HELLO_DEADLINE.min(start_timeout);
        let hello = async {
            let channel = channel(paths.daemon_socket(), first)
                .await
                .map_err(|error| tonic::Status::unavailable(calls::chain(&error)))?;
            let request =
                HostHelloRequest { protocol_version: PROTOCOL_VERSION, version: VERSION.into() };
            let daemon = calls::host(channel.clone()).hello(request).await?.into_inner();
            Ok(Self { channel, paths: paths.clone(), daemon: Arc::new(daemon) })
        };
        // Not the call's own deadline: its status cannot be told from a broken connection.
        tokio::time::timeout(limit, hello).await.unwrap_or_else(|_| {
            let seconds = limit.as_secs_f32();
            Err(tonic::Status::deadline_exceeded(format!("no Hello within {seconds} s")))
        })
    }

    fn check_version(&self) -> Result<(), Failure> {
        if self.daemon.protocol_version == PROTOCOL_VERSION {
            return Ok(());
        }
        Err(Failure::new(
            ErrorCode::VersionMismatch,
            format!(
                "the running daemon is version {} (protocol {}), this program is version \
                 {VERSION} (protocol {PROTOCOL_VERSION})",
                self.daemon.version, self.daemon.protocol_version
            ),
        )
        .hint("run `linkspan system restart`: machines keep running and are adopted"))
    }

    /// Ends the daemon of `options.home`, of whatever version. Returns whether one ran. When it
    /// returns, the daemon accepts no more connections and a new one can start.
    ///
    /// # Errors
    /// When it runs but does not answer, or does not end in time.
    pub async fn shutdown_daemon(
        options: &ConnectOptions,
        stop_machines: bool,
    ) -> Result<bool, Failure> {
        let options = ConnectOptions { start_daemon: false, ..options.clone() };
        let socket = paths(options.home.as_deref())?.daemon_socket();
        if let Err(error) = local::connect(&socket).await
            && error.nobody_listens()
        {
            return Ok(false);
        }
        let client = match Self::reach(&options).await {
            Ok(client) => client,
            // It was ending by itself.
            Err(_) if local::connect(&socket).await.is_err_and(|error| error.nobody_listens()) => {
                return Ok(true);
            }
            Err(failure) => return Err(failure),
        };
        client.host().shutdown(HostShutdownRequest { stop_machines }).await?;
        let deadline = Instant::now() + options.start_timeout;
        while local::connect(&socket).await.is_ok() {
            if Instant::now() >= deadline {
                return Err(Failure::new(
                    ErrorCode::TimedOut,
                    format!(
                        "the daemon (process {}) did not end within {} s",
                        client.daemon.pid,
                        options.start_timeout.as_secs()
                    ),
                ));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(true)
    }

    /// What the daemon said of itself.
    #[must_use]
    pub fn daemon(&self) -> &HostHelloResponse {
        &self.daemon
    }

    /// The files of the home that this client is connected to.
    #[must_use]
    pub fn paths(&self) -> &Paths {
        &self.paths
    }

    /// Calls on the daemon itself.
    #[must_use]
    pub fn host(&self) -> HostCalls {
        calls::host(self.channel.clone())
    }

    /// Calls on machines.
    #[must_use]
    pub fn machines(&self) -> MachineCalls {
        calls::machines(self.channel.clone())
    }

    /// What happens in a machine (`None`: the default one), which is started first.
    #[must_use]
    pub fn events(&self, machine: Option<&str>) -> EventCalls {
        calls::events(self.channel.clone(), machine)
    }

    /// Calls on builds in a machine (`None`: the default one), which is started first.
    #[must_use]
    pub fn builds(&self, machine: Option<&str>) -> BuildCalls {
        calls::builds(self.channel.clone(), machine)
    }

    /// Calls on the containers of a machine (`None`: the default one), which is started first.
    #[must_use]
    pub fn containers(&self, machine: Option<&str>) -> ContainerCalls {
        calls::containers(self.channel.clone(), machine)
    }

    /// Calls on the images of a machine (`None`: the default one), which is started first.
    #[must_use]
    pub fn images(&self, machine: Option<&str>) -> ImageCalls {
        calls::images(self.channel.clone(), machine)
    }

    /// Calls that move images between a machine (`None`: the default one), which is started first,
    /// and registries.
    #[must_use]
    pub fn registry(&self, machine: Option<&str>) -> RegistryCalls {
        calls::registry(self.channel.clone(), machine)
    }

    /// Calls on the networks of a machine (`None`: the default one), which is started first.
    #[must_use]
    pub fn networks(&self, machine: Option<&str>) -> NetworkCalls {
        calls::networks(self.channel.clone(), machine)
    }

    /// Calls on the files of a machine's containers (`None`: the default machine's), which is
    /// started first.
    #[must_use]
    pub fn files(&self, machine: Option<&str>) -> FileCalls {
        calls::files(self.channel.clone(), machine)
    }

    /// Calls on what concerns a machine's images, containers and volumes together (`None`: the
    /// default machine's), which is started first.
    #[must_use]
    pub fn system(&self, machine: Option<&str>) -> SystemCalls {
        calls::system(self.channel.clone(), machine)
    }

    /// Calls on the volumes of a machine (`None`: the default one), which is started first.
    #[must_use]
    pub fn volumes(&self, machine: Option<&str>) -> VolumeCalls {
        calls::volumes(self.channel.clone(), machine)
    }

    /// Any call, with messages as bytes. `machine` as in the other calls; those on the daemon
    /// itself need none.
    #[must_use]
    pub fn raw(&self, machine: Option<&str>) -> RawCalls {
        RawCalls(calls::raw(self.channel.clone(), machine))
    }

    /// Calls on a machine's agent (`None`: the default machine's), which is started first.
    #[must_use]
    pub fn agent(&self, machine: Option<&str>) -> AgentCalls {
        calls::agent(self.channel.clone(), machine)
    }
}

/// The files of `home`, or of the home that the environment and the platform name.
///
/// # Errors
/// When there is no such folder and none can be made, or it is not this user's.
pub fn paths(home: Option<&Path>) -> Result<Paths, Failure> {
    let found = match home {
        Some(home) => Paths::at(home),
        None => Paths::discover(),
    };
    found.map_err(|error| Failure {
        hint: error.hint(),
        ..Failure::new(ErrorCode::InvalidArgument, error.to_string())
    })
}

/// Nobody answered: the connection broke. Every answer of a daemon has details, or one of the
/// codes of the gRPC library for a call that it does not know.
fn is_broken(status: &tonic::Status) -> bool {
    let code = status.code();
    status.details().is_empty()
        && matches!(code, Code::Unavailable | Code::Unknown | Code::Internal | Code::Cancelled)
}

/// A status with its causes, on one line.
fn words(status: &tonic::Status) -> String {
    let mut text = status.message().to_owned();
    if let Some(source) = std::error::Error::source(status) {
        let causes = calls::chain(source);
        if text.is_empty() {
            text = causes;
        } else if !text.contains(&causes) {
            text = format!("{text}: {causes}");
        }
    }
    text
}

/// What a failed call is to a user. Beyond [`Failure::from`] it knows a connection to the daemon
/// that broke from an answer of the daemon.
#[must_use]
pub fn failure(status: tonic::Status) -> Failure {
    if !is_broken(&status) {
        return status.into();
    }
    Failure::new(
        ErrorCode::Unavailable,
        format!("the connection to the daemon was lost: {}", words(&status)),
    )
    .hint("try again; the end of the daemon's log (`linkspand.log` in its home) may say more")
}

fn not_answering(paths: &Paths, status: &tonic::Status) -> Failure {
    let holder = linkspan_state::Lock::probe(&paths.daemon_lock()).ok().flatten();
    let process = holder.filter(|holder| holder.pid != 0);
    let process = process.map_or_else(String::new, |holder| format!(" {}", holder.pid));
    Failure::new(
        ErrorCode::Unavailable,
        format!(
            "the daemon at `{}` accepts connections but does not answer: {}",
            paths.daemon_socket().display(),
            words(status)
        ),
    )
    .hint(format!("end the process{process} (`linkspand`) and try again: machines keep running"))
}

/// A channel whose first connection is `first`; later ones are made on demand.
async fn channel(
    socket: PathBuf,
    first: local::Stream,
) -> Result<Channel, tonic::transport::Error> {
    let first = Arc::new(Mutex::new(Some(first)));
    Endpoint::from_static("http://linkspand")
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(2 * WINDOW)
        .max_frame_size(FRAME)
        .http2_max_header_list_size(HEADERS)
        .connect_with_connector(tower::service_fn(move |_: http::Uri| {
            let ready = first.lock().take();
            let socket = socket.clone();
            async move {
                let stream = match ready {
                    Some(stream) => stream,
                    None => local::connect(&socket).await?,
                };
                Ok::<_, io::Error>(TokioIo::new(stream))
            }
        }))
        .await
}
