"""Servers that hold what DVC pushes, started for the tests on a free port of the loopback."""

import getpass
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest
import requests
from clone import Clone
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

CREDENTIALS = {
    **{"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": "us-east-1"},
    "AWS_MAX_ATTEMPTS": "1",  # a server that is gone is not asked again and again
}


@dataclass
class Remote:
    """Where to push to, and what a user sets up for it."""

    url: str = ""
    """Empty for the default remote, which needs no setting up."""
    settings: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)

    def use(self, clone: Clone) -> None:
        """Make it the default remote, in a commit, as docs/experiments.md says."""
        clone.environment |= self.environment
        if self.url:
            clone.run("dvc", "remote", "add", "--default", "shared", self.url)
            for name, value in {"verify": "true", **self.settings}.items():
                clone.run("dvc", "remote", "modify", "shared", name, value)
            clone.run("git", "commit", "--quiet", "--all", "--message", "A remote for all")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    return port


class S3Server:
    """moto's S3 in this process. It can be told to die, and to come back with what it holds."""

    def __init__(self) -> None:
        self.port = free_port()
        self.address, self.bucket = f"http://127.0.0.1:{self.port}", f"bucket-{self.port}"
        self.remote = Remote(f"s3://{self.bucket}/softmax-regression", {"endpointurl": self.address}, CREDENTIALS)
        self.uploads_left: int | None = None
        self.start()
        requests.put(f"{self.address}/{self.bucket}", timeout=30).raise_for_status()

    def start(self) -> None:
        """Serve; what was uploaded before is still there."""
        application = DomainDispatcherApplication(create_backend_app)

        def until_it_dies(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
            if environ["REQUEST_METHOD"] == "PUT" and self.uploads_left is not None:
                self.uploads_left -= 1
                if self.uploads_left < 0:
                    threading.Thread(target=self.stop).start()
                    raise ConnectionAbortedError  # the answer never comes
            return application(environ, start_response)

        self.server = make_server("127.0.0.1", self.port, until_it_dies, threaded=True)
        threading.Thread(target=self.server.serve_forever, args=[0.05], daemon=True).start()

    def read(self, key: str) -> bytes:
        """The content of an object in the bucket."""
        keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing", "region_name": "us-east-1"}
        client = boto3.client("s3", endpoint_url=self.address, **keys)
        content: bytes = client.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        return content

    def stop(self) -> None:
        """Refuse connections."""
        self.server.shutdown()
        self.server.server_close()


@contextmanager
def ssh_server(folder: Path) -> Iterator[Remote]:
    """OpenSSH's sshd with keys of its own, for the user who runs the tests; without it the test is skipped."""
    sshd = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
    if not sshd:
        reason = "needs sshd: apt-get install openssh-server"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # where it confines itself; the system's start scripts make it
    port = free_port()
    (folder / "config").write_text(
        f"ListenAddress 127.0.0.1:{port}\nHostKey {folder / 'host'}\nAuthorizedKeysFile {folder / 'user.pub'}\n"
        f"PidFile none\nStrictModes no\nPasswordAuthentication no\nSubsystem sftp internal-sftp\n"
    )
    server = subprocess.Popen([sshd, "-D", "-e", "-f", str(folder / "config")], stderr=(folder / "log").open("w"))
    deadline = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            break
        except OSError:
            assert server.poll() is None and time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.05)
    storage = folder / "storage"
    try:
        yield Remote(f"ssh://{getpass.getuser()}@127.0.0.1:{port}{storage}", {"keyfile": str(folder / "user")})
    finally:
        server.terminate()
        server.wait()
