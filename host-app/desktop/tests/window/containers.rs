//! What is done with containers in the window.

use std::fs;

use linkspan_test_e2e::{Host, wait_until};

use crate::{
    Bench, Shared,
    app::{App, SOON},
};

pub(crate) const TESTS: &[Shared] = &[
    ("what_happens_elsewhere_is_shown", what_happens_elsewhere_is_shown),
    ("one_is_paused_resumed_restarted_and_killed", one_is_paused_resumed_restarted_and_killed),
    ("a_project_is_stopped_and_removed_together", a_project_is_stopped_and_removed_together),
    ("a_failed_start_says_why_and_can_be_corrected", a_failed_start_can_be_corrected),
    ("the_dialog_runs_what_its_command_line_says", the_dialog_runs_what_its_command_line_says),
    ("the_log_is_followed_and_searched", the_log_is_followed_and_searched),
    ("the_terminal_has_the_size_of_its_window", the_terminal_has_the_size_of_its_window),
    ("figures_and_details_are_those_of_the_container", figures_and_details),
    ("files_are_taken_out_and_put_in", files_are_taken_out_and_put_in),
];

/// The mark beside the name on a container's page.
fn state(words: &str) -> String {
    format!("//main//header//span[contains(@class, 'mark')][normalize-space()={words:?}]")
}

fn tab(name: &str) -> String {
    format!("//a[@role='tab'][normalize-space()={name:?}]")
}

fn row(name: &str) -> String {
    format!("//main//tr[.//a[normalize-space()={name:?}]]")
}

impl Bench {
    fn open_container(&self, name: &str) {
        self.app.anew("containers");
        self.app.click(&format!("{}//a", row(name)));
        self.app.find(&format!("//main//h1[normalize-space()={name:?}]"));
    }
}

fn what_happens_elsewhere_is_shown(bench: &Bench) {
    let Bench { app, host, .. } = bench;
    app.anew("containers");
    bench.sleeper("elsewhere", &[]);
    app.find(&format!("{}//*[normalize-space()='running']", row("elsewhere")));
    let _ = host.run(&["pause", "elsewhere"]).ok();
    app.find(&format!("{}//*[normalize-space()='paused']", row("elsewhere")));
    bench.remove("elsewhere");
    app.see_no("elsewhere");
}

fn one_is_paused_resumed_restarted_and_killed(bench: &Bench) {
    let Bench { app, host, .. } = bench;
    bench.sleeper("acted-on", &[]);
    bench.open_container("acted-on");
    app.press("Pause");
    app.find(&state("paused"));
    app.press("Resume");
    app.find(&state("running"));
    let pid = || host.run(&["inspect", "acted-on"]).ok().json()[0]["State"]["Pid"].clone();
    let before = pid();
    app.press("Restart");
    assert!(wait_until(SOON, || {
        let now = pid();
        now != before && now != 0
    }));
    app.press("Kill");
    app.find(&state("exited (137)"));
    app.press("Start");
    app.find(&state("running"));
    // It was looked at over all of its starts, each of which says a line.
    app.see("3 lines");
    bench.remove("acted-on");
    app.see("It has been removed");
}

fn a_project_is_stopped_and_removed_together(bench: &Bench) {
    let Bench { app, .. } = bench;
    for name in ["shop-web", "shop-db"] {
        bench.sleeper(name, &["--label", "com.docker.compose.project=shop"]);
    }
    bench.sleeper("alone", &[]);
    app.anew("containers");
    app.find("//main//th[@scope='rowgroup'][normalize-space()='shop']");
    app.picture("grouped");
    app.write("//main//input[@type='search']", "shop");
    app.see_no("alone");
    app.click("//input[@aria-label='Choose all']");
    app.see("2 chosen");
    app.press("Stop");
    for name in ["shop-web", "shop-db"] {
        app.find(&format!("{}//*[normalize-space()='exited (0)']", row(name)));
    }
    app.press("Remove…");
    app.press("Remove 2 with their anonymous volumes");
    app.see_no("shop-web");
    app.replace("//main//input[@type='search']", "alone");
    app.find(&format!("{}//*[normalize-space()='running']", row("alone")));
    bench.remove("alone");
}

