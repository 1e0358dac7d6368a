//! A container's changes on top of its image become an image.

use crate::changes::{apply_to, check_signal, ports, set_env, trigger};
use crate::config::{ConfigFile, Empty, Healthcheck, History, Section};
use crate::digest::{Digest, ImageId};
use crate::error::{Error, Result};
use crate::reference::Reference;
use crate::store::{NewImage, parse_tag};

/// What a committed image says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommitOptions {
    /// Its name; None: untagged.
    pub reference: Option<String>,
    /// Who made it.
    pub author: String,
    /// The comment in its history.
    pub message: String,
    /// What the container ran, for the history.
    pub created_by: String,
    /// How the container was told to run: what is there wins over the image's. KEY alone removes
    /// a variable.
    pub env: Vec<String>,
    /// None: the image's.
    pub entrypoint: Option<Vec<String>>,
    /// Empty: the image's, unless there is an entry point.
    pub cmd: Vec<String>,
    /// Empty: the image's.
    pub user: String,
    /// Empty: the image's.
    pub working_dir: String,
    /// Empty: the image's.
    pub stop_signal: String,
    /// Beside the image's.
    pub labels: std::collections::BTreeMap<String, String>,
    /// None: the image's.
    pub health: Option<Healthcheck>,
    /// `80/tcp`, beside the image's.
    pub exposed_ports: Vec<String>,
    /// Paths that got an anonymous volume, beside the image's.
    pub volumes: Vec<String>,
    /// Instructions for builds on the image, instead of the image's.
    pub on_build: Vec<String>,
    /// Empty: the image's.
    pub shell: Vec<String>,
    /// Dockerfile instructions, as in [`crate::ImportOptions`]; they have the last word.
    pub changes: Vec<String>,
}

/// The checked options: nothing in them can fail any more when the layer is there.
pub(crate) struct Plan {
    parent: ConfigFile,
    tags: Vec<Reference>,
    options: CommitOptions,
}

impl Plan {
    pub(crate) fn new(mut parent: ConfigFile, options: &CommitOptions) -> Result<Self> {
        let tag = options.reference.as_deref().filter(|text| !text.is_empty());
        let tags = tag.map(parse_tag).transpose()?.into_iter().collect();
        check(options)?;
        let section = container(std::mem::take(&mut parent.config), options);
        parent.config = apply_to(section, &options.changes)?;
        Ok(Self { parent, tags, options: options.clone() })
    }

    /// All layers below the new one.
    pub(crate) fn layers(&self) -> &[Digest] {
        &self.parent.rootfs.diff_ids
    }

    /// The image with this layer on top.
    pub(crate) fn finish(self, diff_id: Digest) -> Result<NewImage> {
        let created = jiff::Timestamp::now().to_string();
        let mut config = self.parent;
        "layers".clone_into(&mut config.rootfs.kind);
        config.rootfs.diff_ids.push(diff_id);
        config.author.clone_from(&self.options.author);
        config.created.clone_from(&created);
        config.history.push(History {
            created,
            created_by: self.options.created_by,
            author: self.options.author,
            comment: self.options.message,
            empty_layer: false,
        });
        let config_json = serde_json::to_vec(&config)
            .map_err(|error| Error::corrupt("the new configuration", error.to_string()))?;
        let id = ImageId(Digest::of(&config_json));
        let (manifest, parent, origin) = (None, None, None);
        Ok(NewImage { id, config, config_json, manifest, tags: self.tags, parent, origin })
    }
}

/// What a caller may say beside the container, as the instructions of the same name would.
fn check(options: &CommitOptions) -> Result<()> {
    let wrong = |line: String| move |why| Error::InvalidChange { line, why };
    for port in &options.exposed_ports {
        ports(port).map_err(wrong(format!("EXPOSE {port}")))?;
    }
    for instruction in &options.on_build {
        trigger(instruction).map_err(wrong(format!("ONBUILD {instruction}")))?;
    }
    if !options.stop_signal.is_empty() {
        let signal = &options.stop_signal;
        check_signal(signal).map_err(wrong(format!("STOPSIGNAL {signal}")))?;
    }
    let named = |entry: &&String| entry.starts_with('=') || entry.is_empty();
    match options.env.iter().find(named) {
        Some(entry) => Err(wrong(format!("ENV {entry}"))("a variable needs a name".to_owned())),
        None => Ok(()),
    }
}

