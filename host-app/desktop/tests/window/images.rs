//! How images come into the machine by way of the window, and where they go.

use std::{fs, path::Path};

use linkspan_test_e2e::wait_until;
use linkspan_test_registry::{
    Act, File, Gate, Image, Layer, Packing, Process, Server, Setup, noise,
};

use crate::{
    Bench, Shared,
    app::{App, SOON},
    containers::{done, field},
};

pub(crate) const TESTS: &[Shared] = &[
    ("a_pulled_image_runs_and_is_pushed_by_another_name", pulled_run_and_pushed),
    ("a_pull_shows_each_layer_and_can_be_cancelled", layers_and_cancel),
    ("an_archive_is_loaded", an_archive_is_loaded),
    ("a_folder_is_built_and_runs", a_folder_is_built_and_runs),
    ("a_build_shows_its_output_as_it_comes_and_can_be_cancelled", a_build_can_be_cancelled),
];

/// An image that the machine does not have, with a program to run.
fn own_image() -> Image {
    let busybox = fs::read("/bin/busybox").expect("busybox-static is installed");
    let program = Layer::new(&[File::new("bin/busybox", busybox).mode(0o755)], Packing::Gzip);
    let word = Layer::new(&[File::new("word", "it came\n")], Packing::Gzip);
    Image::new(vec![program, word], &["busybox", "sh"])
}

fn link(name: &str) -> String {
    format!("//main//table//a[normalize-space()={name:?}]")
}

fn pull(bench: &Bench, name: &str) {
    bench.app.press("Pull…");
    bench.app.write(&field("Image"), name);
    bench.app.click("//dialog//button[normalize-space()='Pull']");
}

/// Shows the parts and the output of work that is under way.
fn unfold(app: &App, title: &str) {
    app.click(&format!("//button[@aria-expanded][contains(normalize-space(), {title:?})]"));
}

fn pulled_run_and_pushed(bench: &Bench) {
    let Bench { app, host, .. } = bench;
    let registry = Process::start(Setup::default()).expect("docker-registry is installed");
    let folder = tempfile::tempdir().expect("a folder");
    let archive = folder.path().join("box.tar");
    fs::write(&archive, own_image().archive("box:1")).expect("a file");
    let digest = registry.fill("team/box:1", &format!("oci-archive:{}", archive.display()));
    let name = format!("localhost:{}/team/box:1", registry.port());
    app.anew("images");
    pull(bench, &name);
    done(app, &format!("Pull {name}"));
    app.click(&link(&name));
    app.see("How it was made");
    app.picture("image");

    app.press("Run…");
    app.write(&field("Name"), "of-the-registry");
    app.write(
        &field("Command, as typed into a shell"),
        "busybox sh -c 'busybox cat /word; exec busybox sleep 1000'",
    );
    app.press("Run");
    app.see("it came");
    bench.remove("of-the-registry");

    app.anew("images");
    app.click(&link(&name));
    let other = format!("localhost:{}/team/copy:2", registry.port());
    app.press("Tag…");
    app.write(&field("Name"), &other);
    app.click("//dialog//button[normalize-space()='Tag']");
    app.press(&format!("Push {other}"));
    done(app, &format!("Push {other}"));
    assert_eq!(registry.digest("team/copy:2"), digest);

    app.press("Remove…");
    app.press(&format!("Remove {name}"));
    app.find("//main//h1[normalize-space()='Images']");
    app.see_no(&name);
    assert!(!host.run(&["images"]).ok().text().contains("team/"));
}

