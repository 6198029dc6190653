"""Which slot the boot loader of an emulated box takes, read from its disk while the box is off.

The test image keeps it in slots.txt on the boot partition; Buildroot's in U-Boot's environment, which lies on the disk twice
in front of the partitions (buildroot/uboot.fragment), the newer one with the higher number.
"""

import struct
import zlib

from box import fail, output
from drive import SECTOR, partition

# Bytes from the start of the disk, and the size of each.
COPIES, SIZE = (0xE00000, 0xF00000), 0x8000
# In front of the variables: their CRC-32 and the number of the write, which comes to 0 after 255.
HEADER = struct.Struct("<IB")


def environment(disk: str) -> dict[str, str] | None:
    """U-Boot's variables, as U-Boot will find them; nothing where it never wrote any."""
    found: list[tuple[int, bytes]] = []
    with open(disk, "rb") as file:
        for start in COPIES:
            file.seek(start)
            copy = file.read(SIZE)
            crc, number = HEADER.unpack_from(copy)
            if zlib.crc32(copy[HEADER.size :]) == crc:
                found.append((number, copy[HEADER.size :]))
    if not found:
        return None
    newest = found[0]
    if len(found) == 2 and 0 < (found[1][0] - found[0][0]) % 256 < 128:
        newest = found[1]
    variables = newest[1].split(b"\0\0", 1)[0].decode(errors="replace").split("\0")
    return dict(line.split("=", 1) for line in variables if "=" in line)


def choice(disk: str) -> tuple[str, dict[str, int]]:
    """The slot that is taken first, and how often each may be tried."""
    variables = environment(disk)
    if variables is None:
        start = partition(disk, "hindcap-boot")["start"] * SECTOR
        words = output("mtype", "-i", f"{disk}@@{start}", "::slots.txt").decode().split()
        return words[0], {"A": int(words[2]), "B": int(words[3])}
    names = {"BOOT_ORDER", "BOOT_A_LEFT", "BOOT_B_LEFT"}
    if not names <= variables.keys():
        fail(f"U-Boot's environment lacks {sorted(names - variables.keys())}")
    return variables["BOOT_ORDER"].split()[0], {name: int(variables[f"BOOT_{name}_LEFT"]) for name in "AB"}
