//! Docker's rules of images: which are listed, which can be removed, which can run here.

use linkspan_test_e2e::Host;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::{CHECKER, Shared, unique};

pub(crate) const TESTS: &[Shared] = &[
    ("filters_choose_images_and_a_wrong_one_is_named", |host| {
        let (old, new) = (unique("rules/old"), unique("rules/new"));
        let labelled = |name: &str, label: &str| {
            let tar = archive(&[("f", label.as_bytes())]);
            let change = format!("LABEL rules={label}");
            let _ = host.run_with_stdin(&["import", "-c", &change, "-", name], &tar).ok();
        };
        labelled(&old, &old);
        labelled(&new, &new);
        let list = |filters: &[&str]| {
            let mut args = vec!["images", "--format", "{{.Repository}}", "-f", "reference=rules/*"];
            args.extend(filters.iter().flat_map(|filter| ["--filter", filter]));
            host.run(&args).ok().text()
        };
        assert_eq!(list(&[&format!("since={old}"), &format!("label=rules={new}")]), new);
        assert_eq!(list(&[&format!("before={new}"), &format!("label=rules={old}")]), old);
        assert!(!list(&[&format!("label!=rules={new}")]).contains(&new));
        assert!(!list(&["until=24h"]).contains(&new), "it is younger");
        host.run(&["images", "-f", "color=red"]).fails(1, &["color=red", "known keys are"]);
        host.run(&["images", "-f", "before=no/such"]).fails(1, &["no such image", "no/such"]);
        let _ = host.run(&["rmi", &old, &new]).ok();
    }),
    ("a_history_has_the_size_of_every_layer_and_children_keep_their_parent", |host| {
        let (base, top) = (unique("history/base"), unique("history/top"));
        let tar = archive(&[("f", &[b'x'; 5000])]);
        let _ = host.run_with_stdin(&["import", "-m", "the base", "-", &base], &tar).ok();
        let name = unique("committed");
        let _ = host.run(&["create", "--name", &name, &base, "/none"]).ok();
        let _ = host.run(&["commit", "-m", "on top", &name, &top]).ok();
        let _ = host.run(&["rm", &name]).ok();
        let history = host.run(&["history", "--human=false", "--format", "json", &top]).ok().text();
        let steps: Vec<Value> =
            history.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert_eq!(steps.len(), 2, "{history}");
        assert_eq!(
            (&steps[0]["Comment"], &steps[1]["Comment"]),
            (&json!("on top"), &json!("the base"))
        );
        assert_eq!(steps[1]["Size"], "5000");
        let id = host.run(&["images", "-q", "--no-trunc", &base]).ok().text();
        host.run(&["rmi", "-f", &id]).fails(1, &["cannot be forced", "dependent child images"]);
        let untagged = host.run(&["rmi", &base]).ok().text();
        assert_eq!(untagged, format!("Untagged: {base}:latest"));
        let removed = host.run(&["image", "rm", &top]).ok().text();
        assert!(removed.contains(&format!("Deleted: {id}")), "its parent goes along: {removed}");
    }),
    ("conflicts_are_told_in_dockers_words_and_force_does_what_it_may", |host| {
        let (tag, other) = (unique("conflict/one"), unique("conflict/two"));
        let tar = archive(&[("bin/busybox", &std::fs::read("/bin/busybox").expect("busybox"))]);
        let _ = host.run_with_stdin(&["import", "-m", &tag, "-", &tag], &tar).ok();
        let id = host.run(&["images", "-q", &tag]).ok().text();
        let name = unique("conflict");
        let _ = host
            .run(&["run", "-d", "--name", &name, &tag, "/bin/busybox", "sleep", "1000000"])
            .ok();
        host.run(&["rmi", &tag])
            .fails(1, &["conflict: unable to remove repository reference", "must force", &name]);
        host.run(&["rmi", "-f", &id]).fails(1, &["cannot be forced", "running container", &name]);
        let _ = host.run(&["kill", &name]).ok();
        let _ = host.run(&["wait", &name]).ok();
        host.run(&["rmi", &id]).fails(1, &["must be forced", "stopped container", &name]);
        let _ = host.run(&["tag", &tag, &other]).ok();
        host.run(&["rmi", &id]).fails(1, &["must be forced", "multiple repositories"]);
        let gone = host.run(&["rmi", "-f", &id]).ok().text();
        for line in [format!("Untagged: {tag}:latest"), format!("Untagged: {other}:latest")] {
            assert!(gone.contains(&line), "{gone}");
        }
        assert!(gone.contains("Deleted: sha256:"), "{gone}");
        let _ = host.run(&["rm", &name]).ok();
        // Of several the others are done, and one that is not there is no failure by force.
        host.run(&["rmi", &tag]).fails(1, &["no such image", &tag]);
        let forced = host.run(&["rmi", "-f", &tag]).ok();
        assert!(forced.err.contains("no such image"), "{}", forced.err);
    }),
    ("an_image_of_another_processor_is_refused_before_the_start_or_emulated", |host| {
        let tag = unique("foreign/arm64") + ":1";
        let (arm64, program) = arm64_image(&tag);
        let loaded = host.run_with_stdin(&["load"], &arm64).ok().text();
        assert!(loaded.contains(&tag), "{loaded}");
        let inspected = host.run(&["image", "inspect", &tag]).ok().json();
        assert_eq!(inspected[0]["Architecture"], "arm64");
        let refused = ["is for linux/arm64", "this machine runs linux/amd64", "binfmt"];
        host.run(&["run", "--rm", &tag]).fails(125, &refused);
        host.run(&["create", &tag]).fails(1, &refused);
        // What `tonistiigi/binfmt --install` does, with an emulator that only tells what it was
        // given. It is not in the image: the kernel keeps it open (flag F).
        let magic: String = program[..20].iter().map(|byte| format!("\\x{byte:02x}")).collect();
        let line = format!(":e2e-arm64:M:0:{magic}::/echo:F");
        let enter = |what: &str| {
            let script = format!(
                "cp /bin/busybox /echo && mount -t binfmt_misc none /proc/sys/fs/binfmt_misc && {what}"
            );
            let run = ["run", "--rm", "--privileged", "busybox", "sh", "-c", &script];
            let _ = host.run(&run).ok();
        };
        enter(&format!("printf %s '{line}' >/proc/sys/fs/binfmt_misc/register"));
        assert_eq!(host.run(&["run", "--rm", &tag, "/app", "a b"]).ok().text(), "/app a b");
        enter("echo -1 >/proc/sys/fs/binfmt_misc/e2e-arm64");
        host.run(&["run", "--rm", &tag]).fails(125, &refused[..1]);
        let _ = host.run(&["rmi", &tag]).ok();
    }),
    ("shared_and_unique_sizes_add_up", |host| {
        let usage = host.run(&["system", "df", "-v", "--format", "json"]).ok().json();
        let images = usage["Images"].as_array().expect("a list").clone();
        let checker = images.iter().find(|image| image["Repository"] == CHECKER).expect("listed");
        // No other image has its layer.
        assert_eq!(
            (&checker["SharedSize"], &checker["UniqueSize"]),
            (&json!("0B"), &checker["Size"])
        );
        assert_eq!(same_layer_twice(host), ["5kB", "0B"]);
    }),
];

