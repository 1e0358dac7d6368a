//! Errors of the guest arrive at a client as they were made: code, words, hint.

use linkspan_proto::error::ErrorCode;

use crate::{
    calls::{config, create, inspect, names, run},
    host::{Stack, bounded},
};

#[tokio::test]
async fn a_taken_name_is_told_with_its_owner_and_a_way_out() {
    bounded(async {
        let (_stack, client) = Stack::with_busybox().await;
        let id = create(&client, "box", config(&["true"])).await.expect("it is made");
        let refused = create(&client, "box", config(&["true"])).await.expect_err("taken");
        assert_eq!(refused.code, ErrorCode::NameConflict);
        assert!(refused.message.contains("`box`"), "{refused}");
        assert!(refused.message.contains(&id[..12]), "{refused}");
        assert!(refused.hint.as_deref().is_some_and(|hint| hint.contains("another name")));
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_found_or_executed_has_the_exit_code_that_users_know() {
    bounded(async {
        let (_stack, client) = Stack::with_busybox().await;
        for (command, code, exit) in [
            ("nosuch", ErrorCode::CommandNotFound, 127),
            ("noexec", ErrorCode::CommandNotExecutable, 126),
        ] {
            let failure = run(&client, config(&[command])).await.expect_err(command);
            assert_eq!((failure.code, failure.code.run_exit_code()), (code, exit));
            assert!(failure.message.contains(command), "{failure}");
            let name = names(&client).await.remove(0);
            let detail = inspect(&client, &name).await.expect("it is there");
            assert_eq!(detail.summary.expect("always").exit_code, i32::from(exit));
            assert!(detail.error.contains(command), "{}", detail.error);
        }
    })
    .await;
}

#[tokio::test]
async fn an_image_that_is_nowhere_is_not_found_with_a_way_to_bring_it() {
    bounded(async {
        let (_stack, client) = Stack::with_busybox().await;
        let absent =
            linkspan_proto::v1::ContainerConfig { image: "nosuch:1.0".into(), ..config(&["true"]) };
        let failure = create(&client, "", absent).await.expect_err("there is none");
        assert_eq!(failure.code, ErrorCode::NotFound);
        assert!(failure.message.contains("nosuch:1.0"), "{failure}");
        assert!(failure.hint.is_some_and(|hint| hint.contains("linkspan load")));
    })
    .await;
}

#[tokio::test]
async fn an_option_that_cannot_be_is_named() {
    bounded(async {
        let (_stack, client) = Stack::with_busybox().await;
        let wrong = linkspan_proto::v1::ContainerConfig {
            cap_add: vec!["FLY".into()],
            ..config(&["true"])
        };
        let failure = create(&client, "", wrong).await.expect_err("there is no such capability");
        assert_eq!(failure.code, ErrorCode::InvalidArgument);
        assert!(failure.message.contains("FLY"), "{failure}");
    })
    .await;
}
