//! `tour`: shows the crossing from this host to a container, measured while it looks.

use std::time::{Duration, Instant};

use clap::Args;
use jiff::Timestamp;
use linkspan_client::Client;
use linkspan_proto::host::v1::{
    HostInfoRequest, HostInfoResponse, Machine, MachineState, PhaseState, StopMachineRequest,
};
use linkspan_proto::v1::{
    AttachOpen, AttachRequest, ContainerConfig, CreateContainerRequest, InspectContainerRequest,
    ProcessExited, RemoveContainerRequest, Resources, ShellOpen, ShellRequest, StdioOutput,
    TraceStep, attach_request, shell_request, stdio_output,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::context::{Context, start_machine};
use crate::error::{Error, Outcome};
use crate::render::{self, human, table};

/// See this host's kernel, the VM's, and what a container sees
///
/// Runs two small containers, asks the same questions in the VM and in a container, and shows how
/// long each phase took.
#[derive(Debug, Args)]
pub(crate) struct Tour {
    /// Stop the machine afterwards when this tour started it, and the daemon when nothing else
    /// runs
    #[arg(long)]
    stop: bool,
}

/// What the container may use at most: small numbers, easily recognised from inside.
const MEMORY: u64 = 64 << 20;
const PIDS: i64 = 32;

/// Asks the same questions in the VM and in the container; one answer a line.
const QUESTIONS: &str = r#"
echo "$(uname -srm)"
hostname
echo "$$"
cat /proc/1/comm
ls /proc | grep -c '^[0-9]'
ls /sys/class/net | tr '\n' ' '; echo
grep CapEff /proc/self/status | cut -f2
grep '^Seccomp:' /proc/self/status | cut -f2
cat /sys/fs/cgroup/memory.max 2>/dev/null || echo none
cat /sys/fs/cgroup/pids.max 2>/dev/null || echo none
"#;

const ASKED: &[&str] = &[
    "kernel",
    "host name",
    "process id of this look",
    "process 1 is",
    "processes it can see",
    "network interfaces",
    "effective capabilities",
    "seccomp mode",
    "memory limit",
    "process limit",
];

/// One container's run.
struct Visit {
    output: Vec<u8>,
    exited: ProcessExited,
    create: Duration,
    /// From asking for the start to the news that the process runs.
    start: Duration,
    /// From the start to the end of all output.
    rest: Duration,
    trace: Vec<TraceStep>,
}

impl Tour {
    pub(crate) async fn run(self, context: Context) -> Outcome {
        let client = context.client().await?;
        let host = client.host().info(HostInfoRequest {}).await?.into_inner();
        let started = start_machine(&client, context.machine()).await?;
        let result = visit_all(&client, &context, &host, &started.machine, started.booted).await;
        if self.stop && started.booted {
            clean_up(&client, &started.machine.name).await?;
        }
        result?;
        Ok(0)
    }
}

async fn visit_all(
    client: &Client,
    context: &Context,
    host: &HostInfoResponse,
    machine: &Machine,
    booted: bool,
) -> Result<(), Error> {
    let hello = visit(client, context, "linkspan/hello", &[]).await?;
    expect_success("linkspan/hello", &hello)?;
    render::print(&String::from_utf8_lossy(&hello.output))?;
    let look: Vec<String> = ["sh", "-c", QUESTIONS].map(str::to_owned).into();
    let inside = visit(client, context, "busybox", &look).await?;
    expect_success("busybox", &inside)?;
    let vm = shell(client, context, &look).await?;
    render::print(&comparison(host, &answers(&vm), &answers(&inside.output)))?;
    render::print(&timings(machine, booted, &inside, Timestamp::now()))?;
    Ok(())
}

fn expect_success(image: &str, visit: &Visit) -> Result<(), Error> {
    if visit.exited.exit_code == 0 {
        return Ok(());
    }
    render::print(&String::from_utf8_lossy(&visit.output))?;
    Err(Error::invalid(format!(
        "the tour's container of `{image}` ended with exit code {} {}",
        visit.exited.exit_code, visit.exited.error
    )))
}

/// Creates, runs and removes a container, with a clock.
async fn visit(
    client: &Client,
    context: &Context,
    image: &str,
    command: &[String],
) -> Result<Visit, Error> {
    let mut calls = client.containers(context.machine());
    let config = ContainerConfig {
        image: image.into(),
        command: command.to_vec(),
        resources: Some(Resources {
            memory_bytes: MEMORY,
            pids_limit: PIDS,
            ..Resources::default()
        }),
        ..ContainerConfig::default()
    };
    let began = Instant::now();
    let request = CreateContainerRequest { config: Some(config), ..Default::default() };
    let id = calls.create(request).await?.into_inner().id;
    let create = began.elapsed();
    let result = run_created(client, context, &id).await;
    // Also after a failure: the tour leaves nothing behind.
    let request = RemoveContainerRequest { container: id, force: true, volumes: true };
    let removed = calls.remove(request).await;
    let (output, exited, start, rest, trace) = result?;
    removed?;
    Ok(Visit { output, exited, create, start, rest, trace })
}

type Ran = (Vec<u8>, ProcessExited, Duration, Duration, Vec<TraceStep>);

async fn run_created(client: &Client, context: &Context, id: &str) -> Result<Ran, Error> {
    let mut calls = client.containers(context.machine());
    let open = AttachOpen {
        container: id.to_owned(),
        stdin: false,
        stdout: true,
        stderr: true,
        start: true,
        logs: false,
        size: None,
        next_run: false,
    };
    let request = AttachRequest { kind: Some(attach_request::Kind::Open(open)) };
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    // The channel is new and empty: there is room for the first message.
    let _ = sender.try_send(request);
    let began = Instant::now();
    let outputs = calls.attach(ReceiverStream::new(receiver)).await?.into_inner();
    let (output, exited, start) = collect(outputs, began).await?;
    let total = began.elapsed();
    drop(sender);
    let request = InspectContainerRequest { container: id.to_owned(), size: false };
    let detail = calls.inspect(request).await?.into_inner().container.unwrap_or_default();
    Ok((output, exited, start, total.saturating_sub(start), detail.start_trace))
}

/// Everything a process writes, its end, and when it was said to run.
async fn collect(
    mut outputs: Streaming<StdioOutput>,
    began: Instant,
) -> Result<(Vec<u8>, ProcessExited, Duration), Error> {
    let mut collected = Vec::new();
    let mut start = None;
    while let Some(message) = outputs.message().await? {
        match message.kind {
            Some(stdio_output::Kind::Started(_)) => start = Some(began.elapsed()),
            Some(stdio_output::Kind::Stdout(chunk) | stdio_output::Kind::Stderr(chunk)) => {
                collected.extend(chunk);
            }
            Some(stdio_output::Kind::Exited(exited)) => {
                let start = start.unwrap_or_else(|| began.elapsed());
                return Ok((collected, exited, start));
            }
            None => {}
        }
    }
    Err(Error::invalid("the connection to a process was lost before it ended"))
}

async fn shell(client: &Client, context: &Context, args: &[String]) -> Result<Vec<u8>, Error> {
    let open = ShellOpen { args: args.to_vec(), ..ShellOpen::default() };
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    let _ = sender.try_send(ShellRequest { kind: Some(shell_request::Kind::Open(open)) });
    let outputs =
        client.agent(context.machine()).shell(ReceiverStream::new(receiver)).await?.into_inner();
    let (output, _, _) = collect(outputs, Instant::now()).await?;
    drop(sender);
    Ok(output)
}

fn answers(output: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(output).lines().map(|line| line.trim().to_owned()).collect()
}

/// The same questions, asked in three places.
fn comparison(host: &HostInfoResponse, vm: &[String], inside: &[String]) -> String {
    let blank = String::new();
    let mut text = String::from("\tTHIS HOST\tTHE LINUX VM\tTHE CONTAINER\n");
    for (at, what) in ASKED.iter().enumerate() {
        let own = if at == 0 { &host.kernel } else { &blank };
        let own = if own.is_empty() { "-" } else { own };
        let vm = vm.get(at).map_or("-", String::as_str);
        let inside = inside.get(at).map_or("-", String::as_str);
        text += &format!("{what}\t{own}\t{}\t{}\n", worded(what, vm), worded(what, inside));
    }
    let same = !vm.is_empty() && vm.first() == inside.first();
    let remark = if same {
        "The container has no kernel of its own: it sees the VM's, through namespaces and limits.\n"
    } else {
        ""
    };
    format!("\nWhat each of them sees\n\n{}\n{remark}", table::align(&text))
}

fn worded(what: &str, answer: &str) -> String {
    match (what, answer) {
        ("memory limit", bytes) => match bytes.parse() {
            Ok(bytes) => human::binary_size(bytes),
            Err(_) => bytes.to_owned(),
        },
        ("seccomp mode", "0") => "0 (off)".into(),
        ("seccomp mode", "2") => "2 (filter)".into(),
        (_, "") => "-".into(),
        (_, answer) => answer.to_owned(),
    }
}

/// How long everything took, and when that was measured.
fn timings(machine: &Machine, booted: bool, inside: &Visit, now: Timestamp) -> String {
    let when = if booted {
        "measured just now".to_owned()
    } else {
        format!(
            "measured when the machine started, {}",
            human::ago(machine.started_unix_nanos, now)
        )
    };
    let mut text = String::from("STEP\tTOOK\tALLOWED\n");
    let mut total = 0;
    for phase in machine.phases.iter().filter(|phase| phase.state() == PhaseState::Done) {
        total += phase.duration_us;
        let budget = match phase.budget_us {
            0 => "-".to_owned(),
            budget => human::micros(budget),
        };
        let took = human::micros(phase.duration_us);
        text += &format!("{}\t{took}\t{budget}\n", phase.name);
    }
    text += &format!("all phases\t{}\t-\n", human::micros(total));
    let accelerator = match machine.accelerator.as_str() {
        "" => String::new(),
        name => format!(", accelerator {name}"),
    };
    let boot = format!("\nThe machine's boot ({when}{accelerator})\n\n{}", table::align(&text));
    let micros = |time: Duration| human::micros(u64::try_from(time.as_micros()).unwrap_or(0));
    let mut text = String::from("STEP\tTOOK\n");
    text += &format!("create, there and back\t{}\n", micros(inside.create));
    text += &format!("start, until it is said to run\t{}\n", micros(inside.start));
    for step in &inside.trace {
        text += &format!("  in the VM: {}\t{}\n", step.name, human::micros(step.duration_us));
    }
    text += &format!("its work and the last output\t{}\n", micros(inside.rest));
    let all = inside.create + inside.start + inside.rest;
    text += &format!("all of it\t{}\n", micros(all));
    let run = table::align(&text);
    format!("{boot}\nThe container's run (measured just now, from this host)\n\n{run}")
}

/// Stops the machine, and the daemon when no other machine runs.
async fn clean_up(client: &Client, name: &str) -> Result<(), Error> {
    use linkspan_client::ConnectOptions;
    use linkspan_proto::host::v1::ListMachinesRequest;
    let request = StopMachineRequest { name: name.to_owned(), ..StopMachineRequest::default() };
    client.machines().stop(request).await?;
    say!("the machine `{name}` is stopped");
    let machines = client.machines().list(ListMachinesRequest {}).await?.into_inner().machines;
    if machines
        .iter()
        .all(|machine| matches!(machine.state(), MachineState::Stopped | MachineState::Failed))
    {
        Client::shutdown_daemon(&ConnectOptions::default(), false).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use linkspan_proto::host::v1::PhaseStatus;

    use super::*;

    #[test]
    fn the_tables_say_what_was_measured_when() {
        let machine = Machine {
            accelerator: "tcg".into(),
            started_unix_nanos: 1_000_000_000,
            phases: vec![PhaseStatus {
                name: "kernel".into(),
                state: PhaseState::Done.into(),
                duration_us: 840_000,
                budget_us: 5_000_000,
            }],
            ..Machine::default()
        };
        let inside = Visit {
            output: Vec::new(),
            exited: ProcessExited::default(),
            create: Duration::from_millis(20),
            start: Duration::from_millis(30),
            rest: Duration::from_millis(50),
            trace: vec![TraceStep { name: "mount".into(), started_us: 0, duration_us: 1500 }],
        };
        let now = Timestamp::from_second(121).expect("in range");
        let text = timings(&machine, false, &inside, now);
        assert!(text.contains("measured when the machine started, 2 minutes ago, accelerator tcg"));
        assert!(text.contains("  in the VM: mount               1.50 ms\n"), "{text}");
        assert!(text.contains("all of it                        100.0 ms\n"), "{text}");
        assert!(timings(&machine, true, &inside, now).contains("boot (measured just now"));
    }

    #[test]
    fn the_same_question_stands_in_one_line() {
        let host = HostInfoResponse { kernel: "6.1".into(), ..HostInfoResponse::default() };
        let vm = answers(b"Linux 6.12 x86_64\nvm\n1\n");
        let text = comparison(&host, &vm, &answers(b"Linux 6.12 x86_64\nabc\n7\n"));
        assert!(
            text.contains(
                "kernel                    6.1         Linux 6.12 x86_64   Linux 6.12 x86_64\n"
            ),
            "{text}"
        );
        assert!(text.contains("no kernel of its own"));
        assert_eq!(ASKED.len(), QUESTIONS.trim().lines().count());
        assert_eq!(worded("memory limit", "67108864"), "64MiB");
        assert_eq!(worded("memory limit", "max"), "max");
    }
}
