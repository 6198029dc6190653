"""The other end of an emulated network port: sends the frames of a savefile into it and witnesses what comes out.

    wire.py PORT SAVEFILE [--rate N] [--loop]     PORT is the path of the two sockets, PORT.box and PORT.wire

One datagram is one frame. The socket is there before QEMU starts, so nothing that the port sends is missed.
"""

import argparse
import os
import socket
import struct
import time

LARGEST_FRAME = 65_536


def frames_of(path: str) -> list[bytes]:
    """The frames of a classic little-endian savefile."""
    with open(path, "rb") as file:
        content = file.read()
    if content[:4] not in (b"\x4d\x3c\xb2\xa1", b"\xd4\xc3\xb2\xa1"):
        raise ValueError(f"{path}: not a classic little-endian savefile")
    frames, at = [], 24
    while at < len(content):
        length = struct.unpack_from("<I", content, at + 8)[0]
        frames.append(content[at + 16 : at + 16 + length])
        at += 16 + length
    return frames


def savefile_of(path: str, frames: list[bytes]) -> None:
    """Writes a classic savefile of `frames`, one a microsecond, from now on."""
    now = time.time_ns() // 1000
    with open(path, "wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, LARGEST_FRAME, 1))
        for at, frame in enumerate(frames, now):
            file.write(struct.pack("<IIII", at // 1_000_000, at % 1_000_000, len(frame), len(frame)) + frame)


class Wire:
    """The far end of the port at `path`."""

    def __init__(self, path: str) -> None:
        self.box = path + ".box"
        if os.path.exists(path + ".wire"):
            os.unlink(path + ".wire")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(path + ".wire")
        self.received: list[bytes] = []

    def send(self, frames: list[bytes], rate: int) -> None:
        """Sends `frames`, at most `rate` a second; waits while the port takes none."""
        start = time.monotonic()
        for number, frame in enumerate(frames):
            time.sleep(max(0.0, start + number / rate - time.monotonic()))
            self.socket.sendto(frame, self.box)
        self.listen()

    def listen(self) -> list[bytes]:
        """Takes what the port has sent; all of it since the start is in `received`."""
        try:
            while True:
                self.received.append(self.socket.recv(LARGEST_FRAME, socket.MSG_DONTWAIT))
        except BlockingIOError:
            return self.received


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("port")
    parser.add_argument("savefile")
    parser.add_argument("--rate", type=int, default=200, help="frames a second")
    parser.add_argument("--loop", action="store_true", help="again and again")
    args = parser.parse_args()
    frames, wire = frames_of(args.savefile), Wire(args.port)
    while not os.path.exists(wire.box):
        time.sleep(0.1)
    try:
        while True:
            wire.send(frames, args.rate)
            if not args.loop:
                break
    except (ConnectionError, FileNotFoundError, KeyboardInterrupt):
        pass  # the box is off
    print(f"{len(wire.listen())} frames came out of the port")


if __name__ == "__main__":
    main()
