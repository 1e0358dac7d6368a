//! Runs inside a container and reports, as JSON on standard output, what it sees of itself.
//!
//! The tests compare the report with what the container was asked to be. Nothing here knows what
//! was asked. With arguments it is a small tool box for tests:
//!
//! ```text
//! linkspan-checker                    the report
//! linkspan-checker attempts           which forbidden things could be done
//! linkspan-checker netfilter          how many objects the packet filter has
//! linkspan-checker crash-pid-1        make the machine's first process crash (--pid host, --privileged)
//! linkspan-checker kill-inits SECONDS kill every linkspan-init as it appears (the same)
//! linkspan-checker overwrite-runtime SECONDS  write to /proc/PID/exe of a linkspan-init
//! linkspan-checker ask-vsock CID PORT  begin HTTP/2 there; print how that ended
//! linkspan-checker http-get SOCKET PATH  ask an HTTP server at a unix socket; print its whole answer
//! linkspan-checker eat-memory MIB     touch that much memory, then exit 0
//! linkspan-checker fork N             start N children that sleep; print how many there were
//! linkspan-checker emit BYTES         write that many patterned bytes to standard output
//! linkspan-checker count              count standard input's bytes and print their checksum
//! linkspan-checker exit CODE          exit with that code
//! linkspan-checker signal NUMBER      send that signal to itself
//! linkspan-checker udp-echo PORT      send every datagram that comes to a port back
//! linkspan-checker tcp-ends PORT      send back what comes; `reset` resets; print how each connection ended
//! linkspan-checker name-server ADDRESS  a name server to which every name has that address
//! linkspan-checker dial SOCKET TEXT   send a line to a Unix socket; print what comes until its end
//! linkspan-checker spin MILLISECONDS  use the processor for that long; print the CPU time it got
//! linkspan-checker time-runtime RUNTIME BUNDLE RUNS
//!                                     time an OCI runtime's create, start, wait, delete
//! linkspan-checker time-files FOLDER COUNT MIB
//!                                     time small files and a big one in a folder that it makes
//! linkspan-checker watch PATH...      print what inotify tells of these paths
//! ```

mod attacks;
mod attempts;
mod netfilter;
mod report;
mod services;
mod timing;
mod tools;
mod vsock;
mod watch;

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        [] => print(&report::Report::take()),
        ["attempts"] => print(&attempts::all()),
        ["netfilter"] => netfilter::count().and_then(|found| print(&found)),
        ["watch", paths @ ..] => watch::watch(paths),
        [tool, rest @ ..] => tools::run(tool, rest),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("linkspan-checker: {error}");
            ExitCode::from(99)
        }
    }
}

fn print(value: &impl serde::Serialize) -> Result<ExitCode, String> {
    let text = serde_json::to_string_pretty(value).map_err(|error| error.to_string())?;
    println!("{text}");
    Ok(ExitCode::SUCCESS)
}
