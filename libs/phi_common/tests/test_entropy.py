"""Random bytes are given once: a nonce that came twice would open what it sealed."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from phi_common.entropy import PAGE, random_bytes


def taken(count: int, size: int = 12) -> list[bytes]:
    return [random_bytes(size) for _ in range(count)]


@pytest.mark.parametrize("size", [0, 1, 12, 32, PAGE - 1, PAGE, PAGE + 1])
def test_as_many_as_asked_for(size):
    for _ in range(3):
        assert len(random_bytes(size)) == size


def test_none_comes_twice_in_threads():
    with ThreadPoolExecutor(4) as pool:
        found = [one for some in pool.map(taken, [2000] * 8) for one in some]
    assert len(set(found)) == len(found)


def test_a_child_does_not_repeat_its_parent():
    random_bytes(1)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, b"".join(taken(50)))
        os._exit(0)
    os.waitpid(child, 0)
    theirs = os.read(reading, 50 * 12)
    assert len(theirs) == 600
    assert not {theirs[at : at + 12] for at in range(0, 600, 12)} & set(taken(50))
