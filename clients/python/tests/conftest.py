"""What tests share: a job directory, as the script of a job makes it."""

import json
import os
import socket
import subprocess
import sys
import textwrap
import threading
import time
import uuid
from pathlib import Path

import pytest

import expgraph


class JobDirectory:
    """A directory with the environment of a job in it, and what a program wrote into it."""

    def __init__(self, path, environment):
        self.path = path
        self.environment = environment

    def run(self, program, *, check=True, timeout=60, **environment):
        """Runs a Python program in the job. Answers the finished process, with its output as text."""
        return subprocess.run(
            [sys.executable, "-c", textwrap.dedent(program)], env={**self.environment, **environment}, cwd=self.path,
            check=check, timeout=timeout, capture_output=True, text=True,
        )

    def lines(self, name="metrics.jsonl"):
        file = self.path / name
        text = file.read_text(encoding="utf-8") if file.exists() else ""
        assert text == "" or text.endswith("\n")
        # The server leaves empty lines out: one may stand between the lines of two processes that wrote at once.
        return [json.loads(line) for line in text.splitlines() if line]


@pytest.fixture
def job(tmp_path, monkeypatch):
    environment = {
        "EXPGRAPH_JOB_DIR": str(tmp_path),
        "EXPGRAPH_JOB_ID": "0190a0c0-0000-7000-8000-000000000001",
        "EXPGRAPH_JOB_NAME": "lr=0.1",
        "EXPGRAPH_PROJECT": "vision",
        "EXPGRAPH_EXPERIMENT": "resnet",
        "EXPGRAPH_ATTEMPT": "2",
        "EXPGRAPH_METRICS": str(tmp_path / "metrics.jsonl"),
        "EXPGRAPH_CONFIG": str(tmp_path / "config.json"),
        "EXPGRAPH_CHECKPOINTS_DIR": str(tmp_path / "checkpoints"),
        "EXPGRAPH_RESUME_CHECKPOINT": "",
    }
    (tmp_path / "config.json").write_text('{"optim": {"lr": 0.1}, "seed": 3}')
    (tmp_path / "checkpoints").mkdir()
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return JobDirectory(tmp_path, {**os.environ})


TRAINER = Path(__file__).parents[3] / "examples" / "train.py"
# Jobs that a server knows already are not run again, so each run of the tests has a project of its own.
PROJECT = f"tests-{uuid.uuid4().hex[:8]}"
EXPERIMENT = f"{PROJECT}/three-rings"


@pytest.fixture(scope="session")
def client():
    """A client of the server that ``EXPGRAPH_URL`` and ``EXPGRAPH_TOKEN`` name."""
    if "EXPGRAPH_URL" not in os.environ:
        pytest.skip("EXPGRAPH_URL names no server to test against")
    return expgraph.Client()


@pytest.fixture(scope="session")
def sweep(client):
    """A finished sweep of real training runs: two learning rates, three seeds."""
    submission = client.submit_sweep(
        EXPERIMENT, ["python3", str(TRAINER), "{overrides}"], name="learning rates",
        base={"train": {"epochs": 4}, "data": {"train_size": 600}}, grid={"optim.lr": [0.003, 0.03]}, seeds=range(3),
        tags=["demo"], tag_keys=["optim.lr"], objective=("val/loss", "min"),
    )
    ids = submission.job_ids
    assert len(ids) == 6
    progress = client.wait(submission, timeout=120, progress=False)
    assert progress.states == {"COMPLETED": 6}
    return client.sweeps(EXPERIMENT)[0]


def validation(job_directory):
    """Step and loss of each validation, as the trainer wrote them."""
    lines = map(json.loads, (Path(job_directory) / "metrics.jsonl").read_text().splitlines())
    return [(line["step"], line["loss"]) for line in lines if line["phase"] == "val"]


class Proxy:
    """Stands between client and server, and cuts the connections when told to, or when so many bytes came from the server."""

    def __init__(self, port):
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._pairs = []
        self._open = True
        self.cut_after_bytes = None
        self.connections = 0
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/graphql"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if not self._open:
                near.close()
                continue
            far = socket.create_connection(("127.0.0.1", self._port))
            self._pairs.append((near, far))
            self.connections += 1
            for source, target, most in ((near, far, None), (far, near, self.cut_after_bytes)):
                threading.Thread(target=self._copy, args=(source, target, most), daemon=True).start()

    def _copy(self, source, target, most):
        copied = 0
        try:
            while (most is None or copied < most) and (data := source.recv(65536)):
                target.sendall(data)
                copied += len(data)
        except OSError:
            pass
        for each in (source, target):
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def cut(self):
        pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for each in pair:
                try:
                    each.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
                each.close()

    def wait_for_connections(self, count):
        deadline = time.monotonic() + 30
        while self.connections < count and time.monotonic() < deadline:
            time.sleep(0.01)
        assert self.connections >= count

    def refuse(self, refuses):
        self._open = not refuses

    def close(self):
        self._listener.close()
        self.cut()


@pytest.fixture
def proxy(client):
    port = int(client._transport.url.split(":")[2].split("/")[0])
    proxy = Proxy(port)
    yield proxy
    proxy.close()
