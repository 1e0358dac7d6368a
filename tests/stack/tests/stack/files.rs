//! Files of containers over the whole stack. The fake launcher shows a container's own layer in
//! the place of its root.

use std::io::Read as _;

use linkspan_client::{Client, Failure, failure, new_stream_id};
use linkspan_proto::{
    error::ErrorCode,
    v1::{
        ChangeKind, CommitContainerRequest, CopyInRequest, CopyOutRequest, ExportContainerRequest,
        InspectImageRequest, ListChangesRequest, ListFolderRequest, StatPathRequest,
    },
};
use tokio::io::AsyncReadExt as _;

use crate::{
    archives,
    calls::{config, create},
    host::{Stack, bounded},
};

async fn copy_in(client: &Client, path: &str, archive: Vec<u8>) -> Result<(), Failure> {
    let id = new_stream_id();
    let request = CopyInRequest {
        container: "box".into(),
        path: path.into(),
        // The archive's files are this user's, who may not be root.
        keep_owner: true,
        stream_id: id.to_string(),
        ..Default::default()
    };
    let mut files = client.files(None);
    let (copied, _) =
        tokio::join!(files.copy_in(request), client.upload(None, id, archive.as_slice()));
    copied.map(drop).map_err(failure)
}

async fn copy_out(client: &Client, path: &str, name: &str) -> Result<Vec<u8>, Failure> {
    let id = new_stream_id();
    let request = CopyOutRequest {
        container: "box".into(),
        path: path.into(),
        follow: false,
        name: name.into(),
        stream_id: id.to_string(),
    };
    let mut stream = client.download(None, id).await?;
    let mut bytes = Vec::new();
    let mut files = client.files(None);
    let (copied, _) = tokio::join!(files.copy_out(request), stream.read_to_end(&mut bytes));
    copied.map_err(failure)?;
    Ok(bytes)
}

/// The names in an archive and what the files hold.
fn entries(bytes: &[u8]) -> Vec<(String, String)> {
    let mut archive = tar::Archive::new(bytes);
    let entries = archive.entries().expect("a tar");
    entries
        .map(|entry| {
            let mut entry = entry.expect("whole");
            let name = entry.path().expect("a name").display().to_string();
            let mut content = String::new();
            entry.read_to_string(&mut content).expect("text");
            (name, content)
        })
        .collect()
}

#[tokio::test]
async fn what_is_copied_in_can_be_looked_at_and_copied_out() {
    bounded(async {
        let (_stack, client) = Stack::with_busybox().await;
        create(&client, "box", config(&["echo"])).await.expect("it is made");
        let archive = archives::tar(&[("dir/", b""), ("dir/file", b"content")]);
        copy_in(&client, "/", archive).await.expect("it is copied");
        let request =
            StatPathRequest { container: "box".into(), path: "/dir/file".into(), follow: false };
        let stat = client.files(None).stat(request).await.expect("a stat").into_inner().stat;
        let stat = stat.expect("it is there");
        assert_eq!((&*stat.name, stat.size_bytes, stat.mode & 0o170_000), ("file", 7, 0o100_000));
        let request = ListFolderRequest { container: "box".into(), path: "/dir".into() };
        let listed = client.files(None).list(request).await.expect("a list").into_inner();
        assert_eq!((listed.entries, listed.truncated), (vec![stat], false));
        let request = ListFolderRequest { container: "box".into(), path: "/dir/file".into() };
        let refused = client.files(None).list(request).await.expect_err("it is no folder");
        assert!(refused.message().contains("/dir/file"), "{refused}");
        let out = copy_out(&client, "/dir", "renamed").await.expect("it is copied");
        let file = ("renamed/file".to_owned(), "content".to_owned());
        assert_eq!(entries(&out), [("renamed/".to_owned(), String::new()), file]);
        let refused = copy_out(&client, "/no/such", "x").await.expect_err("nothing is there");
        assert_eq!(refused.code, ErrorCode::NotFound, "{refused}");
        let refused = copy_in(&client, "/no/such", archives::tar(&[("x", b"")])).await;
        assert_eq!(refused.expect_err("nothing is there").code, ErrorCode::NotFound);
        let hostile = copy_in(&client, "/", archives::tar_raw("../out", b"x")).await;
        assert_eq!(hostile.expect_err("refused").code, ErrorCode::DataCorrupt);
    })
    .await;
}

#[tokio::test]
async fn changes_are_told_exported_and_committed() {
    bounded(async {
        let (_stack, client) = Stack::with_busybox().await;
        create(&client, "box", config(&["echo"])).await.expect("it is made");
        copy_in(&client, "/", archives::tar(&[("new", b"x")])).await.expect("it is copied");
        let request = ListChangesRequest { container: "box".into() };
        let changes = client.files(None).changes(request).await.expect("changes").into_inner();
        let told: Vec<_> =
            changes.changes.iter().map(|change| (change.kind(), &*change.path)).collect();
        assert_eq!(told, [(ChangeKind::Added, "/new")]);

        let id = new_stream_id();
        let request = ExportContainerRequest { container: "box".into(), stream_id: id.to_string() };
        let mut stream = client.download(None, id).await.expect("a stream");
        let mut bytes = Vec::new();
        let mut files = client.files(None);
        let (exported, _) = tokio::join!(files.export(request), stream.read_to_end(&mut bytes));
        exported.expect("it is exported");
        let mut archive = tar::Archive::new(&*bytes);
        let names: Vec<String> = archive
            .entries()
            .expect("a tar")
            .map(|entry| entry.expect("whole").path().expect("a name").display().to_string())
            .collect();
        assert!(names.contains(&"new".to_owned()) && names.contains(&"bin/sh".to_owned()));

        let request = CommitContainerRequest {
            container: "box".into(),
            reference: "made:1".into(),
            author: "me".into(),
            message: "with a file".into(),
            changes: vec!["ENV MADE=1".into()],
            no_pause: false,
            ..Default::default()
        };
        let made = client.files(None).commit(request).await.expect("an image").into_inner().id;
        let request = InspectImageRequest { image: "made:1".into() };
        let image = client.images(None).inspect(request).await.expect("it is there").into_inner();
        let image = image.image.expect("always");
        assert_eq!(image.summary.expect("always").id, made);
        assert_eq!((image.diff_ids.len(), image.command), (2, vec!["echo".to_owned()]));
        assert!(image.env.contains(&"MADE=1".to_owned()), "{:?}", image.env);
        assert_eq!(image.history.last().expect("one").comment, "with a file");
    })
    .await;
}
