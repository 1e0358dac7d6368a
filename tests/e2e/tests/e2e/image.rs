//! Images: load, import, list, inspect, tag, remove; interchange with `skopeo`.

use std::{path::Path, process::Command};

use linkspan_test_e2e::{Host, target};
use linkspan_test_registry::{Act, File, Image, Layer, Packing, Server, noise, skopeo};
use serde_json::json;

use crate::{CHECKER, Shared, registry::busybox, unique};

/// Two images through both kinds of archive: skopeo takes each out of what was saved, and what it
/// gathers is loaded. `skopeo` reads archives of several images and writes layouts of several.
fn several_through_skopeo(host: &Host, folder: &Path) {
    let names = [unique("several/one"), unique("several/two")].map(|name| format!("{name}:1"));
    // Within an OCI archive skopeo finds images by their tags alone.
    let names = [names[0].clone(), names[1].replace(":1", ":2")];
    let ids = [("busybox", &names[0]), ("linkspan/hello", &names[1])].map(|(from, name)| {
        let _ = host.run(&["run", "--rm", from, "true"]);
        let _ = host.run(&["tag", from, name]).ok();
        host.run(&["inspect", "--type", "image", name]).ok().json()[0]["Id"].clone()
    });
    let remove = || drop(host.run(&["rmi", &names[0], &names[1]]).ok());
    let saved = folder.join("saved.tar").display().to_string();
    let _ = host.run(&["save", "-o", &saved, &names[0], &names[1]]).ok();
    remove();
    for kind in ["docker-archive", "oci-archive"] {
        let layout = folder.join(kind);
        for name in &names {
            let tag = name.rsplit(':').next().expect("a tag");
            let chosen = if kind == "oci-archive" { tag } else { name };
            let to = format!("oci:{}:docker.io/{name}", layout.display());
            skopeo(&["copy", &format!("{kind}:{saved}:{chosen}"), &to]);
        }
        let mut tar = tar::Builder::new(Vec::new());
        tar.append_dir_all("", &layout).expect("a tar in memory");
        let archive = tar.into_inner().expect("a tar in memory");
        let loaded = host.run_with_stdin(&["load"], &archive).ok().text();
        for (name, id) in names.iter().zip(&ids) {
            assert!(loaded.contains(&format!("Loaded image: {name}")), "{kind}: {loaded}");
            let now = &host.run(&["inspect", "--type", "image", name]).ok().json()[0]["Id"];
            // Of a docker-archive skopeo writes the configuration anew.
            assert!(kind == "docker-archive" || now == id, "{kind}: {now} {id}");
        }
        assert_eq!(host.run(&["run", "--rm", &names[0], "echo", kind]).ok().text(), kind);
        assert_eq!(host.run(&["run", "--rm", &names[1], "--json"]).ok().json()["pid"], 1);
        remove();
    }
}

