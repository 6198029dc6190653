"""The network of an emulated box's management port: one DHCP server (RFC 2131) that is also the NTP server (RFC 5905) it
names, with this machine's time.
"""

import socket
import struct
import threading
import time

from wire import LARGEST_FRAME, Wire

HERE_MAC, HERE, BOX = bytes.fromhex("024843000009"), socket.inet_aton("192.0.2.1"), socket.inet_aton("192.0.2.2")
ARP, IPV4, UDP = 0x0806, 0x0800, 17
DHCP_SERVER, DHCP_CLIENT, NTP = 67, 68, 123
COOKIE = bytes.fromhex("63825363")
# DHCP options and message types.
MESSAGE, MASK, TIME_SERVERS, LEASE, SERVER, END = 53, 1, 42, 51, 54, 255
DISCOVER, OFFER, REQUEST, ACK = 1, 2, 3, 5
# Seconds from the era of NTP to that of Unix.
NTP_ERA = 2_208_988_800


def checksum(data: bytes) -> int:
    """RFC 1071."""
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ntp_now() -> bytes:
    now = time.time()
    return struct.pack(">II", int(now) + NTP_ERA, int(now % 1 * 2**32))


class TimeServer(Wire):
    """The far end of the port at `path`; answers nobody before `answer()`."""

    def answer(self) -> None:
        threading.Thread(target=self.serve, daemon=True).start()

    def listen(self) -> list[bytes]:
        """What is heard before `answer()`; afterwards the thread takes all."""
        return super().listen() if threading.active_count() == 1 else self.received

    def serve(self) -> None:
        while True:
            frame = self.socket.recv(LARGEST_FRAME)
            self.received.append(frame)
            kind, reply = struct.unpack_from(">H", frame, 12)[0], None
            if kind == ARP and frame[20:22] == b"\0\1" and frame[38:42] == HERE:
                reply = struct.pack(">HHBBH", 1, IPV4, 6, 4, 2) + HERE_MAC + HERE + frame[22:32]
            elif kind == IPV4 and frame[23] == UDP:
                reply = self.udp(frame[14 + (frame[14] & 15) * 4 :])
            if reply is not None:
                self.socket.sendto(frame[6:12] + HERE_MAC + struct.pack(">H", kind) + reply, self.box)

    def udp(self, datagram: bytes) -> bytes | None:
        """The packet that answers a datagram, if one does."""
        source, target = struct.unpack_from(">HH", datagram)
        if target == DHCP_SERVER:
            answer, source = self.dhcp(datagram[8:]), DHCP_CLIENT
        elif target == NTP:
            answer = self.ntp(datagram[8:])
        else:
            return None
        # No checksum: IPv4 allows that for UDP (RFC 768).
        answer = struct.pack(">HHHH", target, source, 8 + len(answer), 0) + answer
        header = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(answer), 0, 0, 64, UDP, 0) + HERE + BOX
        return header[:10] + struct.pack(">H", checksum(header)) + header[12:] + answer

    @staticmethod
    def dhcp(request: bytes) -> bytes:
        """An offer or an acknowledgement, always of the same address."""
        options, at = {}, 240
        while at < len(request) and request[at] != END:
            options[request[at]] = request[at + 2 : at + 2 + request[at + 1]]
            at += 2 + request[at + 1]
        kind = OFFER if options[MESSAGE][0] == DISCOVER else ACK
        told = {MESSAGE: bytes([kind]), SERVER: HERE, LEASE: struct.pack(">I", 3600), MASK: bytes([255, 255, 255, 0]),
                TIME_SERVERS: HERE}
        reply = b"\2" + request[1:16] + BOX + HERE + bytes(4) + request[28:236] + COOKIE
        return reply + b"".join(bytes([code, len(value)]) + value for code, value in told.items()) + bytes([END])

    @staticmethod
    def ntp(request: bytes) -> bytes:
        """Server mode, stratum 1, in the client's version."""
        now = ntp_now()
        head = struct.pack(">BBbb", request[0] & 0x38 | 4, 1, 6, -20) + bytes(8) + b"TEST"
        return head + now + request[40:48] + now + now
