//! Every flag of Docker's verbs is known here, done or refused by name.

use super::*;

/// `docker run` (docs/reference/commandline/container_run.md of docker/cli), and what older versions
/// of it had besides: `disable-content-trust`, `kernel-memory`, and the hidden `net`, `net-alias` and
/// `dns-opt`. `create` has all but [`RUN_ONLY`].
const RUN: &str = "add-host annotation attach blkio-weight blkio-weight-device cap-add cap-drop \
    cgroup-parent cgroupns cidfile cpu-count cpu-percent cpu-period cpu-quota cpu-rt-period \
    cpu-rt-runtime cpu-shares cpus cpuset-cpus cpuset-mems detach detach-keys device \
    device-cgroup-rule device-read-bps device-read-iops device-write-bps device-write-iops \
    disable-content-trust dns dns-opt dns-option dns-search domainname entrypoint env env-file \
    expose gpus group-add health-cmd health-interval health-retries health-start-interval \
    health-start-period health-timeout help hostname init interactive io-maxbandwidth io-maxiops \
    ip ip6 ipc isolation kernel-memory label label-file link link-local-ip log-driver log-opt \
    mac-address memory memory-reservation memory-swap memory-swappiness mount name net net-alias \
    network network-alias no-healthcheck oom-kill-disable oom-score-adj pid pids-limit platform \
    privileged publish publish-all pull quiet read-only restart rm runtime security-opt shm-size \
    sig-proxy stop-signal stop-timeout storage-opt sysctl tmpfs tty ulimit use-api-socket user \
    userns uts volume volume-driver volumes-from workdir";

const RUN_ONLY: &[&str] = &["detach", "detach-keys", "sig-proxy"];

const OTHERS: &[(&str, &str)] = &[
    ("exec", "detach detach-keys env env-file interactive privileged tty user workdir"),
    (
        "update",
        "blkio-weight blkio-weight-device cpu-period cpu-quota cpu-rt-period cpu-rt-runtime \
         cpu-shares cpus cpuset-cpus cpuset-mems device-read-bps device-read-iops \
         device-write-bps device-write-iops kernel-memory memory memory-reservation memory-swap \
         pids-limit restart",
    ),
    (
        "build",
        "add-host allow annotation attest build-arg build-context builder cache-from cache-to \
         call cgroup-parent check compress cpu-period cpu-quota cpu-shares cpuset-cpus \
         cpuset-mems file force-rm iidfile isolation label load memory memory-swap \
         metadata-file network no-cache no-cache-filter output platform progress provenance \
         pull push quiet rm sbom secret security-opt shm-size squash ssh tag target ulimit",
    ),
    ("logs", "details follow since tail timestamps until"),
    ("ps", "all filter format last latest no-trunc quiet size"),
    ("images", "all digests filter format no-trunc quiet tree"),
    ("history", "format human no-trunc quiet"),
    ("rmi", "force no-prune platform"),
];

#[test]
fn no_flag_of_docker_is_unknown() {
    let command = command();
    let create = RUN.split_whitespace().filter(|flag| !RUN_ONLY.contains(flag));
    let of_verbs = RUN
        .split_whitespace()
        .map(|flag| ("run", flag))
        .chain(create.map(|flag| ("create", flag)))
        .chain(
            OTHERS
                .iter()
                .flat_map(|(verb, flags)| flags.split_whitespace().map(move |flag| (*verb, flag))),
        );
    for (verb, flag) in of_verbs {
        let parser = command.find_subcommand(verb).expect("a verb of Docker");
        let known = parser.get_arguments().any(|arg| {
            arg.get_long() == Some(flag)
                || arg.get_all_aliases().is_some_and(|aliases| aliases.contains(&flag))
        });
        assert!(known, "{verb} --{flag}");
    }
}
