//! .dockerignore and the context, by examples of Docker's reference and of moby/patternmatcher.

use linkspan_build::{Ignore, ImageInfo, Images, Options, Outcome, ignore_files, plan};

fn ignored(text: &str, path: &str) -> bool {
    Ignore::parse(text, ".dockerignore").unwrap().ignores(path)
}

#[test]
fn patterns_match_as_docker_has_them() {
    for (pattern, path, expected) in [
        // The reference's examples.
        ("*/temp*", "somedir/temporary.txt", true),
        ("*/temp*", "somedir/temp", true),
        ("*/temp*", "temp", false),
        ("*/*/temp*", "somedir/subdir/temporary.txt", true),
        ("temp?", "tempa", true),
        ("temp?", "temp", false),
        ("**/*.go", "a.go", true),
        ("**/*.go", "a/b/c.go", true),
        ("*.md\n!README.md", "README.md", false),
        ("*.md\n!README*.md\nREADME-secret.md", "README-secret.md", true),
        ("*.md\nREADME-secret.md\n!README*.md", "README-secret.md", false),
        // The root of the context, with and without slashes.
        ("/foo/bar", "foo/bar", true),
        ("foo/bar/", "foo/bar/x", true),
        ("./foo//bar", "foo/bar", true),
        ("foo/../bar", "bar", true),
        ("/", "foo", false),
        (".", "foo", false),
        ("*", "foo/bar", true),
        // moby/patternmatcher's table.
        ("**", "file", true),
        ("**", "dir/file", true),
        ("**/", "dir/file", true),
        ("**/**", "dir/file", true),
        ("dir/**", "dir", false),
        ("dir/**", "dir/file", true),
        ("**/dir", "x/dir/file", true),
        ("**/dir2/*", "dir/dir2/file", true),
        ("**/dir2/**", "dir/dir2/dir2/file", true),
        ("**file", "dir/file", true),
        ("**file", "dir/afile", true),
        ("**/file*txt", "dir/file.txt", true),
        ("**/**/*.txt", "dir/dir/file.txt", true),
        ("a**/*.txt", "a/dir/file.txt", true),
        ("a/**/*.txt", "a/dir/dir/file.txt", true),
        ("a/*.txt", "a/dir/file.txt", false),
        ("a[b-d]e", "ace", true),
        ("a[^b-d]e", "aze", true),
        ("a[b-d]", "aa", false),
        (r"a\*b", "a*b", true),
        (r"a\*b", "axb", false),
        (".*", ".foo", true),
        (".*", "foo", false),
        ("abc.def", "abcZdef", false),
        ("a(b)c/def", "a(b)c/def", true),
        ("$*", "$x", true),
        ("dir\n!dir/keep", "dir/keep", false),
        ("dir\n!dir/keep", "dir/other", true),
        ("dir/**\n!dir/keep", "dir/keep", false),
        ("!a\na", "a", true),
        // Comments only in the first column, blanks around patterns dropped.
        ("# a\nb", "# a", false),
        (" #a", "#a", true),
        ("  a  \n\n", "a", true),
        ("a\n! a", "a", false),
        ("\u{feff}a", "a", true),
        ("a\r\nb\r\n", "b", true),
        // Letters of any alphabet, and in their case.
        ("ü*", "über", true),
        ("A", "a", false),
        // The Dockerfile and the file itself are nothing special.
        ("Dockerfile\n.dockerignore", "Dockerfile", true),
        ("Dockerfile\n.dockerignore", ".dockerignore", true),
        ("*", ".", false),
    ] {
        assert_eq!(ignored(pattern, path), expected, "{path:?} of {pattern:?}");
    }
}

#[test]
fn malformed_patterns_are_named() {
    for (text, why) in [
        ("!", "an exception needs a pattern"),
        ("a\n[", "a bracket has no end"),
        ("[]a]", "a range in brackets has no begin or end"),
        ("[z-a]", "the range z-a is empty"),
        ("a\\", "it ends with an escape"),
    ] {
        let error = Ignore::parse(text, "x.dockerignore").unwrap_err().to_string();
        assert!(error.contains(why) && error.contains("x.dockerignore"), "{text:?}: {error}");
    }
}

#[test]
fn a_dockerfile_may_have_its_own_patterns() {
    assert_eq!(ignore_files("sub/My.Dockerfile")[0], "sub/My.Dockerfile.dockerignore");
    assert_eq!(ignore_files("Dockerfile")[1], ".dockerignore");
}

#[test]
fn an_ignored_folder_is_walked_only_for_an_exception_below() {
    let ignore = Ignore::parse("a\nb\n!a/keep", "").unwrap();
    assert!(ignore.may_keep_below("a"));
    assert!(!ignore.may_keep_below("b"));
    assert!(Ignore::parse("*\n!**/x", "").unwrap().may_keep_below("b"));
}

#[test]
fn the_context_has_what_steps_name_and_nothing_else() {
    let text = "FROM scratch\nCOPY src/*.c lib /x/\nCOPY --parents doc/**/a.txt /y/\nRUN --mount=source=m,target=/m x";
    let ignore = Ignore::parse("lib/secret\nsrc/z*", ".dockerignore").unwrap();
    let options = Options { ignore, ..Options::default() };
    let Outcome::Plan(plan) = plan(text, &options, &Images::new()).unwrap() else {
        panic!("scratch needs no image");
    };
    for (path, expected) in [
        ("src", true),
        ("src/a.c", true),
        ("src/a.h", false),
        ("src/z.c", false),
        ("lib", true),
        ("lib/deep/file", true),
        ("lib/secret", false),
        ("lib/secret/key", false),
        ("doc/deep/er/a.txt", true),
        ("m", true),
        ("mm", false),
        ("other", false),
        ("", true),
    ] {
        assert_eq!(plan.context.uses(path), expected, "{path}");
    }
    assert!(!plan.context.is_empty());
}

#[test]
fn what_is_missing_is_asked_for_at_once_and_once() {
    let text = "FROM a AS x\nFROM b\nCOPY --from=c / /\nCOPY --from=c /x /\nCOPY --from=x / /\nFROM unused AS z\nFROM b AS last\nCOPY --from=1 / /";
    let mut images = Images::new();
    let Outcome::Missing(missing) = plan(text, &Options::default(), &images).unwrap() else {
        panic!("there are no images");
    };
    let mut names: Vec<&str> = missing.iter().map(|request| request.reference.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["a", "b", "c"].map(|name| format!("docker.io/library/{name}:latest")));
    images.extend(missing.into_iter().map(|request| (request, ImageInfo::default())));
    assert!(matches!(plan(text, &Options::default(), &images), Ok(Outcome::Plan(_))));
}
