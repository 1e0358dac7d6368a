//! What is in the two built-in container images.

use anyhow::{Result, ensure};

use crate::{
    oci::{Layer, Recipe, archive},
    process,
};

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n\
    daemon:x:1:1:daemon:/usr/sbin:/bin/false\n\
    www-data:x:33:33:www-data:/var/www:/bin/false\n\
    nobody:x:65534:65534:nobody:/home:/bin/false\n";
const GROUP: &str = "root:x:0:\n\
    daemon:x:1:\n\
    tty:x:5:\n\
    users:x:100:\n\
    www-data:x:33:\n\
    nogroup:x:65534:\n";

/// `busybox:latest`: one static program under all its names.
pub(crate) fn busybox(program: &[u8], applets: &[String], epoch: u64) -> Result<Vec<u8>> {
    let mut layer = Layer::new(epoch);
    for (folder, mode) in [
        ("bin", 0o755),
        ("dev", 0o755),
        ("etc", 0o755),
        ("home", 0o755),
        ("proc", 0o755),
        ("root", 0o700),
        ("sbin", 0o755),
        ("sys", 0o755),
        ("tmp", 0o1777),
        ("usr", 0o755),
        ("usr/bin", 0o755),
        ("usr/sbin", 0o755),
        ("var", 0o755),
    ] {
        layer.directory(folder, mode)?;
    }
    layer.file("etc/group", 0o644, GROUP.as_bytes())?;
    layer.file("etc/passwd", 0o644, PASSWD.as_bytes())?;
    layer.file("bin/busybox", 0o755, program)?;
    for applet in applets {
        layer.symlink(applet, "/bin/busybox")?;
    }
    let recipe = Recipe {
        reference: "busybox:latest",
        entrypoint: &[],
        command: &["sh"],
        made_by: "linkspan-vm-image: the program of the package busybox-static and links to it",
    };
    archive(&recipe, layer)
}

/// The names under which busybox belongs, as `bin/ls`, sorted; `bin/busybox` itself is not one.
pub(crate) fn applets(program: &std::path::Path) -> Result<Vec<String>> {
    let mut command = process::command(&program.to_string_lossy());
    let text = process::text(command.arg("--list-full"))?;
    let known = ["bin/", "sbin/", "usr/bin/", "usr/sbin/"];
    let fits = |name: &&str| {
        let base = known.iter().find_map(|folder| name.strip_prefix(folder));
        base.is_some_and(|base| !base.is_empty() && !base.contains('/')) && *name != "bin/busybox"
    };
    let mut names: Vec<String> = text.lines().filter(fits).map(Into::into).collect();
    // Debian's list calls the shell by its own name only.
    names.push("bin/sh".into());
    names.sort();
    names.dedup();
    ensure!(names.len() > 100, "`{}` lists only {} applets", program.display(), names.len());
    Ok(names)
}

/// `linkspan/hello:latest`: one static program and nothing else.
pub(crate) fn hello(program: &[u8], epoch: u64) -> Result<Vec<u8>> {
    let mut layer = Layer::new(epoch);
    layer.file("hello", 0o755, program)?;
    let recipe = Recipe {
        reference: "linkspan/hello:latest",
        entrypoint: &["/hello"],
        command: &[],
        made_by: "linkspan-vm-image: linkspan-hello",
    };
    archive(&recipe, layer)
}
