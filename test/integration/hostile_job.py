"""A training run that leaves in its directory whatever can go wrong. Waits for files `go-1`, `go-2`, ... in the folder given, so that a test can look in between."""

import json
import os
import random
import subprocess
import sys
import time

job = os.environ["EXPGRAPH_JOB_DIR"]
signals = sys.argv[1]
garbage = random.Random(1)
HUGE_LINE_BYTES = 200 * 1024 * 1024
MANY_FILES = 100_000


def path(*parts):
    whole = os.path.join(job, *parts)
    os.makedirs(os.path.dirname(whole), exist_ok=True)
    return whole


def write(name, *lines, mode="ab"):
    with open(path(name), mode) as file:
        for line in lines:
            file.write((line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n")


def wait(signal):
    while not os.path.exists(os.path.join(signals, signal)):
        time.sleep(0.02)


def noise(count):
    return bytes(garbage.randrange(256) for _ in range(count)).replace(b"\n", b"\xff")


# Lines that cannot be taken, among some that can.
write("metrics.jsonl", {"step": 0, "loss": 1}, b"not json", b"\xff\xfe\x00" + noise(3000), {"step": -1, "loss": 9}, {"step": 2**63 - 1, "loss": 9}, {"step": 1.5, "loss": 9},
      [1, 2], {"step": 1, "loss": float("nan"), "odd": float("-inf")})
write("metrics.jsonl", {"step": 2, "time": "1970-01-01T00:00:00Z", "loss": 3}, {"step": 3, "time": "9999-12-31T23:59:59Z", "loss": 4}, {"step": 4, "time": "2020-01-01T00:00:00Z", "loss": 5})
write("metrics.jsonl", {"step": 5, "kept": 1, "k" * 500: 1, "": 1}, {"step": 5, "a key/größe \"m²\".зеркало 🧪": 1})
wait("go-1")

# Cut off and written anew in place, once more so that it is longer than it was, then replaced by another file.
write("metrics.jsonl", {"step": 4, "loss": 6}, mode="wb")
wait("go-2")
write("metrics.jsonl", {"step": 5, "loss": 6.25}, {"step": 6, "loss": 6.5}, mode="wb")
wait("go-3")
write("metrics.new", {"step": 6, "loss": 7})
os.rename(path("metrics.new"), path("metrics.jsonl"))
wait("go-4")

# A line of 200 MB, of which the disk holds next to nothing, and one after it.
with open(path("metrics.jsonl"), "ab") as file:
    file.truncate(file.tell() + HUGE_LINE_BYTES)
write("metrics.jsonl", b"", {"step": 7, "loss": 8})
wait("go-5")

# What frameworks write, as noise.
for name in ("metrics.csv", "runs/events.out.tfevents.1.host", "mlruns/0/run/metrics/loss", "trainer_state.json", "trackio/inbox/writer/00000000.jsonl",
             "checkpoints/step_1.safetensors", "checkpoints/checkpoint-7/trainer_state.json", "result.json", "events.jsonl", "checkpoints.jsonl"):
    write(name, noise(5000), mode="wb")
write("good/metrics.csv", b"step,csv", b"1,0.5")

# Loops of links, and a checkpoint of more files than are looked at.
for place in ("", "checkpoints/"):
    for name, target in (("self", "."), ("up", ".."), ("ping", "pong"), ("pong", "ping"), ("whole", job), ("root", "/")):
        os.symlink(target, path(f"{place}link-{name}"))
write("checkpoints/step_9.pt", b"weights")
os.makedirs(path("checkpoints/step_5"))
subprocess.run(["sh", "-c", f"cd '{path('checkpoints/step_5')}' && seq {MANY_FILES} | split -l 1 -a 6 -d - s"], check=True)
wait("go-6")
