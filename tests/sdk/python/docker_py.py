"""docker-py (PyPI: docker) against a machine of Linkspan."""

import io
import tarfile
import time
import unittest

import docker.errors
from docker.types import LogConfig, Mount

from sample import BUSYBOX, REGISTRY, Sample, discard, unique


def archive(**files):
    """A tar with these files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text))
    return buffer.getvalue()


def read_frame(stream):
    """One frame of Docker's multiplexed streams; None at the end."""
    def exactly(count):
        data = b""
        while len(data) < count:
            part = stream.read(count - len(data))
            if not part:
                return None
            data += part
        return data

    head = exactly(8)
    return head and (head[0], exactly(int.from_bytes(head[4:], "big")))


class Containers(Sample):
    def test_output_and_exit_code(self):
        output = self.docker.containers.run(
            BUSYBOX, ["sh", "-c", "echo out; echo err >&2"], remove=True, stderr=True
        )
        self.assertEqual(sorted(output.split()), [b"err", b"out"])
        with self.assertRaises(docker.errors.ContainerError) as failed:
            self.docker.containers.run(BUSYBOX, ["sh", "-c", "echo why >&2; exit 7"], remove=True)
        self.assertEqual((failed.exception.exit_status, failed.exception.stderr), (7, b"why\n"))

    def test_life(self):
        name = unique("life")
        container = self.docker.containers.create(
            BUSYBOX, ["sleep", "1000"], name=name, labels={"of": name}, environment={"A": "b"}
        )
        self.addCleanup(discard, container)
        self.assertEqual(container.status, "created")
        container.start()
        container.reload()
        self.assertEqual((container.status, container.name), ("running", name))
        self.assertIn("A=b", container.attrs["Config"]["Env"])
        self.assertEqual(
            [each.id for each in self.docker.containers.list(filters={"label": f"of={name}"})],
            [container.id],
        )
        container.pause()
        container.reload()
        self.assertEqual(container.status, "paused")
        container.unpause()
        container.rename(name + "-new")
        container.update(mem_limit="64m", memswap_limit="64m")
        container.reload()
        self.assertEqual(container.name, name + "-new")
        self.assertEqual(container.attrs["HostConfig"]["Memory"], 64 << 20)
        self.assertIn("sleep 1000", str(container.top()["Processes"]))
        container.restart(timeout=0)
        container.kill()
        self.assertEqual(container.wait()["StatusCode"], 137)
        container.remove()
        with self.assertRaises(docker.errors.NotFound):
            container.reload()

    def test_logs(self):
        container = self.run_busybox(
            "sh", "-c", "for n in 1 2 3; do echo line $n; done; echo last >&2",
            log_config=LogConfig(type=LogConfig.types.JSON),
        )
        followed = b"".join(container.logs(stream=True, follow=True))
        self.assertEqual(sorted(followed.splitlines()), [b"last", b"line 1", b"line 2", b"line 3"])
        self.assertEqual(container.logs(stdout=False), b"last\n")
        # Of both streams together: which line came last is not said.
        self.assertEqual(len(container.logs(tail=1).splitlines()), 1)
        stamped = container.logs(stderr=False, timestamps=True).splitlines()[0]
        self.assertRegex(stamped, rb"^\d{4}-\d\d-\d\dT[\d:.]+Z line 1$")

    def test_attach_with_standard_input(self):
        container = self.docker.containers.create(BUSYBOX, "cat", stdin_open=True)
        self.addCleanup(discard, container)
        wish = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
        attached = container.attach_socket(params=wish)
        container.start()
        attached._sock.sendall(b"there and back\n")
        self.assertEqual(read_frame(attached), (1, b"there and back\n"))
        attached._sock.shutdown(1)
        # `cat` lives on: Docker closes standard input only of one that was made with StdinOnce.
        attached.close()
        container.stop(timeout=0)

    def test_a_stream_that_is_closed_early_leaves_the_container(self):
        container = self.run_busybox("sh", "-c", "while true; do echo again; sleep 0.1; done")
        stream = container.logs(stream=True, follow=True)
        self.assertEqual(next(stream), b"again\n")
        stream.close()
        stats = container.stats(decode=True)
        next(stats)
        stats.close()
        events = self.docker.events(decode=True)
        events.close()
        container.reload()
        self.assertEqual(container.status, "running")

    def test_exec(self):
        container = self.run_busybox("sleep", "1000")
        code, (out, err) = container.exec_run(
            ["sh", "-c", "echo $WORD; echo err >&2; exit 3"], demux=True, environment={"WORD": "out"}
        )
        self.assertEqual((code, out, err), (3, b"out\n", b"err\n"))
        streamed = container.exec_run(["seq", "1", "1000"], stream=True)
        self.assertEqual(len(b"".join(streamed.output).splitlines()), 1000)
        made = self.docker.api.exec_create(container.id, ["cat"], stdin=True, user="root", workdir="/")
        socket = self.docker.api.exec_start(made["Id"], socket=True)
        socket._sock.sendall(b"typed")
        socket._sock.shutdown(1)
        self.assertEqual(read_frame(socket), (1, b"typed"))
        self.assertIsNone(read_frame(socket))
        socket.close()
        self.assertEqual(self.docker.api.exec_inspect(made["Id"])["ExitCode"], 0)
        code, _ = container.exec_run(["nosuch"])
        self.assertEqual(code, 127)

    def test_terminal(self):
        container = self.run_busybox("sh", "-c", "tty; sleep 1000", tty=True)
        container.resize(height=24, width=80)
        # Of a terminal the library gives one byte at a time.
        shown = b""
        for part in container.logs(stream=True):
            shown += part
            if shown.endswith(b"\n"):
                break
        self.assertEqual(shown.strip(), b"/dev/pts/0")

    def test_stats(self):
        container = self.run_busybox("sleep", "1000")
        sample = container.stats(stream=False)
        self.assertGreater(sample["memory_stats"]["usage"], 0)
        self.assertEqual(sample["id"], container.id)
        self.assertIn("eth0", sample["networks"])

    def test_archives(self):
        container = self.run_busybox("sleep", "1000")
        self.assertTrue(container.put_archive("/tmp", archive(word=b"packed")))
        chunks, stat = container.get_archive("/tmp/word")
        self.assertEqual((stat["name"], stat["size"]), ("word", 6))
        with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as tar:
            self.assertEqual(tar.extractfile("word").read(), b"packed")
        self.assertIn({"Path": "/tmp/word", "Kind": 1}, container.diff())
        with self.assertRaises(docker.errors.NotFound):
            container.get_archive("/nothing/there")

    def test_events(self):
        name = unique("events")
        since = int(time.time()) - 1
        container = self.run_busybox("true", name=name)
        container.wait()
        seen = []
        # Until the container's end has been told.
        of = {"container": name, "type": "container"}
        for event in self.docker.events(since=since, filters=of, decode=True):
            seen.append(event["Action"])
            if event["Action"] == "die":
                break
        self.assertEqual(
            [action for action in seen if action != "attach"], ["create", "start", "die"]
        )

    def test_errors(self):
        with self.assertRaises(docker.errors.NotFound) as missing:
            self.docker.containers.get("nobody-has-this")
        self.assertEqual(missing.exception.status_code, 404)
        self.assertEqual(missing.exception.explanation, "No such container: nobody-has-this")
        name = unique("taken")
        self.run_busybox("sleep", "1000", name=name)
        with self.assertRaises(docker.errors.APIError) as conflict:
            self.docker.containers.create(BUSYBOX, name=name)
        self.assertEqual(conflict.exception.status_code, 409)
        self.assertIn("is already in use by container", conflict.exception.explanation)
        with self.assertRaises(docker.errors.ImageNotFound):
            self.docker.containers.create(f"{REGISTRY}/nobody/has:this")
        unable = self.docker.containers.create(BUSYBOX, ["nosuch"])
        self.addCleanup(discard, unable)
        with self.assertRaises(docker.errors.APIError) as bad:
            unable.start()
        self.assertIn("executable file not found", bad.exception.explanation)


