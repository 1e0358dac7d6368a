//! Which test shows what is answered on a route: a column of `docs/docker-api.md`. The tests are in
//! `tests/docker`.

/// `METHOD PATTERN` as in the table of routes, and `file::test`.
const SHOWN: &[(&str, &str)] = &[
    ("GET /_ping", "protocol::ping_answers_without_a_machine"),
    ("GET /version", "conformance::engine::the_engine_is_shown_as_described"),
    ("GET /info", "conformance::engine::the_engine_is_shown_as_described"),
    ("GET /system/df", "conformance::engine::the_engine_is_shown_as_described"),
    ("GET /events", "conformance::engine::the_engine_is_shown_as_described"),
    ("POST /auth", "conformance::engine::the_engine_is_shown_as_described"),
    ("GET /containers/json", "conformance::containers::containers_are_shown_as_described"),
    (
        "POST /containers/create",
        "conformance::containers::what_is_done_with_containers_is_answered_as_described",
    ),
    (
        "POST /containers/prune",
        "conformance::containers::what_is_done_with_containers_is_answered_as_described",
    ),
    ("GET /containers/{name}/json", "conformance::containers::containers_are_shown_as_described"),
    ("GET /containers/{name}/top", "conformance::containers::containers_are_shown_as_described"),
    ("GET /containers/{name}/logs", "streams::logs_are_framed_and_say_when_and_what"),
    (
        "GET /containers/{name}/changes",
        "conformance::containers::containers_are_shown_as_described",
    ),
    ("GET /containers/{name}/export", "containers::an_export_is_the_archive_of_the_whole"),
    ("GET /containers/{name}/stats", "conformance::containers::containers_are_shown_as_described"),
    (
        "POST /containers/{name}/resize",
        "conformance::containers::what_is_done_with_containers_is_answered_as_described",
    ),
    (
        "POST /containers/{name}/start",
        "containers::starting_and_stopping_what_is_so_already_changes_nothing",
    ),
    (
        "POST /containers/{name}/stop",
        "conformance::containers::what_is_done_with_containers_is_answered_as_described",
    ),
    (
        "POST /containers/{name}/restart",
        "conformance::containers::what_is_done_with_containers_is_answered_as_described",
    ),
    (
        "POST /containers/{name}/kill",
        "conformance::containers::what_is_done_with_containers_is_answered_as_described",
    ),
    (
        "POST /containers/{name}/update",
        "conformance::containers::what_is_done_with_containers_is_answered_as_described",
    ),
    (
        "POST /containers/{name}/rename",
        "conformance::containers::what_is_done_with_containers_is_answered_as_described",
    ),
    (
        "POST /containers/{name}/pause",
        "conformance::containers::what_is_done_with_containers_is_answered_as_described",
    ),
    (
        "POST /containers/{name}/unpause",
        "conformance::containers::what_is_done_with_containers_is_answered_as_described",
    ),
    (
        "POST /containers/{name}/attach",
        "streams::attach_upgrades_frames_the_output_and_knows_a_half_close",
    ),
    (
        "GET /containers/{name}/attach/ws",
        "websocket::output_comes_in_binary_messages_without_headers",
    ),
    ("POST /containers/{name}/wait", "streams::the_head_of_a_wait_comes_before_its_end"),
    (
        "DELETE /containers/{name}",
        "conformance::containers::what_is_done_with_containers_is_answered_as_described",
    ),
    (
        "HEAD /containers/{name}/archive",
        "containers::archives_go_both_ways_with_what_is_at_the_path",
    ),
    (
        "GET /containers/{name}/archive",
        "containers::archives_go_both_ways_with_what_is_at_the_path",
    ),
    (
        "PUT /containers/{name}/archive",
        "containers::archives_go_both_ways_with_what_is_at_the_path",
    ),
    ("GET /images/json", "conformance::images::images_are_shown_as_described"),
    ("GET /images/search", "conformance::images::images_are_shown_as_described"),
    (
        "POST /images/create",
        "conformance::images::what_is_done_with_images_is_answered_as_described",
    ),
    ("POST /images/load", "conformance::images::what_is_done_with_images_is_answered_as_described"),
    (
        "POST /images/prune",
        "conformance::images::what_is_done_with_images_is_answered_as_described",
    ),
    ("GET /images/{name}/json", "conformance::images::images_are_shown_as_described"),
    ("GET /images/{name}/history", "conformance::images::images_are_shown_as_described"),
    (
        "POST /images/{name}/push",
        "conformance::images::what_is_done_with_images_is_answered_as_described",
    ),
    (
        "POST /images/{name}/tag",
        "conformance::images::what_is_done_with_images_is_answered_as_described",
    ),
    (
        "DELETE /images/{name}",
        "conformance::images::what_is_done_with_images_is_answered_as_described",
    ),
    ("GET /images/get", "images::images_are_saved_as_one_archive"),
    ("GET /images/{name}/get", "images::images_are_saved_as_one_archive"),
    ("POST /build", "conformance::images::a_build_is_told_as_described"),
    ("POST /build/prune", "conformance::images::a_build_is_told_as_described"),
    ("POST /build/cancel", "conformance::images::a_build_is_told_as_described"),
    ("POST /commit", "containers::a_commit_says_what_the_image_is"),
    ("GET /distribution/{name}/json", "conformance::images::images_are_shown_as_described"),
    ("POST /containers/{name}/exec", "exec::a_command_runs_once_and_leaves_its_exit_code"),
    ("POST /exec/{id}/start", "exec::a_command_runs_once_and_leaves_its_exit_code"),
    ("POST /exec/{id}/resize", "exec::a_command_runs_once_and_leaves_its_exit_code"),
    ("GET /exec/{id}/json", "conformance::containers::an_exec_is_shown_as_described"),
    ("GET /networks", "conformance::networks::networks_are_answered_as_described"),
    ("POST /networks/create", "conformance::networks::networks_are_answered_as_described"),
    ("POST /networks/prune", "conformance::networks::networks_are_answered_as_described"),
    ("GET /networks/{id}", "conformance::networks::networks_are_answered_as_described"),
    ("DELETE /networks/{id}", "conformance::networks::networks_are_answered_as_described"),
    ("POST /networks/{id}/connect", "conformance::networks::networks_are_answered_as_described"),
    ("POST /networks/{id}/disconnect", "conformance::networks::networks_are_answered_as_described"),
    ("GET /volumes", "conformance::networks::volumes_are_answered_as_described"),
    ("POST /volumes/create", "conformance::networks::volumes_are_answered_as_described"),
    ("POST /volumes/prune", "conformance::networks::volumes_are_answered_as_described"),
    ("GET /volumes/{name}", "conformance::networks::volumes_are_answered_as_described"),
    ("PUT /volumes/{name}", "conformance::engine::what_is_not_served_is_refused_as_described"),
    ("DELETE /volumes/{name}", "conformance::networks::volumes_are_answered_as_described"),
    ("GET /swarm", "conformance::engine::what_is_not_served_is_refused_as_described"),
    ("POST /swarm/init", "conformance::engine::what_is_not_served_is_refused_as_described"),
    ("POST /swarm/join", "conformance::engine::what_is_not_served_is_refused_as_described"),
    ("POST /swarm/leave", "conformance::engine::what_is_not_served_is_refused_as_described"),
    ("POST /swarm/update", "conformance::engine::what_is_not_served_is_refused_as_described"),
    ("GET /swarm/unlockkey", "conformance::engine::what_is_not_served_is_refused_as_described"),
    ("POST /swarm/unlock", "conformance::engine::what_is_not_served_is_refused_as_described"),
    ("GET /nodes", "conformance::engine::what_is_not_served_is_refused_as_described"),
    ("GET /nodes/{id}", "conformance::engine::what_is_not_served_is_refused_as_described"),
    ("DELETE /nodes/{id}", "conformance::engine::what_is_not_served_is_refused_as_described"),
    ("POST /nodes/{id}/update", "conformance::engine::what_is_not_served_is_refused_as_described"),
    ("GET /services", "conformance::engine::what_is_not_served_is_refused_as_described"),
    ("POST /services/create", "conformance::engine::what_is_not_served_is_refused_as_described"),
    ("GET /services/{id}/logs", "conformance::engine::what_is_not_served_is_refused_as_described"),
    ("GET /services/{id}", "conformance::engine::what_is_not_served_is_refused_as_described"),
    ("DELETE /services/{id}", "conformance::engine::what_is_not_served_is_refused_as_described"),
    (
        "POST /services/{id}/update",
        "conformance::engine::what_is_not_served_is_refused_as_described",
    ),
    ("GET /tasks", "conformance::engine::what_is_not_served_is_refused_as_described"),
    ("GET /tasks/{id}/logs", "conformance::engine::what_is_not_served_is_refused_as_described"),
    ("GET /tasks/{id}", "conformance::engine::what_is_not_served_is_refused_as_described"),
    ("GET /secrets", "conformance::engine::what_is_not_served_is_refused_as_described"),
    ("POST /secrets/create", "conformance::engine::what_is_not_served_is_refused_as_described"),
    ("GET /secrets/{id}", "conformance::engine::what_is_not_served_is_refused_as_described"),
    ("DELETE /secrets/{id}", "conformance::engine::what_is_not_served_is_refused_as_described"),
    (
        "POST /secrets/{id}/update",
        "conformance::engine::what_is_not_served_is_refused_as_described",
    ),
    ("GET /configs", "conformance::engine::what_is_not_served_is_refused_as_described"),
    ("POST /configs/create", "conformance::engine::what_is_not_served_is_refused_as_described"),
    ("GET /configs/{id}", "conformance::engine::what_is_not_served_is_refused_as_described"),
    ("DELETE /configs/{id}", "conformance::engine::what_is_not_served_is_refused_as_described"),
    (
        "POST /configs/{id}/update",
        "conformance::engine::what_is_not_served_is_refused_as_described",
    ),
    ("GET /plugins", "conformance::engine::the_engine_is_shown_as_described"),
    ("GET /plugins/privileges", "conformance::engine::what_is_not_served_is_refused_as_described"),
    ("POST /plugins/pull", "conformance::engine::what_is_not_served_is_refused_as_described"),
    ("POST /plugins/create", "conformance::engine::what_is_not_served_is_refused_as_described"),
    ("GET /plugins/{name}/json", "conformance::engine::what_is_not_served_is_refused_as_described"),
    ("DELETE /plugins/{name}", "conformance::engine::what_is_not_served_is_refused_as_described"),
    (
        "POST /plugins/{name}/enable",
        "conformance::engine::what_is_not_served_is_refused_as_described",
    ),
    (
        "POST /plugins/{name}/disable",
        "conformance::engine::what_is_not_served_is_refused_as_described",
    ),
    (
        "POST /plugins/{name}/upgrade",
        "conformance::engine::what_is_not_served_is_refused_as_described",
    ),
    (
        "POST /plugins/{name}/push",
        "conformance::engine::what_is_not_served_is_refused_as_described",
    ),
    ("POST /plugins/{name}/set", "conformance::engine::what_is_not_served_is_refused_as_described"),
    ("POST /session", "conformance::engine::what_is_not_served_is_refused_as_described"),
    ("POST /grpc", "conformance::engine::what_is_not_served_is_refused_as_described"),
];

