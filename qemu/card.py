"""The card of the emulated box, read on this machine by other people's programs."""

import json
import os
import subprocess

from box import output
from drive import SECTOR
from wire import frames_of


def recorded(hindcapd: str, card: str) -> int:
    """Packets on the card, read beside the running box; none while there is no store yet."""
    command = [hindcapd, "status", "--json", "--store", f"fat:{card}"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    return json.loads(done.stdout)["packets"] if done.returncode == 0 else 0


def volume_of(directory: str, card: str) -> str:
    """The FAT file system of the card, in a file of its own: the whole card, or its one partition."""
    volume = os.path.join(directory, "volume.img")
    table = subprocess.run(["sfdisk", "--json", card], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    parts = json.loads(table.stdout)["partitiontable"].get("partitions", []) if table.returncode == 0 else []
    skip, count = (parts[0]["start"], parts[0]["size"]) if parts else (0, os.path.getsize(card) // SECTOR)
    output("dd", f"if={card}", f"of={volume}", "bs=1M", "iflag=skip_bytes,count_bytes", "conv=sparse",
           f"skip={skip * SECTOR}", f"count={count * SECTOR}")
    return volume


def frames_on(directory: str, card: str) -> list[bytes]:
    """The frames that tcpdump reads from the card, whose file system must be sound."""
    volume = volume_of(directory, card)
    output("fsck.fat", "-n", volume)
    copied = os.path.join(directory, "segments")
    output("rm", "-rf", copied)
    output("mcopy", "-s", "-n", "-i", volume, "::segments", directory)
    os.unlink(volume)
    frames = []
    for name in sorted(os.listdir(copied)):
        whole = os.path.join(directory, "segment.pcap")
        path = os.path.join(copied, name)
        # Segments that nothing was recorded into hold no savefile.
        with open(path, "rb") as file:
            if file.read(4) != b"\x0a\x0d\x0d\x0a":
                continue
        # tcpdump says "truncated" of a segment that is still open, after every packet of it.
        subprocess.run(["tcpdump", "-r", path, "-w", whole], stderr=subprocess.DEVNULL, check=False)
        frames += frames_of(whole)
    return frames
