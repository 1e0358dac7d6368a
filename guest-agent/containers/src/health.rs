//! Health checks: what to run, when, and what the results come to. The rules and figures are
//! those of Docker (Dockerfile reference, HEALTHCHECK).
//!
//! [`watch`] is a task beside the container's own: it runs the probes and hands each result to
//! the container's task, which keeps the [`Health`]. It ends with the run.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::{
    task::JoinHandle,
    time::{sleep, timeout},
};

use crate::{
    Error, Shared,
    config::ExecConfig,
    container::{Command, Container},
    exec::open_session,
    session::{Event, Session},
    signal::Signal,
    state::Kind,
};

const INTERVAL: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(30);
const START_INTERVAL: Duration = Duration::from_secs(5);
const RETRIES: u32 = 3;
/// How many results are kept, and how much of each one's output.
const RESULTS: usize = 5;
const OUTPUT: usize = 4096;
/// How long a probe that was killed may take to be gone before nobody waits for it any more.
const KILLED_WITHIN: Duration = Duration::from_secs(10);

/// What was asked for. 0 and empty: the image's, then the default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Healthcheck {
    /// `NONE`; `CMD` and arguments; `CMD-SHELL` and a line for /bin/sh. Empty: the image's.
    pub test: Vec<String>,
    /// From the end of a probe to the next.
    pub interval: Duration,
    /// After which a probe is killed and has failed.
    pub timeout: Duration,
    /// After the start: failures do not count until the first success.
    pub start_period: Duration,
    /// The interval during the start period.
    pub start_interval: Duration,
    /// Failures in a row that make a container unhealthy.
    pub retries: u32,
}

impl Healthcheck {
    /// Checks what `create` was asked for.
    ///
    /// # Errors
    /// Names the option.
    pub fn validate(&self) -> Result<(), Error> {
        for (option, value) in [
            ("--health-interval", self.interval),
            ("--health-timeout", self.timeout),
            ("--health-start-period", self.start_period),
            ("--health-start-interval", self.start_interval),
        ] {
            if !value.is_zero() && value < Duration::from_millis(1) {
                return Err(Error::invalid(option, "it cannot be less than 1ms"));
            }
        }
        let options = self.retries != 0
            || [self.interval, self.timeout, self.start_period, self.start_interval]
                .iter()
                .any(|value| !value.is_zero());
        match self.test.first().map(String::as_str) {
            Some("NONE") if options => Err(Error::invalid(
                "--no-healthcheck",
                "--no-healthcheck conflicts with --health-* options",
            )),
            None | Some("NONE") => Ok(()),
            Some("CMD" | "CMD-SHELL") if self.test.len() > 1 => Ok(()),
            Some("CMD" | "CMD-SHELL") => Err(Error::invalid("--health-cmd", "it is empty")),
            Some(other) => {
                let why = format!("`{other}` is none of NONE, CMD and CMD-SHELL");
                Err(Error::invalid("--health-cmd", why))
            }
        }
    }

    /// The request over the image; None: nothing is probed.
    #[must_use]
    pub fn resolve(own: Option<&Self>, image: Option<&Self>) -> Option<Self> {
        let none = Self::default();
        let (own, image) = (own.unwrap_or(&none), image.unwrap_or(&none));
        let test = if own.test.is_empty() { &image.test } else { &own.test };
        if test.first().is_none_or(|kind| kind == "NONE") {
            return None;
        }
        let first = |own: Duration, image: Duration, default: Duration| {
            [own, image].into_iter().find(|value| !value.is_zero()).unwrap_or(default)
        };
        Some(Self {
            test: test.clone(),
            interval: first(own.interval, image.interval, INTERVAL),
            timeout: first(own.timeout, image.timeout, TIMEOUT),
            start_period: first(own.start_period, image.start_period, Duration::ZERO),
            start_interval: first(own.start_interval, image.start_interval, START_INTERVAL),
            retries: [own.retries, image.retries, RETRIES]
                .into_iter()
                .find(|count| *count != 0)
                .unwrap_or(RETRIES),
        })
    }

    fn command(&self) -> Vec<String> {
        match self.test.split_first() {
            Some((kind, rest)) if kind == "CMD-SHELL" => {
                ["/bin/sh".to_owned(), "-c".to_owned()].into_iter().chain(rest.to_vec()).collect()
            }
            Some((_, rest)) => rest.to_vec(),
            None => Vec::new(),
        }
    }
}

