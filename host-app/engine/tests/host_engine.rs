//! The real engine on machines that are not there: their guests serve a fake agent on in-memory
//! ports, and dial the boot beacon as a real one does.

use std::{sync::Arc, time::Duration};

use futures::{FutureExt as _, StreamExt as _};
use linkspan_agent_client::fake::FakeGuest;
use linkspan_engine::{Engine, EngineOptions, HostEngine, Updates};
use linkspan_machine::{
    Budgets,
    driver::{Accelerator, VmExit},
    fake::{FakeBoot, FakeDriver, tcg, vm_image},
};
use linkspan_proto::{
    PROTOCOL_VERSION,
    error::{ErrorCode, Failure},
    host::v1::{MachineSettingsPatch, MachineState, PhaseState, StopMachineResponse},
    ports,
    v1::{BootPhase, ContainerConfig, CreateContainerRequest, PingRequest},
};
use linkspan_state::{Config, Paths};
use prost::Message as _;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio_util::sync::CancellationToken;

struct Host {
    home: TempDir,
    driver: Arc<FakeDriver>,
    guest: FakeGuest,
    ended: CancellationToken,
}

fn phase(name: &str, started_us: u64, duration_us: u64) -> BootPhase {
    BootPhase { name: name.into(), started_us, duration_us, ..BootPhase::default() }
}

fn good_boot() -> Vec<BootPhase> {
    vec![
        phase("kernel", 0, 5000),
        phase("agent", 5000, 1000),
        phase("disk", 6000, 0),
        phase("disk", 6000, 2000),
        phase("network", 8000, 1000),
        phase("serve", 9000, 1),
        phase("ready", 9001, 1),
    ]
}

impl Host {
    fn new() -> Self {
        Self::that_boots(good_boot())
    }

    /// Its guests send these phases, then serve an agent until they are switched off.
    fn that_boots(phases: Vec<BootPhase>) -> Self {
        let (driver, guest) = (FakeDriver::new(), FakeGuest::default());
        let agent = guest.clone();
        driver.plays(move |boot| play(boot, agent.clone(), phases.clone()).boxed());
        let home = tempfile::tempdir().unwrap();
        Self { home, driver, guest, ended: CancellationToken::new() }
    }

    async fn engine(&self) -> Arc<HostEngine> {
        let paths = Paths::at(&self.home.path().join("home")).unwrap();
        let options = EngineOptions {
            config: Config::load(&paths).unwrap(),
            paths,
            images: vm_image(&self.home.path().join("vm-image")),
            budgets: Budgets::all(Duration::from_secs(10)),
            driver: self.driver.clone(),
            ended: self.ended.clone(),
        };
        HostEngine::open(options).await.unwrap()
    }
}

async fn play(boot: FakeBoot, guest: FakeGuest, phases: Vec<BootPhase>) {
    guest.boot(&format!("boot-of-{}", boot.spec.name));
    let mut rpc = boot.hub.listen_guest(ports::AGENT_RPC).unwrap();
    let mut streams = boot.hub.listen_guest(ports::AGENT_STREAMS).unwrap();
    let mut beacon = boot.hub.dial_host(boot.spec.beacon_port).unwrap();
    for phase in phases {
        beacon.write_all(&phase.encode_length_delimited_to_vec()).await.unwrap();
    }
    drop(beacon);
    let mut power = guest.power();
    use linkspan_transport::Accept as _;
    loop {
        tokio::select! {
            Ok(stream) = rpc.accept() => guest.connected(ports::AGENT_RPC, stream).unwrap(),
            Ok(stream) = streams.accept() => guest.connected(ports::AGENT_STREAMS, stream).unwrap(),
            _ = power.wait_for(|on| !on) => return boot.power_off(VmExit::PoweredOff),
        }
    }
}

async fn all<T>(updates: Updates<T>) -> Vec<Result<T, Failure>> {
    tokio::time::timeout(Duration::from_secs(20), updates.collect()).await.expect("the updates end")
}

/// The error of something that cannot be shown.
fn refused<T>(result: Result<T, Failure>) -> Failure {
    result.err().expect("must be refused")
}

