//! What the agent and `linkspan-init` say to each other, over a unix stream socket that the
//! child has as descriptor 3.
//!
//! Every message is a length (u32, little endian) and that many bytes of postcard. The agent
//! sends one [`Order`]. The child answers, in this order:
//!
//! ```text
//! start:  [PtyMaster + fd]  Ready  end of file (it has executed)
//!         in another's pid namespace, or with mapped ids: as exec
//! look:   Root + fd  Ready  (stays until the socket closes)
//! create: [Environment, answered by HookStates]  as start, but for the end of file: it closes
//!         the socket and waits on [`START_FD`] for a connection, over which it says
//!         [Failed | Ready  end of file]
//! exec:   Process + pidfd, answered by one byte, "go"
//!         and, from the new process:  [PtyMaster + fd]  Ready  (waits for "go")  end of file
//! ```
//!
//! or, at any point, `Failed` and the end (in an exec, after "go" too, so that the new process is
//! known before it ends). The socket is closed by execve(2) itself, so an end of file after
//! `Ready` means success, and one before it that the child was killed.

use std::collections::VecDeque;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use linkspan_sys::{Errno, fdpass};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::bundle::Bundle;
use crate::plan::{Look, Plan, Process};

/// The socket, as the child has it.
pub const SOCKET_FD: i32 = 3;
/// exec: the pidfd of the container's first process, as the child has it. start: of the container
/// whose pid namespace is joined, if any.
pub const TARGET_FD: i32 = 4;
/// With [`TARGET_FD`]: the container's cgroup, as the child has it.
pub const CGROUP_FD: i32 = 5;
/// start: another container's network namespace, as the child has it. Not open: there is none to
/// join.
pub const NETWORK_FD: i32 = 6;
/// start: a pidfd of the container whose IPC namespace is joined, if any.
pub const IPC_FD: i32 = 7;
/// start: a pidfd of the container whose UTS namespace is joined, if any.
pub const UTS_FD: i32 = 8;
/// create: the listening socket that the container is started through.
pub const START_FD: i32 = 9;
/// create: a cgroup namespace that is joined, if any.
pub const CGROUP_NAMESPACE_FD: i32 = 10;
/// start: a pidfd of the container whose user namespace is joined, because it owns another
/// namespace that is joined, if any. create: a user namespace that is joined, if any.
pub const USER_FD: i32 = 11;
/// create: a time namespace that is joined, if any.
pub const TIME_FD: i32 = 12;

/// The longest message. Arguments and environment together are limited to 2 MiB by the kernel
/// (a quarter of the usual stack limit), so twice that is more than any plan that could run.
const LONGEST: usize = 4 * 1024 * 1024;

/// What a fresh `linkspan-init` shall become.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// The first process of a container.
    Start {
        /// Everything.
        plan: Box<Plan>,
        /// Whether `Ready` shall carry times.
        trace: bool,
    },
    /// One more process of the container behind [`TARGET_FD`].
    Exec {
        /// The process.
        process: Box<Process>,
        /// Whether `Ready` shall carry times.
        trace: bool,
    },
    /// Nothing: only to mount a container's files, so that the agent can work with them.
    Look(Box<Look>),
    /// The first process of a container that somebody else starts later.
    Create {
        /// As for `Start`.
        plan: Box<Plan>,
        /// What is more.
        bundle: Box<Bundle>,
    },
}

/// [`Order`] without owning it. The same bytes.
#[derive(Debug, Clone, Copy, Serialize)]
pub enum OrderRef<'a> {
    /// As [`Order::Start`].
    Start {
        /// Everything.
        plan: &'a Plan,
        /// Whether `Ready` shall carry times.
        trace: bool,
    },
    /// As [`Order::Exec`].
    Exec {
        /// The process.
        process: &'a Process,
        /// Whether `Ready` shall carry times.
        trace: bool,
    },
    /// As [`Order::Look`].
    Look(&'a Look),
    /// As [`Order::Create`].
    Create {
        /// As for `Start`.
        plan: &'a Plan,
        /// What is more.
        bundle: &'a Bundle,
    },
}

impl OrderRef<'_> {
    /// Whether the process gets a terminal of its own, whose master then comes with the answer.
    pub(crate) fn terminal(&self) -> bool {
        match self {
            Self::Start { plan, .. } | Self::Create { plan, .. } => plan.process.terminal.is_some(),
            Self::Exec { process, .. } => process.terminal.is_some(),
            Self::Look(_) => false,
        }
    }
}

