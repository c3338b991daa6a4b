"""Whether something shows a passcode."""

import re


def shows(content: str | bytes, passcode: str) -> bool:
    """Whether these six digits stand there, not by chance in a longer number or a key in hex."""
    raw = content.encode() if isinstance(content, str) else content
    rest = re.sub(rb"[0-9a-f]{16,}", b"", raw)
    return re.search(rb"(?<![0-9])%b(?![0-9])" % passcode.encode(), rest) is not None
