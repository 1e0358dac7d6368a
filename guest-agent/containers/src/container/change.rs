//! Rename and update: what may change of a container after it was made.
//!
//! The order is: check everything, then the kernel, then the disk, then memory. What fails takes
//! back what was done before it, so that nothing is half changed.

use std::sync::Arc;

use linkspan_runtime::plan::Resources;

use super::{Task, blocking};
use crate::{Error, config::Limits, limits, restart::RestartPolicy, state::Action, store::Record};

/// What `update` changes. None: stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// As in [`Limits`], and so the next.
    pub memory: Option<u64>,
    /// Memory and swap.
    pub memory_swap: Option<i64>,
    /// Protected memory.
    pub memory_reservation: Option<u64>,
    /// Processor time.
    pub nano_cpus: Option<u64>,
    /// Weight.
    pub cpu_shares: Option<u64>,
    /// Processors.
    pub cpuset_cpus: Option<String>,
    /// Memory nodes.
    pub cpuset_mems: Option<String>,
    /// Processes.
    pub pids: Option<i64>,
    /// Microseconds.
    pub cpu_period: Option<u64>,
    /// Microseconds.
    pub cpu_quota: Option<i64>,
    /// Share of disk bandwidth.
    pub blkio_weight: Option<u32>,
    /// Restart policy.
    pub restart: Option<RestartPolicy>,
}

impl Changes {
    fn limits(&self, old: &Limits) -> Limits {
        Limits {
            memory: self.memory.unwrap_or(old.memory),
            memory_swap: self.memory_swap.unwrap_or(old.memory_swap),
            memory_reservation: self.memory_reservation.unwrap_or(old.memory_reservation),
            nano_cpus: self.nano_cpus.unwrap_or(old.nano_cpus),
            cpu_shares: self.cpu_shares.unwrap_or(old.cpu_shares),
            cpuset_cpus: self.cpuset_cpus.clone().unwrap_or_else(|| old.cpuset_cpus.clone()),
            cpuset_mems: self.cpuset_mems.clone().unwrap_or_else(|| old.cpuset_mems.clone()),
            pids: self.pids.unwrap_or(old.pids),
            cpu_period: self.cpu_period.unwrap_or(old.cpu_period),
            cpu_quota: self.cpu_quota.unwrap_or(old.cpu_quota),
            blkio_weight: self.blkio_weight.unwrap_or(old.blkio_weight),
            ..old.clone()
        }
    }
}

impl Task {
    /// `name`: valid.
    pub(super) async fn rename(&mut self, name: &str) -> Result<(), Error> {
        self.container.permit(Action::Rename)?;
        let mut record = Record::clone(&self.container.record());
        if name == record.name {
            let why = "renaming a container with the same name as its current name";
            return Err(Error::invalid("NEW_NAME", why));
        }
        // Both names are its own until it is done, so that nobody can take either.
        let name = self.shared.reserve(name, &self.container.id)?;
        let old = std::mem::replace(&mut record.name, name.clone());
        let written = self.replace_record(record).await;
        self.shared.give_up(if written.is_ok() { &old } else { &name });
        written?;
        self.shared.networks.rename(self.container.id.as_str(), &name);
        self.shared.tell(&self.container, "rename", [("oldName", format!("/{old}"))]);
        Ok(())
    }

    pub(super) async fn update(&mut self, changes: &Changes) -> Result<(), Error> {
        self.container.permit(Action::Update)?;
        let mut record = Record::clone(&self.container.record());
        let old = record.config.limits.clone();
        record.config.limits = changes.limits(&old);
        record.config.restart = changes.restart.unwrap_or(record.config.restart);
        limits::validate(&record.config.limits, self.shared.capacity)?;
        if record.config.auto_remove && record.config.restart != RestartPolicy::No {
            let why = "restart policy cannot be updated because the container is removed when it \
                       ends (--rm)";
            return Err(Error::invalid("--restart", why));
        }
        let new = record.config.limits.clone();
        let runs = self.run.is_some();
        if runs && let Err(error) = self.limit(limits::difference(&old, &new)).await {
            self.take_back(&old, &new).await;
            return Err(error);
        }
        if let Err(error) = self.replace_record(record).await {
            if runs {
                self.take_back(&old, &new).await;
            }
            return Err(error);
        }
        self.shared.tell(&self.container, "update", []);
        Ok(())
    }

    async fn limit(&self, resources: Resources) -> Result<(), Error> {
        let (launcher, cgroup) = (Arc::clone(&self.shared.launcher), self.container.cgroup());
        let result = blocking(move || launcher.limit(&cgroup, &resources)).await;
        result.map_err(|source| self.process_error("update", source))
    }

    /// The old limits were in force a moment ago, so the kernel takes them.
    async fn take_back(&self, old: &Limits, new: &Limits) {
        if let Err(error) = self.limit(limits::difference(new, old)).await {
            tracing::warn!(%error, "the limits before a failed update were not all restored");
        }
    }

    async fn replace_record(&mut self, record: Record) -> Result<(), Error> {
        let record = Arc::new(record);
        let (folder, written) = (self.container.folder.clone(), Arc::clone(&record));
        blocking(move || folder.save_record(&written)).await?;
        *self.container.record.lock() = record;
        self.shared.revision.next();
        Ok(())
    }
}
