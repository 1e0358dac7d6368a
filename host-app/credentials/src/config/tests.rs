use super::*;

struct Home {
    folder: tempfile::TempDir,
}

impl Home {
    fn new(config: &str) -> Self {
        let home = Self { folder: tempfile::tempdir().expect("a folder") };
        if !config.is_empty() {
            std::fs::write(home.path(), config).expect("written");
        }
        home
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("config.json")
    }

    fn config(&self) -> DockerConfig {
        DockerConfig::at(self.folder.path(), self.folder.path().into())
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&std::fs::read(self.path()).expect("it is there")).expect("JSON")
    }

    async fn get(&self, registry: &str) -> Option<RegistryCredentials> {
        self.config().get(&Registry::of_server(registry)).await.expect("no failure")
    }
}

fn password(username: &str, password: &str) -> RegistryCredentials {
    RegistryCredentials {
        username: username.into(),
        password: password.into(),
        ..Default::default()
    }
}

fn identity(token: &str) -> RegistryCredentials {
    RegistryCredentials { identity_token: token.into(), ..Default::default() }
}

#[tokio::test]
async fn every_form_of_an_entry_is_understood() {
    // dXNlcjpzZWNyZXQ= is user:secret, dXNlcjo= is user: and dTpwOnE= is u:p:q.
    let home = Home::new(
        r#"{"auths": {
            "https://index.docker.io/v1/": {"auth": "dXNlcjpzZWNyZXQ="},
            "plain.example": {"username": "a", "password": "b", "email": "x@y"},
            "https://old.example/v1/": {"auth": "dTpwOnE="},
            "token.example:5000": {"auth": "dXNlcjo=", "identitytoken": "idt"},
            "bearer.example": {"registrytoken": "rt"},
            "empty.example": {}
        }, "HttpHeaders": {"X": "y"}}"#,
    );
    for (registry, expected) in [
        ("docker.io", Some(password("user", "secret"))),
        ("", Some(password("user", "secret"))),
        ("plain.example", Some(password("a", "b"))),
        ("old.example", Some(password("u", "p:q"))),
        (
            "token.example:5000",
            Some(RegistryCredentials { username: "user".into(), ..identity("idt") }),
        ),
        (
            "bearer.example",
            Some(RegistryCredentials { registry_token: "rt".into(), ..Default::default() }),
        ),
        ("empty.example", None),
        ("other.example", None),
        // Another port is another registry.
        ("token.example", None),
    ] {
        assert_eq!(home.get(registry).await, expected, "{registry}");
    }
    assert_eq!(Home::new("").get("docker.io").await, None, "there need not be a file");
}

#[tokio::test]
async fn a_bad_file_is_named_and_not_quoted() {
    for config in [
        r#"{"auths": {"a.example": {"auth": "hunter2"}}}"#,
        r#"{"auths": {"a.example": {"auth": "aHVudGVyMg=="}}}"#,
        r#"{"auths": {"a.example": {"auth": "hunter2", }}}"#,
        r#""hunter2""#,
    ] {
        let home = Home::new(config);
        let error = home.config().get(&Registry::of_server("a.example")).await.expect_err("bad");
        let text = format!("{error} {error:?}");
        assert!(text.contains("config.json") && !text.contains("hunter2"), "{text}");
    }
}

#[tokio::test]
async fn what_is_put_is_got_and_the_rest_of_the_file_stays() {
    let home = Home::new(
        r#"{"auths": {"http://r.example/v2/": {"auth": "eDp5"}}, "psFormat": "{{.ID}}"}"#,
    );
    let registry = Registry::of_server("r.example");
    let config = home.config();
    let kept = config.put(&registry, &password("user", "secret")).await.expect("kept");
    assert_eq!(kept, Kept::File(home.path()));
    assert_eq!(home.get("r.example").await, Some(password("user", "secret")));
    assert_eq!(
        home.json(),
        serde_json::json!({
            "auths": {"r.example": {"auth": "dXNlcjpzZWNyZXQ="}}, "psFormat": "{{.ID}}"
        })
    );
    let token = RegistryCredentials { username: "user".into(), ..identity("idt") };
    config.put(&Registry::of_server(""), &token).await.expect("kept");
    assert_eq!(home.get("docker.io").await, Some(token));
    config.erase(&registry).await.expect("erased");
    config.erase(&registry).await.expect("nothing to erase is fine");
    assert_eq!(home.get("r.example").await, None);
    assert!(home.get("docker.io").await.is_some());
}

#[cfg(unix)]
mod with_a_helper {
    use std::time::Duration;

    use super::*;

    /// Keeps entries as files beside itself, named by the server without its slashes.
    const KEEPER: &str = r#"#!/bin/sh
cd "$(dirname "$0")" || exit 9
case $1 in
store) json=$(cat); server=$(echo "$json" | sed 's/.*"ServerURL":"\([^"]*\)".*/\1/' | tr -d /)
    echo "$json" > "kept-$server" ;;
