"""Reads an image from its source: every layer as a stream, once, in order."""

from __future__ import annotations

from typing import NamedTuple

from writeaudit.container_image import BuildStep, Fact, Image, Layer
from writeaudit.credentials import KNOWN_FORMS
from writeaudit.image.directory import DirectoryReader
from writeaudit.image.documents import Platform, assign_steps, shown
from writeaudit.image.errors import Damage
from writeaudit.image.limits import Limits
from writeaudit.image.merge import Tree
from writeaudit.image.nodes import Examiner
from writeaudit.image.review import Review, review_environment, review_tree, review_user
from writeaudit.image.sources import OpenImage, StoredLayer, open_image
from writeaudit.image.streams import Bounded, ReadAhead, Verified, decompress
from writeaudit.image.tar_reader import TarReader
from writeaudit.text import escape_text, plural

_PASSWD = b"/etc/passwd"


class Problem(NamedTuple):
    """Something that is wrong with the image, or with a layer of it."""

    kind: str
    """damaged, truncated, bomb, digest, trailing, unread, left-out."""
    message: str
    """A clause that is safe to show: ``its gzip stream ends early``."""
    layer: int | None = None
    paths: tuple[bytes, ...] = ()

    @property
    def hides(self) -> bool:
        """Whether there is something in the image that was not looked at."""
        return self.kind not in ("digest", "trailing")


class ReadImage(NamedTuple):
    """An image, read, and what was found."""

    image: Image
    review: Review
    refused: tuple[Fact, ...]
    problems: tuple[Problem, ...]
    remarks: tuple[str, ...]
    secret_steps: tuple[int, ...]
    """Build steps whose text holds a credential, by their position in `Image.steps`."""


def read_image(source: str, platform: Platform | None = None, limits: Limits | None = None) -> ReadImage:
    """Read an image. Raises `ImageError`; what is wrong with a part of it is a `Problem`."""
    bounds = limits or Limits()
    with open_image(source, platform, bounds) as opened:
        examiner = Examiner(bounds)
        tree = Tree(bounds, examiner)
        problems = [Problem("digest", message) for message in opened.problems]
        layers: list[Layer] = []
        steps = assign_steps(opened.config, len(opened.layers))
        texts = {step.layer: (number, step.created_by) for number, step in enumerate(steps)}
        texts.pop(None, None)
        if opened.store is None:
            layers.append(_read_directory(opened.directory, tree, bounds, problems))
        for number, stored in enumerate(opened.layers):
            step, created_by = texts.get(number, (None, ""))
            found = _read_layer(opened, number, stored, tree, bounds)
            problems += found
            layers.append(
                Layer(
                    stored.digest or stored.diff_id,
                    stored.size,
                    created_by,
                    step,
                    stored.media_type or "application/vnd.docker.image.rootfs.diff.tar",
                    tree.entries,
                    tree.content,
                    next((each.message for each in found if each.hides), ""),
                )
            )
        return _assemble(source, opened, tree, examiner, layers, problems, steps)


def _assemble(
    source: str,
    opened: OpenImage,
    tree: Tree,
    examiner: Examiner,
    layers: list[Layer],
    problems: list[Problem],
    steps: tuple[BuildStep, ...],
) -> ReadImage:
    config = opened.config
    passwd = tree.live.get(_PASSWD)
    kept = b"" if passwd is None else examiner.kept.get((passwd.layer, passwd.path), b"")
    review = review_tree(tree, config)
    if examiner.unread:
        reasons = ", ".join(sorted({reason for _path, reason in examiner.unread}))
        message = f"{plural(len(examiner.unread), 'file')} could not be read ({reasons})"
        problems = [*problems, Problem("unread", message, 0, tuple(path for path, _ in examiner.unread))]
    files = [node for node in tree.live.values() if not node.is_directory]
    image = Image(
        source=shown(source),
        kind=opened.kind,
        digest=opened.digest,
        platform=escape_text(str(config.platform)),
        user=None if config.user is None else escape_text(config.user),
        env=tuple(escape_text(name) for name, _value in config.env),
        command=config.command,
        working_dir=config.working_dir,
        layers=tuple(layers),
        steps=steps,
        facts=[
            *tree.facts,
            *review.facts,
            *review_environment(config),
            *review_user(config, kept),
        ],
        waste=review.waste,
        files=len(files),
        directories=len(tree.live) - len(files),
        content=sum({id(node): node.size for node in files}.values()),
        hardening=review.hardening,
    )
    secret_steps = tuple(
        number for number, (text, _makes) in enumerate(config.history) if _holds_credential(text)
    )
    return ReadImage(image, review, tuple(tree.refused), tuple(problems), opened.remarks, secret_steps)


def _holds_credential(text: str) -> bool:
    return KNOWN_FORMS.search(text) is not None


def _read_layer(
    opened: OpenImage, number: int, stored: StoredLayer, tree: Tree, limits: Limits
) -> list[Problem]:
    """Lay one layer upon the others; return what is wrong with it. Raises `ImageError`."""
    assert opened.store is not None
    problems = [Problem("digest", stored.problem, number)] if stored.problem else []
    with opened.store.open(stored.name) as file:
        source = Verified(file, stored.digest.partition(":")[0] or None)
        return [*problems, *_read_archive(source, number, stored, tree, limits)]


def _read_archive(
    source: Verified, number: int, stored: StoredLayer, tree: Tree, limits: Limits
) -> list[Problem]:
    problems: list[Problem] = []
    # An archive that is stored as it is has one digest for both: it is worked out once.
    content = Bounded(decompress(source), source, limits, digest=stored.diff_id not in ("", stored.digest))
    whole = False
    try:
        with ReadAhead(content) as ahead:
            reader = TarReader(ahead, limits)
            tree.add_layer(number, reader.entries())
            if reader.read_after_end():
                problems.append(Problem("trailing", "bytes follow the end of its archive", number))
        whole = True
    except Damage as damage:
        problems.append(Problem(damage.kind, str(damage), number))
    try:
        digest, diff_id = source.finish(), content.finish() if whole else ""
    except Damage as damage:
        return [*problems, Problem(damage.kind, str(damage), number)]
    if digest and digest != stored.digest:
        problems.append(Problem("digest", f"it is not what its digest says, {stored.digest[:19]}…", number))
    elif diff_id and diff_id != stored.diff_id:
        message = f"its content is not what the configuration says, {escape_text(stored.diff_id[:19])}…"
        problems.append(Problem("digest", message, number))
    return problems


def _read_directory(directory: str, tree: Tree, limits: Limits, problems: list[Problem]) -> Layer:
    reader = DirectoryReader(directory, limits)
    damaged = ""
    try:
        tree.add_layer(0, reader.entries(), whiteouts=False)
    except Damage as damage:
        damaged = str(damage)
        problems.append(Problem(damage.kind, damaged, 0))
    if reader.remarks:
        shown_first = "; ".join(reader.remarks[:5])
        more = f", and {len(reader.remarks) - 5} more" if len(reader.remarks) > 5 else ""
        problems.append(Problem("left-out", f"not looked at: {shown_first}{more}", 0))
    return Layer("", tree.content, "", None, "", tree.entries, tree.content, damaged)
