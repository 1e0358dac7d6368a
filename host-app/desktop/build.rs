//! Tells Tauri which commands there are, so that the capability file can allow them one by one.

fn main() {
    println!("cargo::rerun-if-changed=ui/dist");
    if !std::path::Path::new("ui/dist/index.html").is_file() {
        println!("cargo::error=the pages are not built: run `make ui` first (`make app` does)");
        return;
    }
    let commands = &[
        "daemon_connect",
        "browse",
        "call_unary",
        "call_open",
        "call_send",
        "call_finish",
        "call_more",
        "call_cancel",
    ];
    let manifest = tauri_build::AppManifest::new().commands(commands);
    let attributes = tauri_build::Attributes::new().app_manifest(manifest);
    if let Err(error) = tauri_build::try_build(attributes) {
        println!("cargo::error={error:#}");
    }
}
