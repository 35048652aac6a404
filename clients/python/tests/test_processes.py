"""What the logger does for programs of several processes and threads, and for those that signals end."""

import signal
import subprocess
import sys
import textwrap
import threading
import time

from expgraph.line_file import LineFile


def test_sigterm_writes_what_waits_and_ends_the_program_by_the_signal(job):
    ended = job.run("""
        import os, signal, expgraph
        for step in range(1000):
            expgraph.log({"loss": 1}, step=step)
        os.kill(os.getpid(), signal.SIGTERM)
        signal.pause()
    """, check=False)
    assert ended.returncode == -signal.SIGTERM
    assert len(job.lines()) == 1000


def test_a_handler_of_the_program_stays_in_place_whether_it_came_before_or_after(job):
    program = """
        import os, signal, sys, expgraph
        def stop(*_): print("saving"); sys.exit(7)
        if {before}: signal.signal(signal.SIGTERM, stop)
        expgraph.log({{"loss": 1}}, step=1)
        if not {before}: signal.signal(signal.SIGTERM, stop)
        expgraph.log({{"loss": 1}}, step=2)
        os.kill(os.getpid(), signal.SIGTERM)
        signal.pause()
    """
    for before in (True, False):
        ended = job.run(program.format(before=before), check=False)
        assert (ended.returncode, ended.stdout) == (7, "saving\n")
    assert len(job.lines()) == 4


def test_a_signal_handler_may_log_wherever_it_interrupts_the_program(job):
    ended = job.run("""
        import signal, expgraph
        told = 0
        def tell(*_):
            global told
            told += 1
            expgraph.log({"told": told}, step=told)
        signal.signal(signal.SIGALRM, tell)
        signal.setitimer(signal.ITIMER_REAL, 0.0003, 0.0003)
        for step in range(20000):
            expgraph.log({"loss": 1}, step=step)
        signal.setitimer(signal.ITIMER_REAL, 0)
        print(told)
    """)
    told = [line["told"] for line in job.lines() if "told" in line]
    assert sorted(told) == list(range(1, int(ended.stdout) + 1))
    assert len(told) > 0
    assert len(job.lines()) == 20000 + len(told)


def test_a_framework_that_calls_the_handler_before_it_decides_the_end(job):
    ended = job.run("""
        import os, signal, sys, expgraph
        expgraph.log({"loss": 1}, step=1)
        earlier = signal.getsignal(signal.SIGTERM)
        def stop(number, frame): earlier(number, frame); print("still here"); sys.exit(0)
        signal.signal(signal.SIGTERM, stop)
        os.kill(os.getpid(), signal.SIGTERM)
        signal.pause()
    """)
    assert ended.stdout == "still here\n"


def test_a_process_that_is_killed_loses_at_most_the_last_moment(job):
    child = subprocess.Popen(
        [sys.executable, "-c", "import expgraph, signal; expgraph.log({'loss': 1}, step=1); print('logged', flush=True); signal.pause()"],
        env=job.environment, stdout=subprocess.PIPE,
    )
    child.stdout.readline()
    deadline = time.monotonic() + 30
    while not job.lines() and time.monotonic() < deadline:
        time.sleep(0.01)
    child.kill()
    child.wait()
    child.stdout.close()
    assert len(job.lines()) == 1


def test_forked_workers_log_their_own_lines_and_none_of_the_parents_twice(job):
    job.run("""
        import expgraph, multiprocessing
        def work(worker):
            for step in range(100):
                expgraph.log({f"worker/{worker}": step}, step=step)
        expgraph.log({"loss": 1}, step=0)
        context = multiprocessing.get_context("fork")
        for step in range(1, 200):
            expgraph.log({"loss": 1}, step=step)
        workers = [context.Process(target=work, args=(n,)) for n in range(4)]
        for worker in workers: worker.start()
        for step in range(200, 300):
            expgraph.log({"loss": 1}, step=step)
        for worker in workers: worker.join()
    """)
    lines = job.lines()
    assert sorted(line["step"] for line in lines if "loss" in line) == list(range(300))
    for worker in range(4):
        assert sorted(line["step"] for line in lines if f"worker/{worker}" in line) == list(range(100))


def test_forked_and_spawned_workers_and_their_parent_log_at_once(job):
    (job.path / "main.py").write_text(textwrap.dedent("""
        import expgraph, multiprocessing
        def work(name):
            for step in range(200):
                expgraph.log({name: step}, step=step)
        if __name__ == "__main__":
            expgraph.log({"parent": 0}, step=0)
            workers = [multiprocessing.get_context(way).Process(target=work, args=(f"{way}{n}",)) for way in ("fork", "spawn") for n in range(2)]
            for worker in workers: worker.start()
            for step in range(1, 200):
                expgraph.log({"parent": step}, step=step)
            for worker in workers: worker.join()
            assert [worker.exitcode for worker in workers] == [0, 0, 0, 0]
    """))
    job.run("import runpy; runpy.run_path('main.py', run_name='__main__')")
    lines = job.lines()
    for name in ("parent", "fork0", "fork1", "spawn0", "spawn1"):
        assert [line["step"] for line in lines if name in line] == list(range(200))


def test_sigterm_in_the_middle_of_a_call_writes_what_waits(job):
    ended = job.run("""
        import os, signal, expgraph
        from expgraph import job_log
        for step in range(1000):
            expgraph.log({"loss": 1}, step=step)
        job_log.SIGTERM_FLUSH_SECONDS = 120
        with next(iter(job_log._files.values()))._appending:
            os.kill(os.getpid(), signal.SIGTERM)
            signal.pause()
    """, check=False)
    assert ended.returncode < 0
    assert len(job.lines()) == 1000


def test_what_was_flushed_survives_an_exit_that_asks_nobody(job):
    job.run("""
        import os, expgraph
        for step in range(1000):
            expgraph.log({"loss": 1}, step=step)
        assert expgraph.flush(30)
        for step in range(1000, 2000):
            expgraph.log({"loss": 1}, step=step)
        os._exit(0)
    """)
    steps = [line["step"] for line in job.lines()]
    assert steps == list(range(len(steps)))
    assert len(steps) >= 1000


def writers():
    return sum(thread.name == "expgraph-writer" for thread in threading.enumerate())


def test_threads_that_begin_to_log_at_once_share_one_writer(tmp_path):
    before = writers()
    for round in range(30):
        file = LineFile(str(tmp_path / str(round)))
        barrier = threading.Barrier(8)

        def log(file=file, barrier=barrier):
            barrier.wait()
            file.append(b"line\n")

        threads = [threading.Thread(target=log) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert file.flush(30)
        assert (tmp_path / str(round)).read_bytes() == b"line\n" * 8
    assert writers() - before == 30