#[tokio::test]
async fn the_first_calls_make_and_boot_the_default_machine_once() {
    let host = Host::new();
    let engine = host.engine().await;
    assert!(engine.list_machines().await.unwrap().is_empty());
    let agents = futures::future::join_all((0..8).map(|_| engine.agent(""))).await;
    for agent in agents {
        agent.unwrap().agent().ping(PingRequest::default()).await.unwrap();
    }
    assert_eq!(host.driver.starts().len(), 1);
    // One by the machine when it booted, one by the channel that all callers share.
    assert_eq!(host.guest.hellos(), 2);

    let machine = engine.inspect_machine("").await.unwrap();
    assert_eq!((machine.name.as_str(), machine.state()), ("default", MachineState::Running));
    assert_eq!(machine.kernel_release, "6.12.0-fake");
    assert_eq!(machine.host_memory_bytes, 100 << 20);
    assert_eq!(machine.usage.unwrap().memory_total_bytes, 1 << 30);
    assert!(machine.phases.iter().all(|phase| phase.state() == PhaseState::Done));
    let disk = machine.phases.iter().find(|phase| phase.name == "disk").unwrap();
    assert_eq!(disk.duration_us, 2000, "as the beacon told");
}

#[tokio::test]
async fn a_start_tells_its_phases_and_its_notices_once() {
    let host = Host::new();
    host.driver.has(vec![tcg()]);
    let engine = host.engine().await;
    let answers = all(engine.start_machine("default").await.unwrap()).await;
    let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    let states: Vec<_> =
        answers.iter().map(|answer| answer.machine.as_ref().unwrap().state()).collect();
    let (last, before) = states.split_last().unwrap();
    assert_eq!(*last, MachineState::Running);
    assert!(!before.is_empty() && before.iter().all(|state| *state == MachineState::Starting));
    let notices: Vec<_> = answers.iter().filter(|answer| !answer.notice.is_empty()).collect();
    let mut texts: Vec<_> = notices.iter().map(|answer| &answer.notice).collect();
    texts.sort();
    texts.dedup();
    assert!(!texts.is_empty() && texts.len() == notices.len(), "{texts:?}");
    assert_eq!(answers.last().unwrap().machine.as_ref().unwrap().accelerator, "tcg");

    // And of a machine that runs there is one thing to tell.
    let again = all(engine.start_machine("").await.unwrap()).await;
    assert_eq!(again.len(), 1);
    assert_eq!(again[0].as_ref().unwrap().machine.as_ref().unwrap().state(), MachineState::Running);
}

#[tokio::test]
async fn a_boot_goes_on_when_nobody_listens_any_more() {
    let host = Host::new();
    host.driver.delay_starts(Duration::from_millis(100));
    let engine = host.engine().await;
    drop(engine.start_machine("").await.unwrap());
    let mut watch = engine.watch_machine("").await.unwrap();
    let running =
        async { while watch.next().await.unwrap().unwrap().state() != MachineState::Running {} };
    tokio::time::timeout(Duration::from_secs(10), running).await.unwrap();
}

#[tokio::test]
async fn a_stopped_machine_powers_off_and_boots_again_for_the_next_call() {
    let host = Host::new();
    let engine = host.engine().await;
    let first = engine.agent("").await.unwrap();
    first.connect().await.unwrap();
    let stopped = engine.stop_machine("", false, Some(3)).await.unwrap();
    assert_eq!(stopped, StopMachineResponse::default(), "in good order");
    assert_eq!(host.guest.calls("PowerOff").len(), 1);
    assert_eq!(engine.inspect_machine("").await.unwrap().state(), MachineState::Stopped);
    let second = engine.agent("").await.unwrap();
    second.agent().ping(PingRequest::default()).await.unwrap();
    assert_eq!(host.driver.starts().len(), 2);
}

#[tokio::test]
async fn a_machine_that_dies_is_booted_again_for_the_next_call() {
    let host = Host::new();
    let engine = host.engine().await;
    engine.agent("").await.unwrap().connect().await.unwrap();
    host.driver.end_all(&VmExit::Vanished);
    host.guest.break_connections();
    let mut watch = engine.watch_machine("").await.unwrap();
    let failed = async {
        loop {
            let machine = watch.next().await.unwrap().unwrap();
            if machine.state() == MachineState::Failed {
                return machine.failure.unwrap();
            }
        }
    };
    let failure = tokio::time::timeout(Duration::from_secs(10), failed).await.unwrap();
    assert!(failure.message.contains("crashed or was killed"), "{failure:?}");
    engine.agent("").await.unwrap().agent().ping(PingRequest::default()).await.unwrap();
    assert_eq!(host.driver.starts().len(), 2);
}

