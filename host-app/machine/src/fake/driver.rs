//! VMs that are entries in a table.

use std::{
    collections::HashMap,
    io::Write as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use async_trait::async_trait;
use futures::future::BoxFuture;
use linkspan_transport::{GuestSocket, memory::Hub};
use tokio::{sync::watch, task::AbortHandle};

use crate::driver::{
    Accelerator, AcceleratorChoice, AcceleratorVerdict, Driver, DriverError, Vm, VmExit, VmSpec,
};

/// Where a failure can be ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FakePoint {
    /// [`Driver::accelerator`].
    Accelerator,
    /// [`Driver::start`].
    Start,
    /// [`Driver::adopt`].
    Adopt,
    /// [`Vm::kill`].
    Kill,
    /// [`Vm::host_memory_bytes`].
    Memory,
}

/// What a guest's part has to play with.
pub struct FakeBoot {
    /// What was asked for.
    pub spec: VmSpec,
    /// What it runs with.
    pub accelerator: Accelerator,
    /// The VM's ports.
    pub hub: Hub,
    end: Arc<watch::Sender<Option<VmExit>>>,
}

impl FakeBoot {
    /// Ends the VM from within.
    pub fn power_off(&self, exit: VmExit) {
        self.end.send_if_modified(|end| end.is_none() && end.replace(exit).is_none());
    }

    /// Writes to the serial console.
    ///
    /// # Panics
    /// When the log cannot be written.
    pub fn console(&self, text: &str) {
        append(&self.spec.serial_log, text);
    }
}

fn append(path: &Path, text: &str) {
    let mut file = std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .expect("the serial log can be opened");
    file.write_all(text.as_bytes()).expect("the serial log can be written");
}

type Play = Arc<dyn Fn(FakeBoot) -> BoxFuture<'static, ()> + Send + Sync>;
type Trouble = Box<dyn Fn() -> DriverError + Send>;

/// A driver without a hypervisor.
pub struct FakeDriver {
    this: Weak<Self>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    verdicts: Vec<AcceleratorVerdict>,
    distrusted: Vec<Accelerator>,
    troubles: HashMap<FakePoint, Vec<Trouble>>,
    play: Option<Play>,
    start_delay: Duration,
    /// By the run folder: what the next VM there will have, or the VM that is there.
    hubs: HashMap<PathBuf, Hub>,
    vms: HashMap<PathBuf, Arc<FakeVm>>,
    starts: Vec<VmSpec>,
    next_pid: u32,
}

/// What a machine is given under the translator.
#[must_use]
pub fn tcg() -> AcceleratorVerdict {
    AcceleratorVerdict { slow: true, ..verdict(Accelerator::Tcg) }
}

/// A fast accelerator, for no particular reason.
#[must_use]
pub fn verdict(accelerator: Accelerator) -> AcceleratorVerdict {
    AcceleratorVerdict { accelerator, reason: "the test says so".into(), slow: false }
}

