//! Docker's SDKs, as programs use them, against a real machine and a registry on the host's
//! loopback: docker-py, Testcontainers for Python and dockerode (`tests/sdk` has what they do), and
//! bollard.
//!
//! `.ci/install test` puts the clients into the cache, of the versions that `tests/sdk` names.

mod containers;
mod images;
mod websocket;

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use linkspan_test_e2e::{Host, finish};
use linkspan_test_registry::{Setup, cache, client};

use crate::{Shared, api_socket::own_socket, registry::registry};

/// A file of `tests/sdk`.
fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("sdk").join(name)
}

/// Lets a program of `tests/sdk` use this machine; its own report says what failed.
fn drive(host: &Host, mut program: Command) {
    let registry = registry(Setup::default());
    let home = tempfile::tempdir().expect("a folder");
    program
        .env("DOCKER_HOST", format!("unix://{}", own_socket(host)))
        .env("LINKSPAN_TEST_REGISTRY", format!("localhost:{}", registry.port()))
        // Neither the user's credentials nor settings.
        .env("HOME", home.path())
        .env("DOCKER_CONFIG", home.path())
        .env_remove("DOCKER_CONTEXT")
        .env_remove("DOCKER_API_VERSION")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let what = format!("{program:?}");
    let _ = finish(program.spawn().expect("the program starts"), &[&what]).ok();
}

fn python(host: &Host, name: &str) {
    let Some(folder) = client("python") else { return };
    let mut program = Command::new(folder.join("bin/python"));
    program.arg(sample("python").join(name)).env("PYTHONDONTWRITEBYTECODE", "1");
    // Its image is not to be had without a network.
    program.env("TESTCONTAINERS_RYUK_DISABLED", "true");
    // In a container (as CI may be) it would look for the machine's containers beside itself.
    program.env("TESTCONTAINERS_CONNECTION_MODE", "docker_host");
    drive(host, program);
}

fn dockerode(host: &Host) {
    let Some(folder) = client("node") else { return };
    // There when the machine's own is too old.
    let own = cache().join("clients/runtime/node_modules/.bin/node");
    let mut program = Command::new(if own.exists() { own } else { "node".into() });
    program.arg(sample("node").join("dockerode.mjs"));
    program.env("LINKSPAN_TEST_NODE_MODULES", folder.join("node_modules"));
    drive(host, program);
}

pub(crate) const TESTS: &[Shared] = &[
    ("docker_py", |host| python(host, "docker_py.py")),
    ("testcontainers", |host| python(host, "containers_for_tests.py")),
    ("dockerode", dockerode),
    ("bollard_runs_containers", containers::run),
    ("bollard_moves_images", images::run),
    ("a_websocket_is_attached_to", websocket::run),
];
