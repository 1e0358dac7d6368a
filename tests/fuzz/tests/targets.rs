//! Every target, for a moment.

use std::time::Duration;

use linkspan_fuzz::{TARGETS, run};

/// The same inputs each time as far as the machine gets: a failure comes back.
const SEED: u64 = 20_260_101;

fn holds(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target");
    let inputs = run(target, Duration::from_secs(1), SEED);
    println!("{name}: {inputs} inputs");
}

macro_rules! each {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            holds(stringify!($name));
        })*

        #[test]
        fn no_target_is_left_out() {
            let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
            assert_eq!(names, [$(stringify!($name)),*]);
        }
    };
}

each!(image layer copy config manifest index reference seccomp dns preface dockerfile ignore log wire request parameter);
