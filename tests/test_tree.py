"""A server's processes: CPU time that is never lost and never counted twice, memory in honest lines."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from infertui.sample import Absent, Values
from infertui.telemetry.linux import Linux
from infertui.telemetry.source import Used
from infertui.telemetry.tree import Tree

MS = 1_000_000


class FakeHandle:
    def __init__(self, system: FakeSystem, pid: int) -> None:
        self.pid, self._system = pid, system

    def read(self) -> Used | None:
        return self._system.used.get(self.pid)

    def close(self) -> None:
        self._system.closed.append(self.pid)


class FakeSystem:
    """A platform whose processes are set by hand: `used` by pid, `parents` by pid."""

    name = "fake"

    def __init__(self) -> None:
        self.used: dict[int, Used] = {}
        self.parents: dict[int, int] = {}
        self.closed: list[int] = []

    def put(self, pid: int, parent: int, cpu_ms: float, reaped_ms: float = 0, **more: Any) -> None:
        self.parents[pid] = parent
        self.used[pid] = Used(cpu_ns=int(cpu_ms * MS), reaped_ns=int(reaped_ms * MS), **more)

    def end(self, pid: int) -> None:
        del self.used[pid], self.parents[pid]

    def descendants(self, roots: Iterable[int]) -> set[int]:
        known = set(roots)
        found: set[int] = set()
        while new := {pid for pid, parent in self.parents.items() if parent in known | found} - found - known:
            found |= new
        return found

    def handle(self, pid: int) -> FakeHandle | None:
        return FakeHandle(self, pid) if pid in self.used else None

    def cpu(self) -> tuple[int, int]:
        return 0, 0

    def fast(self, at_ns: int) -> Values:
        return {}

    def slow(self, at_ns: int) -> Values:
        return {}

    def look(self) -> dict[str, Any]:
        return {}

    def absent(self) -> list[Absent]:
        return []

    def close(self) -> None: ...


@pytest.fixture
def system() -> FakeSystem:
    return FakeSystem()


def cpu_ms(tree: Tree) -> float:
    found = tree.cpu_ns()
    assert found is not None
    return found / MS


def test_what_root_and_child_use_is_added(system: FakeSystem) -> None:
    system.put(10, 1, 100)
    system.put(11, 10, 30)
    tree = Tree(system)
    tree.watch([10])
    assert tree.pids == {10, 11}
    assert cpu_ms(tree) == 130
    system.put(11, 10, 50)
    assert cpu_ms(tree) == 150


def test_a_child_that_was_waited_for_is_counted_once_whenever_its_parent_was_read(system: FakeSystem) -> None:
    system.put(10, 1, 100)
    system.put(11, 10, 30)
    tree = Tree(system)
    tree.watch([10])
    system.end(11)
    system.put(10, 1, 100, reaped_ms=40)  # it used 10 ms more before its end
    assert cpu_ms(tree) == 140
    assert cpu_ms(tree) == 140
    system.put(12, 10, 20)
    assert cpu_ms(tree) == 160
    system.end(12)
    assert cpu_ms(tree) == 160  # its parent was read a moment before it was waited for
    system.put(10, 1, 100, reaped_ms=60)
    assert cpu_ms(tree) == 160


def test_a_child_for_which_nobody_waited_keeps_its_share(system: FakeSystem) -> None:
    system.put(10, 1, 100)
    system.put(11, 10, 30)
    tree = Tree(system)
    tree.watch([10])
    system.end(11)
    for _ in range(3):
        assert cpu_ms(tree) == 130
    system.put(10, 1, 100, reaped_ms=25)  # of others, that lived between two readings
    assert cpu_ms(tree) == 155


def test_children_that_live_between_two_readings_count_by_their_parents_account(system: FakeSystem) -> None:
    system.put(10, 1, 100)
    tree = Tree(system)
    tree.watch([10])
    system.put(10, 1, 100, reaped_ms=70)
    assert cpu_ms(tree) == 170


def test_who_lost_its_parent_is_found_with_the_supervisor_and_that_itself_is_no_part(system: FakeSystem) -> None:
    system.put(5, 1, 1000)
    system.put(10, 5, 100)
    tree = Tree(system)
    tree.watch([10], adopters=[5])
    system.put(12, 5, 7)  # the child of a child that died before it was seen
    assert cpu_ms(tree) == 107
    assert tree.pids == {10, 12}
    assert "server_cpu_ns" in tree.read()


def test_another_process_that_gets_the_pid_of_a_root_is_not_taken_for_it(system: FakeSystem) -> None:
    system.put(10, 1, 100)
    tree = Tree(system)
    tree.watch([10])
    system.end(10)
    assert cpu_ms(tree) == 100
    system.put(10, 1, 5000)
    assert cpu_ms(tree) == 100
    assert tree.pids == frozenset()


def test_what_is_ours_is_left_out_with_all_that_came_of_it(system: FakeSystem) -> None:
    system.put(10, 1, 100)
    system.put(20, 10, 50)  # we, who were started by what the server is started by
    system.put(21, 20, 25)
    tree = Tree(system)
    tree.watch([10], without=[20])
    assert tree.pids == {10}
    ours = Tree(system, with_reaped=False)
    ours.watch([20], without=tree.pids)
    assert ours.pids == {20, 21}
    system.put(22, 20, 1)
    ours.leave_out([22])
    assert cpu_ms(ours) == 75


def test_without_reaped_time_a_server_that_we_waited_for_is_not_ours(system: FakeSystem) -> None:
    system.put(20, 1, 50)
    ours = Tree(system, with_reaped=False)
    ours.watch([20])
    system.put(20, 1, 51, reaped_ms=90_000)
    assert cpu_ms(ours) == 51


def test_memory_is_added_but_for_mapped_files_which_are_shared(system: FakeSystem) -> None:
    system.put(10, 1, 1, private_bytes=100, mapped_bytes=4000, resident_bytes=4100, pageins=3)
    system.put(11, 10, 1, private_bytes=50, mapped_bytes=4001, resident_bytes=4051, pageins=4)
    tree = Tree(system)
    tree.watch([10])
    read = tree.read()
    assert read["server_private_bytes"] == 150
    assert read["server_mapped_bytes"] == 4001
    assert read["server_resident_bytes"] == 8151
    assert read["server_pageins"] == 7
    assert read["server_processes"] == 2
    assert read["server_swapped_bytes"] is None


def test_memory_of_which_a_part_is_unknown_is_unknown(system: FakeSystem) -> None:
    system.put(10, 1, 1, private_bytes=100)
    system.put(11, 10, 1)
    tree = Tree(system)
    tree.watch([10])
    assert tree.read()["server_private_bytes"] is None


def test_a_server_that_may_not_be_looked_into_is_unknown_and_not_zero(system: FakeSystem) -> None:
    system.parents[10] = 1  # there, but no handle
    tree = Tree(system)
    tree.watch([10])
    assert tree.read() == {}
    assert tree.cpu_ns() is None


def test_a_new_watch_begins_anew_and_lets_go_of_the_old_one(system: FakeSystem) -> None:
    system.put(10, 1, 100)
    system.put(30, 1, 7)
    tree = Tree(system)
    tree.watch([10])
    tree.watch([30])
    assert system.closed == [10]
    assert cpu_ms(tree) == 7
    tree.watch([])
    assert tree.cpu_ns() is None


# Real processes.

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")


def child(code: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def tell(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


@needs_linux
def test_cpu_time_and_memory_of_a_real_process_are_what_it_says_itself() -> None:
    code = """
