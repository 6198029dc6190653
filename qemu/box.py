"""An emulated box: switching it on, watching it, cutting its power; and how a promise that does not hold is told."""

import json
import os
import socket
import subprocess
import sys
import time

from wire import Wire

HERE = os.path.dirname(os.path.abspath(__file__))
# An emulated box on a busy machine boots in one minute; waits are for conditions, this only ends hopeless ones.
DEADLINE_S = 600


class Box:
    """One power-on of the box, until the cut."""

    def __init__(self, machine: str, directory: str, *options: str, management: Wire | None = None) -> None:
        self.directory = directory
        self.console = os.path.join(directory, "console")
        self.tap = Wire(os.path.join(directory, "tap"))
        self.management = management or Wire(os.path.join(directory, "management"))
        if os.path.exists(self.console):
            os.unlink(self.console)
        command = [os.path.join(HERE, "run"), "--machine", machine, "--batch", "--dir", directory, *options]
        self.qemu = subprocess.Popen(command, stderr=open(os.path.join(directory, "qemu.log"), "w"))

    def text(self) -> str:
        if not os.path.exists(self.console):
            return ""
        with open(self.console, encoding="utf-8", errors="replace") as file:
            return file.read()

    def wait(self, what: str, condition) -> None:
        start = time.monotonic()
        while not condition():
            if self.qemu.poll() is not None:
                fail(f"QEMU ended while waiting for {what}", self)
            if time.monotonic() - start > DEADLINE_S:
                fail(f"no {what} within {DEADLINE_S} s", self)
            self.tap.listen()
            self.management.listen()
            time.sleep(0.5)
        print(f"  {what}: after {time.monotonic() - start:.0f} s", flush=True)

    def ended(self, what: str) -> None:
        """Waits until the box has ended by itself: a reset ends QEMU."""
        start = time.monotonic()
        while self.qemu.poll() is None:
            if time.monotonic() - start > DEADLINE_S:
                fail(f"no {what} within {DEADLINE_S} s", self)
            time.sleep(0.5)
        print(f"  {what}: after {time.monotonic() - start:.0f} s", flush=True)

    def monitor(self, command: str, **arguments: object) -> object:
        """Does to the machine what a hand would do (QEMU Machine Protocol); gives QEMU's answer."""
        with socket.socket(socket.AF_UNIX) as monitor:
            monitor.connect(os.path.join(self.directory, "monitor"))
            lines = monitor.makefile("rw", encoding="utf-8")
            lines.readline()  # the greeting
            for request in ({"execute": "qmp_capabilities"}, {"execute": command, "arguments": arguments}):
                lines.write(json.dumps(request) + "\n")
                lines.flush()
                # Events may come between.
                answer = {}
                while "return" not in answer and "error" not in answer:
                    answer = json.loads(lines.readline())
                if "error" in answer:
                    fail(f"QEMU refuses {request}: {answer}", self)
            return answer["return"]

    def cut(self) -> None:
        """Cuts the power."""
        with open(os.path.join(self.directory, "pid"), encoding="ascii") as file:
            os.kill(int(file.read()), 9)
        self.qemu.wait()
        self.tap.listen()
        self.management.listen()


def fail(what: str, box: Box | None = None) -> None:
    if box is not None:
        print(box.text()[-4000:], file=sys.stderr)
        with open(os.path.join(box.directory, "qemu.log"), encoding="utf-8") as file:
            print(file.read(), file=sys.stderr)
        if box.qemu.poll() is None:
            box.cut()
    sys.exit(f"image-test: {what}")


def check(holds: bool, what: str, box: Box | None = None) -> None:
    if not holds:
        fail(f"NOT TRUE: {what}", box)
    print(f"  {what}", flush=True)


def output(*command: str) -> bytes:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    if done.returncode != 0:
        fail(f"{' '.join(command)}: {done.stderr.decode(errors='replace')}")
    return done.stdout
