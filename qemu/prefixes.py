"""Every power cut that one run could have had: the card as it was after any number of its writes.

QEMU's blklogwrites logs what the box writes to its card, sector by sector, as the kernel's dm-log-writes does. A prefix of
the log is the card of a box that lost its power right then. Each one sampled goes through what the next start does
(`format --if-blank`, opening, recording on), and then has every frame that had been seen on the card before, unchanged and
in order, and those recorded since; fsck.fat finds nothing to mend.
"""

import os
import random
import struct
import subprocess

from box import check, fail, output
from card import frames_on
from wire import savefile_of

SECTOR = 512
# The log's first sector and the head of each entry (Documentation/admin-guide/device-mapper/log-writes.rst).
MAGIC = 0x6A736677736872
SUPER = struct.Struct("<QQQI")
ENTRY = struct.Struct("<QQQQ")
DISCARD = 4


class WriteLog:
    """The writes of a log, in order: first sector, bytes."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.writes: list[tuple[int, bytes]] = []
        # Where in the log each one ends.
        self.ends: list[int] = []

    def read(self) -> None:
        with open(self.path, "rb") as file:
            log = file.read()
        magic, _, _, sector_bytes = SUPER.unpack_from(log)
        if magic != MAGIC or sector_bytes != SECTOR:
            fail(f"{self.path} is no log of sectors of {SECTOR} bytes")
        at = SECTOR
        while at + SECTOR <= len(log):
            sector, count, flags, _ = ENTRY.unpack_from(log, at)
            at += SECTOR
            content = b"" if flags & DISCARD else log[at : at + count * SECTOR]
            at += len(content)
            if at > len(log) or count == 0:
                continue
            self.writes.append((sector, content))
            self.ends.append(at)

    def apply(self, card: str, first: int, until: int) -> None:
        with open(card, "r+b") as file:
            for sector, content in self.writes[first:until]:
                file.seek(sector * SECTOR)
                file.write(content)


class Seen:
    """What was seen on the card when the log had which size."""

    def __init__(self, log: WriteLog) -> None:
        self.log = log
        self.looks = [(0, 0)]
        self.last = 0

    def note(self, packets: int) -> int:
        """A write reaches the card before the log: what is on the card now is in the log at the next look."""
        self.looks.append((os.path.getsize(self.log.path), self.last))
        self.last = packets
        return packets

    def by(self, size: int) -> int:
        """How many packets are on the card for sure when the log has `size` bytes."""
        return max(packets for at, packets in self.looks if at <= size)


def next_start(hindcapd: str, card: str, savefile: str) -> None:
    """What a box does with the card when the power is back; the frames are new ones."""
    output(hindcapd, "-q", "format", f"fat:{card}", "--if-blank")
    output(hindcapd, "-q", "import", "--store", f"fat:{card}", savefile)


def judge_prefixes(directory: str, hindcapd: str, seen: Seen, frames: list[bytes], samples: int) -> None:
    """Tries `samples` of the cuts; `frames` were sent to a box with a blank card."""
    log = seen.log
    log.read()
    last, card = os.path.join(directory, "card.img"), os.path.join(directory, "prefix.img")
    growing, savefile = card + ".growing", os.path.join(directory, "since.pcap")
    since = [bytes(reversed(frame)) for frame in frames[:20]]
    savefile_of(savefile, since)
    with open(growing, "wb") as file:
        file.truncate(os.path.getsize(last))
    # As many before anything is recorded, while the card is being formatted, as after it.
    first = next(number for number, end in enumerate(log.ends) if seen.by(end) > 0)
    ends = range(len(log.writes) + 1)
    chosen = sorted(set(random.sample(ends[:first], min(first, samples // 2))
                        + random.sample(ends[first:], min(len(ends) - first, samples - samples // 2)) + [0, ends[-1]]))
    applied = before = 0
    for number in chosen:
        log.apply(growing, applied, number)
        applied = number
        subprocess.run(["cp", "--sparse=always", growing, card], check=True)
        next_start(hindcapd, card, savefile)
        found = frames_on(directory, card)
        kept = len(found) - len(since)
        sure = max(before, seen.by(log.ends[number - 1]) if number else 0)
        if found != frames[:kept] + since or kept < sure:
            fail(f"after {number} of {len(log.writes)} writes: {len(found)} frames, "
                 f"{sure} seen before and {len(since)} new ones were to be there, unchanged and in order")
        before = kept
    check(before == len(frames), f"{len(chosen)} cuts, after 0 to {len(log.writes)} writes of a sector, up to {before} frames: "
                                 "each card is mended, has what was seen on it, and is recorded to")
    output("cmp", growing, last)
    os.unlink(growing)
    os.unlink(card)
