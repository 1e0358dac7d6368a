//! Published ports: the sockets are this host's, the container behind them is scripted.

use std::net::SocketAddr;

use linkspan_client::{Client, failure};
use linkspan_proto::{
    error::ErrorCode,
    host::v1::HostPortsRequest,
    v1::{
        ContainerConfig, KillContainerRequest, PortMapping, StartContainerRequest, WaitCondition,
    },
};
use tokio::net::{TcpListener, TcpStream};

use crate::{
    calls::{config, create, inspect, wait},
    host::{Stack, bounded},
};

fn publishing(host_port: u16) -> ContainerConfig {
    let mapping = PortMapping {
        host_ip: "127.0.0.1".into(),
        host_port: host_port.into(),
        container_port: 80,
        ..PortMapping::default()
    };
    ContainerConfig { ports: vec![mapping], ..config(&["sigwait"]) }
}

/// The host's own table: machine, container, socket.
async fn table(client: &Client) -> Vec<(String, String, SocketAddr)> {
    let answer = client.host().ports(HostPortsRequest {}).await.expect("it is the daemon's own");
    let row = |it: linkspan_proto::host::v1::HostPort| {
        let port = it.port.expect("always there");
        let address = format!("{}:{}", port.host_ip, port.host_port);
        (it.machine, it.container_name, address.parse().expect("an address"))
    };
    answer.into_inner().ports.into_iter().map(row).collect()
}

#[tokio::test]
async fn the_host_listens_while_a_container_runs_and_lists_it() {
    bounded(async {
        let (_stack, client) = Stack::with_busybox().await;
        create(&client, "web", publishing(0)).await.expect("it is made");
        assert_eq!(table(&client).await, []);
        let request = StartContainerRequest { container: "web".into() };
        client.containers(None).start(request).await.expect("the port is free");
        let summary =
            inspect(&client, "web").await.expect("it exists").summary.expect("always there");
        let rows = table(&client).await;
        let [(machine, container, address)] = rows.as_slice() else { panic!("{rows:?}") };
        assert_eq!((machine.as_str(), container.as_str()), ("default", "web"));
        assert_eq!(summary.ports[0].host_port, u32::from(address.port()));
        TcpStream::connect(address).await.expect("something listens");

        let request = KillContainerRequest { container: "web".into(), ..Default::default() };
        client.containers(None).kill(request).await.expect("it runs");
        wait(&client, "web", WaitCondition::NotRunning).await.expect("it exists");
        assert_eq!(table(&client).await, []);
        TcpListener::bind(address).await.expect("the port is free once the end is known");
    })
    .await;
}

#[tokio::test]
async fn a_taken_port_is_refused_with_what_to_do_and_nothing_runs() {
    bounded(async {
        let (_stack, client) = Stack::with_busybox().await;
        let other = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = other.local_addr().expect("bound").port();
        create(&client, "web", publishing(port)).await.expect("it is made");
        let request = StartContainerRequest { container: "web".into() };
        let refused = client.containers(None).start(request).await.expect_err("it is taken");
        let refused = failure(refused);
        assert_eq!(refused.code, ErrorCode::InUse);
        assert!(refused.message.contains(&format!("127.0.0.1:{port}/tcp")), "{refused}");
        assert!(refused.hint.is_some_and(|hint| hint.contains("-p ")));
        assert_eq!(inspect(&client, "web").await.expect("it exists").pid, 0);
    })
    .await;
}
