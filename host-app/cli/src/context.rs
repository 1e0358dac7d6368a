//! What a command has to work with: the daemon and the machine it is about.

use std::time::Duration;

use linkspan_client::{Client, ConnectOptions};
use linkspan_proto::error::{ErrorCode, Failure};
use linkspan_proto::host::v1::{Machine, MachineState, StartMachineRequest};

use crate::error::Error;
use crate::progress::BootDisplay;

/// So long the VM of an earlier daemon may take to answer before the user hears of it.
const ADOPTION: Duration = Duration::from_secs(1);

/// The global flags, and the way to the daemon.
#[derive(Debug, Clone, Default)]
pub(crate) struct Context {
    /// `--machine`; none: the default one.
    pub(crate) machine: Option<String>,
}

/// What came of starting a machine.
#[derive(Debug)]
pub(crate) struct Started {
    /// The machine, running.
    pub(crate) machine: Machine,
    /// It did not run before.
    pub(crate) booted: bool,
}

impl Context {
    pub(crate) fn machine(&self) -> Option<&str> {
        self.machine.as_deref()
    }

    /// Connects to the daemon, which is started when there is none.
    ///
    /// # Errors
    /// When there is no way to it.
    pub(crate) async fn client(&self) -> Result<Client, Error> {
        Ok(Client::connect(ConnectOptions::default()).await?)
    }

    /// As [`Context::client`], and the machine runs: its boot is shown when it did not.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) async fn running(&self) -> Result<Client, Error> {
        let client = self.client().await?;
        start_machine(&client, self.machine()).await?;
        Ok(client)
    }
}

/// Starts a machine (`None`: the default one) and shows its boot. Says nothing when it runs.
///
/// # Errors
/// When it cannot be started.
pub(crate) async fn start_machine(client: &Client, name: Option<&str>) -> Result<Started, Error> {
    let request = StartMachineRequest { name: name.unwrap_or_default().to_owned() };
    let mut answers = client.machines().start(request).await?.into_inner();
    let mut display: Option<BootDisplay> = None;
    let mut last = None;
    let patience = tokio::time::sleep(ADOPTION);
    let mut patience = std::pin::pin!(patience);
    let mut adopting = false;
    loop {
        let next = tokio::select! {
            next = answers.message() => next,
            () = &mut patience, if adopting => {
                say!("the machine runs from before: waiting for its agent");
                adopting = false;
                continue;
            }
        };
        let answer = match next {
            Ok(Some(answer)) => answer,
            Ok(None) => break,
            Err(status) => {
                if let Some(display) = display {
                    display.failed();
                }
                return Err(status.into());
            }
        };
        if let Some(machine) = answer.machine {
            // No boot: told only when it takes long.
            adopting |= machine.adopting && last.is_none();
            if display.is_none() && !machine.adopting && machine.state() != MachineState::Running {
                display = Some(BootDisplay::new(&machine.name));
            }
            if let Some(display) = &mut display {
                display.update(&machine);
            }
            last = Some(machine);
        }
        if !answer.notice.is_empty() {
            match &display {
                Some(display) => display.notice(&answer.notice),
                None => say!("note: {}", answer.notice),
            }
        }
    }
    let booted = display.is_some();
    match last.filter(|machine| machine.state() == MachineState::Running) {
        Some(machine) => {
            if let Some(display) = display {
                display.ready(&machine.name);
            }
            Ok(Started { machine, booted })
        }
        None => {
            if let Some(display) = display {
                display.failed();
            }
            Err(Failure::new(ErrorCode::Internal, "the machine's start ended without a result")
                .hint("see `linkspan machine status` and `linkspan machine logs`")
                .into())
        }
    }
}
