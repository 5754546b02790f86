"""Shifts the wall clock of one node."""

import shutil
import subprocess
from pathlib import Path


class WallClock:
    """The wall clock of one node. The test can set it. The node's other clocks are not affected."""

    # None without a C compiler: then no clock can be made.
    COMPILER = next((c for c in ("cc", "clang", "gcc") if shutil.which(c)), None)

    def __init__(self, folder):
        folder.mkdir(parents=True, exist_ok=True)
        self.file, library = folder / "offset", folder / "wall_clock.so"
        source = Path(__file__).parent / "wall_clock.c"
        subprocess.run([self.COMPILER, "-shared", "-fPIC", "-O1", "-o", str(library), str(source)], check=True)
        self.set(0)
        self.env = {"LD_PRELOAD": str(library), "WALL_CLOCK_OFFSET": str(self.file)}

    def set(self, seconds):
        new = self.file.with_suffix(".new")
        new.write_text(str(seconds))
        new.rename(self.file)