/// The image's configuration as the container has it.
fn container(mut section: Section, options: &CommitOptions) -> Section {
    for entry in &options.env {
        match entry.split_once('=') {
            Some((key, value)) => set_env(&mut section.env, key, value),
            None => section.env.retain(|known| known.split('=').next() != Some(entry)),
        }
    }
    if let Some(entrypoint) = &options.entrypoint {
        section.entrypoint.clone_from(entrypoint);
        if !entrypoint.is_empty() {
            section.cmd.clear();
        }
    }
    let set = |field: &mut String, value: &String| {
        if !value.is_empty() {
            field.clone_from(value);
        }
    };
    if !options.cmd.is_empty() {
        section.cmd.clone_from(&options.cmd);
    }
    set(&mut section.user, &options.user);
    set(&mut section.working_dir, &options.working_dir);
    set(&mut section.stop_signal, &options.stop_signal);
    section.labels.extend(options.labels.clone());
    for (own, list) in
        [(&mut section.on_build, &options.on_build), (&mut section.shell, &options.shell)]
    {
        if !list.is_empty() {
            own.clone_from(list);
        }
    }
    if let Some(health) = &options.health {
        section.healthcheck = Some(health.into());
    }
    let set = |names: &[String]| names.iter().map(|name| (name.clone(), Empty {})).collect();
    section.exposed_ports.extend::<std::collections::BTreeMap<_, _>>(set(&options.exposed_ports));
    section.volumes.extend::<std::collections::BTreeMap<_, _>>(set(&options.volumes));
    section
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_containers_own_settings_win_and_changes_have_the_last_word() {
        let parent = ConfigFile::parse(
            br#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers"},
                "config":{"Env":["A=image","B=image"],"Cmd":["sh"],"User":"web"},
                "history":[{"comment":"first"}]}"#,
            "config",
        )
        .unwrap();
        let options = CommitOptions {
            env: vec!["A=own".into(), "B".into()],
            cmd: vec!["serve".into()],
            working_dir: "/srv".into(),
            author: "me".into(),
            message: "second".into(),
            changes: vec!["ENV C=$A".into(), "USER root".into()],
            ..CommitOptions::default()
        };
        let image = Plan::new(parent, &options).unwrap().finish(Digest::of(b"layer")).unwrap();
        let exec = image.config.exec();
        assert_eq!(exec.env, ["A=own", "C=own"]);
        assert_eq!(
            (exec.cmd, exec.user, exec.working_dir),
            (vec!["serve".into()], "root".into(), "/srv".into())
        );
        assert_eq!(image.config.rootfs.diff_ids, [Digest::of(b"layer")]);
        let history = image.config.history();
        assert_eq!((history.len(), &*history[1].comment, &*history[1].author), (2, "second", "me"));
    }

    #[test]
    fn what_nobody_changes_stays_as_the_image_had_it() {
        let config = r#"{"Cmd":["sh"],"Volumes":{"/v":{}},"WorkingDir":"/w","StopSignal":"SIGQUIT",
            "Healthcheck":{"Test":["CMD","true"],"Interval":5000000000,"Retries":2},
            "OnBuild":["RUN x"],"Shell":["/bin/ash","-c"],"ArgsEscaped":true}"#;
        let parent = format!(r#"{{"rootfs":{{}},"config":{config}}}"#);
        let parent = ConfigFile::parse(parent.as_bytes(), "config").unwrap();
        let image = Plan::new(parent, &CommitOptions::default()).unwrap();
        let made: serde_json::Value =
            serde_json::from_slice(&image.finish(Digest::of(b"layer")).unwrap().config_json)
                .unwrap();
        assert_eq!(made["config"], serde_json::from_str::<serde_json::Value>(config).unwrap());
    }

    #[test]
    fn the_containers_probe_ports_and_volumes_go_with_it_and_changes_add_theirs() {
        let parent = r#"{"rootfs":{},"config":{"Shell":["/bin/ash","-c"],"Volumes":{"/v":{}}}}"#;
        let parent = ConfigFile::parse(parent.as_bytes(), "config").unwrap();
        let options = CommitOptions {
            health: Some(Healthcheck { test: vec!["NONE".into()], ..Healthcheck::default() }),
            exposed_ports: vec!["80/tcp".into()],
            volumes: vec!["/data".into()],
            changes: vec!["CMD serve".into(), "ONBUILD RUN make".into()],
            ..CommitOptions::default()
        };
        let image = Plan::new(parent, &options).unwrap().finish(Digest::of(b"layer")).unwrap();
        let exec = image.config.exec();
        assert_eq!(exec.healthcheck.map(|check| check.test), Some(vec!["NONE".to_owned()]));
        assert_eq!(
            (exec.exposed_ports, exec.volumes),
            (vec!["80/tcp".into()], vec!["/data".into(), "/v".into()])
        );
        assert_eq!(exec.cmd, ["/bin/ash", "-c", "serve"]);
        assert_eq!(image.config.config.on_build, ["RUN make"]);
        let options =
            CommitOptions { changes: vec!["HEALTHCHECK --interval=5s CMD true".into()], ..options };
        let parent = ConfigFile::parse(br#"{"rootfs":{}}"#, "config").unwrap();
        let image = Plan::new(parent, &options).unwrap().finish(Digest::of(b"layer")).unwrap();
        let check = image.config.exec().healthcheck.unwrap();
        assert_eq!(check.test, ["CMD-SHELL", "true"]);
    }

    #[test]
    fn an_entry_point_of_its_own_drops_the_images_command() {
        let parent = ConfigFile::parse(
            br#"{"rootfs":{},"config":{"Cmd":["sh"],"Entrypoint":["/entry"]}}"#,
            "config",
        )
        .unwrap();
        let options = CommitOptions { entrypoint: Some(vec!["/own".into()]), ..Default::default() };
        let image = Plan::new(parent, &options).unwrap().finish(Digest::of(b"layer")).unwrap();
        assert_eq!(image.config.exec().entrypoint, ["/own"]);
        assert!(image.config.exec().cmd.is_empty());
    }
}
