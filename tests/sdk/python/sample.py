"""What the programs beside this one share: the engine that they are for, and names."""

import os
import unittest

import docker
import docker.errors

# An image that each machine has.
BUSYBOX = "busybox"
# A registry on the loopback of the host: `localhost:PORT`.
REGISTRY = os.environ["LINKSPAN_TEST_REGISTRY"]


def unique(name):
    """A name that no other program uses on the same machine."""
    return f"sdk-{name}-{os.getpid()}"


def discard(container):
    """Removes a container that may have gone."""
    try:
        container.remove(force=True, v=True)
    except docker.errors.NotFound:
        pass


class Sample(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        # DOCKER_HOST, as any user of the library.
        cls.docker = docker.from_env(timeout=60)
        cls.addClassCleanup(cls.docker.close)

    def run_busybox(self, *command, **options):
        """A container that is removed with the test."""
        container = self.docker.containers.run(BUSYBOX, list(command), detach=True, **options)
        self.addCleanup(discard, container)
        return container
