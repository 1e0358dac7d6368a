//! Where each file of the host side is.
//!
//! ```text
//! HOME/config.json              global settings
//! HOME/linkspand.{lock,log}     the daemon's lock and log
//! HOME/linkspand.sock           gRPC            \ elsewhere when HOME is too deep for a socket:
//! HOME/streams.sock             byte streams    / see `socket_folder`
//! HOME/accelerators.json        which accelerators were found not to work here
//! HOME/machines/NAME/machine.json   settings
//! HOME/machines/NAME/data.img       the data disk, sparse
//! HOME/machines/NAME/serial.log     the serial console of the present or last boot
//! HOME/machines/NAME/serial.1.log   that of the boot before
//! HOME/machines/NAME/run.json       the VM that runs, for the next daemon to adopt
//! HOME/machines/NAME/machine.lock   held by the daemon that runs the VM
//! HOME/machines/NAME/run/           the driver's own files (elsewhere when HOME is too deep)
//! ```

use std::path::{Path, PathBuf};

use crate::{MachineName, StateError, create_private_folder, socket_folder};

/// The variable that moves the whole state.
pub const HOME_VARIABLE: &str = "LINKSPAN_HOME";

/// The places of one home.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    home: PathBuf,
    sockets: PathBuf,
}

impl Paths {
    /// The home that `LINKSPAN_HOME` names, else this user's folder for application data
    /// (`~/.local/share/linkspan`, `~/Library/Application Support/linkspan`,
    /// `%LOCALAPPDATA%\linkspan\data`). Made when absent.
    ///
    /// # Errors
    /// When there is no such place, or it is not this user's.
    pub fn discover() -> Result<Self, StateError> {
        if let Some(home) = std::env::var_os(HOME_VARIABLE).filter(|home| !home.is_empty()) {
            return Self::at(Path::new(&home));
        }
        let folders = directories::ProjectDirs::from("", "", "linkspan")
            .ok_or(StateError::NoHome { variable: HOME_VARIABLE })?;
        Self::at(folders.data_local_dir())
    }

    /// The places of the home at `home`, which is made when absent.
    ///
    /// # Errors
    /// When it cannot be made or is not this user's, or sockets fit nowhere.
    pub fn at(home: &Path) -> Result<Self, StateError> {
        create_private_folder(home)?;
        // The same home by another name must be the same home.
        let home = home.canonicalize().map_err(StateError::io("resolve", home))?;
        let sockets = socket_folder::choose(&home)?.unwrap_or_else(|| home.clone());
        Ok(Self { home, sockets })
    }

    /// The folder of everything.
    #[must_use]
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// Global settings: [`Config`](crate::Config).
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.home.join("config.json")
    }

    /// Held by the home's daemon as long as it lives.
    #[must_use]
    pub fn daemon_lock(&self) -> PathBuf {
        self.home.join("linkspand.lock")
    }

    /// Where a daemon that was started in the background writes its log.
    #[must_use]
    pub fn daemon_log(&self) -> PathBuf {
        self.home.join("linkspand.log")
    }

    /// The daemon's gRPC: a unix socket, on Windows a named pipe.
    #[must_use]
    pub fn daemon_socket(&self) -> PathBuf {
        self.local_socket("linkspand")
    }

    /// The daemon's byte streams: a unix socket, on Windows a named pipe.
    #[must_use]
    pub fn streams_socket(&self) -> PathBuf {
        self.local_socket("streams")
    }

    /// The Docker Engine API: a unix socket, on Windows a named pipe.
    #[must_use]
    pub fn docker_socket(&self) -> PathBuf {
        self.local_socket("docker")
    }

    /// Where the desktop app of this home is reached by a second one: a unix socket, on Windows a
    /// named pipe.
    #[must_use]
    pub fn desktop_socket(&self) -> PathBuf {
        self.local_socket("desktop")
    }

    /// What the user has set in the desktop app about the app itself.
    #[must_use]
    pub fn desktop_settings(&self) -> PathBuf {
        self.home.join("desktop.json")
    }

    /// What the desktop app's web view keeps: what its pages showed last, and caches.
    #[must_use]
    pub fn desktop_storage(&self) -> PathBuf {
        self.home.join("desktop")
    }

    fn local_socket(&self, name: &str) -> PathBuf {
        if cfg!(windows) {
            let hash = socket_folder::home_hash(&self.home);
            return PathBuf::from(format!(r"\\.\pipe\linkspan-{hash}-{name}"));
        }
        self.sockets.join(format!("{name}.sock"))
    }

    /// Which accelerators were found not to work on this host (a driver's file).
    #[must_use]
    pub fn accelerators(&self) -> PathBuf {
        self.home.join("accelerators.json")
    }

    /// The folder of all machines.
    #[must_use]
    pub fn machines(&self) -> PathBuf {
        self.home.join("machines")
    }

    /// The places of one machine, which need not exist.
    #[must_use]
    pub fn machine(&self, name: &MachineName) -> MachinePaths {
        let folder = self.machines().join(name.as_str());
        let run = if self.sockets == self.home {
            folder.join("run")
        } else {
            self.sockets.join("machines").join(name.as_str())
        };
        MachinePaths { name: name.clone(), folder, run }
    }

    /// The machines that exist (have settings), by name.
    ///
    /// # Errors
    /// When the folder cannot be listed.
    pub fn machine_names(&self) -> Result<Vec<MachineName>, StateError> {
        let folder = self.machines();
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(StateError::io("list", &folder)(error)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(StateError::io("list", &folder))?;
            // A folder that is not named like a machine is not ours.
            let Ok(name) = entry.file_name().to_string_lossy().parse::<MachineName>() else {
                continue;
            };
            if self.machine(&name).settings().is_file() {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }
}

/// The places of one machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachinePaths {
    name: MachineName,
    folder: PathBuf,
    run: PathBuf,
}