/// The test of a route.
pub(super) fn test_of(method: &http::Method, pattern: &str) -> &'static str {
    let route = format!("{method} {pattern}");
    let found = SHOWN.iter().find(|(shown, _)| *shown == route);
    found.unwrap_or_else(|| panic!("no test shows `{route}`: name one in shown.rs")).1
}

mod tests {
    use std::{collections::BTreeSet, path::Path};

    use super::SHOWN;
    use crate::docker::routes::ROUTES;

    const TESTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/docker");

    #[test]
    fn every_route_has_a_test_and_every_named_test_is_there() {
        let routes: Vec<String> =
            ROUTES.iter().map(|(method, pattern, _)| format!("{method} {pattern}")).collect();
        let shown: Vec<&str> = SHOWN.iter().map(|(route, _)| *route).collect();
        assert_eq!(shown, routes, "shown.rs and routes.rs name other routes, or in another order");
        let named: BTreeSet<&str> = SHOWN.iter().map(|(_, test)| *test).collect();
        for test in named {
            let (file, name) = test.rsplit_once("::").expect("a file and a test");
            let path = Path::new(TESTS).join(file.replace("::", "/")).with_extension("rs");
            let text = std::fs::read_to_string(&path)
                .unwrap_or_else(|error| panic!("{test}: {}: {error}", path.display()));
            assert!(text.contains(&format!("async fn {name}()")), "there is no test `{test}`");
        }
    }

    /// What is called a name in one place is an id in another.
    fn shape(route: &str) -> String {
        let part = |part: &str| if part.starts_with('{') { "{}".into() } else { part.to_owned() };
        route.split('/').map(part).collect::<Vec<_>>().join("/")
    }

    #[test]
    fn every_endpoint_of_dockers_description_is_on_the_page() {
        let page = include_str!("../../../../docs/docker-api.md");
        let cells = page.lines().filter_map(|line| {
            let mut cells = line.strip_prefix("| ")?.split(" | ");
            Some(shape(&format!("{} {}", cells.next()?, cells.next()?.trim_matches('`'))))
        });
        let page: BTreeSet<String> = cells.collect();
        let endpoints = include_str!("../../tests/docker/endpoints.txt");
        let endpoints = endpoints.lines().filter(|line| !line.starts_with('#'));
        let missing: Vec<&str> = endpoints
            .filter(|endpoint| {
                let same = |endpoint: &str| page.contains(&shape(endpoint));
                // HEAD is GET without a body.
                !same(endpoint) && !same(&endpoint.replacen("HEAD", "GET", 1))
            })
            .collect();
        assert!(missing.is_empty(), "{missing:?}");
    }
}
