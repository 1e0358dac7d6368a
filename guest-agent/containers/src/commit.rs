//! A container becomes an image: what the image says of itself, and its layer.

use std::{collections::BTreeMap, io::Write, path::Path};

use linkspan_files::Archive;
use linkspan_images::{CommitOptions, Healthcheck};
use tokio::runtime::Handle;

use crate::{
    Containers, Error,
    container::{Command, Container, blocking},
    files::OWN,
    health,
    mounts::MountPoint,
    state::Kind,
};

impl Containers {
    /// The image that a container was made of, and what one made of the container says beside that:
    /// what is `said`, then what the container was told.
    ///
    /// # Errors
    /// When there is no such container.
    pub fn commit_options(
        &self,
        who: &str,
        said: CommitOptions,
    ) -> Result<(String, CommitOptions), Error> {
        let record = self.find(who)?.record();
        let (config, resolved) = (&record.config, &record.resolved);
        // Its own may leave something to the image. Without a resolved one, it was switched off.
        let probed = resolved.health.as_ref().or(config.health.as_ref()).map(probe);
        let own = CommitOptions {
            created_by: resolved.args.join(" "),
            env: config.env.clone(),
            entrypoint: config.entrypoint.clone(),
            cmd: config.command.clone(),
            user: config.user.clone(),
            working_dir: config.working_dir.clone(),
            stop_signal: config.stop_signal.clone(),
            labels: config.labels.clone(),
            health: match &said.health {
                Some(said) => Some(filled(said.clone(), probed)),
                None => probed.filter(|_| config.health.is_some()),
            },
            exposed_ports: resolved.exposed.iter().map(ToString::to_string).collect(),
            volumes: resolved.mounts.iter().filter_map(anonymous_path).collect(),
            ..CommitOptions::default()
        };
        Ok((resolved.image_id.clone(), merged(own, said)))
    }

    /// Writes a container's own layer as that of an image. With `pause`, it is paused meanwhile,
    /// unless somebody lets it run on or ends it.
    ///
    /// # Errors
    /// When there is no such container, it cannot be paused, or nobody takes the layer any more.
    pub async fn layer(
        &self,
        who: &str,
        pause: bool,
        out: impl Write + Send + 'static,
    ) -> Result<(), Error> {
        let container = self.find(who)?;
        blocking(move || {
            let runs = container.status.borrow().state.kind() == Kind::Running;
            let paused = if pause && runs { Paused::new(&container)? } else { None };
            let mut archive = Archive::new(out);
            let own = |path: &Path| OWN.iter().any(|own| Path::new(own) == path);
            archive.add_layer(&container.folder.path().join("upper"), &own)?;
            archive.finish()?.flush().map_err(linkspan_files::Error::Write)?;
            drop(paused);
            Ok(())
        })
        .await
    }

    /// An image was made of a container.
    pub fn committed(&self, who: &str, image: &str, message: &str) {
        // It may have been removed at the last moment; the image is there all the same.
        let Ok(container) = self.find(who) else { return };
        let details = [("comment", message.to_owned()), ("imageID", image.to_owned())];
        self.shared.tell(&container, "commit", details);
    }
}

fn probe(check: &health::Healthcheck) -> Healthcheck {
    Healthcheck {
        test: check.test.clone(),
        interval: check.interval,
        timeout: check.timeout,
        start_period: check.start_period,
        start_interval: check.start_interval,
        retries: check.retries,
    }
}

/// A check that says only some of it has the rest from the container's (Docker's `merge`).
fn filled(said: Healthcheck, own: Option<Healthcheck>) -> Healthcheck {
    let off = said.test.first().is_some_and(|kind| kind == "NONE");
    let Some(own) = own.filter(|_| !off) else { return said };
    Healthcheck {
        test: either(said.test, own.test),
        interval: either(said.interval, own.interval),
        timeout: either(said.timeout, own.timeout),
        start_period: either(said.start_period, own.start_period),
        start_interval: either(said.start_interval, own.start_interval),
        retries: either(said.retries, own.retries),
    }
}

/// `said` over the container's `own`, whose check is final.
fn merged(own: CommitOptions, said: CommitOptions) -> CommitOptions {
    let (entrypoint, cmd) = match said.entrypoint {
        // The container's command was for another one.
        Some(entrypoint) => (Some(entrypoint), said.cmd),
        None => (own.entrypoint, either(said.cmd, own.cmd)),
    };
    let beside = |own: Vec<String>, said: Vec<String>| own.into_iter().chain(said).collect();
    let mut labels: BTreeMap<_, _> = own.labels;
    labels.extend(said.labels);
    CommitOptions {
        created_by: own.created_by,
        env: beside(own.env, said.env),
        entrypoint,
        cmd,
        user: either(said.user, own.user),
        working_dir: either(said.working_dir, own.working_dir),
        stop_signal: either(said.stop_signal, own.stop_signal),
        labels,
        health: own.health,
        exposed_ports: beside(own.exposed_ports, said.exposed_ports),
        volumes: beside(own.volumes, said.volumes),
        reference: said.reference,
        author: said.author,
        message: said.message,
        on_build: said.on_build,
        shell: said.shell,
        changes: said.changes,
    }
}

/// What is said, if anything is.
fn either<T: Default + PartialEq>(said: T, own: T) -> T {
    if said == T::default() { own } else { said }
}

/// Where a volume is mounted that nobody gave a name.
fn anonymous_path(mount: &MountPoint) -> Option<String> {
    mount.anonymous_volume().map(|_| mount.destination.display().to_string())
}

/// The container is paused while it lives: by its own task, so that a stop meanwhile is heard. For
/// threads that may block.
struct Paused<'a>(&'a Container);

impl<'a> Paused<'a> {
    /// None: it does not run any more, or somebody else has just paused it and it stays so.
    fn new(container: &'a Container) -> Result<Option<Self>, Error> {
        match Handle::current().block_on(container.ask(|reply| Command::Pause { reply })) {
            Ok(()) => Ok(Some(Self(container))),
            Err(Error::WrongState { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Drop for Paused<'_> {
    fn drop(&mut self) {
        match Handle::current().block_on(self.0.ask(|reply| Command::Unpause { reply })) {
            // Somebody else has let it run on, or has ended it.
            Ok(()) | Err(Error::WrongState { .. } | Error::Gone(_)) => {}
            Err(error) => {
                tracing::error!(%error, "a container that was paused for a commit stands still");
            }
        }
    }
}
