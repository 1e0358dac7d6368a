//! Runs machines with Windows' Host Compute System (Hyper-V): still to come. Until then every call says
//! so by name, and no daemon constructs this driver.

use std::{path::Path, sync::Arc};

use async_trait::async_trait;
use linkspan_machine::driver::{
    Accelerator, AcceleratorChoice, AcceleratorVerdict, Driver, DriverError, Vm, VmSpec,
};
use linkspan_transport::GuestSocket;

/// The driver's name in messages.
const NAME: &str = "hcs";

/// The Host Compute System.
#[derive(Debug, Default)]
pub struct HcsDriver;

fn unsupported() -> DriverError {
    let why = if cfg!(windows) {
        "this driver is still to come"
    } else {
        "only Windows has the Host Compute System"
    };
    DriverError::Unsupported { driver: NAME, what: "running a machine".into(), why: why.into() }
}

#[async_trait]
impl Driver for HcsDriver {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn accelerator(
        &self,
        _choice: AcceleratorChoice,
    ) -> Result<AcceleratorVerdict, DriverError> {
        Err(unsupported())
    }

    async fn distrust(&self, _accelerator: Accelerator, _reason: &str) -> Result<(), DriverError> {
        Err(unsupported())
    }

    async fn guest_socket(&self, _spec: &VmSpec) -> Result<GuestSocket, DriverError> {
        Err(unsupported())
    }

    async fn start(
        &self,
        _spec: &VmSpec,
        _verdict: &AcceleratorVerdict,
    ) -> Result<Arc<dyn Vm>, DriverError> {
        Err(unsupported())
    }

    async fn adopt(&self, _directory: &Path) -> Result<Option<Arc<dyn Vm>>, DriverError> {
        Err(unsupported())
    }
}
