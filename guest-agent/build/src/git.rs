//! Git repositories as sources of ADD: `https://host/name.git#REF:FOLDER`, `git@host:name.git`,
//! `ssh://`, `git://`, with the same things as a query (`?ref=...&subdir=...`).

/// A repository and what of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct GitSource {
    /// Without fragment and query.
    pub(crate) remote: String,
    /// A commit, tag or branch; None: the default branch.
    pub(crate) reference: Option<String>,
    pub(crate) folder: Option<String>,
    pub(crate) checksum: Option<String>,
    pub(crate) keep_git_dir: Option<bool>,
    pub(crate) submodules: Option<bool>,
}

/// None for what is no git repository: a path, or a URL that does not end in `.git`.
pub(crate) fn parse(text: &str) -> Option<Result<GitSource, String>> {
    let (rest, fragment) = text.split_once('#').unwrap_or((text, ""));
    let (remote, query) = rest.split_once('?').unwrap_or((rest, ""));
    let over_http = ["https://", "http://"].iter().any(|scheme| remote.starts_with(scheme));
    let other = ["ssh://", "git://"].iter().any(|scheme| remote.starts_with(scheme));
    if !(over_http && remote.ends_with(".git") || other || is_scp(remote)) {
        return None;
    }
    Some(read(remote, fragment, query))
}

/// `git@host:path`, as scp(1) writes it: a user, and a host without a slash before the colon.
fn is_scp(text: &str) -> bool {
    let Some((user, rest)) = text.split_once('@') else { return false };
    let Some((host, path)) = rest.split_once(':') else { return false };
    let plain = |text: &str| {
        !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    plain(user) && plain(host) && !path.is_empty()
}

fn read(remote: &str, fragment: &str, query: &str) -> Result<GitSource, String> {
    let (reference, folder) = fragment.split_once(':').unwrap_or((fragment, ""));
    let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let mut source = GitSource {
        remote: remote.to_owned(),
        reference: some(reference),
        folder: some(folder),
        ..GitSource::default()
    };
    for (key, value) in query.split('&').filter(|part| !part.is_empty()).map(key_and_value) {
        let flag = || match value {
            "" | "1" | "true" => Ok(Some(true)),
            "0" | "false" => Ok(Some(false)),
            other => Err(format!("invalid {key} value: {other:?}")),
        };
        match key {
            "keep-git-dir" => source.keep_git_dir = flag()?,
            "submodules" => source.submodules = flag()?,
            _ if value.is_empty() => return Err(format!("query {key:?} has no value")),
            "ref" => agree("ref", &mut source.reference, value.to_owned())?,
            "tag" => agree("ref", &mut source.reference, with_prefix("refs/tags/", value))?,
            "branch" => agree("ref", &mut source.reference, with_prefix("refs/heads/", value))?,
            "subdir" => agree("subdir", &mut source.folder, value.to_owned())?,
            "checksum" | "commit" => source.checksum = Some(value.to_owned()),
            _ => return Err(format!("unexpected query {key:?}")),
        }
    }
    if source.reference.is_none() {
        source.reference.clone_from(&source.checksum);
    }
    Ok(source)
}

fn key_and_value(part: &str) -> (&str, &str) {
    part.split_once('=').unwrap_or((part, ""))
}

fn with_prefix(prefix: &str, name: &str) -> String {
    if name.starts_with(prefix) { name.to_owned() } else { format!("{prefix}{name}") }
}

fn agree(what: &str, slot: &mut Option<String>, value: String) -> Result<(), String> {
    match slot {
        Some(other) if *other != value => Err(format!("{what} conflicts: {other:?} vs {value:?}")),
        slot => {
            *slot = Some(value);
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_are_told_from_urls_and_paths() {
        for text in [
            "https://github.com/moby/buildkit.git#v0.14.1:docs",
            "http://host/name.git",
            "git@github.com:moby/buildkit.git",
            "ssh://git@host/name",
            "git://host/name",
        ] {
            assert!(matches!(parse(text), Some(Ok(_))), "{text}");
        }
        for text in
            ["https://host/file.tar.gz", "github.com/a/b", "a@b", "./x.git", "x:y", "a/b@c:d"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn fragment_and_query_say_the_same_things() {
        let source = parse("https://h/n.git#v1:docs").unwrap().unwrap();
        assert_eq!(source.remote, "https://h/n.git");
        assert_eq!(source.reference.as_deref(), Some("v1"));
        assert_eq!(source.folder.as_deref(), Some("docs"));
        let source = parse("https://h/n.git?tag=v1&subdir=docs&submodules=0&keep-git-dir");
        let source = source.unwrap().unwrap();
        assert_eq!(source.reference.as_deref(), Some("refs/tags/v1"));
        assert_eq!((source.submodules, source.keep_git_dir), (Some(false), Some(true)));
        for query in ["x=1", "ref=", "ref=a&branch=b", "submodules=maybe"] {
            assert!(matches!(parse(&format!("https://h/n.git?{query}")), Some(Err(_))), "{query}");
        }
    }
}
