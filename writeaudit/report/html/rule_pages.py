"""The pages of docs/rules/ as blocks, so that a report explains its findings without any network."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from writeaudit import resources

_LINK = re.compile(r"\[([^\]]+)\]\([^)]*\)")
_EMPHASIS = re.compile(r"(?<![*\w])\*{1,2}([^*\n]+)\*{1,2}(?!\w)")


class Block(NamedTuple):
    """A piece of a page."""

    kind: str
    """heading, text, item or code."""
    text: str


class RulePage(NamedTuple):
    """A rule's page."""

    rule: str
    title: str
    blocks: Sequence[Block]


@functools.cache
def read_sources() -> Mapping[str, str]:
    """Return the text of all pages, by rule. Read once: see `commands.users.become`."""
    return {path.stem: path.read_text(encoding="utf-8") for path in resources.rule_pages().glob("WA*.md")}


def read_rules(rules: Iterable[str]) -> list[RulePage]:
    """Return the pages of these rules, as far as there are any."""
    sources = read_sources()
    found = []
    for rule in rules:
        if rule in sources:
            first, *blocks = _blocks(sources[rule])
            found.append(RulePage(rule, first.text, blocks))
    return found


def _blocks(text: str) -> Iterator[Block]:
    fenced = re.sub(
        r"(?ms)^```\w*\n(.*?)^```$", lambda match: re.sub("(?m)^", "    ", match[1].rstrip("\n")), text
    )
    for part in re.split(r"\n(?:[ \t]*\n)+", fenced.strip("\n")):
        if part.startswith("    "):
            yield Block("code", re.sub("(?m)^    ", "", part))
        elif part.startswith("#"):
            head, _, rest = part.partition("\n")
            yield Block("heading", _plain(head.lstrip("# ")))
            if rest:
                yield Block("text", _plain(rest))
        elif re.match(r"[-*] |\d+\. ", part):
            for item in re.split(r"\n(?=[-*] |\d+\. )", part):
                yield Block("item", _plain(re.sub(r"^([-*]|\d+\.) +", "", item)))
        elif part.startswith("|"):
            yield Block("code", part)
        else:
            yield Block("text", _plain(part))


def _plain(text: str) -> str:
    text = _LINK.sub(r"\1", " ".join(line.strip() for line in text.splitlines()))
    return _EMPHASIS.sub(r"\1", text)
