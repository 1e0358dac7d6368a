//! All that is served. What Docker Engine serves besides is here too, with the answer that it
//! gets: an engine that is in no swarm says so, and does not say 404.

use futures::future::BoxFuture;
use http::Method;

use super::{
    answer::Outcome,
    build,
    call::Call,
    commit,
    containers::{self, life, logs, stats, streams, websocket},
    distribution, exec, files, images, networks,
    router::Route,
    swarm, system, transfer, volumes,
};

pub(super) type Handler = fn(Call) -> BoxFuture<'static, Outcome>;

/// `METHOD "pattern" => handler`, one a line.
macro_rules! routes {
    ($($method:ident $pattern:literal => $handler:path;)*) => {
        &[$((Method::$method, $pattern, |call| Box::pin($handler(call)))),*]
    };
}

/// In the order of Docker's description of its API. Of two that fit, the first counts.
pub(super) const ROUTES: &[Route<Handler>] = routes! {
    GET "/_ping" => system::ping;
    GET "/version" => system::version;
    GET "/info" => system::info;
    GET "/system/df" => system::df;
    GET "/events" => system::events;
    POST "/auth" => system::auth;

    GET "/containers/json" => containers::list::list;
    POST "/containers/create" => containers::create;
    POST "/containers/prune" => containers::prune;
    GET "/containers/{name}/json" => containers::inspect;
    GET "/containers/{name}/top" => life::top;
    GET "/containers/{name}/logs" => logs::logs;
    GET "/containers/{name}/changes" => files::changes;
    GET "/containers/{name}/export" => files::export;
    GET "/containers/{name}/stats" => stats::stats;
    POST "/containers/{name}/resize" => streams::resize;
    POST "/containers/{name}/start" => life::start;
    POST "/containers/{name}/stop" => life::stop;
    POST "/containers/{name}/restart" => life::restart;
    POST "/containers/{name}/kill" => life::kill;
    POST "/containers/{name}/update" => life::update;
    POST "/containers/{name}/rename" => life::rename;
    POST "/containers/{name}/pause" => life::pause;
    POST "/containers/{name}/unpause" => life::unpause;
    POST "/containers/{name}/attach" => streams::attach;
    GET "/containers/{name}/attach/ws" => websocket::attach;
    POST "/containers/{name}/wait" => streams::wait;
    DELETE "/containers/{name}" => containers::remove;
    HEAD "/containers/{name}/archive" => files::head_archive;
    GET "/containers/{name}/archive" => files::get_archive;
    PUT "/containers/{name}/archive" => files::put_archive;

    GET "/images/json" => images::list;
    GET "/images/search" => transfer::search;
    POST "/images/create" => transfer::create;
    POST "/images/load" => transfer::load;
    POST "/images/prune" => images::prune;
    GET "/images/{name}/json" => images::inspect;
    GET "/images/{name}/history" => images::history;
    POST "/images/{name}/push" => transfer::push;
    POST "/images/{name}/tag" => images::tag;
    DELETE "/images/{name}" => images::remove;
    GET "/images/get" => transfer::save;
    GET "/images/{name}/get" => transfer::save;
    POST "/build" => build::build;
    POST "/build/prune" => build::prune;
    POST "/build/cancel" => build::cancel;
    POST "/commit" => commit::commit;
    GET "/distribution/{name}/json" => distribution::inspect;

    POST "/containers/{name}/exec" => exec::create;
    POST "/exec/{id}/start" => exec::start;
    POST "/exec/{id}/resize" => exec::resize;
    GET "/exec/{id}/json" => exec::inspect;

    GET "/networks" => networks::list;
    POST "/networks/create" => networks::create;
    POST "/networks/prune" => networks::prune;
    GET "/networks/{id}" => networks::inspect;
    DELETE "/networks/{id}" => networks::remove;
    POST "/networks/{id}/connect" => networks::connect;
    POST "/networks/{id}/disconnect" => networks::disconnect;

    GET "/volumes" => volumes::list;
    POST "/volumes/create" => volumes::create;
    POST "/volumes/prune" => volumes::prune;
    GET "/volumes/{name}" => volumes::inspect;
    // Only volumes of a cluster can be changed.
    PUT "/volumes/{name}" => swarm::not_a_manager;
    DELETE "/volumes/{name}" => volumes::remove;

    GET "/swarm" => swarm::not_a_manager;
    POST "/swarm/init" => swarm::no_swarm;
    POST "/swarm/join" => swarm::no_swarm;
    POST "/swarm/leave" => swarm::not_a_member;
    POST "/swarm/update" => swarm::not_a_manager;
    GET "/swarm/unlockkey" => swarm::not_a_manager;
    POST "/swarm/unlock" => swarm::not_a_member;
    GET "/nodes" => swarm::not_a_manager;
    GET "/nodes/{id}" => swarm::not_a_manager;
    DELETE "/nodes/{id}" => swarm::not_a_manager;
    POST "/nodes/{id}/update" => swarm::not_a_manager;
    GET "/services" => swarm::not_a_manager;
    POST "/services/create" => swarm::not_a_manager;
    GET "/services/{id}/logs" => swarm::not_a_manager;
    GET "/services/{id}" => swarm::not_a_manager;
    DELETE "/services/{id}" => swarm::not_a_manager;
    POST "/services/{id}/update" => swarm::not_a_manager;
    GET "/tasks" => swarm::not_a_manager;
    GET "/tasks/{id}/logs" => swarm::not_a_manager;
    GET "/tasks/{id}" => swarm::not_a_manager;
    GET "/secrets" => swarm::not_a_manager;
    POST "/secrets/create" => swarm::not_a_manager;
    GET "/secrets/{id}" => swarm::not_a_manager;
    DELETE "/secrets/{id}" => swarm::not_a_manager;
    POST "/secrets/{id}/update" => swarm::not_a_manager;
    GET "/configs" => swarm::not_a_manager;
    POST "/configs/create" => swarm::not_a_manager;
    GET "/configs/{id}" => swarm::not_a_manager;
    DELETE "/configs/{id}" => swarm::not_a_manager;
    POST "/configs/{id}/update" => swarm::not_a_manager;

    GET "/plugins" => swarm::plugins;
    GET "/plugins/privileges" => swarm::no_plugins;
    POST "/plugins/pull" => swarm::no_plugins;
    POST "/plugins/create" => swarm::no_plugins;
    GET "/plugins/{name}/json" => swarm::no_plugin;
    DELETE "/plugins/{name}" => swarm::no_plugin;
    POST "/plugins/{name}/enable" => swarm::no_plugin;
    POST "/plugins/{name}/disable" => swarm::no_plugin;
    POST "/plugins/{name}/upgrade" => swarm::no_plugin;
    POST "/plugins/{name}/push" => swarm::no_plugin;
    POST "/plugins/{name}/set" => swarm::no_plugin;

    POST "/session" => system::no_buildkit;
    POST "/grpc" => system::no_buildkit;
};

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::{super::shown, ROUTES};

    /// The lines of the table in this file: what a handler is called is only in the source.
    fn handlers() -> impl Iterator<Item = &'static str> {
        let table = include_str!("routes.rs").split("= routes! {").nth(1).unwrap_or_default();
        let lines = table.lines().take_while(|line| *line != "};");
        lines.filter_map(|line| line.split_once(" => ")?.1.strip_suffix(';'))
    }

    fn answer(handler: &str) -> &'static str {
        match handler {
            "swarm::not_a_manager" => "503: this node is not a swarm manager",
            "swarm::not_a_member" => "503: this node is not part of a swarm",
            "swarm::no_swarm" => "501: swarm mode is not supported",
            "swarm::plugins" => "served: an empty list",
            "swarm::no_plugin" => "404: there is no such plugin",
            "swarm::no_plugins" => "501: plugins are not supported",
            "system::no_buildkit" => "501: BuildKit's protocol is not spoken",
            "build::build" => "served: the classic builder's; 501 for BuildKit's (`version=2`)",
            _ => "served",
        }
    }

    #[test]
    fn the_page_of_the_api_is_what_the_table_says() {
        let mut page = String::from(
            "# The Docker Engine API, path by path\n\n\
             Made from the table of routes by a test: do not edit. After a change, write it anew with\n\
             `LINKSPAN_BLESS=1 cargo test -p linkspan-gateway page_of_the_api`.\n\n\
             Each path also exists behind `/v1.24` and all later versions up to the newest. Anything else is\n\
             404 `page not found`, as in Docker. [docker.md](docker.md) has what to know beside it.\n\n\
             The tests are in `host-app/gateway/tests/docker`. What is served is compared there with Docker's own\n\
             description of each version, and with the types that are generated from the newest one.\n\n\
             | method | path | answer | shown by |\n|---|---|---|---|\n",
        );
        assert_eq!(handlers().count(), ROUTES.len());
        for ((method, pattern, _), handler) in ROUTES.iter().zip(handlers()) {
            let test = shown::test_of(method, pattern);
            let _ = writeln!(page, "| {method} | `{pattern}` | {} | `{test}` |", answer(handler));
        }
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/docker-api.md");
        if std::env::var_os("LINKSPAN_BLESS").is_some() {
            std::fs::write(path, &page).unwrap();
        }
        let found = std::fs::read_to_string(path).unwrap_or_default();
        assert!(found == page, "docs/docker-api.md is not what the routes say: bless it");
    }

    #[test]
    fn no_route_hides_a_later_one() {
        for (index, (method, pattern, _)) in ROUTES.iter().enumerate() {
            // The path that the pattern is itself, its names being names of nothing else.
            let path = pattern.replace(['{', '}'], "~");
            let found = ROUTES.iter().position(|route| {
                route.0 == method
                    && super::super::router::find(&[(route.0.clone(), route.1, ())], method, &path)
                        .is_some()
            });
            assert_eq!(found, Some(index), "{method} {pattern}");
        }
    }
}
