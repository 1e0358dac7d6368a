//! Docker's API for programs in containers: the socket is the guest's, the answers are the host's.

use linkspan_client::Client;
use linkspan_proto::host::v1::{CreateMachineRequest, StartMachineRequest};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
};

use crate::{
    calls::{config, create},
    host::{Stack, bounded},
};

async fn connect(stack: &Stack, machine: &str) -> UnixStream {
    let socket = stack.home.path().join("disks").join(machine).join("docker.sock");
    UnixStream::connect(socket).await.expect("the guest listens")
}

async fn ask(stack: &Stack, machine: &str, path: &str) -> String {
    let mut stream = connect(stack, machine).await;
    let request = format!("GET {path} HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("it is read");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("it is text");
    answer
}

async fn start_another(client: &Client, name: &str) {
    let request = CreateMachineRequest { name: name.into(), settings: None };
    client.machines().create(request).await.expect("it can be made");
    let request = StartMachineRequest { name: name.into() };
    let mut boot = client.machines().start(request).await.expect("it starts").into_inner();
    while boot.message().await.expect("it boots").is_some() {}
}

#[tokio::test]
async fn a_program_is_served_as_a_client_of_the_host_and_sees_its_own_machine() {
    bounded(async {
        let (stack, client) = Stack::with_busybox().await;
        create(&client, "seen", config(&["true"])).await.expect("it is made");
        start_another(&client, "other").await;
        let ping = ask(&stack, "default", "/_ping").await;
        assert!(ping.starts_with("HTTP/1.1 200 OK") && ping.ends_with("OK"), "{ping}");
        let list = "/v1.43/containers/json?all=1";
        let own = ask(&stack, "default", list).await;
        assert!(own.contains("\"/seen\""), "{own}");
        let others = ask(&stack, "other", list).await;
        assert!(others.starts_with("HTTP/1.1 200 OK") && !others.contains("seen"), "{others}");
    })
    .await;
}

#[tokio::test]
async fn a_program_that_goes_away_ends_what_it_asked_for() {
    bounded(async {
        let (stack, _client) = Stack::with_busybox().await;
        let mut listener = connect(&stack, "default").await;
        let request = b"GET /events HTTP/1.1\r\nHost: docker\r\n\r\n";
        listener.write_all(request).await.expect("it is read");
        let mut head = [0; 15];
        listener.read_exact(&mut head).await.expect("an answer");
        assert_eq!(&head, b"HTTP/1.1 200 OK");
        let listeners = async || {
            let info = ask(&stack, "default", "/info").await;
            info.contains("\"NEventsListener\":1")
        };
        let info = ask(&stack, "default", "/info").await;
        assert!(listeners().await, "{info}");
        drop(listener);
        while listeners().await {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
