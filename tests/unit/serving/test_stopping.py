"""A listening socket before it is closed: what it holds can be accepted, and nothing comes any more."""

import errno
import select
import socket
import sys

import pytest

from reprogram.serving.server import deafen, listen

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such option")


def test_what_was_connected_before_is_whole_and_nobody_connects_after():
    listening = listen("127.0.0.1", 0)
    where = listening.getsockname()
    with listening, socket.create_connection(where) as before:
        before.sendall(b"asked")
        deafen(listening)
        listening.setblocking(False)
        with pytest.raises(TimeoutError):
            socket.create_connection(where, timeout=0.3).close()
        accepted, _ = listening.accept()
        with accepted:
            accepted.settimeout(5)
            before.sendall(b" again")
            assert accepted.recv(5) + accepted.recv(6) == b"asked again"
            accepted.sendall(b"answered")
            assert before.recv(8) == b"answered"
        with pytest.raises(BlockingIOError):
            listening.accept()


def test_who_begins_to_connect_then_is_refused_in_the_end():
    listening = listen("127.0.0.1", 0)
    where = listening.getsockname()
    deafen(listening)
    with socket.socket() as client:
        client.setblocking(False)
        assert client.connect_ex(where) != 0
        listening.close()
        select.select([], [client], [], 20)
        assert client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNREFUSED
