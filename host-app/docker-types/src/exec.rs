//! tmp
use linkspan_proto::v1::TerminalSize;
use serde::{Deserialize, Serialize};
/// tmp
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct ExecConfig {
    pub user: String,
    pub privileged: bool,
    pub tty: bool,
    pub attach_stdin: bool,
    pub attach_stdout: bool,
    pub attach_stderr: bool,
    pub detach_keys: String,
    pub env: Vec<String>,
    pub working_dir: String,
    pub cmd: Vec<String>,
    pub console_size: Option<[u32; 2]>,
}
#[allow(missing_docs)]
impl ExecConfig {
    pub fn size(&self) -> Option<TerminalSize> {
        self.console_size.map(|[rows, columns]| TerminalSize { rows, columns })
    }
}
/// tmp
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct ExecStart {
    pub detach: bool,
    pub tty: bool,
    pub console_size: Option<[u32; 2]>,
}
#[allow(missing_docs)]
impl ExecStart {
    pub fn size(&self) -> Option<TerminalSize> {
        self.console_size.map(|[rows, columns]| TerminalSize { rows, columns })
    }
}
/// tmp
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct ExecCreated {
    pub id: String,
}
/// tmp
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs)]
pub struct ExecInspect {
    pub running: bool,
    pub pid: u32,
    pub exit_code: Option<i32>,
    #[serde(rename = "ID")]
    pub id: String,
}
#[allow(missing_docs)]
impl ExecInspect {
    pub fn new(
        id: &str,
        _c: &str,
        _e: &ExecConfig,
        running: bool,
        pid: u32,
        exit_code: Option<i32>,
    ) -> Self {
        Self { id: id.into(), running, pid, exit_code }
    }
}
