"""Joins standard input and output to a TCP port of this machine: relay.py PORT. QEMU runs it for each connection of the
emulated box to the broker, so that the box reaches that port and nothing else.
"""

import os
import socket
import sys
import threading

CHUNK = 65_536


def outward(connection: socket.socket) -> None:
    """From the box to the port."""
    while data := os.read(0, CHUNK):
        connection.sendall(data)
    connection.shutdown(socket.SHUT_WR)


def main() -> None:
    with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as connection:
        threading.Thread(target=outward, args=(connection,), daemon=True).start()
        while data := connection.recv(CHUNK):
            while data:
                data = data[os.write(1, data) :]


main()