import time, resource
print("here", flush=True); input()
held = bytearray(64 << 20); held[::4096] = b"x" * len(held[::4096])
while time.process_time() < 0.4: pass
print(time.process_time_ns(), flush=True); input()
"""
    with child(code) as one:
        assert said(one) == "here"
        tree = Tree(Linux())
        tree.watch([one.pid])
        before = tree.read()["server_private_bytes"]
        tell(one)
        used_ns = int(said(one))
        read = tree.read()
        own_ns, private = read["server_cpu_ns"], read["server_private_bytes"]
        assert own_ns is not None
        assert private is not None
        assert before is not None
        assert used_ns <= own_ns <= used_ns + 20 * MS  # it printed and waits since
        assert 64 << 20 <= private - before <= 68 << 20
        tell(one)
        one.wait()
        assert tree.cpu_ns() == pytest.approx(own_ns, abs=20 * MS)
        assert tree.read()["server_processes"] == 0


@needs_linux
def test_a_burst_of_children_that_live_shortly_loses_nothing() -> None:
    code = """
import os, resource, time
print("here", flush=True); input()
for n in range(30):
    pid = os.fork()
    if not pid:
        while time.process_time() < 0.02: pass
        os._exit(0)
    os.waitpid(pid, 0)
def used(who): r = resource.getrusage(who); return r.ru_utime + r.ru_stime
print(int(1e9 * (used(resource.RUSAGE_SELF) + used(resource.RUSAGE_CHILDREN))), flush=True); input()
"""
    with child(code) as one:
        assert said(one) == "here"
        tree = Tree(Linux())
        tree.watch([one.pid])
        tell(one)
        for _ in range(20):  # some children are met alive, others never
            time.sleep(0.02)
            tree.read()
        used_ns = int(said(one))
        assert used_ns > 500 * MS
        assert tree.cpu_ns() == pytest.approx(used_ns, abs=60 * MS)
        tell(one)


@needs_linux
def test_grandchildren_whose_parent_died_stay_a_part() -> None:
    code = """
