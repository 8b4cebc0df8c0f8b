"""Frames: cut anywhere, bounded, broken by nonsense."""

import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.executor.assignment import Assignment
from worker.executor.channel import MAX_FRAME_BYTES, BlockingChannel, ChannelError, encode_frame, up_reader
from worker.executor.frames import Assign, Ended, Frame, Ready, Stop, ToldLog, ToldProgress
from worker.executor.limits import Limits

FRAMES: list[Frame] = [
    Ready(Limits(timeout_s=1.5), "warm"),
    ToldProgress(0.5, "half ½"),
    ToldLog("x" * 70_000, "info"),
    Ended("run", "returned"),
]


@given(st.lists(st.integers(1, 3000), max_size=50))
def test_frames_arrive_whole_however_the_stream_is_cut(sizes: list[int]) -> None:
    """A stream socket knows no frames; the reader does."""
    stream = b"".join(encode_frame(frame) for frame in FRAMES)
    reader, found, start = up_reader(), [], 0
    for size in [*sizes, len(stream)]:
        found += list(reader.feed(stream[start : start + size]))
        start += size
    assert found == FRAMES


def test_both_sides_understand_each_other() -> None:
    """The child's blocking side reads what the agent writes."""
    near, far = socket.socketpair()
    with near, far:
        frames: list[Frame] = [
            Assign(
                Assignment(run_id="r", task_id="t", type="x", parameters={"a": [1]}),
                "/w",
                Limits(timeout_s=5.0),
            ),
            Stop("r", "drained", "why", 3.0, is_urgent=False),
        ]
        near.sendall(b"".join(encode_frame(frame) for frame in frames))
        channel = BlockingChannel(far)
        assert channel.receive() == frames[0]
        assert channel.has_frame
        assert channel.receive() == frames[1]
        assert not channel.has_frame
        channel.send(ToldProgress(1.0))
        assert list(up_reader().feed(near.recv(1000))) == [ToldProgress(1.0)]
        near.shutdown(socket.SHUT_WR)
        assert channel.receive() is None


def test_a_frame_at_the_bound_passes_and_one_above_does_not() -> None:
    """Nobody holds more than a frame of what the other side announces."""
    room = MAX_FRAME_BYTES - len(encode_frame(ToldLog("", "info"))) + 4
    encoded = encode_frame(ToldLog("x" * room, "info"))
    assert len(encoded) == MAX_FRAME_BYTES + 4
    assert len(list(up_reader().feed(encoded))) == 1
    with pytest.raises(ChannelError, match="more than"):
        encode_frame(ToldLog("x" * (room + 1), "info"))
    with pytest.raises(ChannelError, match="announced"):
        list(up_reader().feed(struct.pack(">I", MAX_FRAME_BYTES + 1)))


def test_frames_before_a_broken_one_are_taken() -> None:
    """A receipt is not lost to what a dying process says behind it, in one piece with it or not."""
    whole, broken = encode_frame(Ended("run", "returned")), struct.pack(">I", 1) + b"{"
    for pieces in ([whole + broken], [whole, broken], [whole[:5], whole[5:] + broken]):
        reader = up_reader()
        fed = (frame for piece in pieces for frame in reader.feed(piece))
        assert next(fed) == Ended("run", "returned")
        with pytest.raises(ChannelError, match="could not be read"):
            next(fed)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"frame":"unknown"}', b'{"frame":"progress","ratio":"x"}', b"\xff"]
)
def test_what_is_no_frame_breaks_the_channel(body: bytes) -> None:
    """After nonsense nothing can be trusted."""
    with pytest.raises(ChannelError, match="could not be read"):
        list(up_reader().feed(struct.pack(">I", len(body)) + body))


def test_what_json_cannot_carry_is_a_channel_error() -> None:
    """Also the sender's mistakes have one class."""
    with pytest.raises(ChannelError, match="ToldLog"):
        encode_frame(ToldLog("\ud800", "info"))
