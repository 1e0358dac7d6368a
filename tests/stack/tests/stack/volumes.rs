//! Volumes over the whole stack: made by name, taken by containers, protected, pruned.

use linkspan_client::{Client, Failure, failure};
use linkspan_proto::{
    error::ErrorCode,
    v1::{
        ContainerConfig, CreateVolumeRequest, ListVolumesRequest, Mount, MountType,
        PruneVolumesRequest, RemoveContainerRequest, RemoveVolumeRequest, Volume,
    },
};

use crate::{
    calls::{config, create, inspect},
    host::{Stack, bounded},
};

fn volume(source: &str, target: &str) -> Mount {
    let mut mount = Mount { source: source.into(), target: target.into(), ..Mount::default() };
    mount.set_type(MountType::Volume);
    mount
}

fn with(mounts: Vec<Mount>) -> ContainerConfig {
    ContainerConfig { mounts, ..config(&["echo"]) }
}

async fn make(client: &Client, name: &str) -> Result<Volume, Failure> {
    let request = CreateVolumeRequest { name: name.into(), ..CreateVolumeRequest::default() };
    let made = client.volumes(None).create(request).await.map_err(failure)?;
    Ok(made.into_inner().volume.expect("always"))
}

async fn list(client: &Client) -> Vec<String> {
    let answer = client.volumes(None).list(ListVolumesRequest::default()).await.expect("a list");
    answer.into_inner().volumes.into_iter().map(|volume| volume.name).collect()
}

async fn remove(client: &Client, name: &str) -> Result<(), Failure> {
    let request = RemoveVolumeRequest { name: name.into(), force: false };
    client.volumes(None).remove(request).await.map(drop).map_err(failure)
}

#[tokio::test]
async fn a_volume_is_protected_while_a_container_has_it() {
    bounded(async {
        let (_stack, client) = Stack::with_busybox().await;
        let made = make(&client, "data").await.expect("it is made");
        assert!(made.mountpoint.ends_with("volumes/data/_data"), "{}", made.mountpoint);
        let id = create(&client, "box", with(vec![volume("data", "/data"), volume("", "/own")]))
            .await
            .expect("it is made");
        let detail = inspect(&client, "box").await.expect("it is there");
        assert_eq!(detail.mounts.len(), 2);
        assert_eq!((&*detail.mounts[0].name, detail.mounts[0].read_write), ("data", true));
        let refused = remove(&client, "data").await.expect_err("it is in use");
        assert_eq!(refused.code, ErrorCode::InUse);
        assert!(refused.message.contains(&format!("volume is in use - [{id}]")), "{refused}");
        let request =
            RemoveContainerRequest { container: "box".into(), force: false, volumes: true };
        client.containers(None).remove(request).await.expect("it is removed");
        assert_eq!(list(&client).await, ["data"], "the anonymous one has gone along");
        remove(&client, "data").await.expect("nobody has it");
        let gone = remove(&client, "data").await.expect_err("it is gone");
        assert_eq!(gone.code, ErrorCode::NotFound);
    })
    .await;
}

#[tokio::test]
async fn a_folder_of_the_host_that_is_not_shared_is_refused_with_the_reason() {
    bounded(async {
        let (_stack, client) = Stack::with_busybox().await;
        let mut bind = volume("/usr", "/data");
        bind.set_type(MountType::Bind);
        let refused = create(&client, "box", with(vec![bind])).await.expect_err("refused");
        assert_eq!(refused.code, ErrorCode::PermissionDenied);
        assert!(refused.message.contains("cannot mount `/usr`"), "{refused}");
        assert!(refused.hint.is_some_and(|hint| hint.contains("--share /usr")));
    })
    .await;
}

#[tokio::test]
async fn pruning_leaves_what_has_a_name_unless_all_is_asked_for() {
    bounded(async {
        let (_stack, client) = Stack::with_busybox().await;
        let anonymous = make(&client, "").await.expect("it is made").name;
        make(&client, "data").await.expect("it is made");
        let prune = |all| PruneVolumesRequest { all, filters: Vec::new() };
        let pruned = client.volumes(None).prune(prune(false)).await.expect("pruned").into_inner();
        assert_eq!(pruned.removed, [anonymous]);
        let pruned = client.volumes(None).prune(prune(true)).await.expect("pruned").into_inner();
        assert_eq!(pruned.removed, ["data"]);
        let wrong = PruneVolumesRequest { all: false, filters: vec!["bogus=1".into()] };
        let refused = client.volumes(None).prune(wrong).await.map_err(failure).expect_err("none");
        assert_eq!(refused.message, "invalid filter 'bogus=1'");
    })
    .await;
}
