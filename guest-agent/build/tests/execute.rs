//! Carrying plans out, with a worker whose layers are words.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use linkspan_build::{
    Action, Built, Failure, Hole, ImageConfig, ImageInfo, Images, Options, Outcome, Plan, Step,
    Tree, Trees, Worker, execute, plan,
};

const DEADLINE: Duration = Duration::from_secs(60);

fn planned(text: &str, options: &Options, digest: &str) -> Plan {
    let mut images = Images::new();
    loop {
        match plan(text, options, &images).unwrap() {
            Outcome::Plan(plan) => return *plan,
            Outcome::Missing(missing) => images.extend(missing.into_iter().map(|request| {
                (request, ImageInfo { digest: digest.into(), config: ImageConfig::default() })
            })),
        }
    }
}

/// Layers are the texts of steps; the files of the context are their names and versions.
#[derive(Default)]
struct Words {
    cache: Mutex<BTreeMap<String, String>>,
    performed: Mutex<Vec<String>>,
    context: Mutex<BTreeMap<String, u32>>,
    /// The step with this text fails.
    fails: Option<&'static str>,
    /// Steps with these texts wait until all of them have begun.
    meet: BTreeSet<&'static str>,
    met: (Mutex<BTreeSet<String>>, Condvar),
}

impl Worker for Words {
    type Layer = String;
    type Error = String;

    fn content(&self, hole: &Hole, trees: &Trees<String>) -> Result<String, String> {
        match hole {
            Hole::ContextFiles { paths, .. } => {
                let context = self.context.lock().unwrap();
                let version = context.get(&paths[0]).ok_or(format!("{} is not there", paths[0]))?;
                Ok(version.to_string())
            }
            Hole::StageFiles { stage, .. } => Ok(trees[stage].layers.join("+")),
            other => Err(format!("{other:?}")),
        }
    }

    fn find(&self, key: &str) -> Result<Option<String>, String> {
        Ok(self.cache.lock().unwrap().get(key).cloned())
    }

    fn perform(
        &self,
        step: &Step,
        key: &str,
        _: &Tree<String>,
        _: &Trees<String>,
    ) -> Result<String, String> {
        assert!(!matches!(step.action, Action::Configure));
        if self.fails == Some(step.text.as_str()) {
            return Err("exit code 1".into());
        }
        assert_ne!(step.text, "RUN panic", "as asked");
        if self.meet.contains(step.text.as_str()) {
            let (begun, changed) = (&self.met.0, &self.met.1);
            let mut begun = begun.lock().unwrap();
            begun.insert(step.text.clone());
            changed.notify_all();
            let end = Instant::now() + DEADLINE;
            while begun.len() < self.meet.len() {
                let left = end.checked_duration_since(Instant::now()).ok_or("nobody came")?;
                begun = changed.wait_timeout(begun, left).unwrap().0;
            }
        }
        self.performed.lock().unwrap().push(step.text.clone());
        self.cache.lock().unwrap().insert(key.to_owned(), step.text.clone());
        Ok(step.text.clone())
    }
}

impl Words {
    fn build(&self, text: &str) -> Built<String> {
        execute(&planned(text, &Options::default(), "sha256:1"), self, 4).unwrap()
    }
}

#[test]
fn layers_stand_on_each_other_in_order() {
    for threads in [1, 4] {
        let text = "FROM a AS x\nRUN 1\nENV A=1\nRUN 2\nFROM x\nRUN 3";
        let plan = planned(text, &Options::default(), "sha256:1");
        let built = execute(&plan, &Words::default(), threads).unwrap();
        assert_eq!(built.tree.layers, ["RUN 1", "RUN 2", "RUN 3"]);
        assert_eq!(built.tree.image.unwrap().digest, "sha256:1");
        assert_eq!((built.performed, built.found), (3, 0));
    }
}

#[test]
fn independent_stages_run_at_one_time() {
    let text = "FROM a AS x\nRUN 1\nFROM a AS y\nRUN 2\nFROM scratch\nCOPY --from=x / /\nCOPY --from=y / /";
    let worker = Words { meet: ["RUN 1", "RUN 2"].into(), ..Words::default() };
    assert_eq!(worker.build(text).tree.layers.len(), 2);
}

#[test]
fn a_second_build_finds_everything() {
    let text = "FROM a AS x\nRUN 1\nCOPY f /\nFROM scratch\nWORKDIR /w\nCOPY --from=x / /";
    let worker = Words::default();
    worker.context.lock().unwrap().insert("/f".into(), 1);
    assert_eq!(worker.build(text).performed, 4);
    let again = worker.build(text);
    assert_eq!((again.performed, again.found), (0, 4));
}

#[test]
fn a_changed_file_does_what_depends_on_it_again() {
    let text = "FROM a\nRUN 1\nCOPY f /\nRUN 2\nCOPY --link g /";
    let worker = Words::default();
    worker.context.lock().unwrap().extend([("/f".into(), 1), ("/g".into(), 1)]);
    worker.build(text);
    worker.performed.lock().unwrap().clear();
    worker.context.lock().unwrap().insert("/f".into(), 2);
    worker.build(text);
    assert_eq!(*worker.performed.lock().unwrap(), ["COPY f /", "RUN 2"]);
}

#[test]
fn a_new_base_leaves_a_linked_layer() {
    let text = "FROM a\nRUN 1\nCOPY --link g /";
    let worker = Words::default();
    worker.context.lock().unwrap().insert("/g".into(), 1);
    worker.build(text);
    worker.performed.lock().unwrap().clear();
    let built = execute(&planned(text, &Options::default(), "sha256:2"), &worker, 1).unwrap();
    assert_eq!(*worker.performed.lock().unwrap(), ["RUN 1"]);
    assert_eq!(built.tree.layers, ["RUN 1", "COPY --link g /"]);
}

#[test]
fn no_cache_does_everything_again() {
    let worker = Words::default();
    worker.build("FROM a\nRUN 1");
    let options = Options { no_cache: true, ..Options::default() };
    let plan = planned("FROM a\nRUN 1", &options, "sha256:1");
    assert_eq!(execute(&plan, &worker, 1).unwrap().performed, 1);
}

#[test]
fn a_failure_names_its_step_and_nothing_follows_it() {
    let text = "FROM a AS x\nENV A=1\nRUN 1\nRUN 2\nFROM x\nRUN 3";
    let plan = planned(text, &Options::default(), "sha256:1");
    let worker = Words { fails: Some("RUN 1"), ..Words::default() };
    let Failure { stage, step, error } = execute(&plan, &worker, 2).unwrap_err();
    assert_eq!((stage, step, error.as_str()), (0, 1, "exit code 1"));
    assert_eq!(plan.stages[stage].steps[step].span.first_line, 3);
    assert!(worker.performed.lock().unwrap().is_empty());
}

#[test]
fn what_cannot_be_read_fails_the_step_that_needs_it() {
    let plan = planned("FROM scratch\nCOPY f /", &Options::default(), "");
    let failure = execute(&plan, &Words::default(), 1).unwrap_err();
    assert_eq!(failure.error, "/f is not there");
}

#[test]
fn a_panic_of_the_worker_ends_the_build() {
    let text = "FROM a AS x\nRUN panic\nFROM a AS y\nRUN 2\nFROM x\nCOPY --from=y / /";
    let plan = planned(text, &Options::default(), "");
    let build = || execute(&plan, &Words::default(), 3).map(|built| built.performed);
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(build));
    assert!(result.is_err());
}