/// What `linkspan-init` reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum InitMessage {
    /// It gives up; nothing has been executed.
    Failed(Failure),
    /// exec: the process that will execute, in the VM's pid namespace. Its pidfd comes along.
    Process {
        /// The number.
        pid: i32,
    },
    /// The master of the terminal comes along.
    PtyMaster,
    /// look: the root comes along, opened O_PATH.
    Root,
    /// All is done but execve(2).
    Ready {
        /// What was done when, if the order asked for it.
        trace: Vec<TraceStep>,
    },
    /// create: namespaces and mounts are there, the root is still the machine's. It waits for
    /// [`HookStates`](crate::bundle::HookStates).
    Environment,
}

/// Which step failed, and at what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The step.
    pub step: Step,
    /// The kernel's answer; 0: it was not the kernel that refused.
    pub errno: i32,
    /// The subject, such as the path.
    pub detail: String,
}

/// How long a step took. CLOCK_MONOTONIC, microseconds, on both sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceStep {
    /// The step.
    pub step: Step,
    /// When it began.
    pub began_us: u64,
    /// When it ended.
    pub ended_us: u64,
}

macro_rules! steps {
    ($($(#[$doc:meta])* $name:ident = $word:literal, $action:literal;)*) => {
        /// The steps of a start or an exec, in the order of their execution.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum Step {
            $($(#[$doc])* $name,)*
        }

        impl Step {
            /// All of them.
            pub const EVERY: &[Self] = &[$(Self::$name),*];

            /// A short name, for traces.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }

            /// What failed, to go behind "cannot".
            #[must_use]
            pub fn action(self) -> &'static str {
                match self { $(Self::$name => $action,)* }
            }
        }
    };
}

steps! {
    /// The cgroup and its limits.
    Cgroup = "cgroup", "set up the cgroup";
    /// The device filter.
    DeviceFilter = "device_filter", "install the device filter";
    /// clone3 and the execve of linkspan-init.
    Spawn = "spawn", "start linkspan-init";
    /// Interfaces, addresses and routes in the new network namespace.
    Network = "network", "set up the network";
    /// The plan travels.
    Order = "order", "receive the plan";
    /// setns(2) into a running container.
    Join = "join", "join the container";
    /// Mappings of ids, and what needs the VM's root before they hold.
    UserNamespace = "user_namespace", "set up the user namespace";
    /// The cgroup namespace.
    Unshare = "unshare", "create namespaces";
    /// The time namespace and its clocks.
    Clocks = "clocks", "set the offsets of clocks";
    /// setns(2) into another container's network namespace.
    JoinNetwork = "join_network", "join the other container's network";
    /// setns(2) into other containers' IPC and UTS namespaces.
    JoinOthers = "join_others", "join another container's namespaces";
    /// The loopback interface.
    Loopback = "loopback", "bring up the loopback interface";
    /// The layers become one file system.
    Overlay = "overlay", "mount the root file system";
    /// Sources of bind mounts are opened while they can still be seen.
    Sources = "sources", "open a bind mount's source";
    /// pivot_root(2).
    Pivot = "pivot", "change the root";
    /// The mounts of the plan.
    Mounts = "mounts", "mount";
    /// Nodes and links in /dev.
    Devices = "devices", "create a device";
    /// The pseudo-terminal.
    Terminal = "terminal", "set up the terminal";
    /// Host and domain name.
    Hostname = "hostname", "set the host name";
    /// Kernel parameters.
    Sysctls = "sysctls", "set a kernel parameter";
    /// Masked and read-only paths, read-only root.
    Protect = "protect", "protect a path";
    /// setrlimit(2).
    Rlimits = "rlimits", "set a resource limit";
    /// oom_score_adj.
    OomScore = "oom_score", "set the OOM score";
    /// passwd and group of the container.
    User = "user", "find the user";
    /// chdir(2).
    WorkingDirectory = "cwd", "enter the working directory";
    /// setsid(2), standard streams.
    Session = "session", "create a session";
    /// The bounding set, user ids, capability sets.
    Privileges = "privileges", "give up privileges";
    /// The system call filter.
    Seccomp = "seccomp", "install the system call filter";
    /// sched_setattr(2), ioprio_set(2).
    Schedule = "schedule", "set the scheduling";
    /// Programs of the bundle.
    Hooks = "hooks", "run the hooks";
    /// create: the connection that starts the container.
    AwaitStart = "await_start", "wait for the start";
    /// The program is looked up and executed.
    Execute = "execute", "execute the program";
}

/// A message that could not be sent or received.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The socket failed.
    #[error("the socket to linkspan-init failed: {0}")]
    Socket(#[from] Errno),
    /// The other end closed in the middle of a message.
    #[error("the other end closed in the middle of a message")]
    Cut,
    /// Not what our own other half would send.
    #[error("a message of {0} bytes is too long")]
    TooLong(usize),
    /// Bytes that are no message.
    #[error("malformed message: {0}")]
    Malformed(#[from] postcard::Error),
    /// A descriptor was announced and none came.
    #[error("a message came without its file descriptor")]
    NoDescriptor,
}

/// One end of the socket.
#[derive(Debug)]
pub struct Channel {
    socket: OwnedFd,
    buffer: Vec<u8>,
    fds: VecDeque<OwnedFd>,
}

impl Channel {
    /// Speaks over a connected unix stream socket.
    #[must_use]
    pub fn new(socket: OwnedFd) -> Self {
        Self { socket, buffer: Vec::new(), fds: VecDeque::new() }
    }

    /// The socket.
    #[must_use]
    pub fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Sends one message, and a descriptor with it.
    ///
    /// # Errors
    /// `EPIPE`: the other end is gone.
    pub fn send<T: Serialize>(
        &self,
        message: &T,
        fd: Option<BorrowedFd<'_>>,
    ) -> Result<(), WireError> {
        // One buffer, so that a message is one system call: four bytes for the length first.
        let mut bytes = postcard::to_extend(message, vec![0; 4])?;
        let length = bytes.len() - 4;
        let encoded = u32::try_from(length).ok().filter(|_| length <= LONGEST);
        let encoded = encoded.ok_or(WireError::TooLong(length))?;
        bytes[..4].copy_from_slice(&encoded.to_le_bytes());
        let mut sent = fdpass::send(&self.socket, &bytes, fd)?;
        while sent < bytes.len() {
            sent += fdpass::send(&self.socket, &bytes[sent..], None)?;
        }
        Ok(())
    }

    /// Receives one message; None: the other end has closed.
    ///
    /// # Errors
    /// See [`WireError`].
    pub fn receive<T: DeserializeOwned>(&mut self) -> Result<Option<T>, WireError> {
        loop {
            if let Some(message) = self.decode()? {
                return Ok(Some(message));
            }
            // On the stack: a plan fits, and a program that lives for milliseconds need not
            // touch more of the heap than it keeps.
            let mut chunk = [0; 16 * 1024];
            let (count, fds) = match fdpass::receive(&self.socket, &mut chunk) {
                // The other end died with something of ours unread: as good as closed.
                Err(Errno::ECONNRESET) => (0, Vec::new()),
                other => other?,
            };
            self.fds.extend(fds);
            if count == 0 {
                return if self.buffer.is_empty() { Ok(None) } else { Err(WireError::Cut) };
            }
            self.buffer.extend_from_slice(&chunk[..count]);
        }
    }

    /// Takes one complete message from the front of the buffer.
    fn decode<T: DeserializeOwned>(&mut self) -> Result<Option<T>, WireError> {
        let Some((length, rest)) = self.buffer.split_first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_le_bytes(*length) as usize;
        if length > LONGEST {
            return Err(WireError::TooLong(length));
        }
        let Some(body) = rest.get(..length) else { return Ok(None) };
        let message = postcard::from_bytes(body)?;
        self.buffer.drain(..4 + length);
        Ok(Some(message))
    }

    /// The next descriptor that came with a message.
    ///
    /// # Errors
    /// When none came.
    pub fn take_fd(&mut self) -> Result<OwnedFd, WireError> {
        self.fds.pop_front().ok_or(WireError::NoDescriptor)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixStream;
    use std::path::PathBuf;

    use proptest::prelude::*;

    use super::*;
    use crate::plan::{
        Bind, CapabilitySets, Device, Mount, MountKind, Namespaces, Resources, Rlimit, Rootfs,
        TerminalSize, UserSpec,
    };

    fn pair() -> (Channel, Channel) {
        let (one, other) = UnixStream::pair().unwrap();
        (Channel::new(one.into()), Channel::new(other.into()))
    }

    prop_compose! {
        fn process()(
            args in prop::collection::vec(".*", 1..5),
            env in prop::collection::vec("[A-Z]+=.*", 0..5),
            user in "[a-z0-9:]{0,9}",
            size in prop::option::of((any::<u16>(), any::<u16>())),
            bounding in any::<u64>(),
            no_new_privileges in any::<bool>(),
            limits in prop::collection::vec((any::<u64>(), any::<u64>()), 0..4),
            seccomp in prop::collection::vec(any::<u64>(), 0..600),
            oom_score_adj in prop::option::of(-1000..1000),
        ) -> Process {
            Process {
                args,
                env,
                cwd: PathBuf::from("/"),
                user: UserSpec { user, additional_groups: Vec::new() },
                terminal: size.map(|(rows, columns)| TerminalSize { rows, columns }),
                capabilities: CapabilitySets { bounding, ..CapabilitySets::default() },
                no_new_privileges,
                rlimits: limits
                    .into_iter()
                    .map(|(soft, hard)| Rlimit { kind: "nofile".into(), soft, hard })
                    .collect(),
                seccomp,
                oom_score_adj,
                init: no_new_privileges,
                mapped_root: None,
            }
        }
    }

    prop_compose! {
        fn plan()(
            process in process(),
            lower in prop::collection::vec("/[a-z/]*", 1..200),
            destinations in prop::collection::vec(("/[a-z]*", any::<bool>()), 0..10),
            memory_max in prop::option::of(any::<u64>()),
            readonly in any::<bool>(),
        ) -> Plan {
            Plan {
                process,
                rootfs: Rootfs {
                    lower: lower.into_iter().map(PathBuf::from).collect(),
                    upper: "/u".into(),
                    work: "/w".into(),
                    readonly,
                },
                mounts: destinations
                    .into_iter()
                    .map(|(destination, recursive)| Mount {
                        destination: destination.into(),
                        kind: MountKind::Bind(Bind { recursive, ..Bind::of("/s".into()) }),
                        readonly,
                        nosuid: true,
                        nodev: false,
                        noexec: true,
                    })
                    .collect(),
                hostname: "h".into(),
                domainname: String::new(),
                namespaces: Namespaces {
                    pid: true,
                    uts: false,
                    ipc: true,
                    network: true,
                    cgroup: false,
                },
                user_namespace: None,
                cgroup: "linkspan/containers/x".into(),
                resources: Resources { memory_max, ..Resources::default() },
                devices: vec![Device {
                    path: "/dev/null".into(),
                    block: false,
                    major: 1,
                    minor: 3,
                    mode: 0o666,
                    uid: 0,
                    gid: 5,
                }],
                device_rules: Vec::new(),
                all_devices: readonly,
                masked_paths: Vec::new(),
                readonly_paths: Vec::new(),
                sysctls: vec![("a.b".into(), "1".into())],
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_borrowed_order_arrives_as_the_owned_one(plan in plan(), trace in any::<bool>()) {
            let (agent, mut child) = pair();
            let writer = std::thread::spawn({
                let plan = plan.clone();
                move || agent.send(&OrderRef::Start { plan: &plan, trace }, None)
            });
            let received = child.receive::<Order>().unwrap();
            prop_assert_eq!(received, Some(Order::Start { plan: Box::new(plan), trace }));
            prop_assert!(child.receive::<Order>().is_err() == writer.join().unwrap().is_err());
        }

        #[test]
        fn an_exec_order_arrives(process in process()) {
            let (agent, mut child) = pair();
            agent.send(&OrderRef::Exec { process: &process, trace: true }, None).unwrap();
            let expected = Order::Exec { process: Box::new(process), trace: true };
            prop_assert_eq!(child.receive::<Order>().unwrap(), Some(expected));
        }

        #[test]
        fn rubbish_is_an_error_or_nothing_and_never_a_panic(bytes: Vec<u8>) {
            let (mut writer, reader) = UnixStream::pair().unwrap();
            writer.write_all(&bytes).unwrap();
            drop(writer);
            // Whatever it is, the reader comes to an end.
            let mut channel = Channel::new(reader.into());
            while let Ok(Some(_)) = channel.receive::<InitMessage>() {}
        }
    }

    #[test]
    fn messages_keep_their_order_and_their_descriptors() {
        let (mut agent, child) = pair();
        let (mut near, far) = UnixStream::pair().unwrap();
        child.send(&InitMessage::PtyMaster, Some(far.as_fd())).unwrap();
        child.send(&InitMessage::Ready { trace: Vec::new() }, None).unwrap();
        drop((child, far));
        assert_eq!(agent.receive().unwrap(), Some(InitMessage::PtyMaster));
        let mut passed = UnixStream::from(agent.take_fd().unwrap());
        assert_eq!(agent.receive().unwrap(), Some(InitMessage::Ready { trace: Vec::new() }));
        assert_eq!(agent.receive::<InitMessage>().unwrap(), None);
        assert!(matches!(agent.take_fd(), Err(WireError::NoDescriptor)));
        near.write_all(b"x").unwrap();
        let mut byte = [0];
        passed.read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"x");
    }

    #[test]
    fn a_message_cut_short_is_told_from_a_clean_end() {
        let (mut writer, reader) = UnixStream::pair().unwrap();
        writer.write_all(&[9, 0, 0, 0, 1]).unwrap();
        drop(writer);
        let error = Channel::new(reader.into()).receive::<InitMessage>().unwrap_err();
        assert!(matches!(error, WireError::Cut), "{error}");
    }

    #[test]
    fn a_length_beyond_reason_is_refused_before_it_is_read() {
        let (mut writer, reader) = UnixStream::pair().unwrap();
        writer.write_all(&u32::MAX.to_le_bytes()).unwrap();
        let error = Channel::new(reader.into()).receive::<InitMessage>().unwrap_err();
        assert!(matches!(error, WireError::TooLong(_)), "{error}");
    }
}