#[tokio::test]
async fn only_the_default_machine_is_made_by_itself() {
    let host = Host::new();
    let engine = host.engine().await;
    let failure = refused(engine.agent("other").await);
    assert_eq!(failure.code, ErrorCode::NotFound);
    assert!(failure.message.contains("other") && failure.hint.is_some(), "{failure}");
    assert_eq!(refused(engine.agent("No Name").await).code, ErrorCode::InvalidArgument);
    assert!(host.driver.starts().is_empty());
}

#[tokio::test]
async fn an_agent_of_another_version_fails_the_start_and_is_named() {
    let host = Host::new();
    host.guest.set_hello(|hello| {
        hello.protocol_version = PROTOCOL_VERSION + 1;
        hello.version = "9.9.9".into();
    });
    let engine = host.engine().await;
    let failure = refused(engine.agent("").await);
    assert_eq!(failure.code, ErrorCode::VersionMismatch);
    assert!(failure.message.contains("9.9.9"), "{failure}");
    assert!(failure.hint.is_some());
    assert_eq!(host.driver.running(), 0, "nothing is left running");
    let machine = engine.inspect_machine("").await.unwrap();
    assert_eq!(machine.state(), MachineState::Failed);
    assert!(machine.failure.unwrap().message.contains("9.9.9"));
}

#[tokio::test]
async fn a_phase_that_fails_in_the_guest_is_told_in_its_words() {
    let mut phases = good_boot();
    phases[2].error = "/dev/vda holds something that is not ext4".into();
    phases[2].hint = "remove the machine".into();
    let host = Host::that_boots(phases);
    let engine = host.engine().await;
    let failure = all(engine.start_machine("").await.unwrap()).await.pop().unwrap().unwrap_err();
    assert!(failure.message.contains("disk") && failure.message.contains("not ext4"), "{failure}");
    assert_eq!(failure.hint.as_deref(), Some("remove the machine"));
}

#[tokio::test]
async fn the_next_engine_adopts_what_runs() {
    let host = Host::new();
    let first = host.engine().await;
    first.agent("").await.unwrap().connect().await.unwrap();
    drop(first);
    assert_eq!(host.driver.running(), 1, "the VM outlives the engine");
    let second = host.engine().await;
    second.agent("").await.unwrap().agent().ping(PingRequest::default()).await.unwrap();
    assert_eq!(host.driver.starts().len(), 1, "not booted again");
    assert_eq!(second.inspect_machine("").await.unwrap().state(), MachineState::Running);
}

#[tokio::test]
async fn machines_are_made_changed_and_removed_by_name() {
    let host = Host::new();
    let engine = host.engine().await;
    let one_cpu = MachineSettingsPatch { cpus: Some(1), ..MachineSettingsPatch::default() };
    let made = engine.create_machine("box", one_cpu).await.unwrap();
    assert_eq!((made.settings.unwrap().cpus, made.state), (1, MachineState::Stopped.into()));
    let twice = engine.create_machine("box", MachineSettingsPatch::default()).await;
    assert_eq!(refused(twice).code, ErrorCode::NameConflict);
    let nonsense = MachineSettingsPatch {
        cpus: Some(0),
        accelerator: Some("magic".into()),
        ..MachineSettingsPatch::default()
    };
    let failure = refused(engine.update_machine("box", nonsense).await);
    assert_eq!(failure.code, ErrorCode::InvalidArgument);
    assert!(failure.message.contains("magic") && failure.message.contains("cpu"), "{failure}");

    engine.agent("box").await.unwrap();
    let memory = MachineSettingsPatch { memory_mib: Some(300), ..MachineSettingsPatch::default() };
    assert!(engine.update_machine("box", memory).await.unwrap().restart_needed);
    assert_eq!(refused(engine.remove_machine("box", false).await).code, ErrorCode::WrongState);
    let watch = engine.watch_machine("box").await.unwrap();
    engine.remove_machine("box", true).await.unwrap();
    let last = all(watch).await.pop().unwrap().unwrap_err();
    assert!(last.message.contains("removed"), "{last}");
    assert_eq!(host.driver.running(), 0);
    assert!(engine.list_machines().await.unwrap().is_empty());
    assert_eq!(refused(engine.inspect_machine("box").await).code, ErrorCode::NotFound);
    // The name is free again.
    engine.create_machine("box", MachineSettingsPatch::default()).await.unwrap();
}

