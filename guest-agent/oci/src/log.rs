//! Standard error and `--log`: what an engine shows of a failed command.

use std::fs::OpenOptions;
use std::io::Write as _;

use crate::args::Global;

/// Where messages go.
#[derive(Debug)]
pub(crate) struct Log {
    file: Option<std::fs::File>,
    json: bool,
}

impl Log {
    /// A log that cannot be opened is no reason not to work: standard error is left.
    pub(crate) fn new(global: &Global) -> Self {
        let file = global.log.as_ref().and_then(|path| {
            let opened = OpenOptions::new().create(true).append(true).open(path);
            opened
                .inspect_err(|error| eprintln!("cannot open the log `{}`: {error}", path.display()))
                .ok()
        });
        Self { file, json: global.log_json }
    }

    pub(crate) fn error(&self, message: &str) {
        eprintln!("linkspan-init oci: {message}");
        self.write("error", message);
    }

    pub(crate) fn warning(&self, message: &str) {
        eprintln!("linkspan-init oci: warning: {message}");
        self.write("warning", message);
    }

    fn write(&self, level: &str, message: &str) {
        let Some(mut file) = self.file.as_ref() else { return };
        let line = if self.json {
            serde_json::json!({ "level": level, "msg": message }).to_string()
        } else {
            format!("level={level} msg={message:?}")
        };
        // Standard error has it as well.
        let _ = writeln!(file, "{line}");
    }
}
