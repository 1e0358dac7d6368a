//! Ending a VM: asked first, killed when it does not listen.

use std::{sync::Arc, time::Duration};

use linkspan_transport::GuestSocket;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::{
    driver::{DriverError, Vm},
    parts::Parts,
};

/// What containers are given when the guest does not say how long theirs may take (Docker's
/// time-out for one too).
const USUAL_STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// For the question how long that is.
const ANSWER: Duration = Duration::from_secs(5);

/// How a stop ended.
#[derive(Debug)]
pub(crate) enum StopEnd {
    PoweredOff,
    Killed,
    /// It does not even die.
    Stuck(DriverError),
}

/// How to end it.
pub(crate) enum Way {
    /// Through the agent at this socket, giving each container this time.
    Ask {
        socket: GuestSocket,
        stop_timeout: Option<Duration>,
    },
    Kill,
}

/// `hurry`: someone wants it killed after all.
pub(crate) async fn run(
    parts: Arc<Parts>,
    vm: Arc<dyn Vm>,
    way: Way,
    hurry: CancellationToken,
) -> StopEnd {
    let asked = match way {
        Way::Kill => false,
        Way::Ask { socket, stop_timeout } => {
            let gone = async {
                let containers = containers_time(&parts, &socket, stop_timeout).await;
                let slow = vm.accelerator().slow;
                let power = parts.budgets.scaled(parts.budgets.power_off, slow);
                ask(&parts, &vm, &socket, stop_timeout, Instant::now() + containers + power).await
            };
            tokio::select! {
                biased;
                () = hurry.cancelled() => false,
                gone = gone => gone,
            }
        }
    };
    let end = if asked {
        StopEnd::PoweredOff
    } else {
        match vm.kill(parts.budgets.kill).await {
            Ok(()) => StopEnd::Killed,
            Err(error) => return StopEnd::Stuck(error),
        }
    };
    parts.forget_run().await;
    end
}

/// Containers stop side by side, so their time counts once: the longest.
async fn containers_time(
    parts: &Parts,
    socket: &GuestSocket,
    stop_timeout: Option<Duration>,
) -> Duration {
    if let Some(time) = stop_timeout {
        return time;
    }
    match timeout(ANSWER, parts.guest.stop_time(socket)).await {
        Ok(Ok(longest)) => longest.unwrap_or_default(),
        // It is asked to power off all the same, and says then what is wrong.
        Ok(Err(_)) | Err(_) => USUAL_STOP_TIMEOUT.min(parts.budgets.power_off),
    }
}

/// Whether the VM has ended by the deadline.
async fn ask(
    parts: &Parts,
    vm: &Arc<dyn Vm>,
    socket: &GuestSocket,
    stop_timeout: Option<Duration>,
    deadline: Instant,
) -> bool {
    let gone = vm.wait();
    tokio::pin!(gone);
    let asked = tokio::select! {
        // It may end before its answer is through.
        _ = &mut gone => return true,
        asked = timeout_at(deadline, parts.guest.power_off(socket, stop_timeout)) => asked,
    };
    let name = parts.paths.name();
    match asked {
        Ok(Ok(())) => timeout_at(deadline, gone).await.is_ok(),
        Ok(Err(error)) => {
            tracing::warn!(machine = %name, %error, "the guest does not power off, killing it");
            false
        }
        Err(_) => false,
    }
}
