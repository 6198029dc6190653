"""Updates as a person makes them: update.py MACHINE DIRECTORY SAVEFILE BUNDLES HINDCAPD.

BUNDLES is what test-bundles makes. Each is put on the drive of a box that is off, the box starts, RAUC installs it or not,
and the drive has the answer. A bad one changes nothing and is not tried again; a good one must record packets and is then
kept; one that does not goes back; and the power is cut while a slot is written. Every frame that arrived meanwhile must be
in the record at the end. HINDCAPD is this machine's own.
"""

import os
import random
import re
import subprocess
import sys
import time

from box import Box, check, fail, output
from choice import choice
from drive import SECTOR, Drive, partition
from wire import frames_of

RATE, STEP = 200, 200
# Later than this health confirms a slot that it is content with: its grace and a few rounds.
GRACE_S = 90
NAME = "branch-8"
BUNDLE, REFUSED, ANSWER = "hindcap.raucb", "hindcap.refused.raucb", "hindcap.update.txt"
# Bundles that are refused and what the person is told.
BAD = [
    ("stranger", "somebody signed it whose updates this box does not take"),
    ("signature", "its signature does not fit"),
    ("other", "it is for another kind of box"),
    ("cut", "it is no update, or only a part of one"),
    ("text", "it is no update, or only a part of one"),
    ("large", "it is larger than a slot of this box"),
    ("payload", "it is damaged, or the drive is"),
]
# Bundles that install and are given up, and why.
NOT_STARTED = "it did not start, or not far enough to say why"
ILL = [
    ("idle", "packets arrive and none is recorded"),
    ("crashing", "the sensor does not run"),
    ("headless", NOT_STARTED),
    ("stuck", NOT_STARTED),
]