class Images(Sample):
    def make(self, name, command="echo made"):
        """An image of its own."""
        container = self.docker.containers.create(BUSYBOX, ["true"])
        changes = f'CMD ["sh", "-c", "{command}"]'
        image = container.commit(repository=name, tag="v1", changes=changes, message="for a test")
        container.remove()
        return image

    def test_what_a_commit_says_is_taken_as_it_is(self):
        name = unique("said")
        container = self.docker.containers.create(BUSYBOX, ["true"])
        self.addCleanup(discard, container)
        said = {
            "Env": ["WORD=one\nRUN two $three"],
            "Labels": {"of": "line\nUSER 7"},
            "WorkingDir": "/a $b",
            "Healthcheck": {"Test": ["CMD", "true"], "Retries": 3},
            "OnBuild": ["RUN true"],
            "Shell": ["/bin/ash", "-c"],
            "StopSignal": "SIGINT",
        }
        image = container.commit(repository=name, conf=said)
        shown = self.docker.images.get(name).attrs["Config"]
        for key in ["Labels", "WorkingDir", "OnBuild", "Shell", "StopSignal"]:
            self.assertEqual(shown[key], said[key])
        self.assertIn(said["Env"][0], shown["Env"])
        self.assertEqual(shown["Healthcheck"]["Retries"], 3)
        self.assertEqual(shown.get("User", ""), "")
        with self.assertRaises(docker.errors.APIError) as bad:
            container.commit(conf={"OnBuild": ["FROM x"]})
        self.assertIn("ONBUILD", bad.exception.explanation)
        self.docker.images.remove(image.id, force=True)

    def test_saved_is_loaded(self):
        name = unique("saved")
        image = self.make(name)
        saved = b"".join(image.save(named=True))
        self.docker.images.remove(f"{name}:v1")
        with self.assertRaises(docker.errors.ImageNotFound):
            self.docker.images.get(f"{name}:v1")
        [loaded] = self.docker.images.load(saved)
        self.assertEqual((loaded.id, loaded.tags), (image.id, [f"{name}:v1"]))
        self.assertEqual(loaded.history()[0]["Comment"], "for a test")
        self.assertTrue(loaded.tag(name, "v2"))
        tags = {tag for each in self.docker.images.list(name=name) for tag in each.tags}
        self.assertEqual(tags, {f"{name}:v1", f"{name}:v2"})
        output = self.docker.containers.run(f"{name}:v2", remove=True)
        self.assertEqual(output, b"made\n")
        self.docker.images.remove(f"{name}:v1")
        self.docker.images.remove(f"{name}:v2")

    def test_an_image_in_use_stays(self):
        name = unique("used")
        self.make(name)
        container = self.docker.containers.create(f"{name}:v1")
        with self.assertRaises(docker.errors.APIError) as conflict:
            self.docker.images.remove(f"{name}:v1")
        self.assertEqual(conflict.exception.status_code, 409)
        container.remove()
        self.docker.images.remove(f"{name}:v1")

    def test_push_and_pull(self):
        name = f"{REGISTRY}/{unique('pushed')}"
        image = self.make(name)
        lines = list(self.docker.images.push(name, tag="v1", stream=True, decode=True))
        [pushed] = [line["aux"] for line in lines if "aux" in line]
        self.assertEqual(pushed["Tag"], "v1")
        self.docker.images.remove(f"{name}:v1")
        pulled = self.docker.images.pull(name, tag="v1")
        self.assertEqual(pulled.id, image.id)
        self.assertEqual(pulled.attrs["RepoDigests"], [f"{name}@{pushed['Digest']}"])
        said = self.docker.images.get_registry_data(f"{name}:v1")
        self.assertEqual(said.id, pushed["Digest"])
        self.docker.images.remove(f"{name}:v1")
        with self.assertRaises(docker.errors.NotFound):
            self.docker.images.pull(name, tag="absent")

    def test_build(self):
        name = unique("built")
        dockerfile = f"FROM {BUSYBOX}\nARG WORD\nRUN echo $WORD > /word\nCMD cat /word\n"
        image, log = self.docker.images.build(
            fileobj=io.BytesIO(dockerfile.encode()), tag=name, buildargs={"WORD": "built"}
        )
        self.assertIn("Successfully built", "".join(line.get("stream", "") for line in log))
        self.assertEqual(self.docker.containers.run(image.id, remove=True), b"built\n")
        self.docker.images.remove(name)
        failing = f"FROM {BUSYBOX}\nRUN exit 5\n"
        with self.assertRaises(docker.errors.BuildError) as failed:
            self.docker.images.build(fileobj=io.BytesIO(failing.encode()))
        self.assertIn("returned a non-zero code: 5", failed.exception.msg)