impl MachinePaths {
    /// Whose.
    #[must_use]
    pub fn name(&self) -> &MachineName {
        &self.name
    }

    /// The folder of everything of this machine.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The settings. A machine exists when this file does.
    #[must_use]
    pub fn settings(&self) -> PathBuf {
        self.folder.join("machine.json")
    }

    /// The data disk: a sparse raw file.
    #[must_use]
    pub fn disk(&self) -> PathBuf {
        self.folder.join("data.img")
    }

    /// The serial console of the present boot, or the last.
    #[must_use]
    pub fn serial_log(&self) -> PathBuf {
        self.folder.join("serial.log")
    }

    /// The serial console of the boot before that.
    #[must_use]
    pub fn previous_serial_log(&self) -> PathBuf {
        self.folder.join("serial.1.log")
    }

    /// Facts of the VM that runs, for a daemon that adopts it.
    #[must_use]
    pub fn run_record(&self) -> PathBuf {
        self.folder.join("run.json")
    }

    /// Held by the daemon that runs the VM.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.folder.join("machine.lock")
    }

    /// The driver's own folder. Short enough for sockets whose names have up to 28 bytes.
    #[must_use]
    pub fn run(&self) -> &Path {
        &self.run
    }

    /// Makes the machine's folders.
    ///
    /// # Errors
    /// When they cannot be made or are not this user's.
    pub fn create_folders(&self) -> Result<(), StateError> {
        create_private_folder(&self.folder)?;
        create_private_folder(&self.run)
    }

    /// Removes everything of this machine, also its data. The settings go first: what a crash
    /// half-way leaves is not a machine.
    ///
    /// # Errors
    /// When something cannot be removed.
    pub fn remove(&self) -> Result<(), StateError> {
        crate::remove_file(&self.settings())?;
        for folder in [self.run.as_path(), &self.folder] {
            match std::fs::remove_dir_all(folder) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(StateError::io("remove", folder)(error));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_socket_fits_its_address() {
        let base = tempfile::tempdir().unwrap();
        let name: MachineName = "n".repeat(31).parse().unwrap();
        for depth in [0, 10, 40, 60, 90, 140] {
            let home = base.path().join("d".repeat(depth).as_str());
            let paths = Paths::at(&home).unwrap();
            let longest = paths.machine(&name).run().join("x".repeat(28));
            for socket in
                [paths.daemon_socket(), paths.streams_socket(), paths.docker_socket(), longest]
            {
                let length = socket.as_os_str().len();
                assert!(length <= crate::SOCKET_PATH_LIMIT, "{}: {length}", socket.display());
            }
            if !cfg!(windows) && !paths.sockets.starts_with(base.path()) {
                std::fs::remove_dir_all(&paths.sockets).unwrap();
            }
        }
    }

    #[test]
    fn a_machine_exists_when_its_settings_do() {
        let home = tempfile::tempdir().unwrap();
        let paths = Paths::at(home.path()).unwrap();
        assert!(paths.machine_names().unwrap().is_empty());
        for name in ["b", "a", "without"] {
            let machine = paths.machine(&name.parse().unwrap());
            machine.create_folders().unwrap();
            if name != "without" {
                std::fs::write(machine.settings(), "{}").unwrap();
            }
        }
        std::fs::create_dir(paths.machines().join("Not A Machine")).unwrap();
        let names: Vec<String> =
            paths.machine_names().unwrap().into_iter().map(Into::into).collect();
        assert_eq!(names, ["a", "b"]);
        paths.machine(&"a".parse().unwrap()).remove().unwrap();
        assert_eq!(paths.machine_names().unwrap().len(), 1);
        assert!(!paths.machines().join("a").exists());
    }

    #[cfg(unix)]
    #[test]
    fn one_home_by_two_names_is_one_home() {
        let base = tempfile::tempdir().unwrap();
        let home = base.path().join("home");
        let link = base.path().join("link");
        let direct = Paths::at(&home).unwrap();
        std::os::unix::fs::symlink(&home, &link).unwrap();
        assert_eq!(Paths::at(&link).unwrap(), direct);
    }

    #[test]
    fn the_configuration_says_which_word_it_does_not_know() {
        let home = tempfile::tempdir().unwrap();
        let paths = Paths::at(home.path()).unwrap();
        assert_eq!(crate::Config::load(&paths).unwrap(), crate::Config::default());
        let mut config = crate::Config::default();
        config.machine.cpus = Some(3);
        config.save(&paths).unwrap();
        assert_eq!(crate::Config::load(&paths).unwrap(), config);
        std::fs::write(paths.config(), r#"{"format":1,"defualt_machine":"x"}"#).unwrap();
        let error = crate::Config::load(&paths).unwrap_err().to_string();
        assert!(error.contains("defualt_machine"), "{error}");
    }
}