class Branch:
    """A box, the drive in it, and every frame that has arrived at its tap port."""

    def __init__(self, machine: str, directory: str, bundles: str, frames: list[bytes], hindcapd: str) -> None:
        self.machine, self.directory, self.bundles, self.hindcapd = machine, directory, bundles, hindcapd
        self.frames, self.sent = frames, 0
        self.disk = os.path.join(directory, "system.img")
        output(os.path.join(os.path.dirname(__file__), "run"), "--machine", machine, "--dir", directory, "--disk-only")
        self.drive = Drive(self.disk)
        # An empty version is the image's.
        self.slot, self.version = "A", ""

    def put(self, name: str) -> None:
        self.drive.copy(os.path.join(self.bundles, f"{name}.raucb"), BUNDLE)

    def start(self, slot: str, version: str, *options: str) -> Box:
        box = Box(self.machine, self.directory, *options)
        box.wait("first status page", lambda: "\nhealth " in box.text())
        runs = re.search(r"^slot +([AB]), version (\S+)$", box.text(), re.MULTILINE)
        self.version = self.version or (runs.group(2) if runs else "?")
        check(runs is not None and runs.groups() == (slot, version or self.version),
              f"it runs version {version or self.version} from slot {slot}", box)
        return box

    def as_before(self, *options: str) -> Box:
        return self.start(self.slot, self.version, *options)

    def arrive(self, box: Box) -> None:
        box.wait("recording", lambda: "recording tap into" in box.text())
        box.tap.send(self.frames[self.sent : self.sent + STEP], RATE)
        self.sent += STEP

    def recorded(self) -> list[bytes]:
        answer = os.path.join(self.directory, "answer.pcap")
        store = f"fat:{os.path.join(self.directory, 'card.img')}"
        done = subprocess.run([self.hindcapd, "extract", "--store", store, "--last", "3650d", "-w", answer],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        # 1: nothing on the card yet.
        return frames_of(answer) if done.returncode == 0 else []

    def all_recorded(self, box: Box) -> None:
        box.wait(f"{self.sent} packets on the card", lambda: len(self.recorded()) >= self.sent)
        check(self.recorded() == self.frames[: self.sent], "they are those that arrived, unchanged, in order", box)

    def told(self) -> str:
        """What the drive says; whole for sure after the cut."""
        return self.drive.read(ANSWER)

    def choice(self) -> tuple[str, dict[str, int]]:
        """What the boot loader reads: the slot that it takes first, and how often it may try each."""
        return choice(self.disk)

    def other(self) -> str:
        return "B" if self.slot == "A" else "A"

    def holds(self, at: int) -> bool:
        """Whether something is written at this byte of the slot that does not run; `emptied` comes before."""
        place = partition(self.disk, f"hindcap-{self.other().lower()}")
        with open(self.disk, "rb") as disk:
            disk.seek(place["start"] * SECTOR + at)
            return any(disk.read(SECTOR))

    def emptied(self) -> None:
        place = partition(self.disk, f"hindcap-{self.other().lower()}")
        with open(self.disk, "r+b") as disk:
            disk.seek(place["start"] * SECTOR)
            disk.write(bytes(place["size"] * SECTOR))


def judged(box: Box) -> int:
    """When health last spoke, seconds after power-on."""
    stamps = re.findall(r"^health +\S+ (\d+) ", box.text(), re.MULTILINE)
    return int(stamps[-1]) if stamps else 0


def refused(branch: Branch, name: str, why: str) -> None:
    print(f"{branch.machine}, refused: {name}", flush=True)
    branch.put(name)
    box = branch.as_before()
    branch.arrive(box)
    box.wait("refusal", lambda: "update: NOT installed: " in box.text())
    # The drive is read beside the box, which may still be writing: only the next reading, after the cut, counts.
    left = [REFUSED, "hindcap.result.txt", ANSWER]
    box.wait("answer on the drive", lambda: branch.told().startswith("NOT installed: ") and branch.drive.names() == left)
    branch.all_recorded(box)
    box.cut()
    print("    " + branch.told().replace("\n", "\n    "), flush=True)
    check(branch.told().startswith(f"NOT installed: {why}"), "the drive says why")
    check(f"version {branch.version} in slot {branch.slot}" in branch.told(), "and what runs")
    names = branch.drive.names()
    check(names == left, f"the drive holds {names}")
    first, tries = branch.choice()
    check(first == branch.slot and min(tries.values()) > 0, f"the boot loader takes {first} first, tries {tries}")


def not_again(branch: Branch) -> None:
    print(f"{branch.machine}, the start after a refusal:", flush=True)
    box = branch.as_before()
    box.wait("what the update said last", lambda: "\nupdate      NOT installed: " in box.text())
    branch.arrive(box)
    branch.all_recorded(box)
    check("update: " not in box.text(), "the bundle is not tried again", box)
    check(f"=== Hindcap {NAME}, up" in box.text(), f"the box is {NAME}", box)
    box.cut()


def installed(branch: Branch, name: str, *options: str) -> None:
    """Installs a bundle, until the box starts anew."""
    branch.put(name)
    box = Box(branch.machine, branch.directory, *options)
    box.ended("start into the other slot")
    check(f"update: On trial: version {name} in slot {branch.other()}. " in box.text(), "it was installed", box)
    check(branch.told().startswith(f"On trial: version {name} in slot {branch.other()}. "), "the drive says so")
    check(BUNDLE not in branch.drive.names(), "the bundle is gone from the drive")


def proves_itself(branch: Branch, name: str) -> None:
    """The box starts into the other slot, records, and keeps it."""
    other = branch.other()
    box = branch.start(other, name)
    box.wait("trial on the status page", lambda: f"\nupdate      on trial: version {name} in slot {other}" in box.text())
    box.wait("time enough to be confirmed", lambda: judged(box) > GRACE_S)
    check("is good" not in box.text(), "nothing recorded, not confirmed", box)
    branch.arrive(box)
    box.wait("confirmation", lambda: f"health: slot {other} is good" in box.text())
    box.wait("answer", lambda: f"version {name} runs" in box.text())
    branch.all_recorded(box)
    check(f"=== Hindcap {NAME}, up" in box.text(), f"the box is still {NAME}", box)
    box.cut()
    branch.slot, branch.version = other, name
    first, tries = branch.choice()
    check(first == other and tries[other] == 9, f"the boot loader takes {first} first, tries {tries}")
    check(BUNDLE not in branch.drive.names(), "no bundle is left on the drive")


def given_up(branch: Branch, name: str, why: str) -> None:
    print(f"{branch.machine}, installed and given up: {name}", flush=True)
    # One of them is installed by a box that nobody has told the time.
    installed(branch, name, *(["--clock", "2019-05-04T03:02:01"] if name == "headless" else []))
    if why == NOT_STARTED:
        for _ in range(3):
            Box(branch.machine, branch.directory).ended("end of a system that does not start")
    else:
        box = branch.start(branch.other(), name)
        # Nobody records these.
        box.tap.send(branch.frames[:STEP], RATE)
        box.wait("finding out", lambda: f"watchdog: {why}" in box.text())
        box.ended("restart by the watchdog")
    box = branch.as_before()
    gone = f"GIVEN UP: version {name} in slot {branch.other()}: {why}"
    box.wait("word of it", lambda: f"update: {gone}" in box.text())
    box.wait("word of it on the status page", lambda: f"\nupdate      {gone}" in box.text())
    branch.arrive(box)
    branch.all_recorded(box)
    box.cut()
    print("    " + branch.told().replace("\n", "\n    "), flush=True)
    check(branch.told().startswith(gone), "the drive says so")


def cut_while_installing(branch: Branch, name: str) -> None:
    """The power goes three times while RAUC writes, then once right after it is done."""
    branch.put(name)
    size = os.path.getsize(os.path.join(branch.bundles, f"{name}.raucb"))
    for number in range(1, 4):
        at = random.randrange(size * 3 // 4)
        print(f"{branch.machine}, power cut {number} while {name} is installed, byte {at} of {size}:", flush=True)
        branch.emptied()
        box = Box(branch.machine, branch.directory)
        while not branch.holds(at):
            if box.qemu.poll() is not None or "update: On trial" in box.text():
                fail("the slot was never seen half written", box)
            time.sleep(0.01)
        box.cut()
        check(f"update: Installing version {name}, try {number} of 3" in box.text(), f"it was try {number}")
        whole = branch.holds(size * 99 // 100)
        print(f"  cut when the slot was written {'to its end' if whole else 'in part'}", flush=True)
        first, tries = branch.choice()
        check(first == branch.slot and tries[branch.other()] == 0,
              f"it is not to be started: the boot loader takes {first} first, tries {tries}")
        check(BUNDLE in branch.drive.names(), "the bundle is still on the drive")
    print(f"{branch.machine}, after that:", flush=True)
    box = branch.as_before()
    branch.arrive(box)
    box.wait("an end to trying", lambda: "update: NOT installed: the box was started anew 3 times" in box.text())
    branch.all_recorded(box)
    box.cut()
    print(f"{branch.machine}, power cut as soon as {name} is installed:", flush=True)
    branch.put(name)
    box = Box(branch.machine, branch.directory)
    while "update: On trial" not in box.text():
        if box.qemu.poll() is not None:
            fail("it was not installed", box)
        time.sleep(0.01)
    box.cut()
    proves_itself(branch, name)


def main() -> None:
    machine, directory, savefile, bundles, hindcapd = sys.argv[1:]
    branch = Branch(machine, directory, bundles, frames_of(savefile), hindcapd)
    branch.drive.put("hindcap.toml", f'[sensor]\nid = "{NAME}"\n')
    print(f"{machine}, a good update:", flush=True)
    installed(branch, "good")
    proves_itself(branch, "good")
    # From here on there is a version to go back to, which nothing bad may cost.
    for name, why in BAD:
        refused(branch, name, why)
    not_again(branch)
    # The slot that is written now could be started until then.
    cut_while_installing(branch, "better")
    for name, why in ILL:
        given_up(branch, name, why)
    print(f"image-test: {machine} updates passed")


main()
