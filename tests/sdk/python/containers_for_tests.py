"""Testcontainers for Python against a machine of Linkspan, as its users' tests have it."""

import pathlib
import tempfile
import unittest
import urllib.request

from testcontainers.core.container import DockerContainer
from testcontainers.core.image import DockerImage
from testcontainers.core.network import Network
from testcontainers.core.wait_strategies import (
    ExecWaitStrategy,
    HealthcheckWaitStrategy,
    HttpWaitStrategy,
    LogMessageWaitStrategy,
    PortWaitStrategy,
)

from sample import BUSYBOX, Sample, unique

SERVE = "echo served > /index.html; echo it begins; exec httpd -f -h /"


def server():
    return DockerContainer(BUSYBOX).with_command(["sh", "-c", SERVE]).with_exposed_ports(80)


def fetch(container):
    host, port = container.get_container_host_ip(), container.get_exposed_port(80)
    with urllib.request.urlopen(f"http://{host}:{port}/", timeout=30) as answer:
        return answer.read()


class Testcontainers(Sample):
    def test_a_log_line_is_waited_for(self):
        waits = LogMessageWaitStrategy("it begins").with_startup_timeout(60)
        with server().waiting_for(waits) as container:
            self.assertEqual(container.get_logs(), (b"it begins\n", b""))

    def test_a_port_and_an_answer_are_waited_for(self):
        with server().waiting_for(PortWaitStrategy(80).with_startup_timeout(60)) as container:
            # A published port listens before who is behind it does: ask until that answers.
            HttpWaitStrategy(80).with_startup_timeout(60).wait_until_ready(container)
            self.assertEqual(fetch(container), b"served\n")

    def test_commands_and_files(self):
        container = DockerContainer(BUSYBOX).with_command("sleep 1000").with_env("WORD", "set")
        ready = ExecWaitStrategy(["test", "-d", "/proc"]).with_startup_timeout(60)
        with tempfile.TemporaryDirectory() as folder:
            shared = pathlib.Path(folder, "shared")
            shared.write_text("of the host")
            container.with_volume_mapping(shared, "/shared").with_tmpfs_mount("/memory")
            with container.waiting_for(ready):
                result = container.exec(["sh", "-c", "echo $WORD; cat /shared"])
                self.assertEqual((result.exit_code, result.output), (0, b"set\nof the host"))
                self.assertNotEqual(container.exec("test -e /nothing").exit_code, 0)
                container.copy_into_container(b"carried", "/memory/in")
                out = pathlib.Path(folder, "out")
                container.copy_from_container("/memory/in", out)
                self.assertEqual(out.read_bytes(), b"carried")

    def test_containers_find_each_other(self):
        with Network() as network:
            behind = server().with_network(network).with_network_aliases("behind")
            with behind.waiting_for(LogMessageWaitStrategy("it begins").with_startup_timeout(60)):
                asker = DockerContainer(BUSYBOX).with_command("sleep 1000").with_network(network)
                with asker:
                    script = "until wget -qO- http://behind/; do sleep 0.1; done"
                    answer = asker.exec(["sh", "-c", script])
                    self.assertEqual(answer.output.splitlines()[-1], b"served")
        self.assertEqual(self.docker.networks.list(names=[network.name]), [])

    def test_health_is_waited_for(self):
        check = {"test": ["CMD", "test", "-e", "/index.html"], "interval": 10**9}
        container = server().with_kwargs(healthcheck=check)
        with container.waiting_for(HealthcheckWaitStrategy().with_startup_timeout(60)):
            container.reload()
            state = container.get_wrapped_container().attrs["State"]
            self.assertEqual(state["Health"]["Status"], "healthy")

    def test_an_image_is_built_and_goes(self):
        tag = unique("testcontainers")
        with tempfile.TemporaryDirectory() as folder:
            pathlib.Path(folder, "Dockerfile").write_text(f"FROM {BUSYBOX}\nCMD echo from a build\n")
            with DockerImage(path=folder, tag=tag) as image:
                with DockerContainer(str(image)) as container:
                    self.assertEqual(container.wait(), 0)
                    self.assertEqual(container.get_logs()[0], b"from a build\n")

    def test_a_container_may_have_dockers_socket(self):
        # As the reaper of Testcontainers has it, whose image is not to be had everywhere.
        socket = self.docker.api.get_adapter(self.docker.api.base_url).socket_path
        container = DockerContainer(BUSYBOX).with_command("test -S /var/run/docker.sock")
        with container.with_volume_mapping(socket, "/var/run/docker.sock", "rw"):
            self.assertEqual(container.wait(), 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
