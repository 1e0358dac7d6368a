//! The app as a user has it: installed beside the daemon, in a window on a display.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use linkspan_test_e2e::{Host, target};
use tempfile::TempDir;

use crate::driver::{Driver, Element};

/// Long enough for anything that works, under emulation on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(90);

/// A display and a session bus that nobody else has, and the installed programs.
pub(crate) struct Desk {
    display: Child,
    bus: Child,
    env: Vec<(&'static str, String)>,
    programs: TempDir,
}

impl Desk {
    pub(crate) fn new() -> Self {
        let (display, number) = announced(Command::new("Xvfb").args([
            "-displayfd",
            "1",
            "-screen",
            "0",
            "1280x900x24",
            "-nolisten",
            "tcp",
        ]));
        let (bus, address) = announced(Command::new("dbus-daemon").args([
            "--session",
            "--nofork",
            "--print-address=1",
        ]));
        let programs = install();
        let env = vec![
            ("DISPLAY", format!(":{number}")),
            ("DBUS_SESSION_BUS_ADDRESS", address),
            ("TAURI_WEBVIEW_AUTOMATION", "true".into()),
            // No bus for accessibility tools, no graphics card.
            ("NO_AT_BRIDGE", "1".into()),
            ("WEBKIT_DISABLE_DMABUF_RENDERER", "1".into()),
            ("LIBGL_ALWAYS_SOFTWARE", "1".into()),
        ];
        Self { display, bus, env, programs }
    }

    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.programs.path().join("bin").join(name)
    }

    /// A command that sees the display.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>, host: &Host) -> Command {
        let mut command = Command::new(program);
        // Settings and caches of the web view's.
        for place in ["XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"] {
            command.env(place, host.home().join("xdg"));
        }
        command.env("LINKSPAN_HOME", host.home()).envs(self.env.iter().cloned());
        command.stdin(Stdio::null());
        command
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        for child in [&mut self.bus, &mut self.display] {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Starts a program whose first line on standard output is what one wants to know.
fn announced(command: &mut Command) -> (Child, String) {
    let started = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let mut child = started.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut line = String::new();
    let mut out = BufReader::new(child.stdout.take().expect("standard output is a pipe"));
    out.read_line(&mut line).expect("a line");
    assert!(!line.trim().is_empty(), "{command:?} ended at once");
    (child, line.trim().to_owned())
}

/// The programs side by side, with the VM image where they look for it, as a package has them.
fn install() -> TempDir {
    let folder =
        tempfile::Builder::new().prefix("installed-").tempdir_in(env!("CARGO_TARGET_TMPDIR"));
    let folder = folder.expect("a folder below the target folder");
    let bin = folder.path().join("bin");
    fs::create_dir(&bin).expect("a fresh folder");
    let place = |from: &Path, name: &str| {
        let to = bin.join(name);
        if fs::hard_link(from, &to).is_err() {
            fs::copy(from, &to).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
        }
    };
    place(Path::new(env!("CARGO_BIN_EXE_linkspan-desktop")), "linkspan-desktop");
    for name in ["linkspan", "linkspand"] {
        place(&target().join("release").join(name), name);
    }
    let image = target().join("vm-image");
    std::os::unix::fs::symlink(image, folder.path().join("vm-image")).expect("a fresh folder");
    folder
}

/// The app with its window open.
pub(crate) struct App {
    server: Child,
    driver: Driver,
    shots: PathBuf,
}

impl App {
    /// `name` of the test: of its screenshots.
    pub(crate) fn open(desk: &Desk, host: &Host, name: &str) -> Self {
        let port = free_port();
        let mut command = desk.command("WebKitWebDriver", host);
        let server = command.arg(format!("--port={port}")).stdout(Stdio::null()).spawn();
        let server = server.expect("WebKitWebDriver starts");
        let shots = target().join("desktop-shots").join(name);
        fs::create_dir_all(&shots).expect("the target folder can be written");
        let mut app = Self { server, driver: Driver::at(port), shots };
        if let Err(error) = app.driver.begin(&desk.program("linkspan-desktop")) {
            panic!("the app did not start: {error}");
        }
        app
    }

    /// Waits until the page has the element; the failure shows what it has instead.
    #[track_caller]
    pub(crate) fn find(&self, xpath: &str) -> Element {
        let deadline = Instant::now() + SOON;
        let mut last = String::new();
        while Instant::now() < deadline {
            match self.driver.find(xpath) {
                Ok(Some(element)) => return element,
                Ok(None) => last.clear(),
                Err(error) => last = error,
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        self.picture("failed");
        panic!("the page has no {xpath} {last}\nbut says:\n{}", self.text());
    }

    /// Waits until the page says so.
    #[track_caller]
    pub(crate) fn see(&self, words: &str) {
        self.find(&format!("//main//*[contains(normalize-space(), {words:?})]"));
    }

    /// Waits for an enabled button of that label, and presses it. A page that has drawn it anew
    /// meanwhile is asked again.
    #[track_caller]
    pub(crate) fn press(&self, label: &str) {
        self.click(&format!(
            "//button[not(@disabled)][normalize-space()={label:?} or @aria-label={label:?}]"
        ));
    }

    #[track_caller]
    pub(crate) fn go(&self, page: &str) {
        self.click(&format!("//nav//a[span[normalize-space()={page:?}]]"));
    }

    #[track_caller]
    pub(crate) fn click(&self, xpath: &str) {
        self.on(xpath, |element| self.driver.click(element));
    }

    #[track_caller]
    pub(crate) fn write(&self, xpath: &str, text: &str) {
        self.on(xpath, |element| self.driver.keys(element, text));
    }

    #[track_caller]
    fn on(&self, xpath: &str, act: impl Fn(&Element) -> Result<(), String>) {
        let deadline = Instant::now() + SOON;
        loop {
            match act(&self.find(xpath)) {
                Ok(()) => return,
                Err(error) if Instant::now() > deadline => {
                    self.picture("failed");
                    panic!("{xpath}: {error}\nthe page says:\n{}", self.text());
                }
                Err(_) => std::thread::sleep(Duration::from_millis(100)),
            }
        }
    }

    /// Waits until what the script returns is true.
    #[track_caller]
    pub(crate) fn until(&self, what: &str, script: &str) {
        let met = linkspan_test_e2e::wait_until(SOON, || {
            self.driver.run(script).is_ok_and(|value| value == true)
        });
        if !met {
            self.picture("failed");
            panic!("{what}: never\nthe page says:\n{}", self.text());
        }
    }

    pub(crate) fn run(&self, script: &str) -> serde_json::Value {
        self.driver.run(script).unwrap_or_else(|error| panic!("{script}: {error}"))
    }

    pub(crate) fn text(&self) -> String {
        let text = self.driver.run("return document.body.innerText");
        text.map_or_else(|error| error, |text| text.as_str().unwrap_or_default().to_owned())
    }

    /// Keeps a picture of the page.
    pub(crate) fn picture(&self, name: &str) {
        let path = self.shots.join(format!("{name}.png"));
        match self.driver.picture() {
            Ok(bytes) => fs::write(&path, bytes).expect("the target folder can be written"),
            Err(error) => eprintln!("no picture `{}`: {error}", path.display()),
        }
    }
}

impl Drop for App {
    fn drop(&mut self) {
        // Ends the app with the session.
        let _ = self.driver.end();
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("it is bound").port()
}
