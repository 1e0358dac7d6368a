//! An image that comes with the VM image is brought by the first `create` that names it.

use futures::future::join_all;
use linkspan_proto::v1::ListImagesRequest;

use crate::{
    archives,
    calls::{config, create, run},
    host::{Stack, bounded},
};

#[tokio::test]
async fn creations_at_once_bring_a_built_in_image_and_it_runs() {
    bounded(async {
        let stack = Stack::new().await;
        stack.builds_in("busybox:latest", &archives::oci("busybox:latest"));
        let client = stack.client().await;
        let creations = (0..3).map(|_| create(&client, "", config(&["true"])));
        for created in join_all(creations).await {
            created.expect("the image is brought");
        }
        let outcome = run(&client, config(&[])).await.expect("it runs");
        assert_eq!(outcome.stdout, b"from the image\n");
        let answer = client.images(None).list(ListImagesRequest::default()).await.expect("a list");
        assert_eq!(answer.into_inner().images.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_damaged_built_in_image_is_told_and_the_call_fails() {
    bounded(async {
        let stack = Stack::new().await;
        stack.builds_in("busybox:latest", &[7; 100_000]);
        let client = stack.client().await;
        let failure = create(&client, "", config(&["true"])).await.expect_err("no archive");
        assert!(failure.message.contains("built-in image `busybox`"), "{failure}");
    })
    .await;
}
