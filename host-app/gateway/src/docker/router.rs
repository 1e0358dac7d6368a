//! Which handler a path belongs to. Paths are matched as Docker's own router does: decoded first,
//! and a name may contain slashes (`/images/a/b/c/json`).

use std::collections::HashMap;

use http::Method;

/// `(method, pattern, what it leads to)`. A part of a pattern in braces is a name: at least one
/// character, slashes included.
pub(super) type Route<T> = (Method, &'static str, T);

/// What a path was found to be.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found<T> {
    pub(super) target: T,
    /// The names in the path, by what the pattern calls them.
    pub(super) names: HashMap<&'static str, String>,
}

/// A path without its version, and the version's text if it had one.
pub(super) fn split_version(path: &str) -> (Option<&str>, &str) {
    let version = path.strip_prefix("/v").and_then(|rest| {
        let end = rest.find('/')?;
        let version = &rest[..end];
        let digits = !version.is_empty()
            && version.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        digits.then_some((version, &rest[end..]))
    });
    version.map_or((None, path), |(version, path)| (Some(version), path))
}

/// Finds the first route that has the method and fits the path. HEAD finds what GET has, unless
/// there is a route of its own. A path that is not UTF-8 once decoded fits nothing.
pub(super) fn find<T: Copy>(routes: &[Route<T>], method: &Method, path: &str) -> Option<Found<T>> {
    let path = percent_encoding::percent_decode_str(path).decode_utf8().ok()?;
    let of = |wanted: &Method| {
        routes.iter().filter(move |(method, ..)| method == wanted).find_map(
            |(_, pattern, target)| {
                let names = fit(pattern, &path)?;
                Some(Found { target: *target, names })
            },
        )
    };
    of(method).or_else(|| if method == Method::HEAD { of(&Method::GET) } else { None })
}

/// The names in a path, when it fits the pattern: each name takes as much as it can.
fn fit(pattern: &'static str, path: &str) -> Option<HashMap<&'static str, String>> {
    let mut names = HashMap::new();
    let fits = fit_rest(pattern, path, &mut names);
    fits.then_some(names)
}

fn fit_rest(pattern: &'static str, path: &str, names: &mut HashMap<&'static str, String>) -> bool {
    let Some((literal, rest)) = pattern.split_once('{') else { return pattern == path };
    let (Some(path), Some((name, after))) = (path.strip_prefix(literal), rest.split_once('}'))
    else {
        return false;
    };
    // What follows a name is a literal or the end, so the last place where that fits is the
    // longest name.
    let mut ends = path.char_indices().map(|(index, _)| index).chain([path.len()]);
    while let Some(end) = ends.next_back().filter(|end| *end > 0) {
        if fit_rest(after, &path[end..], names) {
            names.insert(name, path[..end].to_owned());
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ROUTES: &[Route<u8>] = &[
        (Method::GET, "/containers/json", 1),
        (Method::GET, "/containers/{name}/json", 2),
        (Method::GET, "/images/{name}/json", 3),
        (Method::GET, "/images/{name}/get", 4),
        (Method::DELETE, "/images/{name}", 5),
        (Method::POST, "/containers/{name}/attach", 6),
        (Method::GET, "/containers/{name}/attach/ws", 7),
        (Method::HEAD, "/_ping", 8),
        (Method::GET, "/_ping", 9),
    ];

    fn found(method: Method, path: &str) -> Option<(u8, Option<String>)> {
        let found = find(ROUTES, &method, path)?;
        Some((found.target, found.names.get("name").cloned()))
    }

    #[test]
    fn names_may_have_slashes_and_be_encoded() {
        let name = |text: &str| Some(text.to_owned());
        assert_eq!(found(Method::GET, "/containers/json"), Some((1, None)));
        assert_eq!(found(Method::GET, "/containers/a/json"), Some((2, name("a"))));
        assert_eq!(
            found(Method::GET, "/images/h:5000/a/b:c/json"),
            Some((3, name("h:5000/a/b:c")))
        );
        assert_eq!(found(Method::GET, "/images/h%3A5000%2Fa/json"), Some((3, name("h:5000/a"))));
        assert_eq!(found(Method::GET, "/images/json/json"), Some((3, name("json"))));
        assert_eq!(found(Method::GET, "/images/a/get/get"), Some((4, name("a/get"))));
        assert_eq!(found(Method::DELETE, "/images/a/b"), Some((5, name("a/b"))));
        assert_eq!(found(Method::GET, "/containers/a/attach/ws"), Some((7, name("a"))));
        assert_eq!(found(Method::GET, "/images/é/json"), Some((3, name("é"))));
    }

    #[test]
    fn what_fits_nothing_is_not_found() {
        for path in
            ["", "/", "/containers", "/containers//json", "/containers/json/", "//containers/json"]
        {
            assert_eq!(found(Method::GET, path), None, "{path}");
        }
        assert_eq!(found(Method::POST, "/containers/json"), None);
        assert_eq!(found(Method::GET, "/images/%ff/json"), None);
        // HEAD is GET without a body, unless it is more.
        assert_eq!(found(Method::HEAD, "/containers/json"), Some((1, None)));
        assert_eq!(found(Method::HEAD, "/_ping"), Some((8, None)));
    }

    #[test]
    fn a_version_is_taken_off_a_path() {
        assert_eq!(split_version("/v1.43/info"), (Some("1.43"), "/info"));
        assert_eq!(split_version("/info"), (None, "/info"));
        assert_eq!(split_version("/v1.43"), (None, "/v1.43"));
        assert_eq!(split_version("/volumes/x"), (None, "/volumes/x"));
        assert_eq!(split_version("/version"), (None, "/version"));
    }

    proptest! {
        #[test]
        fn a_strange_path_never_panics(path in "\\PC{0,40}", tail in "[/%a-f{}.]{0,20}") {
            let path = format!("/containers/{path}/{tail}");
            let _ = find(ROUTES, &Method::GET, split_version(&path).1);
        }
    }
}