/// What the probes have come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HealthStatus {
    /// No probe has succeeded yet, and too few have failed.
    Starting,
    /// The last probe succeeded, or too few have failed since one did.
    Healthy,
    /// Too many failed in a row.
    Unhealthy,
}

impl HealthStatus {
    /// Docker's word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// The end of one probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeResult {
    /// When it began.
    pub started_at: Timestamp,
    /// When it had ended.
    pub finished_at: Timestamp,
    /// 0: healthy. -1: it could not be run, or was killed at its time-out.
    pub exit_code: i32,
    /// The beginning of both its outputs, at most 4096 bytes.
    pub output: String,
}

/// A container's health in one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// What it comes to.
    pub status: HealthStatus,
    /// Failures in a row.
    pub failing_streak: u32,
    /// The last five results, oldest first.
    pub log: VecDeque<ProbeResult>,
}

impl Default for Health {
    fn default() -> Self {
        Self { status: HealthStatus::Starting, failing_streak: 0, log: VecDeque::new() }
    }
}

impl Health {
    /// Takes one more result. `run_began`: of the container.
    pub(crate) fn record(
        &mut self,
        check: &Healthcheck,
        run_began: Timestamp,
        result: ProbeResult,
    ) {
        if result.exit_code == 0 {
            self.failing_streak = 0;
            self.status = HealthStatus::Healthy;
        } else {
            let age = run_began.duration_until(result.started_at).unsigned_abs();
            let excused = self.status == HealthStatus::Starting && age < check.start_period;
            if !excused {
                self.failing_streak += 1;
                if self.failing_streak >= check.retries {
                    self.status = HealthStatus::Unhealthy;
                }
            }
        }
        if self.log.len() == RESULTS {
            self.log.pop_front();
        }
        self.log.push_back(result);
    }
}

/// Ends with its run.
pub(crate) struct Watch(JoinHandle<()>);

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Probes a container as long as this run lasts.
pub(crate) fn watch(
    container: Arc<Container>,
    shared: Arc<Shared>,
    check: Healthcheck,
    run_began: Timestamp,
) -> Watch {
    Watch(tokio::spawn(async move {
        let mut status = container.status.clone();
        loop {
            // A paused container is not probed, and its interval begins anew when it runs on.
            let running = status.wait_for(|status| status.state.kind() == Kind::Running).await;
            let Ok(starting) = running.map(|status| {
                status.health.as_ref().is_none_or(|h| h.status == HealthStatus::Starting)
            }) else {
                return;
            };
            let age = run_began.duration_until(Timestamp::now()).unsigned_abs();
            let early = starting && age < check.start_period;
            let pause = if early { check.start_interval } else { check.interval };
            let probed = async {
                sleep(pause).await;
                probe(&container, &shared, &check).await
            };
            let result = tokio::select! {
                result = probed => result,
                // Dropping the probe kills its process.
                _ = status.wait_for(|status| status.state.kind() != Kind::Running) => continue,
            };
            let command = Command::Probed { run_began, result };
            if container.commands.send(command).await.is_err() {
                return;
            }
        }
    }))
}

/// Kills a probe's process when the probe is given up.
struct KillOnDrop(Session);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        // ESRCH and the like: it has ended, which is what is wanted.
        let _ = self.0.control.signal(Signal::KILL);
    }
}

pub(crate) async fn probe(
    container: &Arc<Container>,
    shared: &Arc<Shared>,
    check: &Healthcheck,
) -> ProbeResult {
    let started_at = Timestamp::now();
    let config = ExecConfig { args: check.command(), ..ExecConfig::default() };
    let kill = |session| drop(KillOnDrop(session));
    let (exit_code, output) = match open_session(container, shared, config, kill).await {
        Ok(session) => listen(KillOnDrop(session), check.timeout).await,
        Err(error) => (-1, error.to_string()),
    };
    ProbeResult { started_at, finished_at: Timestamp::now(), exit_code, output }
}