get) server=$(tr -d /)
    test -f "kept-$server" || { echo "credentials not found in native keychain"; exit 1; }
    cat "kept-$server" ;;
erase) rm -f "kept-$(tr -d /)" ;;
*) echo "unknown action $1"; exit 2 ;;
esac
"#;

    fn install(home: &Home, name: &str, script: &str) {
        let path = home.folder.path().join(format!("docker-credential-{name}"));
        // By another process: a file that is open for writing in a child of a test beside this one
        // could not be executed (ETXTBSY).
        let written = std::process::Command::new("sh")
            .args(["-c", r#"printf %s "$2" > "$1" && chmod 755 "$1""#, "sh"])
            .args([path.as_os_str(), script.as_ref()])
            .status()
            .expect("sh");
        assert!(written.success());
    }

    #[tokio::test]
    async fn a_secret_goes_to_the_helper_and_not_into_the_file() {
        let home = Home::new(r#"{"credsStore": "keeper"}"#);
        install(&home, "keeper", KEEPER);
        let config = home.config();
        for (server, credentials) in
            [("", password("user", "secret")), ("r.example:5000", identity("idt"))]
        {
            let registry = Registry::of_server(server);
            assert_eq!(config.get(&registry).await.expect("no failure"), None);
            let kept = config.put(&registry, &credentials).await.expect("kept");
            assert_eq!(kept, Kept::Helper);
            assert_eq!(home.get(server).await, Some(credentials));
            assert_eq!(home.json()["auths"][registry.key()], serde_json::json!({}));
            config.erase(&registry).await.expect("erased");
            assert_eq!(home.get(server).await, None);
        }
        assert_eq!(home.json(), serde_json::json!({"auths": {}, "credsStore": "keeper"}));
    }

    #[tokio::test]
    async fn a_registrys_own_helper_comes_before_the_general_one() {
        let home = Home::new(
            r#"{"credsStore": "broken", "credHelpers": {"r.example": "own"},
                "auths": {"r.example": {"auth": "eDp5"}}}"#,
        );
        install(&home, "broken", "#!/bin/sh\necho no keychain; exit 1\n");
        let own = r#"#!/bin/sh
echo '{"ServerURL":"r.example","Username":"own","Secret":"s"}'
"#;
        install(&home, "own", own);
        assert_eq!(home.get("r.example").await, Some(password("own", "s")));
        let error = home.config().get(&Registry::of_server("")).await.expect_err("broken");
        assert_eq!(
            error.to_string(),
            "the credential helper `docker-credential-broken` cannot get the credentials of \
             `https://index.docker.io/v1/`: no keychain"
        );
    }

    #[tokio::test]
    async fn a_helper_that_is_missing_or_leads_elsewhere_is_named() {
        for name in ["nowhere", "../../bin/sh", "x/y"] {
            let home = Home::new(&format!(r#"{{"credsStore": "{name}"}}"#));
            let error = home.config().get(&Registry::of_server("")).await.expect_err("missing");
            assert!(error.to_string().contains(name), "{error}");
        }
    }

    #[tokio::test]
    async fn a_helper_that_hangs_or_babbles_is_an_error_without_its_words() {
        let home = Home::new(r#"{"credsStore": "bad"}"#);
        install(&home, "bad", "#!/bin/sh\nexec sleep 600\n");
        let path = home.folder.path().as_os_str();
        let helper = Helper::find("bad", path).expect("it is there");
        let helper = helper.with_deadline(Duration::from_millis(50));
        let error = helper.get(&Registry::of_server("")).await.expect_err("it hangs");
        assert!(error.to_string().contains("longer than"), "{error}");
        install(&home, "bad", "#!/bin/sh\necho hunter2\n");
        let error = home.config().get(&Registry::of_server("")).await.expect_err("no JSON");
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
    }

    #[tokio::test]
    async fn the_systems_keychain_is_used_when_nothing_else_is_said() {
        let usual = if cfg!(target_os = "macos") { "osxkeychain" } else { "secretservice" };
        let home = Home::new("{}");
        install(&home, usual, KEEPER);
        let hub = Registry::of_server("");
        let kept = home.config().put(&hub, &password("user", "secret")).await.expect("kept");
        assert_eq!(kept, Kept::Helper);
        assert_eq!(home.json()["credsStore"], usual);
        assert_eq!(home.get("").await, Some(password("user", "secret")));
        // A file that has a login in it goes on as it was.
        let home = Home::new(r#"{"auths": {"r.example": {"auth": "eDp5"}}}"#);
        install(&home, usual, KEEPER);
        assert_eq!(home.get("r.example").await, Some(password("x", "y")));
    }
}
