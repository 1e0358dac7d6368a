//! Published ports in the life of a container.

use super::*;
use crate::{
    error::Error,
    ports::{Port, PortMapping},
};

fn publishing(host_port: u16) -> Config {
    let port: Port = "80/tcp".parse().unwrap();
    let mut config = config(&["sleep", "3600"]);
    config.ports.published =
        vec![PortMapping { host_ip: None, host_ports: Some((host_port, host_port)), port }];
    config
}

#[tokio::test]
async fn ports_are_open_while_the_container_runs() {
    let bench = Bench::new();
    let containers = bench.open();
    started(&containers, "web", publishing(8080)).await;
    let shown = containers.inspect("web").unwrap();
    assert_eq!(shown.status.ports[0].host_port, 8080);
    assert_eq!(bench.ports.open().len(), 1);
    containers.kill("web", Signal::KILL).await.unwrap();
    let ended = within(containers.wait("web", WaitCondition::NotRunning)).await;
    assert!(ended.is_ok(), "{ended:?}");
    assert!(bench.ports.open().is_empty(), "they are free once the end is known");
    assert!(containers.inspect("web").unwrap().status.ports.is_empty());
}

#[tokio::test]
async fn a_container_whose_port_is_taken_does_not_start() {
    let bench = Bench::new();
    bench.ports.take(8080);
    let containers = bench.open();
    containers.create("web", publishing(8080)).await.unwrap();
    let error = containers.start("web").await.unwrap_err();
    assert!(matches!(error, Error::Ports(_)), "{error}");
    assert_eq!((kind(&containers, "web"), bench.launcher.processes()), (Kind::Created, 0));
}

#[tokio::test]
async fn a_start_that_fails_gives_the_ports_back() {
    let bench = Bench::new();
    let containers = bench.open();
    let wrong = Config { command: vec!["nonsense".into()], ..publishing(8080) };
    containers.create("web", wrong).await.unwrap();
    assert!(containers.start("web").await.is_err());
    assert!(bench.ports.open().is_empty());
}
