//! The body of `POST /commit`: what the image is to say.

use linkspan_proto::v1::CommitConfig;

use super::config::Config;
use super::read;
use crate::error::Refused;

/// What of a `Config` an image has. Docker writes the others (`Hostname`, `Tty`, `StopTimeout`, ...)
/// into the image too, and no container takes them from there.
///
/// # Errors
/// What a health check cannot be.
pub fn config(config: Config) -> Result<CommitConfig, Refused> {
    Ok(CommitConfig {
        env: config.env.unwrap_or_default(),
        entrypoint: config.entrypoint.unwrap_or_default(),
        command: config.cmd.unwrap_or_default(),
        user: config.user,
        working_dir: config.working_dir,
        stop_signal: config.stop_signal,
        labels: config.labels.into_iter().collect(),
        exposed_ports: config.exposed_ports.into_keys().collect(),
        volumes: config.volumes.unwrap_or_default().into_keys().collect(),
        healthcheck: config.healthcheck.map(read::probe).transpose()?,
        on_build: config.on_build.unwrap_or_default(),
        shell: config.shell.unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn all_that_an_image_can_say_goes_over_as_it_is() {
        let body = json!({
            "Env": ["A=b\nRUN $x"], "Cmd": ["sh", "-c", "echo"], "Entrypoint": "one two",
            "Labels": {"k": "v\n"}, "User": "$HOME", "WorkingDir": "/a $b",
            "ExposedPorts": {"80/tcp": {}}, "Volumes": {"/data $c": {}}, "StopSignal": "SIGINT",
            "Healthcheck": {"Test": ["CMD", "true"], "Retries": 3}, "OnBuild": ["RUN true"],
            "Shell": ["/bin/ash", "-c"],
        });
        let read: Config = crate::json::read(body.to_string().as_bytes()).unwrap();
        let said = config(read).unwrap();
        assert_eq!(said.env, ["A=b\nRUN $x"]);
        assert_eq!((said.entrypoint.len(), said.command.len()), (1, 3));
        assert_eq!((said.user.as_str(), said.working_dir.as_str()), ("$HOME", "/a $b"));
        assert_eq!(
            (said.exposed_ports, said.volumes),
            (vec!["80/tcp".into()], vec!["/data $c".into()])
        );
        assert_eq!(said.labels["k"], "v\n");
        assert_eq!(said.healthcheck.unwrap().retries, 3);
        assert_eq!(
            (said.stop_signal.as_str(), said.on_build, said.shell.len()),
            ("SIGINT", vec!["RUN true".into()], 2)
        );
        assert_eq!(config(Config::default()).unwrap(), CommitConfig::default());
    }
}