fn a_failed_start_can_be_corrected(bench: &Bench) {
    let Bench { app, .. } = bench;
    app.anew("containers");
    app.press("Run…");
    app.write(&field("Image"), "busybox");
    app.write(&field("Name"), "cannot");
    app.write(&field("Command, as typed into a shell"), "no-such-program");
    app.press("Run");
    app.find("//dialog//*[@role='alert'][contains(., 'no-such-program')]");
    app.picture("run-failed");
    app.replace(&field("Command, as typed into a shell"), "sleep 1000");
    app.press("Run");
    app.find(&state("running"));
    bench.remove("cannot");
}

fn the_dialog_runs_what_its_command_line_says(bench: &Bench) {
    let Bench { app, host, .. } = bench;
    app.anew("containers");
    app.press("Run…");
    app.write(&field("Image"), "busybox");
    app.write(&field("Name"), "typed");
    app.write(&field("Command, as typed into a shell"), "sleep 1000");
    app.press("Add a port");
    app.write(&field("The container's"), "80");
    app.press("Add a folder or volume");
    app.write(&field("Volume, or folder of this host"), "typed-data");
    app.write(&field("In the container"), "/data");
    app.write("//dialog//label[starts-with(normalize-space(), 'Environment')]//textarea", "A=b c");
    app.write(&field("Memory, MiB"), "64");
    let line = "linkspan run -d --name typed -p 80 -v typed-data:/data -e 'A=b c' -m 64m busybox \
                sleep 1000";
    app.find(&format!("//dialog//code[normalize-space()={line:?}]"));
    app.press("Run");
    app.find(&state("running"));
    // A port of this host was chosen for it, and is a link.
    app.click("//main//header//a[contains(normalize-space(), '→80')]");
    let port = host.run(&["port", "typed", "80"]).ok().text();
    let port = port.lines().next().and_then(|line| line.rsplit(':').next()).expect("a port");
    assert_eq!(opened(host), format!("http://localhost:{port}/"));
    let told = host.run(&["inspect", "typed"]).ok().json()[0].clone();
    assert_eq!(told["HostConfig"]["Memory"], 64 << 20, "{told}");
    assert_eq!(told["Mounts"][0]["Destination"], "/data", "{told}");
    assert!(told["Config"]["Env"].to_string().contains("A=b c"), "{told}");
    app.press("Remove…");
    app.press("Remove it with its anonymous volumes");
    app.see("It has been removed");
    // One that is removed by force is not listed any more, and lets go of its volumes a moment later.
    let removed = || host.run(&["volume", "rm", "typed-data"]).code == 0;
    assert!(wait_until(SOON, removed), "{}", host.run(&["volume", "rm", "typed-data"]).err);
}

fn the_log_is_followed_and_searched(bench: &Bench) {
    let Bench { app, host, .. } = bench;
    let script = "for n in $(seq 1 300); do echo line $n; done; \
                  printf '\\033[31mred\\033[0m\\n'; exec sleep 1000";
    let _ = host.run(&["run", "-d", "--name", "talker", "busybox", "sh", "-c", script]).ok();
    bench.open_container("talker");
    app.see("301 lines");
    app.find("//main//*[contains(@class, 'ansi-1')][normalize-space()='red']");
    app.until("it follows", "return document.querySelector('[role=log]').scrollTop > 0");
    let search = "//main//input[@placeholder='Only lines with…']";
    app.write(search, "line 29");
    app.see("11 lines");
    app.click("//main//label[contains(normalize-space(), 'Times')]//input");
    app.until(
        "times",
        "return /\\d\\d:\\d\\d:\\d\\d/.test(document.querySelector('[role=log]').innerText)",
    );
    app.picture("log-searched");
    bench.remove("talker");
}