#[tokio::test]
async fn a_machine_that_cannot_be_opened_is_told_where_it_is_named_and_harms_no_other() {
    let host = Host::new();
    let folder = host.home.path().join("home/machines/broken");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("machine.json"), "not json").unwrap();
    let engine = host.engine().await;
    let failure = refused(engine.inspect_machine("broken").await);
    assert!(failure.message.contains("machine.json"), "{failure}");
    let listed = engine.list_machines().await.unwrap();
    assert_eq!(listed.len(), 1);
    assert!(listed[0].failure.as_ref().unwrap().message.contains("machine.json"));
    engine.agent("").await.unwrap();
    engine.remove_machine("broken", false).await.unwrap();
    assert!(!folder.exists());
    engine.create_machine("broken", MachineSettingsPatch::default()).await.unwrap();
}

#[tokio::test]
async fn a_machine_that_stands_still_says_so_instead_of_keeping_its_callers() {
    let host = Host::new();
    let engine = host.engine().await;
    engine.agent("").await.unwrap();
    host.driver.halt_all(Some("there is no room"));
    let mut updates = engine.watch_machine("default").await.unwrap();
    while updates.next().await.unwrap().unwrap().halted != "there is no room" {}
    for failure in [
        engine.agent("").await.map(drop).unwrap_err(),
        engine.stop_machine("", false, None).await.map(drop).unwrap_err(),
    ] {
        assert_eq!(failure.code, ErrorCode::NoSpace);
        assert!(failure.message.contains("`default` stands still: there is no room"), "{failure}");
    }
    host.driver.halt_all(None);
    while !updates.next().await.unwrap().unwrap().halted.is_empty() {}
    engine.agent("").await.unwrap();
}

#[tokio::test]
async fn shutdown_can_take_the_machines_along() {
    let host = Host::new();
    let engine = host.engine().await;
    engine.agent("").await.unwrap();
    engine.shutdown(true).await.unwrap();
    assert!(host.ended.is_cancelled());
    assert_eq!(host.driver.running(), 0);
    assert_eq!(host.guest.calls("PowerOff").len(), 1);
}

#[tokio::test]
async fn a_shutdown_leaves_the_machines_alone_unless_asked() {
    let host = Host::new();
    let engine = host.engine().await;
    engine.agent("").await.unwrap();
    engine.shutdown(false).await.unwrap();
    assert!(host.ended.is_cancelled());
    assert_eq!(host.driver.running(), 1);
}

#[tokio::test]
async fn a_built_in_image_is_sent_to_the_guest_that_lacks_it() {
    let host = Host::new();
    let engine = host.engine().await;
    let folder = host.home.path().join("vm-image");
    std::fs::create_dir_all(folder.join("images")).unwrap();
    // The fake agent takes an archive's first line for the image's reference.
    let mut archive = b"busybox\n".to_vec();
    archive.resize(3 << 20, 0);
    std::fs::write(folder.join("images/busybox.tar"), &archive).unwrap();
    let manifest = folder.join("manifest.json");
    let mut json: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&manifest).unwrap()).unwrap();
    json["images"] = serde_json::json!([{
        "reference": "busybox:latest", "file": "images/busybox.tar", "sha256": "",
        "size": archive.len(),
    }]);
    std::fs::write(&manifest, json.to_string()).unwrap();

    let config = ContainerConfig { image: "busybox".into(), ..ContainerConfig::default() };
    let request =
        CreateContainerRequest { name: "c".into(), config: Some(config), ..Default::default() };
    let created = engine.create_container("", tonic::Request::new(request)).await.unwrap();
    assert_eq!(created.into_inner().id, "id-of-c");
    assert_eq!((host.guest.calls("Load").len(), host.guest.calls("Create").len()), (1, 2));
}

#[tokio::test]
async fn the_serial_log_is_passed_on() {
    let host = Host::new();
    let engine = host.engine().await;
    engine.create_machine("box", MachineSettingsPatch::default()).await.unwrap();
    engine.agent("box").await.unwrap();
    let spec = host.driver.starts().pop().unwrap();
    std::fs::write(&spec.serial_log, "one\ntwo\nthree\n").unwrap();
    let log = all(engine.serial_log("box", false, Some(2)).await.unwrap()).await;
    let log: Vec<u8> = log.into_iter().flat_map(Result::unwrap).collect();
    assert_eq!(String::from_utf8(log).unwrap(), "two\nthree\n");
}

#[tokio::test]
async fn an_accelerator_is_named_with_its_reason() {
    let host = Host::new();
    let engine = host.engine().await;
    engine.agent("").await.unwrap();
    let machine = engine.inspect_machine("").await.unwrap();
    assert_eq!(machine.accelerator, Accelerator::Native.name());
    assert!(!machine.accelerator_reason.is_empty());
}
