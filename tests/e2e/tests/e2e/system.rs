//! What things take, what is told of them, and how they are all removed, in the real kernel.

use linkspan_test_e2e::{Host, wait_until};
use serde_json::Value;

use crate::{CHECKER, SOON, Shared, unique};

/// The line of `system df -v` about one thing.
fn measured(host: &Host, list: &str, key: &str, name: &str) -> Value {
    let all = host.run(&["system", "df", "-v", "--format", "json"]).ok().json();
    let lines = all[list].as_array().expect("a list").clone();
    lines.into_iter().find(|line| line[key] == *name).unwrap_or_default()
}

/// What has been told until now, `TYPE ACTION` each.
fn told(host: &Host, filters: &[&str]) -> Vec<String> {
    let mut args =
        vec!["events", "--since", "10m", "--until", "0s", "--format", "{{.Type}} {{.Action}}"];
    for filter in filters {
        args.extend(["--filter", filter]);
    }
    host.run(&args).ok().text().lines().map(str::to_owned).collect()
}

pub(crate) const TESTS: &[Shared] = &[
    ("everything_is_measured_found_and_given_back", |host| {
        let [name, volume, first, second, network] =
            ["sized", "sized-data", "sized-image", "sized-again", "sized-net"].map(unique);
        let label = format!("pruned={name}");
        let script =
            "head -c 102400 /dev/zero > /own; head -c 51200 /dev/zero > /data/x; sleep 600";
        let mount = format!("{volume}:/data");
        let _ = host.run(&["network", "create", "--label", &label, &network]).ok();
        let run = ["run", "-d", "--name", &name, "-l", &label, "-v", &mount, "busybox", "sh", "-c"];
        let _ = host.run(&[&run[..], &[script]].concat()).ok();
        let size = |what: &str| {
            let text = host.run(&["inspect", "-s", "-f", what, &name]).ok().text();
            text.parse::<u64>().expect("bytes")
        };
        let in_volume = || measured(host, "Volumes", "Name", &volume);
        assert!(wait_until(SOON, || in_volume()["Size"] == "51.2kB"), "{}", in_volume());
        assert_eq!(in_volume()["Links"], "1");
        assert_eq!(size("{{.SizeRw}}"), 102_400);
        let only = format!("name=^{name}$");
        let row = host.run(&["ps", "-s", "-f", &only, "--format", "{{.Size}}|{{.Mounts}}"]).ok();
        assert!(row.text().starts_with("102kB (virtual "), "{row:?}");
        for filter in [format!("volume={volume}"), "network=bridge".into(), format!("since={name}")]
        {
            let found = host.run(&["ps", "-q", "-f", &only, "-f", &filter]).ok().text();
            assert_eq!(found.is_empty(), filter.starts_with("since"), "{filter}");
        }

        // The first image has a probe, which the second keeps though nobody names it.
        let probe = "HEALTHCHECK --interval=5s CMD true";
        let with_label = format!("LABEL {label}");
        let _ = host.run(&["commit", "-c", probe, "-c", &with_label, &name, &first]).ok();
        let other = unique("sized-of");
        let _ = host.run(&["create", "--name", &other, "-l", &label, &first, "true"]).ok();
        let _ = host.run(&["commit", &other, &second]).ok();
        let check = "{{.Config.Healthcheck.Interval}} {{.Config.Healthcheck.Test}}";
        let kept = host.run(&["inspect", "--type", "image", "-f", check, &second]).ok().text();
        assert_eq!(kept, "5000000000 [CMD-SHELL true]");
        // All of its layers are the first one's too; the container's layer is there once.
        let image = measured(host, "Images", "Repository", &second);
        assert_eq!((&image["UniqueSize"], &image["Containers"]), (&"0B".into(), &"0".into()));
        let lines = host.run(&["system", "df"]).ok().text();
        for kind in ["TYPE ", "Images ", "Containers ", "Local Volumes ", "Build Cache "] {
            assert!(lines.contains(kind), "{kind}: {lines}");
        }

        let driver = |args: &[&str]| host.run(&[&["inspect"], args].concat()).ok().text();
        assert_eq!(driver(&["-f", "{{.Driver}} {{.Name}}", &volume]), format!("local {volume}"));
        assert_eq!(driver(&["-f", "{{.Scope}} {{.Driver}}", &network]), "local bridge");
        host.run(&["inspect", "--type", "image", &volume]).fails(1, &[&volume]);
        host.run(&["inspect", "nosuch"]).fails(1, &["no such container, image, network or volume"]);

        let _ = host.run(&["kill", &name]).ok();
        let filter = format!("label={label}");
        let pruned = host.run(&["system", "prune", "-a", "-f", "--filter", &filter]).ok().text();
        for part in [
            "Deleted Containers:",
            "Deleted Networks:",
            &network,
            "Deleted Images:",
            &first,
            &second,
        ] {
            assert!(pruned.contains(part), "{part}: {pruned}");
        }
        host.run(&["inspect", &name]).fails(1, &[&name]);
        let _ = host.run(&["volume", "rm", &volume]).ok();
        for (kind, filter, expected) in [
            ("volume", format!("volume={volume}"), "create mount unmount destroy"),
            ("network", format!("network={network}"), "create destroy"),
            (
                "container",
                format!("container={name}"),
                "create start pause unpause commit kill die destroy",
            ),
            ("image", format!("image={first}"), "untag"),
        ] {
            let actions = || {
                let all = told(host, &[&format!("type={kind}"), &filter]);
                let actions = all.iter().filter_map(|line| line.split(' ').nth(1));
                actions.collect::<Vec<_>>().join(" ")
            };
            assert!(wait_until(SOON, || actions() == expected), "{filter}: {}", actions());
        }
    }),
    ("out_of_memory_is_told_at_once_and_traffic_is_counted", |host| {
        let name = unique("oom-below");
        let run = ["run", "-d", "--name", &name, "-m", "24m", "--memory-swap", "24m", CHECKER];
        let _ = host.run(&[&run[..], &["/checker", "sleep-forever"]].concat()).ok();
        let done = host.run(&["exec", &name, "/checker", "eat-memory", "64"]);
        assert_eq!(done.code, 137, "{done:?}");
        let of_it = format!("container={name}");
        let seen = || told(host, &[&of_it, "event=oom"]) == ["container oom"];
        assert!(wait_until(SOON, seen));
        let status = host.run(&["inspect", "-f", "{{.State.Status}}", &name]).ok().text();
        assert_eq!(status, "running", "only the process that was too large has gone");

        let gateway = "{{.NetworkSettings.Networks.bridge.Gateway}}";
        let gateway = host.run(&["inspect", "-f", gateway, &name]).ok().text();
        let _ = host.run(&["exec", &name, "/bin/busybox", "ping", "-c", "1", &gateway]).ok();
        let stats = host.run(&["stats", "--no-stream", "--format", "json", &name]).ok().json();
        let (received, sent) = stats["NetIO"].as_str().unwrap().split_once(" / ").unwrap();
        assert!(received != "0B" && sent != "0B", "{stats}");
        assert_eq!(stats["PIDs"], "1");
        let _ = host.run(&["rm", "-f", &name]).ok();
    }),
];
