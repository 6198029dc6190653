"""The drive PROVISION of the emulated box, as a laptop sees it: mtools read and write it while the box is off."""

import json
import subprocess

SECTOR = 512


def partition(disk: str, name: str) -> dict:
    """Start and size, sectors, of the partition `name`."""
    # It warns about a disk that the box has not grown into yet.
    done = subprocess.run(["sfdisk", "--json", disk], check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    table = json.loads(done.stdout)
    found = [entry for entry in table["partitiontable"]["partitions"] if entry.get("name") == name]
    if len(found) != 1:
        raise ValueError(f"{disk} has {len(found)} partitions {name}")
    return found[0]


class Drive:
    """The FAT file system in the box's disk."""

    def __init__(self, disk: str) -> None:
        self.image = f"{disk}@@{partition(disk, 'PROVISION')['start'] * SECTOR}"

    def put(self, name: str, content: str) -> None:
        command = ["mcopy", "-o", "-n", "-i", self.image, "-", f"::{name}"]
        subprocess.run(command, check=True, input=content.encode())

    def copy(self, path: str, name: str) -> None:
        """Puts the file at `path` there."""
        subprocess.run(["mcopy", "-o", "-n", "-i", self.image, path, f"::{name}"], check=True)

    def read(self, name: str) -> str:
        """The content of a file, empty when there is none."""
        done = subprocess.run(["mtype", "-i", self.image, f"::{name}"], stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, check=False)
        return done.stdout.decode(errors="replace")

    def names(self) -> list[str]:
        done = subprocess.run(["mdir", "-b", "-i", self.image, "::"], stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, check=False)
        return sorted(line.rsplit("/", 1)[-1] for line in done.stdout.decode().split())
