"""A file system of its own in a loop device: made, mounted, cut off as by a power failure, made read-only, and always taken away.

Needs root and loop devices; skips with one line elsewhere. Mounts are in a namespace of this process, so that they end with it whatever happens.
"""

import contextlib
import ctypes
import fcntl
import os
import shutil
import struct
import subprocess

import runner

SIZE_MIB = 256
CLONE_NEWNS = 0x00020000
# EXT4_IOC_SHUTDOWN; flag 2: what is not on the device yet, the journal included, is lost, and all later I/O fails.
EXT4_SHUTDOWN = 0x8004587D
NO_LOG_FLUSH = struct.pack("I", 2)


class Disk:
    """An ext4 image, mounted or not."""

    def __init__(self, root):
        self.image = os.path.join(root, "disk.img")
        self.path = os.path.join(root, "disk")
        os.mkdir(self.path)

    def format(self):
        with open(self.image, "wb") as image:
            image.truncate(SIZE_MIB << 20)
        command("mkfs.ext4", "-q", "-F", self.image)

    def mount(self):
        command("mount", "-o", "loop", self.image, self.path)

    def unmount(self):
        # Whoever has just ended may hold a file for another moment.
        runner.until(lambda: subprocess.run(["umount", self.path], capture_output=True, check=False).returncode == 0, 10, "umount " + self.path)

    def cut(self):
        """The power goes: only what was synced stays, and every further write or sync fails."""
        folder = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(folder, EXT4_SHUTDOWN, NO_LOG_FLUSH)
        finally:
            os.close(folder)

    def again(self):
        """Unmounts and mounts: what the next start of the machine finds."""
        self.unmount()
        self.mount()


@contextlib.contextmanager
def mounted(root):
    """A fresh disk, mounted; gone at the end."""
    own_mounts()
    if not shutil.which("mkfs.ext4"):
        raise runner.Skip("a file system of its own needs mkfs.ext4")
    disk = Disk(root)
    try:
        disk.format()
        disk.mount()
    except subprocess.CalledProcessError as error:
        raise runner.Skip("no ext4 in a loop device here: %s: %s" % (" ".join(error.cmd), error.stderr.strip())) from None
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", disk.path], capture_output=True, check=False)


def own_mounts():
    """Gives this process a mount namespace; the servers that it starts have it too. Must come before the first server."""
    if os.geteuid() != 0:
        raise runner.Skip("a file system of its own needs root")
    if not shutil.which("mount"):
        raise runner.Skip("a file system of its own needs mount")
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS):
        raise runner.Skip("no mount namespace here: " + os.strerror(ctypes.get_errno()))
    try:
        command("mount", "--make-rprivate", "/")
    except subprocess.CalledProcessError as error:
        raise runner.Skip("no private mounts here: " + error.stderr.strip()) from None


def command(*words):
    subprocess.run(words, capture_output=True, text=True, check=True)
