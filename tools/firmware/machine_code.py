"""Whether frozen machine code begins where rv32imc can run it: at even addresses.

MicroPython freezes native functions as data of any length, in a section of instructions. An
assembler that takes the alignment there for fulfilled (binutils 2.40 does) puts the next one at
an odd address, and a call of it runs something else. No compiler complains.
"""

import re
import subprocess

from tools.refusal import Refusal

_FUNCTION = re.compile(r"^([0-9a-fA-F]+) [tTrRdD] (fun_data_\w+)$", re.MULTILINE)


def require_even(nm, elf):
    """Refuse a firmware with native functions at odd addresses. nm: the compiler's program."""
    result = subprocess.run([nm, str(elf)], capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise Refusal(f"{elf}: {nm} cannot read it: {result.stderr.strip()}")
    odd = [name for at, name in _FUNCTION.findall(result.stdout) if int(at, 16) % 2]
    if odd:
        raise Refusal(
            f"{elf}: {len(odd)} native functions at odd addresses ({odd[0]}): this assembler does"
            " not align them; take another version of the compiler, or build frozen_content.c"
            " with -mno-relax '-Daligned(n)=aligned(4)', as boards/VIRT_RV32 does"
        )
