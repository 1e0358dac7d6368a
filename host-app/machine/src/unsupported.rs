//! A driver whose every call says that it cannot run machines here, and why.

use std::{path::Path, sync::Arc};

use async_trait::async_trait;
use linkspan_transport::GuestSocket;

use crate::driver::{
    Accelerator, AcceleratorChoice, AcceleratorVerdict, Driver, DriverError, Vm, VmSpec,
};

/// Stands in for a driver that this host cannot have, or that is still to come.
#[derive(Debug, Clone, Copy)]
pub struct UnsupportedDriver {
    /// The driver's name.
    pub name: &'static str,
    /// Why it runs nothing, for the user.
    pub why: &'static str,
}

impl UnsupportedDriver {
    fn refusal(self) -> DriverError {
        let what = "running a machine".into();
        DriverError::Unsupported { driver: self.name, what, why: self.why.into() }
    }
}

#[async_trait]
impl Driver for UnsupportedDriver {
    fn name(&self) -> &'static str {
        self.name
    }

    async fn accelerator(
        &self,
        _choice: AcceleratorChoice,
    ) -> Result<AcceleratorVerdict, DriverError> {
        Err(self.refusal())
    }

    fn shares_folders(&self) -> bool {
        false
    }

    async fn distrust(&self, _accelerator: Accelerator, _reason: &str) -> Result<(), DriverError> {
        Err(self.refusal())
    }

    async fn guest_socket(&self, _spec: &VmSpec) -> Result<GuestSocket, DriverError> {
        Err(self.refusal())
    }

    async fn start(
        &self,
        _spec: &VmSpec,
        _verdict: &AcceleratorVerdict,
    ) -> Result<Arc<dyn Vm>, DriverError> {
        Err(self.refusal())
    }

    async fn adopt(&self, _directory: &Path) -> Result<Option<Arc<dyn Vm>>, DriverError> {
        Err(self.refusal())
    }
}
