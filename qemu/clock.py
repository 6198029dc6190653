"""A box whose clock is years off: clock.py MACHINE DIRECTORY SAVEFILE HINDCAPD.

It starts in 2019 and records. Then a network names a time server, chrony steps the clock, and the box records on.
Afterwards the record is asked for by the true time: what was recorded in 2019's time must be there as well, unchanged
and in order. HINDCAPD is this machine's own.
"""

import os
import sys
import time

from box import Box, check, output
from card import recorded
from timeserver import TimeServer
from wire import frames_of

RATE = 200
STEP = 400
WRONG = "2019-05-04T03:02:01"


def main() -> None:
    machine, directory, savefile, hindcapd = sys.argv[1:]
    frames = frames_of(savefile)[: 2 * STEP]
    print(f"{machine}, a clock that is years off:", flush=True)
    network = TimeServer(os.path.join(directory, "management"))
    box = Box(machine, directory, "--clock", WRONG, management=network)
    box.wait("recording", lambda: "recording tap into" in box.text())
    began = time.time()
    box.tap.send(frames[:STEP], RATE)
    box.wait("2019 on the status page", lambda: "newest      2019-05-04T" in box.text())
    check("\nclock       not synchronised" in box.text(), "the box says that its clock is not synchronised", box)
    network.answer()
    box.wait("a clock that was stepped", lambda: "; it was 2" in box.text())
    box.tap.send(frames[STEP:], RATE)
    card = os.path.join(directory, "card.img")
    box.wait(f"{len(frames)} packets on the card", lambda: recorded(hindcapd, card) >= len(frames))
    box.wait("a clock that is right", lambda: "\nclock       synchronised; it was 2" in box.text())
    today = time.strftime("newest      %Y-%m-%dT", time.gmtime())
    box.wait("today on the status page", lambda: today in box.text())
    ago = time.time() - began
    box.cut()
    answer = os.path.join(directory, "answer.pcap")
    output(hindcapd, "extract", "--store", f"fat:{card}", "--last", f"{int(ago) + 60}s", "-w", answer)
    check(frames_of(answer) == frames, "the last minutes of true time hold every frame, unchanged, in order")
    output(hindcapd, "verify", "--store", f"fat:{card}")
    print(f"image-test: {machine} clock passed")


main()
