//! Docker Compose v2 against the Docker Engine API of a real machine: the project in `files`, and
//! what is done with it in `steps.txt` and `build.txt`, tables as those of [`crate::docker_cli`].

use std::{
    path::PathBuf,
    process::{Command, Stdio},
};

use linkspan_test_e2e::Host;
use linkspan_test_registry::is_missing;

use crate::{Own, docker::there_is_one, docker_cli::Shell};

/// The project, by the files' names.
const FILES: &[(&str, &str)] = &[
    ("compose.yaml", include_str!("files/compose.yaml")),
    ("override.yaml", include_str!("files/override.yaml")),
    ("ends.yaml", include_str!("files/ends.yaml")),
    ("broken.yaml", include_str!("files/broken.yaml")),
    ("site/page", include_str!("files/site/page")),
    ("web.env", include_str!("files/web.env")),
    ("key", include_str!("files/key")),
    ("built.yaml", include_str!("files/built.yaml")),
    ("built/Dockerfile", include_str!("files/built/Dockerfile")),
    ("built/file", include_str!("files/built/file")),
];

/// The plugin: the file that `LINKSPAN_TEST_COMPOSE` names, the docker CLI's own, or a
/// `docker-compose` on the PATH that is no longer version 1.
fn plugin() -> Option<PathBuf> {
    let config = std::env::var_os("DOCKER_CONFIG").map(PathBuf::from);
    let config = config.or_else(|| Some(std::env::home_dir()?.join(".docker")));
    let places = config.into_iter().chain(
        [
            "/usr/local/lib/docker",
            "/usr/local/libexec/docker",
            "/usr/lib/docker",
            "/usr/libexec/docker",
        ]
        .map(PathBuf::from),
    );
    let mut found: Vec<PathBuf> =
        std::env::var_os("LINKSPAN_TEST_COMPOSE").map(PathBuf::from).into_iter().collect();
    found.extend(places.map(|place| place.join("cli-plugins/docker-compose")));
    let path = std::env::var_os("PATH").unwrap_or_default();
    found.extend(std::env::split_paths(&path).map(|folder| folder.join("docker-compose")));
    let works = |file: &PathBuf| {
        let version =
            Command::new(file).args(["version", "--short"]).stderr(Stdio::null()).output();
        let text = version.map(|done| String::from_utf8_lossy(&done.stdout).into_owned());
        text.is_ok_and(|text| {
            let major = text.trim().trim_start_matches('v').split('.').next();
            major.and_then(|major| major.parse().ok()).is_some_and(|major: u32| major >= 2)
        })
    };
    found.into_iter().find(works)
}

fn a_project_lives_as_compose_says() {
    if !there_is_one() {
        return;
    }
    let Some(plugin) = plugin() else {
        is_missing("Docker Compose v2");
        return;
    };
    let host = Host::new();
    let shell = Shell::new(&host);
    for (name, text) in FILES {
        let path = shell.folder().join(name);
        std::fs::create_dir_all(path.parent().expect("it is in the folder")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    }
    let plugins = shell.folder().join(".docker/cli-plugins");
    std::fs::create_dir_all(&plugins).expect("a folder");
    std::os::unix::fs::symlink(plugin, plugins.join("docker-compose")).expect("a link");
    shell.goes_through(&[
        ("steps", include_str!("steps.txt")),
        ("build", include_str!("build.txt")),
    ]);
    drop(shell);
    host.leaves_nothing();
}

pub(crate) const OWN: &[Own] =
    &[("a_project_lives_as_compose_says", a_project_lives_as_compose_says)];