/// Shared and unique size of an image whose only layer another image has, too.
fn same_layer_twice(host: &Host) -> [String; 2] {
    let names = [unique("shared/one"), unique("shared/two")];
    let tar = archive(&[("f", &[b'y'; 5000])]);
    for name in &names {
        let _ = host.run_with_stdin(&["import", "-m", name, "-", name], &tar).ok();
    }
    let usage = host.run(&["system", "df", "-v", "--format", "json"]).ok().json();
    let images = usage["Images"].as_array().expect("a list").clone();
    let one = images.iter().find(|image| image["Repository"] == *names[0]).expect("listed");
    let sizes =
        ["SharedSize", "UniqueSize"].map(|key| one[key].as_str().unwrap_or_default().into());
    let _ = host.run(&["rmi", &names[0], &names[1]]).ok();
    sizes
}

fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o755);
        tar.append_data(&mut header, path, *bytes).expect("a tar in memory");
    }
    tar.into_inner().expect("a tar in memory")
}

/// A docker-archive of an image with one program for arm64, and that program: no more than a
/// header, which is all that the kernel looks at before it turns to an emulator.
fn arm64_image(tag: &str) -> (Vec<u8>, [u8; 64]) {
    let mut program = [0; 64];
    program[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    // ET_EXEC, EM_AARCH64.
    program[16..20].copy_from_slice(&[2, 0, 183, 0]);
    let layer = archive(&[("app", &program)]);
    let config = json!({
        "os": "linux", "architecture": "arm64", "config": {"Cmd": ["/app"]},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", hex(&Sha256::digest(&layer)))]},
    });
    let items = json!([{"Config": "config.json", "RepoTags": [tag], "Layers": ["layer.tar"]}]);
    let (config, items) = (config.to_string(), items.to_string());
    let members = [
        ("config.json", config.as_bytes()),
        ("layer.tar", &layer),
        ("manifest.json", items.as_bytes()),
    ];
    (archive(&members), program)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