impl FakeDriver {
    /// A driver whose only accelerator is native and fast, and whose guests do nothing.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            this: this.clone(),
            inner: Mutex::new(Inner {
                verdicts: vec![verdict(Accelerator::Native)],
                next_pid: 4_000_001,
                ..Inner::default()
            }),
        })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What guests do from their VM's start to its end.
    pub fn plays(&self, play: impl Fn(FakeBoot) -> BoxFuture<'static, ()> + Send + Sync + 'static) {
        self.inner().play = Some(Arc::new(play));
    }

    /// The accelerators, best first.
    pub fn has(&self, verdicts: Vec<AcceleratorVerdict>) {
        self.inner().verdicts = verdicts;
    }

    /// The next call at `point` fails so. Several orders are served in turn.
    pub fn fail(&self, point: FakePoint, error: impl Fn() -> DriverError + Send + 'static) {
        self.inner().troubles.entry(point).or_default().push(Box::new(error));
    }

    /// How long a start takes.
    pub fn delay_starts(&self, delay: Duration) {
        self.inner().start_delay = delay;
    }

    /// What was started so far, in order.
    #[must_use]
    pub fn starts(&self) -> Vec<VmSpec> {
        self.inner().starts.clone()
    }

    /// VMs that run.
    #[must_use]
    pub fn running(&self) -> usize {
        self.inner().vms.values().filter(|vm| vm.end.borrow().is_none()).count()
    }

    /// What was distrusted, in order.
    #[must_use]
    pub fn distrusted(&self) -> Vec<Accelerator> {
        self.inner().distrusted.clone()
    }

    /// Ends every VM so.
    pub fn end_all(&self, exit: &VmExit) {
        for vm in self.inner().vms.values() {
            vm.finish(exit.clone());
        }
    }

    /// Every VM stands still for this reason, or goes on.
    pub fn halt_all(&self, why: Option<&str>) {
        for vm in self.inner().vms.values() {
            vm.halted.send_replace(why.map(str::to_owned));
        }
    }

    /// Ends the VM behind `socket` so.
    pub fn end(&self, socket: &GuestSocket, exit: VmExit) {
        let vm = self.inner().vms.values().find(|vm| vm.socket() == *socket).cloned();
        if let Some(vm) = vm {
            vm.finish(exit);
        }
    }

    fn trouble(&self, point: FakePoint) -> Result<(), DriverError> {
        let mut inner = self.inner();
        match inner.troubles.get_mut(&point) {
            Some(orders) if !orders.is_empty() => Err(orders.remove(0)()),
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl Driver for FakeDriver {
    fn name(&self) -> &'static str {
        "fake"
    }

    async fn accelerator(
        &self,
        choice: AcceleratorChoice,
    ) -> Result<AcceleratorVerdict, DriverError> {
        self.trouble(FakePoint::Accelerator)?;
        let inner = self.inner();
        let fits = |verdict: &&AcceleratorVerdict| match choice {
            AcceleratorChoice::Auto => !inner.distrusted.contains(&verdict.accelerator),
            AcceleratorChoice::Only(only) => verdict.accelerator == only,
        };
        inner.verdicts.iter().find(fits).cloned().ok_or_else(|| DriverError::Unsupported {
            driver: "fake",
            what: format!("the accelerator `{choice}`"),
            why: "the test gave none".into(),
        })
    }

    fn shares_folders(&self) -> bool {
        true
    }

    async fn distrust(&self, accelerator: Accelerator, _reason: &str) -> Result<(), DriverError> {
        self.inner().distrusted.push(accelerator);
        Ok(())
    }

    async fn guest_socket(&self, spec: &VmSpec) -> Result<GuestSocket, DriverError> {
        let hub = Hub::new();
        self.inner().hubs.insert(spec.directory.clone(), hub.clone());
        Ok(GuestSocket::Memory(hub))
    }

    async fn start(
        &self,
        spec: &VmSpec,
        verdict: &AcceleratorVerdict,
    ) -> Result<Arc<dyn Vm>, DriverError> {
        let delay = self.inner().start_delay;
        tokio::time::sleep(delay).await;
        self.trouble(FakePoint::Start)?;
        let (vm, play) = {
            let mut inner = self.inner();
            inner.starts.push(spec.clone());
            inner.next_pid += 1;
            let vm = Arc::new(FakeVm {
                driver: self.this.clone(),
                pid: inner.next_pid,
                hub: inner.hubs.get(&spec.directory).cloned().unwrap_or_default(),
                verdict: verdict.clone(),
                end: Arc::new(watch::Sender::new(None)),
                halted: watch::Sender::new(None),
                part: Mutex::new(None),
            });
            let before = inner.vms.insert(spec.directory.clone(), Arc::clone(&vm));
            let doubled = before.is_some_and(|before| before.end.borrow().is_none());
            assert!(!doubled, "a second VM of `{}` on the same disk", spec.name);
            (vm, inner.play.clone())
        };
        if let Some(play) = play {
            let part = tokio::spawn(play(FakeBoot {
                spec: spec.clone(),
                accelerator: verdict.accelerator,
                hub: vm.hub.clone(),
                end: Arc::clone(&vm.end),
            }));
            *vm.part.lock().unwrap_or_else(PoisonError::into_inner) = Some(part.abort_handle());
            // A guest without power plays no more.
            let (mut end, abort) = (vm.end.subscribe(), part.abort_handle());
            tokio::spawn(async move {
                let _ = end.wait_for(Option::is_some).await;
                abort.abort();
            });
        }
        Ok(vm)
    }

    async fn adopt(&self, directory: &Path) -> Result<Option<Arc<dyn Vm>>, DriverError> {
        self.trouble(FakePoint::Adopt)?;
        let vm = self.inner().vms.get(directory).cloned();
        Ok(vm.filter(|vm| vm.end.borrow().is_none()).map(|vm| vm as Arc<dyn Vm>))
    }
}

/// An entry in the table.
struct FakeVm {
    driver: Weak<FakeDriver>,
    pid: u32,
    hub: Hub,
    verdict: AcceleratorVerdict,
    end: Arc<watch::Sender<Option<VmExit>>>,
    halted: watch::Sender<Option<String>>,
    part: Mutex<Option<AbortHandle>>,
}

impl FakeVm {
    fn socket(&self) -> GuestSocket {
        GuestSocket::Memory(self.hub.clone())
    }

    fn finish(&self, exit: VmExit) {
        self.end.send_if_modified(|end| end.is_none() && end.replace(exit).is_none());
        if let Some(part) = self.part.lock().unwrap_or_else(PoisonError::into_inner).take() {
            part.abort();
        }
    }

    fn trouble(&self, point: FakePoint) -> Result<(), DriverError> {
        self.driver.upgrade().map_or(Ok(()), |driver| driver.trouble(point))
    }
}

#[async_trait]
impl Vm for FakeVm {
    fn guest_socket(&self) -> GuestSocket {
        self.socket()
    }

    fn pid(&self) -> u32 {
        self.pid
    }

    fn accelerator(&self) -> AcceleratorVerdict {
        self.verdict.clone()
    }

    fn halted(&self) -> watch::Receiver<Option<String>> {
        self.halted.subscribe()
    }

    async fn wait(&self) -> VmExit {
        let mut end = self.end.subscribe();
        match end.wait_for(Option::is_some).await {
            Ok(exit) => exit.clone().unwrap_or(VmExit::Vanished),
            Err(_) => VmExit::Vanished,
        }
    }

    async fn kill(&self, _deadline: Duration) -> Result<(), DriverError> {
        self.trouble(FakePoint::Kill)?;
        self.finish(VmExit::Killed);
        Ok(())
    }

    async fn host_memory_bytes(&self) -> Result<u64, DriverError> {
        self.trouble(FakePoint::Memory)?;
        Ok(100 << 20)
    }
}
