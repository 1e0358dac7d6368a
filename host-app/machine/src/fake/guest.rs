//! A guest by script, without a protocol.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use futures::{StreamExt as _, stream};
use linkspan_transport::GuestSocket;

use crate::{
    driver::VmExit,
    fake::FakeDriver,
    guest::{BootEvent, BootEvents, Guest, GuestError, GuestInfo},
};

/// One step of a boot, as the beacon shows it.
#[derive(Debug, Clone)]
pub enum Step {
    /// The guest tells this.
    Tell(BootEvent),
    /// Nothing for a while.
    Wait(Duration),
    /// Nothing, ever.
    Hang,
    /// The connection breaks.
    Break,
    /// The guest writes to its console. The path is the machine's serial log.
    Console(std::path::PathBuf, String),
    /// The VM ends.
    End(VmExit),
}

/// What the agent does with a Hello.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum HelloScript {
    /// Answers.
    #[default]
    Answer,
    /// Never answers.
    Silent,
    /// Answers with something that we cannot work with.
    Refuse(GuestError),
}

/// What the agent does when asked to power off.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PowerOffScript {
    /// Does it.
    #[default]
    Obey,
    /// Does it after this time: its containers stop.
    After(Duration),
    /// Agrees, and stays.
    Stay,
    /// Never answers.
    Silent,
    /// Cannot be reached.
    Unreachable,
}

/// The [`Guest`] of every VM of one [`FakeDriver`].
pub struct FakeGuest {
    driver: Arc<FakeDriver>,
    script: Mutex<Script>,
}

#[derive(Default)]
struct Script {
    boots: VecDeque<Vec<Step>>,
    hello: HelloScript,
    power_off: PowerOffScript,
    stop_time: Option<Duration>,
    stop_timeouts: Vec<Option<Duration>>,
}

/// An event as the agent tells it; `duration_ms` 0: it begins.
#[must_use]
pub fn event(name: &str, started_ms: u64, duration_ms: u64) -> Step {
    Step::Tell(BootEvent {
        name: name.into(),
        started_us: started_ms * 1000,
        duration_us: duration_ms * 1000,
        ..BootEvent::default()
    })
}

/// A boot that goes well.
#[must_use]
pub fn boot_steps() -> Vec<Step> {
    vec![
        event("kernel", 0, 5),
        event("agent", 5, 1),
        event("modules", 6, 1),
        event("disk", 7, 0),
        event("disk", 7, 2),
        event("network", 9, 1),
        event("shares", 10, 1),
        event("serve", 11, 1),
        event("ready", 12, 1),
    ]
}

impl FakeGuest {
    /// A guest that does everything well.
    #[must_use]
    pub fn new(driver: &Arc<FakeDriver>) -> Arc<Self> {
        Arc::new(Self { driver: Arc::clone(driver), script: Mutex::default() })
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next boot goes so; the ones after those that were ordered go well.
    pub fn boots(&self, steps: Vec<Step>) {
        self.script().boots.push_back(steps);
    }

    /// From now on.
    pub fn says(&self, hello: HelloScript) {
        self.script().hello = hello;
    }

    /// From now on.
    pub fn powers_off(&self, power_off: PowerOffScript) {
        self.script().power_off = power_off;
    }

    /// How long containers may take to stop.
    pub fn has_containers(&self, stop_time: Duration) {
        self.script().stop_time = Some(stop_time);
    }

    /// The stop time-outs that power-offs came with, in order.
    #[must_use]
    pub fn stop_timeouts(&self) -> Vec<Option<Duration>> {
        self.script().stop_timeouts.clone()
    }
}

#[async_trait]
impl Guest for FakeGuest {
    async fn boot_events(
        &self,
        socket: &GuestSocket,
        _port: u32,
    ) -> Result<BootEvents, GuestError> {
        let steps = self.script().boots.pop_front().unwrap_or_else(boot_steps);
        let (driver, socket) = (Arc::clone(&self.driver), socket.clone());
        let events = stream::unfold(VecDeque::from(steps), move |mut steps| {
            let (driver, socket) = (Arc::clone(&driver), socket.clone());
            async move {
                loop {
                    match steps.pop_front()? {
                        Step::Tell(event) => return Some((Ok(event), steps)),
                        Step::Wait(time) => tokio::time::sleep(time).await,
                        Step::Hang => futures::future::pending().await,
                        Step::Break => {
                            let why = "the connection broke".to_owned();
                            return Some((Err(GuestError::Unreachable { why }), VecDeque::new()));
                        }
                        Step::Console(path, text) => {
                            std::fs::write(path, text).expect("the serial log can be written");
                        }
                        Step::End(exit) => {
                            driver.end(&socket, exit);
                            futures::future::pending().await
                        }
                    }
                }
            }
        });
        Ok(events.boxed())
    }

    async fn hello(
        &self,
        _socket: &GuestSocket,
        deadline: Duration,
    ) -> Result<GuestInfo, GuestError> {
        let hello = self.script().hello.clone();
        match hello {
            HelloScript::Answer => Ok(GuestInfo {
                agent_version: "0.0.0".into(),
                protocol_version: 1,
                features: Vec::new(),
                kernel_release: "Linux 6.0.0-fake x86_64".into(),
                boot_id: "fake".into(),
            }),
            HelloScript::Silent => {
                tokio::time::sleep(deadline).await;
                let why = "nothing listens on the agent's port".into();
                Err(GuestError::TimedOut { seconds: deadline.as_secs(), why })
            }
            HelloScript::Refuse(error) => Err(error),
        }
    }

    async fn stop_time(&self, _: &GuestSocket) -> Result<Option<Duration>, GuestError> {
        Ok(self.script().stop_time)
    }

    async fn power_off(
        &self,
        socket: &GuestSocket,
        stop_timeout: Option<Duration>,
    ) -> Result<(), GuestError> {
        let power_off = {
            let mut script = self.script();
            script.stop_timeouts.push(stop_timeout);
            script.power_off
        };
        match power_off {
            PowerOffScript::Obey => {
                self.driver.end(socket, VmExit::PoweredOff);
                Ok(())
            }
            PowerOffScript::After(time) => {
                tokio::time::sleep(time).await;
                self.driver.end(socket, VmExit::PoweredOff);
                Ok(())
            }
            PowerOffScript::Stay => Ok(()),
            PowerOffScript::Silent => futures::future::pending().await,
            PowerOffScript::Unreachable => {
                Err(GuestError::Unreachable { why: "connection refused".into() })
            }
        }
    }
}
