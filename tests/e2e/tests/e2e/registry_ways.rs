//! How registries are reached and what they are told: mirrors, insecure ones, certificates,
//! proxies, identity tokens, search. Each machine here is of its own: the settings are the host's.

use std::{
    io::{self, Read as _, Write as _},
    net::{IpAddr, TcpListener, TcpStream, UdpSocket},
    sync::{Arc, Mutex},
    thread,
};

use http::{Method, StatusCode};
use linkspan_test_e2e::Host;
use linkspan_test_registry::{Act, File, Image, Layer, Packing, Seen, Server, Setup};
use serde_json::{Value, json};

use crate::{
    Own,
    registry::{fill, registry, run_as},
};

/// `registry set`.
fn set(host: &Host, args: &[&str]) {
    let _ = host.run(&[&["registry", "set"], args].concat()).ok();
}

/// An address of this computer that is not its loopback. Nothing is sent.
fn address() -> Option<String> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    let address = socket.local_addr().ok()?.ip();
    (address.is_ipv4() && !address.is_loopback() && address != IpAddr::from([0, 0, 0, 0]))
        .then(|| address.to_string())
}

/// A proxy on the loopback: tunnels lead to `tunnel`, whatever they are asked for, and plain
/// requests to `plain`, which takes them with the whole address in them as every server has to
/// (RFC 9112, section 3.2.2). It ends with the process.
struct Proxy {
    url: String,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    fn start(tunnel: &str, plain: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let heads = Arc::<Mutex<Vec<String>>>::default();
        let (tunnel, plain, told) = (tunnel.to_owned(), plain.to_owned(), Arc::clone(&heads));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (tunnel, plain, told) = (tunnel.clone(), plain.clone(), Arc::clone(&told));
                // Whoever hangs up in the middle is served no further.
                thread::spawn(move || pass(stream, &tunnel, &plain, &told).ok());
            }
        });
        Self { url, heads }
    }

    /// The first lines of what it was asked for.
    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.heads.lock().expect("no thread panics with it"))
    }
}

fn pass(
    mut from: TcpStream,
    tunnel: &str,
    plain: &str,
    told: &Mutex<Vec<String>>,
) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        from.read_exact(&mut byte)?;
        head.extend(byte);
    }
    let text = String::from_utf8_lossy(&head);
    let line = text.lines().next().unwrap_or_default().to_owned();
    let is_tunnel = line.starts_with("CONNECT ");
    told.lock().expect("no thread panics with it").push(line);
    let mut to = TcpStream::connect(if is_tunnel { tunnel } else { plain })?;
    match is_tunnel {
        true => from.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?,
        false => to.write_all(&head)?,
    }
    let (mut back_from, mut back_to) = (to.try_clone()?, from.try_clone()?);
    thread::spawn(move || io::copy(&mut back_from, &mut back_to));
    io::copy(&mut from, &mut to).map(drop)
}

/// A registry that gives and takes tokens only: by password with an identity token beside it, or
/// for an identity token (distribution's token specification and its OAuth 2 form).
fn by_tokens(server: &Server) {
    let realm = format!("Bearer realm=\"http://{}/token\",service=\"test\"", server.address);
    let ok = |body: Value| Act::Answer(StatusCode::OK, Vec::new(), body.to_string());
    server.obey(move |seen: &Seen| match (seen.path.as_str(), seen.header("authorization")) {
        // `user:secret`.
        ("/token", Some("Basic dXNlcjpzZWNyZXQ=")) => {
            ok(json!({"token": "by-password", "refresh_token": "an-identity"}))
        }
        ("/token", None) if seen.method == Method::POST => {
            ok(json!({"access_token": "by-identity"}))
        }
        ("/token", _) => Act::status(401),
        ("/v1/search", _) => ok(json!({"results": [
            {"name": "team/app", "description": "what was looked for", "star_count": 7},
            {"name": "team/other", "description": "another", "star_count": 1},
        ]})),
        (_, Some("Bearer by-password" | "Bearer by-identity")) => Act::Serve,
        _ => {
            let text =
                r#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}"#;
            let challenge = vec![("www-authenticate", realm.clone())];
            Act::Answer(StatusCode::UNAUTHORIZED, challenge, text.into())
        }
    });
}

