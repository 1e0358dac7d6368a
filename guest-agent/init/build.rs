//! Links the static program at a fixed address.
//!
//! A static program is position independent by default: it relocates itself at every start, and
//! lies at a new address every time. Under QEMU's TCG that is what a start of a container mostly
//! consists of: translated code is found again by its virtual address (QEMU 7), so every run of
//! the program is translated anew. At a fixed address a start takes a third of the time, an exec
//! a quarter. Randomisation would protect little here: the program takes its orders from the
//! agent alone and lives for milliseconds.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let features = std::env::var("CARGO_CFG_TARGET_FEATURE").unwrap_or_default();
    if features.split(',').any(|feature| feature == "crt-static") {
        // `-no-pie` takes back rustc's `-static-pie`, all of it, hence `-static` again.
        println!("cargo:rustc-link-arg-bins=-no-pie");
        println!("cargo:rustc-link-arg-bins=-static");
    }
}
