"""headrace's own wire: the body is JSON, the headers a JSON object of text to text. Pure."""

from collections.abc import Mapping

import msgspec

_encoder = msgspec.json.Encoder()


def headers_text(headers: Mapping[str, str]) -> str:
    """Headers as they are stored."""
    return _encoder.encode(headers).decode() if headers else "{}"
