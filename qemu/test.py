"""Boots the test image and holds it to its promises: test.py MACHINE DIRECTORY SAVEFILE HINDCAPD CUTS SAMPLES.

A sealed box with a blank card: it must format it, record what is replayed into the tap port, and send nothing. SAMPLES of
the cuts that this start could have had are tried on this machine, from the log of its writes (prefixes.py). Then
the power is cut CUTS times in the middle of a replay: whatever was on the card before the cut must be there after
it. The card is read on this machine by tcpdump, fsck.fat and hindcapd. DIRECTORY is for the run's files, SAVEFILE has
the frames, HINDCAPD is this machine's own.
"""

import os
import random
import sys
from collections.abc import Callable

from box import Box, check, fail, output
from card import frames_on, recorded
from console import judge_console
from drive import SECTOR, Drive, partition
from prefixes import Seen, WriteLog, judge_prefixes
from wire import frames_of

# Frames a second, how many are sent between two looks at the card, and how many there are for each start.
RATE = 300
STEP = 50
SHARE = 3000
# The sensor's default; what a power cut may lose.
FLUSH_INTERVAL_S = 5
# What a person puts on the box's drive before a start: name, files, the box's answer, what is left, the box's name then.
RESULT = "hindcap.result.txt"
TOLD = [
    ("wrong settings", {"hindcap.toml": '[sensor]\nid = "branch-7"\n[mqtt]\nbrokr = "mqtt://192.0.2.1"\n'},
     "NOT taken over: hindcap.toml:4: unknown key mqtt.brokr", [RESULT, "hindcap.toml"], "hindcap-024843000002"),
    ("good settings", {"hindcap.toml": '[sensor]\nid = "branch-7"\n[mqtt]\nbroker = "mqtt://192.0.2.1"\n'
                                       'username = "branch-7"\n', "hindcap.password": "secret\n"},
     "Taken over: hindcap.toml, hindcap.password. The box is branch-7 now", [RESULT], "branch-7"),
    ("nothing new", {}, "Taken over", [RESULT], "branch-7"),
]


def judge_card(directory: str, hindcapd: str, expected: list[bytes]) -> None:
    """Other people's programs find every frame in order; so does hindcapd."""
    card = os.path.join(directory, "card.img")
    frames = frames_on(directory, card)
    print("  fsck.fat finds nothing to mend", flush=True)
    check(frames == expected, f"tcpdump reads {len(frames)} of {len(expected)} frames from the card, unchanged, in order")
    answer = os.path.join(directory, "answer.pcap")
    output(hindcapd, "extract", "--store", f"fat:{card}", "--last", "3650d", "-w", answer)
    check(frames_of(answer) == expected, "hindcapd extracts the same frames")


def start(machine: str, directory: str, *options: str) -> Box:
    """Switches the box on and waits until it records."""
    box = Box(machine, directory, *options)
    box.wait("recording", lambda: "recording tap into" in box.text())
    box.wait("first status page", lambda: "\nclock " in box.text())
    return box


def judge_disk(box: Box) -> None:
    """The data partition of the box's own disk reaches to its end, and the running system knows."""
    disk = os.path.join(box.directory, "system.img")
    data = partition(disk, "hindcap-data")
    behind = os.path.getsize(disk) // SECTOR - data["start"] - data["size"]
    check(behind < 4096, f"the data partition has grown: {behind} sectors of the disk are behind it", box)
    told = f"data        {data['size'] // 2048} MiB of the box's own disk"
    box.wait(f"a page that says: {told}", lambda: f"\n{told}" in box.text())


def tell(directory: str, number: int) -> None:
    """Puts what TOLD has for this start on the box's drive."""
    if number < len(TOLD):
        drive = Drive(os.path.join(directory, "system.img"))
        for name, content in TOLD[number][1].items():
            drive.put(name, content)


def judge_told(box: Box, number: int) -> None:
    """Call after the cut."""
    if number >= len(TOLD):
        return
    what, _, answer, left, name = TOLD[number]
    drive = Drive(os.path.join(box.directory, "system.img"))
    check(drive.read(RESULT).startswith(answer), f"{what}: the answer on the drive is {drive.read(RESULT)!r}")
    check(drive.names() == left, f"{what}: on the drive are {drive.names()}")
    check(f"=== Hindcap {name}, up" in box.text(), f"{what}: the box is {name}")