class NetworksAndVolumes(Sample):
    def test_networks(self):
        name = unique("network")
        network = self.docker.networks.create(name, labels={"of": name})
        self.addCleanup(network.remove)
        self.assertEqual([each.id for each in self.docker.networks.list(names=[name])], [network.id])
        server = self.run_busybox(
            "sh", "-c", "echo served > /www; exec httpd -f -h /", network=name,
            ports={"80/tcp": ("127.0.0.1", None)},
        )
        client = self.run_busybox("sleep", "1000")
        network.connect(client, aliases=["asker"])
        network.reload()
        self.assertEqual({each.id for each in network.containers}, {server.id, client.id})
        fetch = f"until wget -qO- http://{server.name}/www; do sleep 0.1; done"
        self.assertEqual(client.exec_run(["sh", "-c", fetch]).output.splitlines()[-1], b"served")
        with self.assertRaises(docker.errors.APIError):
            network.remove()
        network.disconnect(client)
        server.reload()
        [published] = server.ports["80/tcp"]
        self.assertEqual(published["HostIp"], "127.0.0.1")

    def test_volumes(self):
        name = unique("volume")
        volume = self.docker.volumes.create(name, labels={"of": name})
        mount = Mount("/data", name)
        self.docker.containers.run(
            BUSYBOX, ["sh", "-c", "echo kept > /data/word"], mounts=[mount], remove=True
        )
        user = self.run_busybox("cat", "/data/word", volumes={name: {"bind": "/data", "mode": "ro"}})
        user.wait()
        self.assertEqual(user.logs(), b"kept\n")
        self.assertFalse(user.attrs["Mounts"][0]["RW"])
        with self.assertRaises(docker.errors.APIError) as used:
            volume.remove()
        self.assertEqual(used.exception.status_code, 409)
        user.remove()
        volume.remove()
        with self.assertRaises(docker.errors.NotFound):
            self.docker.volumes.get(name)

    def test_the_engine(self):
        self.assertTrue(self.docker.ping())
        self.assertEqual(self.docker.version()["Os"], "linux")
        self.assertEqual(self.docker.info()["OSType"], "linux")
        # Up to version 1.51, and from 1.52 on.
        self.assertTrue({"Volumes", "VolumeUsage"} & self.docker.df().keys())
        with self.assertRaises(docker.errors.APIError) as swarm:
            self.docker.nodes.list()
        self.assertEqual(swarm.exception.status_code, 503)


if __name__ == "__main__":
    unittest.main(verbosity=2)
