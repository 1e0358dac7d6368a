//! Whole machines on a driver and a guest that are not there. Time is paused: a budget that runs
//! out takes no time, and one that must not run out cannot.

mod adopt;
mod boot_failures;
mod crash;
mod life;

use std::{path::PathBuf, sync::Arc, time::Duration};

use linkspan_state::{Paths, SettingsPatch, image::ImageSearch};
use tokio::time::Instant;

use crate::{
    Budgets, Failure, HostLimits, Machine, MachineError, Parts, Snapshot, State,
    fake::{FakeDriver, FakeGuest, vm_image},
};

const BUDGET: Duration = Duration::from_secs(10);

/// A home with one machine's worth of everything.
struct Ground {
    home: tempfile::TempDir,
    driver: Arc<FakeDriver>,
    guest: Arc<FakeGuest>,
}

impl Ground {
    fn new() -> Self {
        let driver = FakeDriver::new();
        let guest = FakeGuest::new(&driver);
        let home = tempfile::tempdir().unwrap();
        let _ = vm_image(&home.path().join("image"));
        Self { home, driver, guest }
    }

    fn parts(&self) -> Parts {
        let paths = Paths::at(self.home.path()).unwrap();
        Parts {
            paths: paths.machine(&"box".parse().unwrap()),
            images: ImageSearch::only(self.home.path().join("image")),
            driver: Arc::clone(&self.driver) as _,
            guest: Arc::clone(&self.guest) as _,
            budgets: Budgets::all(BUDGET),
            host: HostLimits { cpus: 4, memory_mib: 8192 },
            beacon_port: 1026,
            min_free_bytes: 0,
        }
    }

    async fn machine(&self) -> Machine {
        Machine::create(self.parts(), &SettingsPatch::default()).await.unwrap()
    }

    fn serial_log(&self) -> PathBuf {
        self.parts().paths.serial_log()
    }

    fn run_record(&self) -> PathBuf {
        self.parts().paths.run_record()
    }
}

/// Waits for a state; the name says which.
async fn until(machine: &Machine, state: &str) -> Snapshot {
    let mut out = machine.subscribe();
    let wait = out.wait_for(|snapshot| snapshot.state.name() == state);
    let found = tokio::time::timeout(BUDGET * 20, wait).await;
    found.unwrap_or_else(|_| panic!("never {state}: {:?}", machine.snapshot())).unwrap().clone()
}

/// The failure of a start that must fail, within `budget`.
async fn failed_start(machine: &Machine, budget: Duration) -> Failure {
    let begun = Instant::now();
    let error = machine.start().await.expect_err("this start cannot work");
    assert!(begun.elapsed() <= budget, "it took {:?}", begun.elapsed());
    let MachineError::Failed(failure) = &error else { panic!("{error:?}") };
    assert!(matches!(machine.snapshot().state, State::Failed(_)));
    assert_eq!(error.hint().unwrap_or_default(), failure.remedy);
    failure.as_ref().clone()
}

/// Nothing is left of a VM.
fn assert_nothing_left(ground: &Ground) {
    assert_eq!(ground.driver.running(), 0, "a VM is left running");
    assert!(!ground.run_record().exists(), "the record of a VM is left");
    assert!(linkspan_state::Lock::probe(&ground.parts().paths.lock()).unwrap().is_none());
}
