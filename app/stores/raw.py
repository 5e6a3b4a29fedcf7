"""Paths and queries that a client of the gateway sends on to its store, held to reading what they name."""

import re
from collections.abc import Iterable, Sequence
from urllib.parse import quote

from app.stores.port import StoreMisconfigured

#: Credentials are the adapter's. The others make PHP read something else than the path names: `_method` turns a read
#: into a deletion (LS:133, WP class-wp-rest-server:389), the rest name another route (WP::parse_request, LS).
_NOT_THEIRS = frozenset(
    {"consumer_key", "consumer_secret", "_method", "rest_route", "wc-api", "wc-api-version", "wc-api-route"}
)


def checked_path(path: str) -> str:
    """Encode a path below an API's root, without slashes around it.

    Nothing in it leads out of the root or begins a query. Raises StoreMisconfigured for dot segments and the like.
    """
    segments = path.strip("/").split("/")
    if segments == [""]:
        return ""
    if any(segment in ("", ".", "..") or not segment.isprintable() for segment in segments):
        raise StoreMisconfigured("That is no path of a store's API.")
    return "/".join(quote(segment, safe="") for segment in segments)


def allowed(query: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Drop what a caller's query may not hold, however PHP lets it be spelled."""
    return [(name, value) for name, value in query if not _forbidden(name)]


def folded(query: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Give each name one value, as a signature needs it: the last, as for PHP, and lists (`id[]`) with commas.

    A store signs `id[]=1&id[]=2` under names of its own making; WordPress takes a list in either form.
    """
    lists: dict[str, list[str]] = {}
    single: dict[str, str] = {}
    for name, value in query:
        if name.endswith("[]"):
            lists.setdefault(name.removesuffix("[]"), []).append(value)
        else:
            single[name] = value
    return single | {name: ",".join(values) for name, values in lists.items()}


def _forbidden(name: str) -> bool:
    """Compare a name as PHP reads it: no leading spaces, cut at NUL, and " ", "." and a lone "[" become "_"."""
    read = name.lstrip(" ").split("\0", 1)[0].lower()
    if "]" in read:
        read = read.split("[", 1)[0]
    read = re.sub(r"[ .\[]", "_", read)
    return read in _NOT_THEIRS or read.replace("_", "-") in _NOT_THEIRS or read.startswith("oauth_")