fn the_terminal_has_the_size_of_its_window(bench: &Bench) {
    let Bench { app, .. } = bench;
    bench.sleeper("sized", &[]);
    bench.open_container("sized");
    app.click(&tab("Terminal"));
    let keys = "//textarea[contains(@class, 'xterm-helper-textarea')]";
    let mut asked = 0;
    let mut size = || {
        asked += 1;
        app.write(keys, &format!("echo size{asked}-$(stty size | tr ' ' x)-\n"));
        let pattern = format!("/size{asked}-(\\d+x\\d+)-/.exec(document.body.innerText)");
        app.until("the terminal answers", &format!("return {pattern} !== null"));
        app.run(&format!("return {pattern}[1]")).as_str().expect("a text").to_owned()
    };
    let before = size();
    app.resize(900, 600);
    app.until("the window is smaller", "return innerWidth < 1000");
    // The terminal follows the window a moment later.
    assert!(wait_until(SOON, || size() != before), "{before}");
    app.resize(1180, 760);
    bench.remove("sized");
}

fn figures_and_details(bench: &Bench) {
    let Bench { app, .. } = bench;
    let more = ["-e", "COLOUR=green", "-v", "kept:/kept", "--health-cmd", "true"];
    bench.sleeper("looked-at", &[&more[..], &["--health-interval", "1s", "-m", "32m"]].concat());
    bench.open_container("looked-at");
    app.find(&state("running, healthy"));
    app.click(&tab("Stats"));
    app.see("Memory, of 33.6 MB");
    app.find("//main//p[contains(normalize-space(), 'process')]");
    app.picture("stats");
    app.click(&tab("Details"));
    for words in ["COLOUR=green", "/kept ←", "Health: healthy", "The last start, step by step"] {
        app.see(words);
    }
    app.picture("details");
    app.click(&tab("Inspect"));
    app.find("//main//pre[contains(., '\"COLOUR=green\"')]");
    bench.remove("looked-at");
    let _ = bench.host.run(&["volume", "rm", "kept"]).ok();
}

fn files_are_taken_out_and_put_in(bench: &Bench) {
    let Bench { app, host, .. } = bench;
    bench.sleeper("holder", &[]);
    let made = "mkdir /work && echo from inside > /work/note";
    let _ = host.run(&["exec", "holder", "sh", "-c", made]).ok();
    let folder = tempfile::tempdir().expect("a folder");
    bench.open_container("holder");
    app.click(&tab("Files"));
    app.press("work/");
    app.find("//main//tr[contains(., 'note')][contains(., '12 B')][contains(., 'rw-r--r--')]");
    app.picture("files");

    let taken = folder.path().join("taken");
    app.choose(&taken);
    app.press("Download note");
    done(app, "Download /work/note");
    assert_eq!(fs::read_to_string(&taken).expect("it came"), "from inside\n");

    let given = folder.path().join("given");
    fs::write(&given, "from this host\n").expect("a file");
    app.choose(&given);
    app.press("Upload a file…");
    done(app, "Upload");
    app.find("//main//tr[contains(., 'given')]");
    let read = host.run(&["exec", "holder", "cat", "/work/given"]).ok().text();
    assert_eq!(read, "from this host");
    bench.remove("holder");
}

/// Waits for the address that the user's browser was to open.
#[track_caller]
pub(crate) fn opened(host: &Host) -> String {
    let told = host.home().join("opened-in-the-browser");
    let opened = || fs::read_to_string(&told).unwrap_or_default();
    assert!(wait_until(SOON, || opened().ends_with('\n')), "no address was opened");
    opened().trim_end().to_owned()
}

/// Waits until the work that begins with these words is done.
#[track_caller]
pub(crate) fn done(app: &App, title: &str) {
    let section = "//section[@aria-label='Work under way']";
    let task = format!("div[.//button[contains(normalize-space(), {title:?})]]");
    app.find(&format!("{section}/{task}//*[@role='status'][normalize-space()='done']"));
}

/// The input of a dialog that has this label.
pub(crate) fn field(label: &str) -> String {
    format!("//dialog//label[starts-with(normalize-space(), {label:?})]//input")
}