def judge_silence(box: Box) -> None:
    """Call after the cut."""
    heard = len(box.management.received)
    check(not box.tap.received, f"the tap port sent 0 frames; {heard} from the other port", box)
    # The witness is worth something only if it sees a port that does send: DHCP on the management port.
    check(heard > 0, "the same witness hears the management port", box)


def calm(machine: str, directory: str, hindcapd: str, before: list[bytes], frames: list[bytes], *options: str,
         look: Callable[[int], int] = int) -> None:
    """Everything sent is on the card before the power goes; `look` is told how many packets were seen on the card."""
    card = os.path.join(directory, "card.img")
    until = len(before) + len(frames)
    box = start(machine, directory, *options)
    for sent in range(0, len(frames), STEP):
        box.tap.send(frames[sent : sent + STEP], RATE)
        look(recorded(hindcapd, card))
    box.wait(f"{until} packets on the card", lambda: look(recorded(hindcapd, card)) >= until)
    judge_console(box)
    judge_disk(box)
    box.cut()
    judge_silence(box)
    judge_card(directory, hindcapd, before + frames)


def first_start(machine: str, directory: str, hindcapd: str, frames: list[bytes], samples: int) -> None:
    """A box with a blank card; every write to it is logged."""
    log = WriteLog(os.path.join(directory, "card.log"))
    seen = Seen(log)
    calm(machine, directory, hindcapd, [], frames, "--write-log", log.path, look=seen.note)
    judge_prefixes(directory, hindcapd, seen, frames, samples)
    os.unlink(log.path)


def cut(machine: str, directory: str, hindcapd: str, before: list[bytes], frames: list[bytes],
        number: int) -> list[bytes]:
    """The power goes in the middle of the replay; gives what is committed on the card then."""
    card = os.path.join(directory, "card.img")
    tell(directory, number)
    box = start(machine, directory)
    seen, sent = 0, 0
    # Not before something of this start is on the card, and at another moment of the flush interval each time.
    last = len(frames) - random.randrange(RATE * FLUSH_INTERVAL_S)
    while sent < last or seen <= len(before):
        if sent >= len(frames):
            fail("nothing came onto the card while frames arrived", box)
        box.tap.send(frames[sent : sent + STEP], RATE)
        sent += STEP
        seen = recorded(hindcapd, card)
    box.cut()
    judge_silence(box)
    judge_told(box, number)
    # The batch that was being written has no commit block yet: tcpdump shows some of it, the next start discards it.
    committed = recorded(hindcapd, card)
    check(committed >= seen, f"{committed} packets are committed, among them all {seen} seen before the cut")
    found, kept = frames_on(directory, card), committed - len(before)
    check(found[: len(before)] == before, f"the {len(before)} frames of earlier starts are unchanged")
    check(found[len(before) : committed] == frames[:kept], f"then the first {kept} of {sent} sent, unchanged, in order")
    check(sent - kept <= RATE * (FLUSH_INTERVAL_S + 1), f"{sent - kept} lost, no more than a flush interval brings")
    return found[:committed]


def main() -> None:
    machine, directory, savefile, hindcapd, cuts, samples = sys.argv[1:]
    frames = frames_of(savefile)
    print(f"{machine}, first start, blank card:", flush=True)
    kept = frames[:SHARE]
    first_start(machine, directory, hindcapd, kept, int(samples))
    for number in range(1, int(cuts) + 1):
        print(f"{machine}, start {number + 1}, cut at load:", flush=True)
        kept = cut(machine, directory, hindcapd, kept, frames[number * SHARE : (number + 1) * SHARE],
                   number - 1)
    print(f"{machine}, last start:", flush=True)
    calm(machine, directory, hindcapd, kept, frames[(int(cuts) + 1) * SHARE : (int(cuts) + 2) * SHARE])
    print(f"image-test: {machine} passed")


main()
