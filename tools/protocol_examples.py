"""Write the examples of docs/protocol.md anew, from the independent client of its tests.

    python tools/protocol_examples.py

Only for a change of the protocol: the examples are what clients in other languages are tested
with. Line ends and comments of a block stay where its length stays.
"""

import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from docs.document import BLOCK, DOCUMENT, TEXT, examples, value
from docs.story import GIVEN, told

_BYTES_A_LINE = 32
_DIGIT = re.compile(r"[0-9a-f]")


def filled(document: str) -> str:
    """Give the document with every computed example as it must be."""
    found = examples(document)
    story = told({name: found[name] for name in GIVEN})

    def rewritten(block: re.Match[str]) -> str:
        kind, name, body = block.groups()
        if name in GIVEN or value(kind, body) == story[name]:
            return block[0]
        return f"```{kind} {name}\n{_body(body, story, name)}```"

    return BLOCK.sub(rewritten, document)


def _body(body: str, story: Mapping[str, bytes], name: str) -> str:
    wanted = story[name]
    if len(value("hex", body)) != len(wanted):
        return "".join(f"{line}\n" for line in _lines(wanted))
    digits = iter(wanted.hex())
    lines = []
    for line in body.splitlines():
        shown, mark, comment = line.partition("#")
        lines.append(f"{_DIGIT.sub(lambda _: next(digits), shown)}{mark}{comment}\n")
    return "".join(lines)


def _lines(raw: bytes) -> Iterator[str]:
    for start in range(0, len(raw), _BYTES_A_LINE):
        yield raw[start : start + _BYTES_A_LINE].hex()


if __name__ == "__main__":
    DOCUMENT.write_text(filled(TEXT), encoding="utf-8")
