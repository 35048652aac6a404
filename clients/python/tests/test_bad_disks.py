"""What the logger does when the disk is full, away, hung or shared, or holds half a line of a process that was killed."""

import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
import time

import pytest

import expgraph

DEADLINE_SECONDS = 60
HALF_A_LINE = '{"step":1,"lo'
# As root, or in a namespace where we count as such.
OWN_MOUNTS = ["unshare", "--mount"] if os.getuid() == 0 else ["unshare", "--user", "--map-root-user", "--mount"]


def can_mount():
    return shutil.which("unshare") is not None and subprocess.run([*OWN_MOUNTS, "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True).returncode == 0


def run_on_small_disk(job, program):
    """Runs a program in a job directory that is a disk of 1 MiB, which is gone with the program."""
    script = 'mount -t tmpfs -o size=1m none "$EXPGRAPH_JOB_DIR" && cd "$EXPGRAPH_JOB_DIR" && exec "$0" -c "$1"'
    return subprocess.run(
        [*OWN_MOUNTS, "sh", "-c", script, sys.executable, textwrap.dedent(program)], env=job.environment, check=True, timeout=DEADLINE_SECONDS,
        capture_output=True, text=True,
    )


def is_json(line):
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


# Where nothing may be mounted, the device that is always full (below) is what is left to test with.
if can_mount():

    def test_a_full_disk_takes_what_waited_once_there_is_room_again_and_what_was_lost_is_counted(job):
        ended = run_on_small_disk(job, """
            import json, os, expgraph
            from expgraph import line_file
            line_file.MAX_WAITING_BYTES = 128 * 1024
            with open("ballast", "wb") as ballast: ballast.write(bytes(960 * 1024))
            for step in range(20_000):
                expgraph.log({"loss": 0.125}, step=step)
            assert not expgraph.flush(30)
            expgraph.checkpoint("a.pt", step=1)
            assert not expgraph.flush(30)
            os.remove("ballast")
            assert expgraph.flush(30)
            steps = [json.loads(line)["step"] for line in open("metrics.jsonl")]
            assert steps == sorted(set(steps)) and steps[-1] == 19_999
            assert [json.loads(line)["path"] for line in open("checkpoints.jsonl")] == ["a.pt"]
            print(20_000 - len(steps))
        """)
        lost = [int(count) for count in re.findall(r"metrics.jsonl can be written again; (\d+) lines were lost", ended.stderr)]
        assert sum(lost) == int(ended.stdout) > 0
        assert re.findall(r"(\w+).jsonl \(No space left on device\)", ended.stderr) == ["metrics", "checkpoints"]

    def test_a_disk_that_becomes_read_only_and_writable_again_loses_nothing(job):
        ended = run_on_small_disk(job, """
            import json, subprocess, expgraph
            def remount(options): subprocess.run(["mount", "-o", f"remount,{options}", "."], check=True)
            expgraph.log({"loss": 1}, step=0)
            assert expgraph.flush(30)
            from expgraph import job_log
            for file in job_log._files.values(): file._file.close()
            remount("ro")
            for step in range(1, 100):
                expgraph.log({"loss": 1}, step=step)
            assert not expgraph.flush(30)
            remount("rw")
            assert expgraph.flush(30)
            assert [json.loads(line)["step"] for line in open("metrics.jsonl")] == list(range(100))
        """)
        assert ended.stderr.count("Read-only file system") == 1


@pytest.mark.parametrize("path", ["/dev/full", "/sys/metrics.jsonl"])
def test_a_full_device_and_a_directory_that_takes_no_files_end_no_run(job, path):
    ended = job.run("""
        import expgraph
        for step in range(1000):
            expgraph.log({"loss": 1}, step=step)
        print("trained")
    """, EXPGRAPH_METRICS=path)
    assert ended.stdout == "trained\n"
    assert ended.stderr.count(f"cannot write {path}") == 1
    assert f"1000 lines could not be written to {path}" in ended.stderr


def test_a_pipe_that_nobody_reads_holds_nothing_up_and_a_reader_gets_what_waited(job):
    os.mkfifo(job.path / "metrics.jsonl")
    ended = job.run("""
        import os, expgraph
        for step in range(100):
            expgraph.log({"loss": 1}, step=step)
        assert not expgraph.flush(30)
        reader = os.open("metrics.jsonl", os.O_RDONLY | os.O_NONBLOCK)
        assert expgraph.flush(30)
        print(os.read(reader, 65536).count(b"\\n"))
        os.close(reader)
        expgraph.log({"loss": 1}, step=100)
        expgraph.log({"loss": 1}, step=101)
    """)
    assert ended.stdout == "100\n"
    assert "2 lines could not be written" in ended.stderr


HANG = """
    import os, sys, threading, time, expgraph
    from expgraph import line_file
    answers = threading.Event()
    really_write = os.write
    def write(descriptor, data):
        answers.wait()
        return really_write(descriptor, data)
    os.write = write
    line_file.MAX_WAITING_BYTES = 100_000
"""


def test_while_the_disk_hangs_the_program_goes_on_and_then_is_told_once_what_was_lost(job):
    ended = job.run(HANG + """
    for step in range(5000):
        expgraph.log({"loss": 1}, step=step)
    assert not expgraph.flush(0.1)
    answers.set()
    assert expgraph.flush(30)
    """)
    lines = job.lines()
    assert lines[-1]["step"] == 4999
    assert ended.stderr.count("\n") == 1
    assert f"can be written again; {5000 - len(lines)} lines were lost" in ended.stderr


def test_a_hung_disk_delays_the_end_of_the_program_once_however_many_files_there_are(job):
    ended = job.run(HANG + """
    import multiprocessing.util
    line_file.EXIT_FLUSH_SECONDS = 1.0
    for step in range(10):
        expgraph.log({"loss": 1}, step=step)
        expgraph.checkpoint("a.pt", step=step)
    """)
    assert ended.stderr.count("10 lines could not be written") == 2
    assert ended.stderr.count("\n") == 2


def test_a_disk_that_hangs_is_waited_for_at_one_checkpoint_only_and_gets_all_of_them_later(job):
    ended = job.run(HANG + """
    from expgraph import job_log
    flushes = []
    really_flush = line_file.LineFile.flush
    def flush(file, timeout):
        flushes.append(really_flush(file, timeout))
        return flushes[-1]
    line_file.LineFile.flush = flush
    expgraph.checkpoint("a.pt", step=0)
    [file] = job_log._files.values()
    deadline = time.monotonic() + 30
    while not file._is_writing and time.monotonic() < deadline:
        time.sleep(0.01)
    expgraph.checkpoint("a.pt", step=1)
    assert flushes and not any(flushes)
    flushes.clear()
    for step in range(2, 20):
        expgraph.checkpoint("a.pt", step=step)
    print(flushes)
    answers.set()
    assert expgraph.flush(30)
    """)
    assert ended.stdout == "[]\n"
    assert [line["step"] for line in job.lines("checkpoints.jsonl")] == list(range(20))


def test_a_directory_that_is_removed_costs_what_was_in_it_and_nothing_more(job):
    directory = job.path / "away"
    directory.mkdir()
    ended = job.run("""
        import os, shutil, expgraph
        expgraph.log({"loss": 1}, step=0)
        assert expgraph.flush(30)
        shutil.rmtree(os.environ["EXPGRAPH_JOB_DIR"])
        expgraph.log({"loss": 1}, step=1)
        assert not expgraph.flush(30)
        os.mkdir(os.environ["EXPGRAPH_JOB_DIR"])
        expgraph.log({"loss": 1}, step=2)
        assert expgraph.flush(30)
    """, EXPGRAPH_JOB_DIR=str(directory), EXPGRAPH_METRICS="")
    assert [line["step"] for line in job.lines("away/metrics.jsonl")] == [1, 2]
    assert ended.stderr.count("No such file or directory") == 1


def test_a_file_that_is_removed_or_replaced_is_written_anew(job):
    path = job.path / "metrics.jsonl"
    expgraph.log({"loss": 1}, step=0)
    assert expgraph.flush(DEADLINE_SECONDS)
    path.unlink()
    expgraph.log({"loss": 1}, step=1)
    assert expgraph.flush(DEADLINE_SECONDS)
    assert [line["step"] for line in job.lines()] == [1]
    path.rename(job.path / "old")
    path.write_text("")
    expgraph.log({"loss": 1}, step=2)
    assert expgraph.flush(DEADLINE_SECONDS)
    assert [line["step"] for line in job.lines()] == [2]


def test_a_program_that_closes_all_descriptors_gets_no_lines_into_its_other_files(job):
    job.run("""
        import os, expgraph
        expgraph.log({"loss": 1}, step=0)
        assert expgraph.flush(30)
        os.closerange(3, 100)
        others = [open(f"other{n}", "w") for n in range(5)]
        expgraph.log({"loss": 1}, step=1)
        assert expgraph.flush(30)
        for other in others: other.write("mine"); other.close()
        assert all(open(f"other{n}").read() == "mine" for n in range(5))
    """)
    assert [line["step"] for line in job.lines()] == [0, 1]


def test_half_a_line_of_an_earlier_process_is_lost_alone(job):
    (job.path / "metrics.jsonl").write_text('{"step":0,"loss":1}\n' + HALF_A_LINE)
    job.run("import expgraph; expgraph.log({'loss': 1}, step=2); expgraph.log({'loss': 1}, step=3)")
    whole = [line for line in (job.path / "metrics.jsonl").read_text().splitlines() if line != HALF_A_LINE]
    assert [json.loads(line)["step"] for line in whole] == [0, 2, 3]


def test_a_killed_process_leaves_half_a_line_at_most_and_the_next_one_begins_a_new_line(job):
    program = "import expgraph, itertools; [expgraph.log({str(n): 1.5 for n in range(200)}, step=step) for step in itertools.count()]"
    path = job.path / "metrics.jsonl"
    for attempt in range(3):
        size = path.stat().st_size if attempt else 0
        child = subprocess.Popen([sys.executable, "-c", program], env=job.environment)
        deadline = time.monotonic() + DEADLINE_SECONDS
        while (not path.exists() or path.stat().st_size <= size + 300_000) and time.monotonic() < deadline:
            time.sleep(0.001)
        child.kill()
        child.wait()
    lines = path.read_text().splitlines()
    whole = [json.loads(line) for line in lines if is_json(line)]
    assert len(lines) - len(whole) <= 3
    assert [line["step"] for line in whole].count(0) == 3
