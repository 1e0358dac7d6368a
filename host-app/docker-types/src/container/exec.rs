//! `POST /containers/{id}/exec` and `/exec/{id}`. Docker's clients make a command first and start it
//! later; the contract does both at once, so the server keeps what was made until then.

use linkspan_proto::v1::{ExecOpen, TerminalSize};
use serde::{Deserialize, Serialize};

use crate::error::Refused;

/// The body of the first (`container.ExecOptions`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Docker's")]
pub struct ExecCreateBody {
    pub user: String,
    pub privileged: bool,
    pub tty: bool,
    pub console_size: Option<[u32; 2]>,
    pub attach_stdin: bool,
    pub attach_stderr: bool,
    pub attach_stdout: bool,
    /// For the one who attaches.
    pub detach_keys: String,
    pub env: Vec<String>,
    pub working_dir: String,
    pub cmd: Vec<String>,
}

/// The body of the second.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Docker's")]
pub struct ExecStartBody {
    pub detach: bool,
    pub tty: bool,
    pub console_size: Option<[u32; 2]>,
}

impl ExecCreateBody {
    /// Whether there is anything to run.
    ///
    /// # Errors
    /// In Docker's words.
    pub fn check(&self) -> Result<(), Refused> {
        match self.cmd.is_empty() {
            true => Err(Refused::Invalid("No exec command specified".into())),
            false => Ok(()),
        }
    }

    /// The call that makes and starts it. The size at the start wins over the first one; the
    /// `ExecOpen` has no id yet.
    #[must_use]
    #[allow(clippy::needless_update, reason = "the contract grows")]
    pub fn open(&self, container: &str, start: &ExecStartBody) -> ExecOpen {
        let size = start.console_size.or(self.console_size).filter(|size| !size.contains(&0));
        ExecOpen {
            container: container.to_owned(),
            args: self.cmd.clone(),
            env: self.env.clone(),
            working_dir: self.working_dir.clone(),
            user: self.user.clone(),
            tty: self.tty,
            stdin: self.attach_stdin && !start.detach,
            privileged: self.privileged,
            detach: start.detach,
            size: size.map(|[rows, columns]| TerminalSize { rows, columns }),
            ..ExecOpen::default()
        }
    }
}

/// `GET /exec/{id}/json`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the fields are Docker's")]
#[serde(rename_all = "PascalCase")]
pub struct ExecInspect {
    #[serde(rename = "ID")]
    pub id: String,
    pub running: bool,
    /// Null until it has ended.
    pub exit_code: Option<i32>,
    pub process_config: ProcessConfig,
    pub open_stdin: bool,
    pub open_stderr: bool,
    pub open_stdout: bool,
    pub can_remove: bool,
    #[serde(rename = "ContainerID")]
    pub container_id: String,
    /// Bytes in base64; empty: the usual ones.
    pub detach_keys: String,
    /// 0 unless it runs.
    pub pid: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the fields are Docker's")]
pub struct ProcessConfig {
    pub tty: bool,
    pub entrypoint: String,
    pub arguments: Vec<String>,
    pub privileged: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user: String,
}

impl ExecInspect {
    /// A command that was made; `pid` while it runs, `exit_code` when it has ended.
    #[must_use]
    pub fn new(
        id: &str,
        container_id: &str,
        body: &ExecCreateBody,
        pid: Option<u32>,
        exit_code: Option<i32>,
    ) -> Self {
        let (entrypoint, arguments) = match body.cmd.split_first() {
            Some((first, rest)) => (first.clone(), rest.to_vec()),
            None => (String::new(), Vec::new()),
        };
        Self {
            id: id.to_owned(),
            running: pid.is_some() && exit_code.is_none(),
            exit_code,
            process_config: ProcessConfig {
                tty: body.tty,
                entrypoint,
                arguments,
                privileged: body.privileged,
                user: body.user.clone(),
            },
            open_stdin: body.attach_stdin,
            open_stderr: body.attach_stderr,
            open_stdout: body.attach_stdout,
            can_remove: exit_code.is_some(),
            container_id: container_id.to_owned(),
            detach_keys: String::new(),
            pid: pid.filter(|_| exit_code.is_none()).unwrap_or(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_command_is_made_first_and_started_later() {
        let body = br#"{"AttachStdin":true,"AttachStdout":true,"Tty":true,"ConsoleSize":[25,80],
            "User":"1","Env":null,"Cmd":["ls","-l"],"DetachKeys":""}"#;
        let body: ExecCreateBody = crate::json::read(body).unwrap();
        body.check().unwrap();
        let start: ExecStartBody =
            crate::json::read(br#"{"Tty":true,"ConsoleSize":[30,100]}"#).unwrap();
        let open = body.open("web", &start);
        assert_eq!((open.args.len(), open.stdin, open.detach), (2, true, false));
        assert_eq!(open.size, Some(TerminalSize { rows: 30, columns: 100 }));
        let detached = ExecStartBody { detach: true, ..ExecStartBody::default() };
        let open = body.open("web", &detached);
        assert_eq!((open.stdin, open.size.unwrap().rows), (false, 25));
        assert!(ExecCreateBody::default().check().is_err());
        let shown = serde_json::to_value(ExecInspect::new("e", "c", &body, Some(7), None)).unwrap();
        assert_eq!(
            shown,
            json!({
                "ID": "e", "Running": true, "ExitCode": null, "OpenStdin": true,
                "OpenStderr": false, "OpenStdout": true, "CanRemove": false, "ContainerID": "c",
                "DetachKeys": "", "Pid": 7, "ProcessConfig": {"tty": true, "entrypoint": "ls",
                "arguments": ["-l"], "privileged": false, "user": "1"},
            })
        );
        let ended = ExecInspect::new("e", "c", &body, Some(7), Some(3));
        assert!(!ended.running && ended.can_remove && ended.pid == 0);
    }
}
