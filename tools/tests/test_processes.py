"""Children end with the launcher, and a process is known again by more than its number."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from careloop import state
from careloop.processes import Identity, base_env, free_ports, spawn, wait_until
from careloop.state import Run
from careloop.supervisor import Child, Supervisor

PARENT = """
import sys, time
from pathlib import Path
from careloop.processes import base_env, spawn
child = spawn(["sleep", "60"], Path(sys.argv[1]), env=base_env())
print(child.pid, flush=True)
time.sleep(60)
"""


def run_of(folder: Path, identity: Identity, data: Path) -> Run:
    run = Run(folder / f"test-{identity.pid}.{identity.started}")
    run.logs.mkdir(parents=True)
    run.write({"data": str(data), "children": {}})
    return run


def dead() -> Identity:
    gone = subprocess.Popen(["true"])
    gone.wait()
    return Identity(gone.pid, 1)


def test_a_child_ends_when_the_launcher_is_killed(tmp_path):
    parent = subprocess.Popen([sys.executable, "-c", PARENT, tmp_path / "log"], stdout=subprocess.PIPE)
    child = Identity.of(int(parent.stdout.readline()))
    assert child.alive
    parent.kill()
    parent.wait()
    assert wait_until(lambda: not child.alive, 5)


def test_another_process_with_the_same_number_is_not_ended(tmp_path):
    child = spawn(["sleep", "60"], tmp_path / "log", env=base_env())
    real = Identity.of(child.pid)
    Identity(child.pid, real.started - 1).end(signal.SIGKILL, 0)
    assert real.alive
    real.end(signal.SIGTERM, 5)
    assert not real.alive
    child.wait()


def test_ports_are_free_and_distinct():
    assert len(set(free_ports(20))) == 20


def test_a_run_without_its_launcher_is_cleared_away(tmp_path, monkeypatch):
    monkeypatch.setattr(state, "RUNS", tmp_path / "runs")
    data = tmp_path / "data"
    data.mkdir()
    left = spawn(["sleep", "60"], tmp_path / "log", env=base_env())
    identity = Identity.of(left.pid)
    run = run_of(tmp_path / "runs", dead(), data)
    run.write({**run.record(), "children": {"left": {"pid": identity.pid, "started": identity.started}}})

    state.clear_dead_runs()

    left.wait()
    assert not data.exists()
    assert not run.folder.exists()


def test_a_living_run_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(state, "RUNS", tmp_path / "runs")
    run = run_of(tmp_path / "runs", Identity.of(os.getpid()), tmp_path)
    state.clear_dead_runs()
    assert run.record()
    assert state.current("test") == run


def test_the_record_of_a_run_is_for_its_owner_alone(tmp_path):
    run = run_of(tmp_path, Identity.of(os.getpid()), tmp_path)
    assert run.file.stat().st_mode & 0o777 == 0o600


def supervised(tmp_path: Path, command: str) -> tuple[Supervisor, Path]:
    started = tmp_path / "starts"
    supervisor = Supervisor(run_of(tmp_path, Identity.of(os.getpid()), tmp_path))
    script = f"echo $SECRET >> {started}; {command}"
    secrets = iter(range(1000))
    supervisor.watch()
    supervisor.start(Child("it", lambda: ["sh", "-c", script], lambda: {**base_env(), "SECRET": str(next(secrets))}))
    return supervisor, started


def test_what_dies_is_started_again_with_fresh_secrets(tmp_path):
    supervisor, started = supervised(tmp_path, "exec sleep 60")
    assert wait_until(started.exists, 5)
    supervisor.kill("it")
    assert wait_until(lambda: started.read_text().split() == ["0", "1"], 5)
    supervisor.stop_all()


def test_what_keeps_dying_is_started_again_more_slowly(tmp_path):
    supervisor, started = supervised(tmp_path, "exit 1")
    time.sleep(1.5)
    supervisor.stop_all()
    assert 2 <= len(started.read_text().split()) <= 4


def test_what_was_stopped_stays_stopped(tmp_path):
    supervisor, started = supervised(tmp_path, "exec sleep 60")
    assert wait_until(started.exists, 5)
    supervisor.stop("it")
    time.sleep(0.6)
    assert started.read_text().split() == ["0"]
    supervisor.stop_all()


def test_the_record_names_each_child(tmp_path):
    supervisor, _ = supervised(tmp_path, "exec sleep 60")
    child = json.loads(supervisor.run.file.read_text())["children"]["it"]
    assert Identity(child["pid"], child["started"]).alive
    supervisor.stop_all()
