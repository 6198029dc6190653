"""Slots of the root file system on trial: update.py MACHINE DIRECTORY SAVEFILE IMAGE.

After test.py in the same DIRECTORY. Slot B gets a root file system, as an update would write it (RAUC's part is tested on
this machine), and the boot choice is set as RAUC would set it. A good one must record packets and is then confirmed. One
whose sensor lives and records nothing must be found out, the watchdog must restart the box, and it must be back in slot A.
"""

import os
import re
import sys

from box import Box, check, output
from drive import SECTOR, partition
from wire import frames_of

RATE = 100
# Later than this health confirms a slot that it is content with: its grace and a few rounds.
GRACE_S = 90


def choice(disk: str) -> str:
    """What the boot loader reads."""
    start = partition(disk, "hindcap-boot")["start"] * SECTOR
    return output("mtype", "-i", f"{disk}@@{start}", "::slots.txt").decode().strip()


def update(disk: str, image: str) -> None:
    """Puts `image` into slot B and puts B on trial."""
    slot = partition(disk, "hindcap-b")
    output("dd", f"if={image}", f"of={disk}", f"bs={SECTOR}", f"seek={slot['start']}", "conv=notrunc")
    start = partition(disk, "hindcap-boot")["start"] * SECTOR
    text = os.path.join(os.path.dirname(disk), "slots.txt")
    with open(text, "w", encoding="ascii") as file:
        file.write("B A 9 3\n")
    output("mcopy", "-o", "-n", "-i", f"{disk}@@{start}", text, "::slots.txt")


def judged(box: Box) -> int:
    """When health last spoke, seconds after power-on."""
    stamps = re.findall(r"^health +\S+ (\d+) ", box.text(), re.MULTILINE)
    return int(stamps[-1]) if stamps else 0


def start(machine: str, directory: str, slot: str) -> Box:
    box = Box(machine, directory)
    box.wait("first status page", lambda: "\nhealth " in box.text())
    check(f"\nslot        {slot}" in box.text(), f"it runs from slot {slot}", box)
    return box


def main() -> None:
    machine, directory, savefile, image = sys.argv[1:]
    disk = os.path.join(directory, "system.img")
    frames = frames_of(savefile)[:3000]

    print(f"{machine}, a good update:", flush=True)
    update(disk, os.path.join(image, "rootfs.squashfs"))
    box = start(machine, directory, "B")
    box.wait("time enough to be confirmed", lambda: judged(box) > GRACE_S)
    check("is good" not in box.text(), "nothing recorded, not confirmed", box)
    box.tap.send(frames[:500], RATE)
    box.wait("confirmation", lambda: "health: slot B is good" in box.text())
    box.cut()
    check(choice(disk) == "B A 9 9", f"the boot loader reads {choice(disk)!r}")

    print(f"{machine}, an update whose sensor lives and does nothing:", flush=True)
    update(disk, os.path.join(image, "rootfs-ill.squashfs"))
    box = start(machine, directory, "B")
    box.tap.send(frames, RATE)
    box.wait("finding out", lambda: "watchdog: packets arrive and none is recorded" in box.text())
    box.ended("restart by the watchdog")
    check(choice(disk) == "B A 9 0", f"the boot loader reads {choice(disk)!r}")
    box = start(machine, directory, "A")
    box.wait("recording", lambda: "recording tap into" in box.text())
    box.cut()
    print(f"image-test: {machine} updates passed")


main()