pub(crate) const OWN: &[Own] = &[
    ("settings_count_from_the_next_command_on", || {
        let host = Host::new();
        // An authoritative mirror's word is final: the Hub is not asked, which would fail otherwise.
        let mirror = registry(Setup::default());
        let _ = fill(&mirror, "library/linkspan-mirrored:1");
        let url = format!("http://{}", mirror.authority);
        set(&host, &["--mirror", &format!("{url},authoritative")]);
        let pulled = host.run(&["pull", "linkspan-mirrored:1"]).ok().text();
        assert!(pulled.ends_with("\ndocker.io/library/linkspan-mirrored:1"), "{pulled}");
        let absent = "manifest for linkspan-absent:1 not found: manifest unknown: manifest unknown";
        host.run(&["pull", "linkspan-absent:1"]).fails(1, &[absent]);
        set(&host, &["--no-mirror", &url]);

        let Some(address) = address() else {
            println!(
                "skipped: TLS and insecure registries: this computer has no address but its loopback"
            );
            return;
        };
        let tls = Setup { address: &address, tls: Some(&address), guarded: false };
        let registry = registry(tls);
        let _ = fill(&registry, "box:1");
        let image = format!("{}/box:1", registry.authority);
        let ca = registry.ca().to_string_lossy().into_owned();
        host.run(&["pull", &image]).fails(1, &["cannot trust registry"]);
        set(&host, &["--ca", &ca]);
        let _ = host.run(&["pull", &image]).ok();
        set(&host, &["--no-ca", &ca]);
        host.run(&["pull", &image]).fails(1, &["cannot trust registry"]);
        set(&host, &["--insecure", &registry.authority]);
        let _ = host.run(&["pull", &image]).ok();
        host.leaves_nothing();
    }),
    ("proxies_are_asked_for_what_is_not_excepted", || {
        let host = Host::new();
        let encrypted = registry(Setup { tls: Some("registry.example"), ..Setup::default() });
        let plain = registry(Setup::default());
        let _ = fill(&encrypted, "box:1");
        let _ = fill(&plain, "library/linkspan-proxied:1");
        let proxy = Proxy::start(&encrypted.authority, &plain.authority);
        let image = "registry.example/box:1";
        set(&host, &["--ca", &encrypted.ca().to_string_lossy()]);
        set(&host, &["--https-proxy", &proxy.url, "--http-proxy", &proxy.url]);
        // Nobody but the proxy knows these names.
        let _ = host.run(&["pull", image]).ok();
        let asked = proxy.asked();
        let tunnel = "CONNECT registry.example:443 HTTP/1.1";
        assert!(!asked.is_empty() && asked.iter().all(|line| line == tunnel), "{asked:?}");
        assert_eq!(host.run(&["run", "--rm", image, "echo", "there"]).ok().text(), "there");

        set(&host, &["--mirror", "http://mirror.example,authoritative"]);
        let _ = host.run(&["pull", "linkspan-proxied:1"]).ok();
        let asked = proxy.asked();
        let whole = "GET http://mirror.example/v2/library/linkspan-proxied/";
        assert!(asked.iter().any(|line| line.starts_with(whole)), "{asked:?}");

        // Loopback needs no proxy, nor does what is excepted.
        let _ =
            host.run(&["pull", &format!("{}/library/linkspan-proxied:1", plain.authority)]).ok();
        set(&host, &["--no-proxy", "registry.example"]);
        let _ = host.run(&["rmi", image]).ok();
        host.run(&["pull", image]).fails(1, &["registry.example"]);
        assert_eq!(proxy.asked(), Vec::<String>::new());
        host.leaves_nothing();
    }),
    ("an_identity_token_is_kept_instead_of_the_password_and_exchanged", || {
        let host = Host::new();
        let server = Server::in_background(|_| Act::Serve);
        let docker = tempfile::tempdir().unwrap();
        let address = server.address.to_string();
        let image = format!("{address}/team/app:1");
        let layer = Layer::new(&[File::new("word", "told")], Packing::Gzip);
        Image::new(vec![layer], &["/none"]).put(&server, "team/app", "1");
        by_tokens(&server);
        let pull = || run_as(&host, &docker, &["pull", &image], b"");
        pull().fails(1, &["unauthorized: authentication required"]);
        let login = ["login", "-u", "user", "--password-stdin", &address];
        assert_eq!(run_as(&host, &docker, &login, b"secret").ok().text(), "Login Succeeded");
        let kept = std::fs::read(docker.path().join("config.json")).unwrap();
        let kept: Value = serde_json::from_slice(&kept).unwrap();
        assert_eq!(kept["auths"][&address]["identitytoken"], "an-identity", "{kept}");
        assert!(!kept.to_string().contains("c2VjcmV0"), "neither the password: {kept}");
        server.forget();
        let _ = pull().ok();
        let seen = server.seen();
        let tokens: Vec<_> = seen.iter().filter(|seen| seen.path == "/token").collect();
        // Its scope is one repository, and it serves for all of its parts.
        assert_eq!(tokens.len(), 1, "{:?}", server.lines());
        assert_eq!(tokens[0].method, Method::POST);
        let found = ["search", "--filter", "stars=3", &format!("{address}/app")];
        let found = run_as(&host, &docker, &found, b"").ok().text();
        assert!(found.contains("team/app") && !found.contains("team/other"), "{found}");
        let query = server.seen().into_iter().find(|seen| seen.path == "/v1/search").unwrap().query;
        assert!(query.contains("q=app"), "{query}");

        let _ = run_as(&host, &docker, &["logout", &address], b"").ok();
        let _ = host.run(&["rmi", &image]).ok();
        pull().fails(1, &["unauthorized: authentication required"]);
        host.leaves_nothing();
    }),
];