import subprocess, sys
middle = subprocess.Popen([sys.executable, "-c", '''
import subprocess, sys
leaf = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], stdout=subprocess.DEVNULL)
print(leaf.pid, flush=True); input()
'''], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
print(middle.pid, middle.stdout.readline().strip(), flush=True); input()
middle.communicate("\\n"); print("dead", flush=True); input()
"""
    with child(code) as one:
        middle, leaf = map(int, said(one).split())
        try:
            tree = Tree(Linux())
            tree.watch([one.pid])
            assert tree.pids == {one.pid, middle, leaf}
            tell(one)
            assert said(one) == "dead"
            tree.read()
            assert tree.pids == {one.pid, leaf}
        finally:
            os.kill(leaf, signal.SIGKILL)
        tell(one)


@needs_linux
def test_a_process_that_ended_before_it_was_opened_is_nobody(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert Linux().handle(gone.pid) is None
    tree = Tree(Linux())
    tree.watch([gone.pid])
    assert tree.read() == {}


@needs_linux
def test_a_child_that_its_parent_waits_for_late_is_counted_once() -> None:
    code = """
import os, time
print("here", flush=True); input()
pid = os.fork()
if not pid:
    while time.process_time() < 0.3: pass
    os._exit(0)
while open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[0] != "Z": time.sleep(0.01)
print("ended", flush=True); input()
os.waitpid(pid, 0)
print(time.process_time_ns(), flush=True); input()
"""
    with child(code) as one:
        assert said(one) == "here"
        tree = Tree(Linux())
        tree.watch([one.pid])
        tell(one)
        for _ in range(5):
            time.sleep(0.03)
            tree.read()
        assert said(one) == "ended"
        read = [tree.read() for _ in range(5)][-1]  # it is a corpse now, and its time stands in no other account
        before = read["server_cpu_ns"]
        assert before is not None
        assert before > 300 * MS
        tell(one)
        own_ns = int(said(one))
        after = [tree.read() for _ in range(5)][-1]["server_cpu_ns"]
        assert after == pytest.approx(own_ns + 300 * MS, abs=60 * MS)
        tell(one)


def test_a_server_that_is_gone_holds_nothing_that_is_known(system: FakeSystem) -> None:
    system.put(10, 1, 100, private_bytes=5, mapped_bytes=6, resident_bytes=11)
    tree = Tree(system)
    tree.watch([10])
    system.end(10)
    read = tree.read()
    assert read["server_cpu_ns"] == 100 * MS
    assert read["server_processes"] == 0
    assert {value for key, value in read.items() if key.endswith("bytes")} == {None}
