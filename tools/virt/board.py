"""One emulated board: a QEMU process with its RAM in a file and its console on a TCP port."""

import shutil
import socket
import subprocess
import time

from tools.refusal import Refusal
from tools.virt.mailbox import RAM_LENGTH, Mailbox

QEMU = "qemu-system-riscv32"


def qemu():
    """The emulator's path; raises Refusal."""
    path = shutil.which(QEMU)
    if path is None:
        raise Refusal(f"{QEMU} is not installed; `apt-get install qemu-system-misc`")
    return path


class Board:
    """`power_on`, `power_off` (SIGKILL, at any instruction), `mailbox`, `device` for mpremote.

    on: whether it has power. boots: how often it was switched on. log_read: where in its log
    the present life begins.
    """

    def __init__(self, node_id, folder, firmware, port, icount=False):
        self.node_id = node_id
        self.firmware = firmware
        self.port = port
        self.log_path = folder / f"board-{node_id}.log"
        self.mailbox = Mailbox(folder / f"board-{node_id}.ram")
        self.boots = self.log_read = 0
        self.on = False
        self._icount = icount
        self._process = None
        self.log_path.unlink(missing_ok=True)

    @property
    def device(self):
        return f"socket://127.0.0.1:{self.port}"

    def power_on(self, identity, store_length):
        refuse_if_taken(self.port)
        self.mailbox.power_on(identity, store_length)
        self.boots += 1
        self.log_read = len(self.log())
        self._process = subprocess.Popen(
            self._command(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self.log_path.open("ab"),
            process_group=0,
        )
        self.on = True

    def _command(self):
        ram = f"memory-backend-file,id=ram,size={RAM_LENGTH},mem-path={self.mailbox.path},share=on"
        console = (
            f"socket,id=console,host=127.0.0.1,port={self.port},server=on,wait=off,nodelay=on,"
            f"logfile={self.log_path},logappend=on"
        )
        return [
            qemu(),
            *("-machine", "virt,memory-backend=ram", "-m", f"{RAM_LENGTH >> 20}M"),
            *("-object", ram, "-bios", "none", "-kernel", str(self.firmware)),
            *("-display", "none", "-monitor", "none", "-semihosting"),
            *("-chardev", console, "-serial", "chardev:console"),
            *(("-icount", "shift=0") if self._icount else ()),
        ]

    def strike(self):
        """SIGKILL, not waited for."""
        self.on = False
        if self._process:
            self._process.kill()

    def power_off(self):
        """SIGKILL; effective on return."""
        self.strike()
        if self._process:
            self._process.wait()
            self._process = None

    def has_ended(self):
        """Whether it ended though nobody switched it off."""
        return self.on and self._process.poll() is not None

    def hear(self, frame):
        if self.on:
            self.mailbox.put(frame)

    def log(self):
        if not self.log_path.exists():
            return ""
        return self.log_path.read_text(encoding="utf-8", errors="replace")

    def close(self):
        self.power_off()
        self.mailbox.close()


def refuse_if_taken(port):
    """Raise Refusal unless a console can listen on the port; a dying one gets a moment."""
    deadline = time.monotonic() + 2.0
    while True:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
                return
            except OSError as error:
                if time.monotonic() > deadline:
                    raise Refusal(
                        f"port {port}: cannot be a board's console ({error.strerror}); end what"
                        " uses it, or choose another --console-port"
                    ) from error
        time.sleep(0.05)