pub(crate) const TESTS: &[Shared] = &[
    ("the_built_in_images_need_no_registry", |host| {
        assert_eq!(
            host.run(&["run", "--rm", "busybox", "echo", "built in"]).ok().text(),
            "built in"
        );
        let _ = host.run(&["run", "--rm", "linkspan/hello"]).ok();
        let list = host.run(&["images", "--format", "{{.Repository}}:{{.Tag}}"]).ok().text();
        assert!(
            list.contains("busybox:latest") && list.contains("linkspan/hello:latest"),
            "{list}"
        );
    }),
    ("what_skopeo_makes_is_loaded_in_both_formats", |host| {
        // `make test` installs skopeo: its absence is a failure, not a skip.
        let folder = tempfile::tempdir().unwrap();
        for (kind, tag) in
            [("docker-archive", "converted/docker:1"), ("oci-archive", "converted/oci:1")]
        {
            let file = folder.path().join(format!("{kind}.tar"));
            let to = format!("{kind}:{}:{tag}", file.display());
            skopeo(&["copy", &busybox(), &to]);
            let loaded = host.run(&["load", "-i", file.to_str().unwrap()]).ok().text();
            assert!(loaded.contains(tag), "{loaded}");
            assert_eq!(host.run(&["run", "--rm", tag, "echo", kind]).ok().text(), kind);
            let _ = host.run(&["rmi", tag]).ok();
        }
    }),
    ("several_images_in_one_archive_go_through_skopeo_and_back", |host| {
        several_through_skopeo(host, tempfile::tempdir().unwrap().path());
    }),
    ("load_reads_standard_input_in_every_packing", |host| {
        let folder = tempfile::tempdir().unwrap();
        let plain = target().join("vm-image/images/hello.tar");
        for (program, flag) in [("gzip", "-kc"), ("zstd", "-qkc"), ("bzip2", "-kc"), ("xz", "-0kc")]
        {
            let packed =
                Command::new(program).arg(flag).arg(&plain).output().expect(program).stdout;
            std::fs::write(folder.path().join(program), &packed).unwrap();
            let loaded = host.run_with_stdin(&["load"], &packed).ok().text();
            assert!(loaded.contains("linkspan/hello"), "{loaded}");
        }
    }),
    ("a_broken_archive_is_refused_and_leaves_nothing", |host| {
        // Other tests load images meanwhile; none of them leaves one without a name.
        let nameless = || {
            let names = host.run(&["images", "-a", "--format", "{{.Repository}}"]).ok().text();
            names.lines().filter(|name| *name == "<none>").count()
        };
        // Layers that are there already are not read again.
        let layer = Layer::new(&[File::new("noise", noise(108, 1 << 20))], Packing::Plain);
        let whole = Image::new(vec![layer], &["/noise"]).archive("broken/archive:1");
        let cut = &whole[..whole.len() / 2];
        let done = host.run_with_stdin(&["load"], cut);
        assert_eq!(done.code, 1, "{done:?}");
        host.run_with_stdin(&["load"], b"this is not an archive at all").fails(1, &[]);
        host.run_with_stdin(&["load"], b"").fails(1, &[]);
        let mut damaged = whole.clone();
        let middle = damaged.len() / 2;
        damaged[middle] ^= 0xff;
        assert_eq!(host.run_with_stdin(&["load"], &damaged).code, 1);
        assert_eq!(nameless(), 0);
    }),
    ("load_of_a_platform_that_an_archive_lacks_says_what_it_has", |host| {
        let name = unique("one/platform");
        let layer = Layer::new(&[File::new("word", "here")], Packing::Gzip);
        let archive = Image::new(vec![layer], &["/word"]).archive(&format!("{name}:1"));
        let load = |platform| host.run_with_stdin(&["load", "--platform", platform], &archive);
        let own = host.run(&["inspect", "--type", "image", "-f", "{{.Architecture}}", CHECKER]);
        let own = format!("linux/{}", own.ok().text());
        load("linux/s390x").fails(1, &["linux/s390x", &own]);
        load("nonsense/").fails(1, &["nonsense/"]);
        assert!(load(&own).ok().text().contains(&name));
        let _ = host.run(&["rmi", &format!("{name}:1")]).ok();
    }),
    ("import_makes_an_image_with_the_changes_asked_for", |host| {
        let inspected = host.run(&["inspect", "--type", "image", CHECKER]).ok().json();
        assert_eq!(inspected[0]["Config"]["Cmd"], serde_json::json!(["/checker"]));
        assert_eq!(inspected[0]["Config"]["Env"], serde_json::json!(["PATH=/bin"]));
    }),
    ("import_fetches_what_a_url_names", |host| {
        let server = Server::in_background(|_| Act::Serve);
        let layer = Layer::new(&[File::new("word", "fetched")], Packing::Gzip);
        let digest = server.put_blob("some/files", layer.blob);
        let url = |digest| format!("http://{}/v2/some/files/blobs/{digest}", server.address);
        let name = unique("imported/url");
        let args = ["import", "-c", "CMD x", &url(&digest), &name];
        let id = host.run(&args).ok().text();
        let image = &host.run(&["inspect", "--type", "image", &name]).ok().json()[0];
        assert_eq!((&image["Id"], &image["Config"]["Cmd"][2]), (&json!(id), &json!("x")));
        let container = unique("from-url");
        let _ = host.run(&["create", "--name", &container, &name]).ok();
        let tar = host.run(&["cp", &format!("{container}:/word"), "-"]).ok().out;
        let mut archive = tar::Archive::new(tar.as_slice());
        let word = archive.entries().expect("a tar").next().expect("a file").expect("a file");
        assert_eq!(std::io::read_to_string(word).expect("text"), "fetched");
        let _ = host.run(&["rm", &container]).ok();
        let missing = url(&digest.replace('a', "b"));
        host.run(&["import", &missing]).fails(1, &["cannot fetch", &missing, "404"]);
        host.run(&["import", "http://127.0.0.1:1/x.tar"]).fails(1, &["cannot fetch"]);
    }),
    ("tags_come_and_go_and_the_last_one_takes_the_image", |host| {
        let (one, two) = (unique("tag/one"), unique("tag/two"));
        let archive = std::fs::read(target().join("vm-image/images/hello.tar")).unwrap();
        let _ = host.run_with_stdin(&["load"], &archive).ok();
        let _ = host.run(&["tag", "linkspan/hello", &one]).ok();
        let _ = host.run(&["tag", &one, &two]).ok();
        let removed = host.run(&["rmi", &one]).ok().text();
        assert!(removed.contains("Untagged") && !removed.contains("Deleted"), "{removed}");
        assert_eq!(host.run(&["run", "--rm", &two, "--json"]).ok().json()["pid"], 1);
        let _ = host.run(&["rmi", &two]).ok();
        host.run(&["inspect", "--type", "image", &two]).fails(1, &[&two]);
    }),
    ("an_image_in_use_is_not_removed", |host| {
        let (name, tag) = (unique("user"), unique("used/image"));
        let archive = std::fs::read(target().join("vm-image/images/busybox.tar")).unwrap();
        let _ = host.run_with_stdin(&["load"], &archive).ok();
        // An image of its own, so that no other tag keeps it.
        let script = ["import", "-c", "CMD [\"/bin/true\"]", "-m", &tag, "-", &tag];
        let mut tar = tar::Builder::new(Vec::new());
        tar.append_path_with_name("/bin/busybox", "bin/true").unwrap();
        let _ = host.run_with_stdin(&script, &tar.into_inner().unwrap()).ok();
        let _ = host.run(&["create", "--name", &name, &tag]).ok();
        host.run(&["rmi", &tag]).fails(1, &["container"]);
        let _ = host.run(&["rm", &name]).ok();
        let _ = host.run(&["rmi", &tag]).ok();
    }),
    ("unknown_images_are_named", |host| {
        host.run(&["rmi", "no-such:image"]).fails(1, &["no-such:image"]);
        host.run(&["tag", "no-such", "x"]).fails(1, &["no-such"]);
        host.run(&["tag", CHECKER, "Not A Reference"]).fails(1, &["Not A Reference"]);
    }),
];
