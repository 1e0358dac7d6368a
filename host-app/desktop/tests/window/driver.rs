//! A WebDriver session: the few commands of <https://www.w3.org/TR/webdriver2/> that the tests use.
//!
//! Spoken straight to WebKitWebDriver, which starts the app itself. The crates for WebDriver are
//! asynchronous, for every browser, and twenty more to build; these tests are one after the other.

use std::time::{Duration, Instant};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

/// How long one command may take. Starting the app is one.
const PATIENCE: Duration = Duration::from_secs(60);
/// The property of an answer that is an element, by the standard.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

pub(crate) struct Driver {
    runtime: Runtime,
    http: Client<HttpConnector, Full<bytes::Bytes>>,
    address: String,
}

/// An element of the page, until the page draws it anew.
pub(crate) struct Element(String);

impl Driver {
    /// Of the program that listens on `port` of the loopback.
    pub(crate) fn at(port: u16) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        Self {
            runtime: runtime.expect("a runtime"),
            http: Client::builder(TokioExecutor::new()).build_http(),
            address: format!("http://127.0.0.1:{port}"),
        }
    }

    /// Starts `binary` and opens a session with it.
    pub(crate) fn begin(&mut self, binary: &std::path::Path) -> Result<(), String> {
        let options = json!({ "binary": binary, "args": [] });
        let body =
            json!({ "capabilities": { "alwaysMatch": { "webkitgtk:browserOptions": options } } });
        // The driver has been started a moment ago.
        let deadline = Instant::now() + PATIENCE;
        let answer = loop {
            match self.call(&Method::POST, "/session", &body) {
                Err(error) if error.contains("Connect") && Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(50));
                }
                other => break other?,
            }
        };
        let session = answer["sessionId"].as_str().ok_or("no session id")?;
        self.address = format!("{}/session/{session}", self.address);
        Ok(())
    }

    pub(crate) fn end(&self) -> Result<(), String> {
        self.call(&Method::DELETE, "", &Value::Null).map(drop)
    }

    /// The first element, or none.
    pub(crate) fn find(&self, xpath: &str) -> Result<Option<Element>, String> {
        let body = json!({ "using": "xpath", "value": xpath });
        let found = self.call(&Method::POST, "/elements", &body)?;
        Ok(found[0][ELEMENT].as_str().map(|id| Element(id.to_owned())))
    }

    pub(crate) fn click(&self, element: &Element) -> Result<(), String> {
        self.call(&Method::POST, &format!("/element/{}/click", element.0), &json!({})).map(drop)
    }

    /// Of a field: what it has.
    pub(crate) fn clear(&self, element: &Element) -> Result<(), String> {
        self.call(&Method::POST, &format!("/element/{}/clear", element.0), &json!({})).map(drop)
    }

    /// Gives it the focus and types.
    pub(crate) fn keys(&self, element: &Element, text: &str) -> Result<(), String> {
        let body = json!({ "text": text });
        self.call(&Method::POST, &format!("/element/{}/value", element.0), &body).map(drop)
    }

    /// What `script` returns.
    pub(crate) fn run(&self, script: &str) -> Result<Value, String> {
        let body = json!({ "script": script, "args": [] });
        self.call(&Method::POST, "/execute/sync", &body)
    }

    /// Of the window, in pixels.
    pub(crate) fn resize(&self, width: u32, height: u32) -> Result<(), String> {
        let body = json!({ "width": width, "height": height });
        self.call(&Method::POST, "/window/rect", &body).map(drop)
    }

    /// A PNG of the page, as it is drawn.
    pub(crate) fn picture(&self) -> Result<Vec<u8>, String> {
        // What the page has may be two frames ahead of what is on the screen.
        let drawn = "const [done] = arguments; \
                     requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 50)))";
        let body = json!({ "script": drawn, "args": [] });
        self.call(&Method::POST, "/execute/async", &body)?;
        let picture = self.call(&Method::GET, "/screenshot", &Value::Null)?;
        let text = picture.as_str().ok_or("no picture")?;
        BASE64_STANDARD.decode(text).map_err(|error| error.to_string())
    }

    fn call(&self, method: &Method, path: &str, body: &Value) -> Result<Value, String> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.address))
            .header("content-type", "application/json")
            .body(Full::from(body))
            .map_err(|error| error.to_string())?;
        let answered = async {
            let answer = self.http.request(request).await.map_err(|error| format!("{error:?}"))?;
            let bytes = answer.into_body().collect().await.map_err(|error| error.to_string())?;
            serde_json::from_slice::<Value>(&bytes.to_bytes()).map_err(|error| error.to_string())
        };
        let answered = async { tokio::time::timeout(PATIENCE, answered).await };
        let mut answer = self
            .runtime
            .block_on(answered)
            .map_err(|_| format!("{method} {path} was not answered"))??;
        let value = answer["value"].take();
        match value["error"].as_str() {
            Some(error) => Err(format!("{error}: {}", value["message"].as_str().unwrap_or(""))),
            None => Ok(value),
        }
    }
}
