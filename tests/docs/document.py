"""docs/protocol.md as its tests read it: named examples, and marked tables."""

import re
from pathlib import Path

DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "protocol.md"
TEXT = DOCUMENT.read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(hex|json|text) (\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def examples(text: str) -> dict[str, bytes]:
    """Every named block, as bytes."""
    return {name: value(kind, body) for kind, name, body in BLOCK.findall(text)}


def value(kind: str, body: str) -> bytes:
    if kind != "hex":
        return body.removesuffix("\n").encode()
    return bytes.fromhex(re.sub(r"#.*", "", body))


EXAMPLES = examples(TEXT)


def table(name: str, mark: str = "table") -> list[list[str]]:
    """The rows of a marked table of the protocol document."""
    return table_of(TEXT, name, mark)


def table_of(text: str, name: str, mark: str = "table") -> list[list[str]]:
    """The rows of a marked table, as plain text."""
    found = re.search(rf"<!-- {mark}: {name} -->\n\n\|.*\n\|[- |]+\|\n((?:\|.*\n)+)", text)
    if found is None:
        raise LookupError(f"the document has no table {name}")
    return [
        [cell.strip().replace("`", "") for cell in re.split(r"(?<!\\)\|", row)[1:-1]]
        for row in found[1].splitlines()
    ]
