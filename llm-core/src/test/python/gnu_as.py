"""Records what GNU as makes of each instruction that AssemblerTest has.

Run AssemblerTest once (it writes target/emit-rows.txt), then, in llm-core:
    python3 src/test/python/gnu_as.py target/emit-rows.txt > src/test/resources/emit/gnu-as.txt
Needs binutils; recorded with 2.35 or newer.
"""

import re
import subprocess
import sys
import tempfile

rows = open(sys.argv[1]).read().splitlines()
with tempfile.NamedTemporaryFile("w", suffix=".s", delete=False) as source:
    source.write(".intel_syntax noprefix\n" + "\n".join(rows) + "\n")
listing = subprocess.run(
    ["as", "-al=/dev/stdout", "--listing-lhs-width=4", "-o", "/dev/null", source.name],
    check=True, capture_output=True, text=True,
).stdout
found = re.findall(r"^\s*(\d+) [0-9a-f]{4} ((?:[0-9A-F]{2,8} ?)+)", listing, re.M)
code = {int(line): hex.replace(" ", "").lower() for line, hex in found}
for i, row in enumerate(rows):
    print(code[i + 2], row)