fn layers_and_cancel(bench: &Bench) {
    let Bench { app, host, .. } = bench;
    let gate = Gate::new();
    let layer = |seed: u64, bytes: usize| {
        Layer::new(&[File::new(format!("noise-{seed}"), noise(seed, bytes))], Packing::Gzip)
    };
    let layers = vec![layer(1, 400_000), layer(2, 10_000_000)];
    // Of the second layer little comes at a time until the gate is opened, which it never is.
    let last = layers[1].digest.clone();
    let held = gate.clone();
    let server = Server::in_background(move |seen| {
        if seen.path.ends_with(&last) { Act::Gate(300_000, held.clone()) } else { Act::Serve }
    });
    Image::new(layers, &["/none"]).put(&server, "slow/app", "1");
    let name = format!("{}/slow/app:1", server.address);
    app.anew("images");
    pull(bench, &name);
    unfold(app, &format!("Pull {name}"));
    let rows = "//section[@aria-label='Work under way']//table//tr";
    // How well noise packs depends on the packer.
    app.find(&format!("{rows}[contains(., 'ownload')][contains(., 'B of 10.')]"));
    app.until(
        "two layers are shown",
        "return document.querySelectorAll('section[aria-label=\"Work under way\"] tr').length >= 2",
    );
    app.picture("pulling");
    app.go("Volumes");
    app.press(&format!("Cancel Pull {name}"));
    app.find("//*[@role='status'][normalize-space()='cancelled']");
    assert!(!host.run(&["images"]).ok().text().contains("slow/app"));
    gate.open();
}

fn an_archive_is_loaded(bench: &Bench) {
    let Bench { app, host, .. } = bench;
    let folder = tempfile::tempdir().expect("a folder");
    let layer = Layer::new(&[File::new("word", "told")], Packing::Gzip);
    let archive = folder.path().join("kept.tar");
    fs::write(&archive, Image::new(vec![layer], &["/none"]).archive("kept/app:3")).expect("a file");
    app.anew("images");
    app.choose(&archive);
    app.press("Load…");
    done(app, "Load");
    app.find(&link("kept/app:3"));
    app.press("Remove… kept/app:3");
    app.press("Remove kept/app:3");
    app.see_no("kept/app:3");
    assert!(!host.run(&["images"]).ok().text().contains("kept/app"));
}

pub(crate) fn write(folder: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        fs::write(folder.join(name), text).expect("a file");
    }
}

/// Opens the dialog with this folder chosen, under this name, and begins.
pub(crate) fn build(app: &App, folder: &Path, name: &str) {
    app.choose(folder);
    app.press("Build…");
    app.press("Choose a folder…");
    app.find(&format!(
        "//dialog//*[@role='status'][contains(., {:?})]",
        folder.display().to_string()
    ));
    app.replace(&field("Name"), name);
    app.click("//dialog//button[normalize-space()='Build']");
    unfold(app, &format!("Build {name}"));
}

fn a_folder_is_built_and_runs(bench: &Bench) {
    let Bench { app, host, .. } = bench;
    let folder = tempfile::tempdir().expect("a folder");
    let dockerfile = "FROM busybox\nCOPY greeting /greeting\nRUN echo built in $(uname)\n\
                      CMD [\"sh\", \"-c\", \"cat /greeting; exec sleep 1000\"]\n";
    write(folder.path(), &[("Dockerfile", dockerfile), ("greeting", "hello from a file\n")]);
    app.anew("images");
    build(app, folder.path(), "greeter");
    app.find("//section[@aria-label='Work under way']//pre[contains(., 'built in Linux')]");
    done(app, "Build greeter");
    app.picture("built");
    app.press("Run greeter:latest");
    app.write(&field("Name"), "greeting");
    app.press("Run");
    app.see("hello from a file");
    bench.remove("greeting");
    let _ = host.run(&["rmi", "greeter"]).ok();
}

fn a_build_can_be_cancelled(bench: &Bench) {
    let Bench { app, host, .. } = bench;
    let folder = tempfile::tempdir().expect("a folder");
    let dockerfile = "FROM busybox\nRUN echo half of it; exec sleep 1000\n";
    write(folder.path(), &[("Dockerfile", dockerfile)]);
    app.anew("images");
    build(app, folder.path(), "endless");
    // Its step has not ended: this comes while it runs.
    app.find("//section[@aria-label='Work under way']//pre[contains(., '#3 half of it')]");
    app.press("Cancel Build endless");
    app.find("//*[@role='status'][normalize-space()='cancelled']");
    let gone = || {
        let processes = host.run(&["machine", "shell", "ps"]);
        !processes.text().contains("sleep 1000")
    };
    assert!(wait_until(SOON, gone), "the step's process ends with the build");
    assert!(!host.run(&["images"]).ok().text().contains("endless"));
}
