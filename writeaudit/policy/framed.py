"""Judges runs with containers and sandboxes: host zones hold for the host's files, container zones inside.

What lies on a mount that the host does not have is judged by the policy's container zones. Where none
covers it nobody has said whether it may change: it is allowed, and counted as "in container NAME". A name
whose place is not known is neither allowed nor forbidden.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from writeaudit.events import NAMESPACE_OPS, OK, Effect, FsEvent, effect_of
from writeaudit.frames import CONTAINER_ZONE, UNPLACED, Place, Places
from writeaudit.judgement import Judged, Policy, Reason, Sides, Verdict, Zone
from writeaudit.policy.classify import Classifier, pick_worse


class FramedClassifier(Classifier):
    """Judges each side of an event by the zones of the place where it lies."""

    __slots__ = ("_host", "_inside", "_where")

    def __init__(self, host: Classifier, inside: Classifier, places: Places) -> None:
        """``inside`` judges what lies on mounts that the host does not have, by `container_policy`."""
        super().__init__(host.policy)
        self._host = host
        self._where = places
        self._inside = inside

    def look_ahead(self, moves: Iterable[FsEvent], events: Callable[[], Iterable[FsEvent]]) -> None:
        """See `Classifier.look_ahead`. Temporary names are those of the host's files."""
        inside = self._where.locate_path
        self._host.look_ahead(
            [event for event in moves if inside(event) is Place.HOST],
            lambda: (event for event in events() if inside(event) is Place.HOST),
        )

    def zone_of(self, path: bytes) -> Zone | None:
        """See `Classifier.zone_of`: of the host."""
        return self._host.zone_of(path)

    def zone_name(self, path: bytes, mount: int | None = None) -> str | None:
        """See `Classifier.zone_name`."""
        match self._where.locate_mount(mount):
            case Place.INSIDE:
                zone = self._inside.zone_of(path)
                return self._where.name_zone(mount) if zone is None else zone.name
            case Place.HIDDEN:
                return None
            case _:
                return self._host.zone_name(path)

    def judge(self, event: FsEvent) -> Judged:
        """See `Classifier.judge`."""
        places = self._where
        if places.locate_path(event) is Place.HOST and (
            event.source is None or places.locate_source(event) is Place.HOST
        ):
            return self._host.judge(event)
        on_path, on_source = self.judge_sides(event)
        return on_path if on_source is None else pick_worse(on_path, on_source)

    def judge_sides(self, event: FsEvent) -> Sides:
        """See `Classifier.judge_sides`."""
        place, source_place = self._where.locate_path(event), self._where.locate_source(event)
        if place is Place.UNPLACED and event.op not in NAMESPACE_OPS:
            return _judge_unplaced(event)
        host, inside = self._host.judge_sides(event), self._inside.judge_sides(event)
        on_path = self._judge_side(event, place, host.path, inside.path, event.mount)
        if host.source is None or inside.source is None:
            return Sides(on_path, None)
        return Sides(
            on_path, self._judge_side(event, source_place, host.source, inside.source, event.source_mount)
        )

    def _judge_side(
        self, event: FsEvent, place: Place, host: Judged, inside: Judged, mount: int | None
    ) -> Judged:
        if place is Place.HOST or place is Place.UNPLACED:
            return host
        if place is Place.HIDDEN:
            # Its name is the container's, and no zone of the host can be meant by it.
            return self._judge_outside(event, on_source=host.on_source)
        if inside.zone is not None:
            return inside
        zone = self._where.name_zone(mount, event.frame)
        verdict = Verdict.FAILED if inside.verdict is Verdict.ATTEMPT else inside.verdict
        reason = Reason.INSIDE if inside.reason is Reason.OUTSIDE else Reason.NONE
        return Judged(zone, verdict, reason, inside.on_source)

    def _judge_outside(self, event: FsEvent, *, on_source: bool) -> Judged:
        """Return the verdict on a side that lies outside every zone of the host."""
        nowhere = event._replace(path=b"", source=None if event.source is None else b"")
        sides = self._host.judge_sides(nowhere)
        return sides.source if on_source and sides.source is not None else sides.path


def container_policy(policy: Policy) -> Policy:
    """Return a policy's container zones as a policy, under the names that reports show."""
    zones = tuple(zone._replace(name=CONTAINER_ZONE + zone.name) for zone in policy.container_zones)
    return Policy(policy.name, policy.source, zones, is_open=True)


def _judge_unplaced(event: FsEvent) -> Sides:
    effect = effect_of(event)
    if effect is Effect.NONE:
        verdict = Verdict.READ
    else:
        verdict = Verdict.UNPLACED if event.result == OK else Verdict.FAILED
    return Sides(Judged(UNPLACED, verdict, Reason.UNPLACED), None)
