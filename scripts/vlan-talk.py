"""Sends five 802.1Q-tagged UDP datagrams out of an interface: vlan-talk.py INTERFACE VLAN SOURCE DESTINATION.

For kernels without VLAN devices, where the demo still wants tagged traffic.
"""

import socket
import struct
import sys


def checksum(data: bytes) -> int:
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def frame(mac: bytes, vlan: int, source: str, destination: str, payload: bytes) -> bytes:
    udp = struct.pack("!HHHH", 5000, 5001, 8 + len(payload), 0) + payload
    addresses = socket.inet_aton(source) + socket.inet_aton(destination)
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0, 64, socket.IPPROTO_UDP, 0) + addresses
    head = head[:10] + struct.pack("!H", checksum(head)) + head[12:]
    ethernet = b"\xff" * 6 + mac + struct.pack("!HHH", 0x8100, vlan, 0x0800)
    return ethernet + head + udp


def main() -> None:
    interface, vlan, source, destination = sys.argv[1:]
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
        sender.bind((interface, 0))
        mac = sender.getsockname()[4]
        for number in range(5):
            sender.send(frame(mac, int(vlan), source, destination, b"hindcap demo %d" % number))


main()
