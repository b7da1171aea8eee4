"""Put pip into an environment that was made without it: Debian's bare python3 cannot do so by itself.

python bootstrap_pip.py        run by ./run with the environment's python; needs the standard library alone
"""

import hashlib
import os
import re
import subprocess
import sys
import tempfile
import urllib.parse
import urllib.request
from pathlib import Path

WHEEL = re.compile(r'href="([^"]*/pip-(\d+)\.(\d+)(?:\.(\d+))?-py3-none-any\.whl)#sha256=([0-9a-f]{64})"')


def main() -> None:
    """Fetch the newest pip wheel from the package index, check its hash, let it install itself."""
    index = os.environ.get("PIP_INDEX_URL", "https://pypi.org/simple").rstrip("/") + "/pip/"
    with urllib.request.urlopen(index, timeout=60) as page:
        links = WHEEL.findall(page.read().decode())
    if not links:
        sys.exit(f"no pip wheel at {index}")
    link, *_, digest = max(links, key=lambda found: tuple(int(part or 0) for part in found[1:4]))
    with urllib.request.urlopen(urllib.parse.urljoin(index, link), timeout=60) as answer:
        content = answer.read()
    if hashlib.sha256(content).hexdigest() != digest:
        sys.exit(f"{link} does not have the hash that {index} states")
    with tempfile.TemporaryDirectory() as folder:
        wheel = Path(folder) / Path(urllib.parse.urlparse(link).path).name
        wheel.write_bytes(content)
        # A wheel is a zip archive, and Python runs packages out of those.
        subprocess.run([sys.executable, f"{wheel}/pip", "install", "--quiet", str(wheel)], check=True)


if __name__ == "__main__":
    main()
