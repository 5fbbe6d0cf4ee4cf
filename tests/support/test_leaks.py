"""The leak check names what a test left behind."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading

import pytest

from tests.support.leaks import Census, assert_settles


def test_an_open_socket_is_named():
    before = Census.take()
    with socket.socket(), pytest.raises(AssertionError, match="descriptor socket:"):
        assert_settles(before, deadline=0.1)
    assert_settles(before)


def test_a_thread_is_named_and_waited_for():
    before = Census.take()
    release = threading.Event()
    thread = threading.Thread(target=release.wait, name="straggler")
    thread.start()
    with pytest.raises(AssertionError, match="thread straggler"):
        assert_settles(before, deadline=0.1)
    release.set()
    assert_settles(before)


def test_a_child_process_is_named():
    before = Census.take()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        with pytest.raises(AssertionError, match=f"child {child.pid}"):
            assert_settles(before, deadline=0.1)
        child.kill()
    assert_settles(before)


def test_the_fixture_passes_a_test_that_cleans_up(no_leaks):
    assert Census.take().since(no_leaks) == []
