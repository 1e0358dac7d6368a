//! Any sequence of commands, by one caller or several at once: what is refused is what the rules
//! refuse, no command is left without an answer, and in the end nothing is left.

use proptest::{prelude::*, test_runner::TestCaseError};

use super::*;
use crate::{
    restart::RestartPolicy,
    state::{Action, Verdict, judge},
};

const NAMES: [&str; 2] = ["one", "two"];
/// With what a container is made: one that runs until it is ended, one that ends by itself, one
/// that ends and is started again, one that does not start at all.
const PROGRAMS: [(&[&str], RestartPolicy); 4] = [
    (&["sleep", "1000"], RestartPolicy::No),
    (&["true"], RestartPolicy::No),
    (&["false"], RestartPolicy::OnFailure { max_retries: 2 }),
    (&["nonsense"], RestartPolicy::Always),
];

#[derive(Debug, Clone, Copy)]
enum Do {
    Create { program: usize },
    Act(Action),
}

fn what() -> impl Strategy<Value = Do> {
    prop_oneof![
        1 => (0..PROGRAMS.len()).prop_map(|program| Do::Create { program }),
        6 => (0..Action::ALL.len()).prop_map(|index| Do::Act(Action::ALL[index])),
    ]
}

async fn carry_out(containers: &Containers, name: &str, what: Do) -> Result<(), Error> {
    let no_time = Some(Duration::ZERO);
    let Do::Act(action) = what else {
        let Do::Create { program } = what else { return Ok(()) };
        let (command, restart) = PROGRAMS[program];
        return containers.create(name, Config { restart, ..config(command) }).await.map(drop);
    };
    match action {
        Action::Start => containers.start(name).await.map(drop),
        Action::Stop => containers.stop(name, None, no_time).await.map(drop),
        Action::Kill => containers.kill(name, Signal::KILL).await,
        Action::Pause => containers.pause(name).await,
        Action::Unpause => containers.unpause(name).await,
        Action::Restart => containers.restart(name, None, no_time).await,
        // There and back: the walk goes on with the name.
        Action::Rename => {
            let other = format!("{name}-renamed");
            containers.rename(name, &other).await?;
            containers.rename(&other, name).await
        }
        Action::Update | Action::Top | Action::Attach => Ok(()),
        Action::Exec => {
            let exec = ExecConfig { args: vec!["true".into()], ..ExecConfig::default() };
            containers.exec(name, exec).await.map(drop)
        }
        Action::Remove { force } => containers.remove(name, force, true).await.map(drop),
    }
}

/// Everything is removed, and nothing of it is left.
async fn clear(bench: &Bench, containers: &Containers) -> Result<(), TestCaseError> {
    for name in NAMES {
        let id = containers.inspect(name).map(|found| found.record.id.to_string());
        if let Ok(id) = id {
            within(containers.remove(&id, true, true)).await.expect("by force it always goes");
        }
    }
    prop_assert!(bench.launcher.cgroups().is_empty(), "{:?}", bench.launcher.cgroups());
    prop_assert_eq!(bench.launcher.processes(), 0);
    prop_assert_eq!(bench.launcher.frozen(), 0);
    prop_assert_eq!(bench.folders(), 0);
    for name in NAMES {
        let made = within(containers.create(name, config(&["true"]))).await;
        prop_assert!(made.is_ok(), "the name `{}` stays taken: {:?}", name, made.err());
    }
    Ok(())
}

fn in_a_runtime(
    walk: impl AsyncFnOnce(&Bench, &Containers) -> Result<(), TestCaseError>,
) -> Result<(), TestCaseError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let bench = Bench::new();
        let containers = bench.open();
        walk(&bench, &containers).await?;
        clear(&bench, &containers).await
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn what_is_refused_is_what_the_rules_refuse(
        walk in proptest::collection::vec((0..NAMES.len(), what()), 1..25),
    ) {
        in_a_runtime(async |_, containers| {
            for (name, what) in walk {
                let name = NAMES[name];
                // Only containers that do not change by themselves: the state is still the same
                // when the command arrives.
                let what = match what {
                    Do::Create { .. } => Do::Create { program: 0 },
                    act @ Do::Act(_) => act,
                };
                let before = containers.inspect(name).ok().map(|found| found.status.state.kind());
                let result = within(carry_out(containers, name, what)).await;
                let refused = match (what, before) {
                    (Do::Act(Action::Update | Action::Top | Action::Attach), _) => false,
                    (Do::Act(action), Some(kind)) => {
                        matches!(judge(kind, action), Verdict::Refuse(_))
                    }
                    (Do::Act(_), None) | (Do::Create { .. }, Some(_)) => true,
                    (Do::Create { .. }, None) => false,
                };
                prop_assert_eq!(
                    result.is_err(), refused,
                    "{:?} of `{}` in {:?}: {:?}", what, name, before, result.err()
                );
            }
            Ok(())
        })?;
    }

    #[test]
    fn callers_at_once_all_get_answers_and_leave_nothing(
        rounds in proptest::collection::vec(
            proptest::collection::vec((0..NAMES.len(), what()), 1..6), 1..8,
        ),
    ) {
        in_a_runtime(async |_, containers| {
            for round in rounds {
                let calls = round.into_iter().map(|(name, what)| {
                    let containers = containers.clone();
                    tokio::spawn(async move {
                        let result = carry_out(&containers, NAMES[name], what).await;
                        (what, result)
                    })
                });
                for call in calls.collect::<Vec<_>>() {
                    let (what, result) = within(call).await.expect("no call panics");
                    if let Err(error) = result {
                        let expected = match &error {
                            Error::WrongState { .. }
                            | Error::NotFound(_)
                            | Error::Gone(_)
                            | Error::NameConflict { .. }
                            | Error::Launch(_) => true,
                            // Two that rename the same one: the second finds it renamed.
                            Error::Invalid { option, .. } => {
                                matches!(what, Do::Act(Action::Rename)) && *option == "NEW_NAME"
                            }
                            _ => false,
                        };
                        prop_assert!(expected, "{:?}: {:?}", what, error);
                    }
                }
            }
            for name in NAMES {
                // A rename that was overtaken.
                let other = format!("{name}-renamed");
                if containers.inspect(&other).is_ok() {
                    within(containers.remove(&other, true, true)).await.expect("it goes");
                }
            }
            Ok(())
        })?;
    }
}