async fn listen(mut probe: KillOnDrop, limit: Duration) -> (i32, String) {
    let mut output = Vec::new();
    let result = timeout(limit, collect(&mut probe.0, &mut output)).await;
    let code = match result {
        Ok(code) => code,
        Err(_) => {
            // As in KillOnDrop; then its last words, for a moment.
            let _ = probe.0.control.signal(Signal::KILL);
            let _ = timeout(KILLED_WITHIN, collect(&mut probe.0, &mut output)).await;
            let text = String::from_utf8_lossy(&output);
            let colon = if text.is_empty() { "" } else { ": " };
            let text = format!("Health check exceeded timeout ({limit:?}){colon}{text}");
            return (-1, cut(text));
        }
    };
    (code, cut(String::from_utf8_lossy(&output).into_owned()))
}

async fn collect(session: &mut Session, output: &mut Vec<u8>) -> i32 {
    while let Some(event) = session.events.recv().await {
        match event {
            Event::Started { .. } => {}
            // The rest is read and forgotten, so that the probe is not held up.
            Event::Output(_, bytes) => {
                let room = OUTPUT - output.len();
                output.extend_from_slice(&bytes[..bytes.len().min(room)]);
            }
            Event::Exited { code, .. } => return code,
        }
    }
    -1
}

fn cut(mut text: String) -> String {
    if text.len() > OUTPUT {
        let end = (0..=OUTPUT).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check() -> Healthcheck {
        let asked = Healthcheck {
            test: vec!["CMD".into(), "true".into()],
            start_period: Duration::from_secs(10),
            ..Healthcheck::default()
        };
        Healthcheck::resolve(Some(&asked), None).unwrap()
    }

    fn result(seconds: i64, exit_code: i32) -> ProbeResult {
        let at = Timestamp::from_second(seconds).unwrap();
        ProbeResult { started_at: at, finished_at: at, exit_code, output: String::new() }
    }

    #[test]
    fn failures_count_after_the_start_period_or_the_first_success() {
        let (check, began) = (check(), Timestamp::from_second(0).unwrap());
        let mut health = Health::default();
        health.record(&check, began, result(1, 1));
        assert_eq!((health.status, health.failing_streak), (HealthStatus::Starting, 0));
        health.record(&check, began, result(2, 0));
        for second in 3..5 {
            health.record(&check, began, result(second, 1));
            assert_eq!(health.status, HealthStatus::Healthy);
        }
        health.record(&check, began, result(5, 2));
        assert_eq!((health.status, health.failing_streak), (HealthStatus::Unhealthy, 3));
        health.record(&check, began, result(6, 0));
        assert_eq!((health.status, health.failing_streak), (HealthStatus::Healthy, 0));
        assert_eq!(health.log.len(), RESULTS);
        assert_eq!(health.log[0].exit_code, 0, "the oldest is forgotten first");
    }

    #[test]
    fn a_request_goes_over_the_image_field_by_field() {
        let image = Healthcheck {
            test: vec!["CMD-SHELL".into(), "check".into()],
            retries: 7,
            ..Healthcheck::default()
        };
        let own = Healthcheck { interval: Duration::from_secs(1), ..Healthcheck::default() };
        let both = Healthcheck::resolve(Some(&own), Some(&image)).unwrap();
        assert_eq!(both.command(), ["/bin/sh", "-c", "check"]);
        assert_eq!((both.retries, both.interval, both.timeout), (7, own.interval, TIMEOUT));
        let none = Healthcheck { test: vec!["NONE".into()], ..Healthcheck::default() };
        assert_eq!(Healthcheck::resolve(Some(&none), Some(&image)), None);
        assert_eq!(Healthcheck::resolve(None, None), None);
    }

    #[test]
    fn impossible_checks_are_refused_by_their_options_name() {
        let none = Healthcheck::default;
        for (option, check) in [
            ("--health-interval", Healthcheck { interval: Duration::from_nanos(9), ..none() }),
            ("--health-cmd", Healthcheck { test: vec!["CMD".into()], ..none() }),
            ("--health-cmd", Healthcheck { test: vec!["RUN".into(), "x".into()], ..none() }),
            ("--no-healthcheck", Healthcheck { test: vec!["NONE".into()], retries: 1, ..none() }),
        ] {
            let text = check.validate().unwrap_err().to_string();
            assert!(text.starts_with(&format!("{option}: ")), "{text}");
        }
    }

    #[test]
    fn output_is_cut_between_characters() {
        assert_eq!(cut("é".repeat(OUTPUT)).len(), OUTPUT);
        assert_eq!(cut(format!("x{}", "é".repeat(OUTPUT))).len(), OUTPUT - 1);
    }
}
