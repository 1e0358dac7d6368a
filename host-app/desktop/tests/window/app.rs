//! The app as a user has it: installed beside the daemon, in a window on a display.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::TcpListener,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use linkspan_test_e2e::{Host, target};
use tempfile::TempDir;

use crate::{
    driver::{Driver, Element},
    session::Session,
};

/// Long enough for anything that works, under emulation on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(90);

/// A display and a session bus that nobody else has, and the installed programs.
pub(crate) struct Desk {
    screen: Child,
    bus: Child,
    env: Vec<(&'static str, String)>,
    programs: TempDir,
    /// `:0`, as X11 names it.
    pub(crate) display: String,
    pub(crate) session: Session,
}

impl Desk {
    pub(crate) fn new() -> Self {
        let (screen, number) = announced(Command::new("Xvfb").args([
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
        let session = Session::on(&address);
        let programs = install();
        let display = format!(":{number}");
        let path = std::env::var("PATH").unwrap_or_default();
        let env = vec![
            ("PATH", format!("{}:{path}", programs.path().join("bin").display())),
            ("DISPLAY", display.clone()),
            ("DBUS_SESSION_BUS_ADDRESS", address),
            // No bus for accessibility tools, no graphics card.
            ("NO_AT_BRIDGE", "1".into()),
            ("LIBGL_ALWAYS_SOFTWARE", "1".into()),
        ];
        Self { screen, bus, env, programs, display, session }
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
        command.env("LINKSPAN_DESKTOP_PICK", choice(host)).envs(host.env());
        command.stdin(Stdio::null());
        command
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        for child in [&mut self.bus, &mut self.screen] {
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
    // In the place of the user's browser.
    let browser = bin.join("xdg-open");
    let script = "#!/bin/sh\necho \"$1\" >>\"$LINKSPAN_HOME/opened-in-the-browser\"\n";
    fs::write(&browser, script).expect("a fresh folder");
    fs::set_permissions(&browser, fs::Permissions::from_mode(0o755)).expect("it is ours");
    folder
}

/// The file that says what the system's dialog would answer.
fn choice(host: &Host) -> PathBuf {
    host.home().join("chosen-in-the-dialog")
}

/// The app with its window open.
pub(crate) struct App {
    server: Child,
    driver: Driver,
    shots: PathBuf,
    choice: PathBuf,
}

impl App {
    /// `name` of the test: of its screenshots.
    pub(crate) fn open(desk: &Desk, host: &Host, name: &str) -> Self {
        let port = free_port();
        let mut command = desk.command("WebKitWebDriver", host);
        command.env("TAURI_WEBVIEW_AUTOMATION", "true").stdout(Stdio::null());
        let server = command.arg(format!("--port={port}")).spawn();
        let server = server.expect("WebKitWebDriver starts");
        let shots = target().join("desktop-shots").join(name);
        fs::create_dir_all(&shots).expect("the target folder can be written");
        let mut app = Self { server, driver: Driver::at(port), shots, choice: choice(host) };
        if let Err(error) = app.driver.begin(&desk.program("linkspan-desktop")) {
            panic!("the app did not start: {error}");
        }
        app
    }

    /// As if the window had just been opened: no dialog, nothing chosen, no work shown.
    pub(crate) fn anew(&self, page: &str) {
        self.run(&format!("window.old = true; location.hash = '/{page}'; location.reload()"));
        self.until(
            "the page is there",
            "return !window.old && document.querySelector('h1') !== null",
        );
    }

    /// The next dialogs of the system answer this.
    pub(crate) fn choose(&self, path: &Path) {
        let path = path.to_str().expect("a name of the test's");
        fs::write(&self.choice, path).expect("the home can be written");
    }

    /// The size of the window on the screen, in pixels.
    pub(crate) fn resize(&self, width: u32, height: u32) {
        let resized = self.driver.resize(width, height);
        resized.unwrap_or_else(|error| panic!("the window keeps its size: {error}"));
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

    /// Waits until the page does not say so any more.
    #[track_caller]
    pub(crate) fn see_no(&self, words: &str) {
        let script =
            format!("return !document.querySelector('main').innerText.includes({words:?})");
        self.until(&format!("`{words}` goes"), &script);
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

    /// Types in the place of what a field has.
    #[track_caller]
    pub(crate) fn replace(&self, xpath: &str, text: &str) {
        self.on(xpath, |element| self.driver.clear(element));
        self.write(xpath, text);
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
        // The driver ends the app when it has ended the session, a moment after it has said so.
        let _ = self.driver.end();
        let pid = self.server.id();
        let children = format!("/proc/{pid}/task/{pid}/children");
        let _ = linkspan_test_e2e::wait_until(Duration::from_secs(10), || {
            fs::read_to_string(&children).is_ok_and(|pids| pids.is_empty())
        });
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("it is bound").port()
}
