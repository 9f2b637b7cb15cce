"""Runs the code blocks of pages of the docs in their order, as their reader would.

Blocks of Python are one session for each page, blocks of the shell run between them, and a block of
text is what the block before it prints. At the end of each section, what it made of `features` and
`labels` is compared with what the rows of the docs have. Prints how often, for each page.
"""

import contextlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

FEATURES = [[1, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0]]
LABELS = [1, 0, 1, 0]


class Page:
    def __init__(self, path):
        self.path = path
        self.session = {"__name__": "__main__"}
        self.printed = ""
        self.compared = 0

    def run(self):
        language, block = None, []
        for number, line in enumerate(self.path.read_text().splitlines(), 1):
            if line.startswith("```"):
                if language is None:
                    # The lines before count, so that an error names the line of the page.
                    language, block = line[3:], [""] * number
                    continue
                self.run_block(language, "\n".join(block), number)
                language = None
            elif language is not None:
                block.append(line)
            elif line.startswith("## "):
                self.end_section(number)
        self.end_section(number)

    def run_block(self, language, code, number):
        if language == "python":
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                exec(compile(code, str(self.path), "exec"), self.session)
            self.printed = out.getvalue()
        elif language == "sh":
            bash = ["bash", "-euo", "pipefail", "-c", code.lstrip("\n")]
            done = subprocess.run(bash, stdout=subprocess.PIPE, text=True, check=False)
            if done.returncode != 0:
                sys.exit(f"{self.path.name}:{number}: the shell ended with {done.returncode}")
            self.printed = done.stdout
        elif code.strip() != self.printed.strip():
            sys.exit(f"{self.path.name}:{number}: printed {self.printed.strip()!r}")

    def end_section(self, number):
        features = self.session.pop("features", None)
        labels = self.session.pop("labels", None)
        if features is None and labels is None:
            return
        features = np.asarray(features)
        same = features.dtype == np.float32 and np.array_equal(features, FEATURES)
        if not same or list(labels) != LABELS:
            sys.exit(f"{self.path.name}:{number}: {features!r}, {labels!r}")
        self.compared += 1


if __name__ == "__main__":
    # As for a script: what lies in the working directory can be imported, in all its processes.
    sys.path.insert(0, os.getcwd())
    pages = [Page(Path(name)) for name in sys.argv[1:]]
    for page in pages:
        page.run()
    print(json.dumps({page.path.name: page.compared for page in pages}))
