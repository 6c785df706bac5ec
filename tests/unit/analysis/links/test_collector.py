"""WA101 to WA105, on streams like those of real installers."""

from __future__ import annotations

import pytest

from tests.support.analysis_streams import (
    DISK,
    MOUNTS,
    ROOT,
    SHM,
    Stream,
    Uv,
    analyzed,
    mount,
    policy,
    run_info,
)
from writeaudit.events import Access, Op
from writeaudit.judgement import Finding, Severity

SIX = {b"six-1.0.dist-info/METADATA": 1658, b"six-1.0.dist-info/top_level.txt": 4, b"six.py": 34703}
PKG = {b"pkg/__init__.py": 0, b"pkg/a.py": 100, b"pkg/sub/__init__.py": 0, b"pkg-1.0.dist-info/METADATA": 50}
FILES = len(SIX) + len(PKG)
BYTES = sum(SIX.values()) + sum(PKG.values())


def install(cache: bytes, stream: Stream | None = None, *, crosses: bool = True, **more: object) -> Stream:
    stream = stream or Stream()
    temporary = bool(more.pop("temporary", True))
    uv = Uv(stream, cache, crosses=crosses, temporary=temporary)
    uv.wheel(b"k1", b"six", SIX, **more)  # type: ignore[arg-type]
    uv.wheel(b"k2", b"pkg", PKG, **more)  # type: ignore[arg-type]
    return stream


def only(findings: list[Finding], rule: str) -> Finding:
    assert [each.rule for each in findings] == [rule]
    return findings[0]


@pytest.mark.parametrize("temporary", [True, False])
@pytest.mark.parametrize("by_write", [True, False])
def test_another_device_counts_every_file_of_each_package(temporary: bool, by_write: bool) -> None:
    stream = install(b"/dev/shm/uv", temporary=temporary, by_write=by_write)
    found = only(analyzed(stream), "WA101")
    assert (found.count, found.files, found.bytes) == (2, FILES, BYTES)
    assert found.severity is Severity.WARNING
    assert "`/dev/shm` (tmpfs, device 0:25)" in found.message
    assert "`/` (ext4, device 254:0)" in found.message
    assert "7 files (35.7 KiB)" in found.message
    assert found.details["source_mount"] == {
        "id": 2,
        "mountpoint": "/dev/shm",
        "fstype": "tmpfs",
        "dev": "0:25",
        "source": "/dev/x",
        "root": "/",
    }


def test_evidence_names_refused_links_first_then_copies() -> None:
    stream = install(b"/dev/shm/uv")
    found = only(analyzed(stream), "WA101")
    by_seq = {event.seq: event for event in stream.events}
    kinds = [by_seq[seq].op for seq in found.evidence]
    assert kinds[:2] == [Op.LINK, Op.LINK]
    assert len(kinds) == 2 + FILES
    assert set(kinds[2:]) <= {Op.COPY, Op.OPEN}


def test_two_mounts_of_one_device_are_wa102_and_name_the_direct_path() -> None:
    found = only(analyzed(install(b"/mnt/uv", crosses=False)), "WA102")
    assert (found.count, found.files, found.bytes) == (2, FILES, BYTES)
    assert "two mounts" in found.cause
    assert "`UV_CACHE_DIR=/srv/cache/uv`" in found.advice[0]


def test_two_volumes_are_told_to_share_a_parent() -> None:
    cache, project = mount(5, DISK, "ext4", b"/cache", b"/v/1"), mount(6, DISK, "ext4", b"/srv", b"/v/2")
    stream = install(b"/cache", Stream((ROOT, cache, project)), crosses=False)
    found = only(analyzed(stream, mounts=(cache, project)), "WA102")
    assert "instead of `/cache` and `/srv`" in found.advice[0]
    assert "UV_CACHE_DIR=/srv/project/.uv-cache" in found.advice[0]


@pytest.mark.parametrize("clone", [None, "EOPNOTSUPP"])
def test_links_that_work_are_no_fallback(clone: str | None) -> None:
    stream = install(b"/srv/cache", link="ok", clone=clone)
    found = analyzed(stream)
    assert [each.rule for each in found] == ([] if clone is None else ["WA105"])


def test_record_alone_is_not_a_fallback() -> None:
    stream = Stream()
    Uv(stream, b"/dev/shm/uv", crosses=True).wheel(b"k", b"six", {b"six-1.0.dist-info/RECORD": 400})
    found = only(analyzed(stream), "WA101")
    assert (found.count, found.files, found.bytes) == (1, 0, 0)
    assert "no copy was seen" in found.message


def test_a_failed_clone_before_it_is_a_note_of_its_own() -> None:
    found = {each.rule: each for each in analyzed(install(b"/dev/shm/uv", clone="EXDEV"))}
    assert sorted(found) == ["WA101", "WA105"]
    assert found["WA101"].files == FILES
    assert found["WA105"].severity is Severity.NOTE
    assert found["WA105"].count == 2
    assert f"{FILES} files copied" in found["WA105"].message


def test_a_clone_instead_of_which_links_were_made_says_so() -> None:
    found = only(analyzed(install(b"/srv/cache", link="ok", clone="EOPNOTSUPP")), "WA105")
    assert f"instead: {FILES} hard links between the same mounts." in found.message
    assert "Nothing needs to be done" in found.advice[0]


def test_a_clone_whose_source_is_unknown_claims_nothing_about_what_followed() -> None:
    stream = Stream()
    stream.create(b"/srv/project/a", "excl")
    stream.add(Op.CLONE, b"/srv/project/a", result="EOPNOTSUPP")
    found = only(analyzed(stream), "WA105")
    assert "an unknown mount" in found.message
    assert "not known" in found.message
    assert found.details["examples"] == [{"path": "/srv/project/a"}]


def test_moved_and_removed_copies_agree_with_the_disk() -> None:
    """Scripts are copied below .data, then moved to bin as they are, or rewritten and removed."""
    stream = Stream()
    site, venv = Uv.SITE, b"/srv/project/.venv"
    data = b"p-1.0.data/scripts/"
    files = {b"p.py": 10, data + b"tool": 1000, data + b"script": 20}
    Uv(stream, b"/dev/shm/uv", crosses=True).wheel(b"k", b"p", files)
    stream.add(Op.RENAME, venv + b"/bin/tool", site + b"/" + data + b"tool")
    stream.read(site + b"/" + data + b"script")
    stream.create(venv + b"/bin/.tmpabcdef", "excl")
    stream.write(venv + b"/bin/.tmpabcdef", 25)
    stream.add(Op.RENAME, venv + b"/bin/script", venv + b"/bin/.tmpabcdef")
    stream.add(Op.UNLINK, site + b"/" + data + b"script")
    found = only(analyzed(stream), "WA101")
    assert (found.files, found.bytes) == (2, 1010)


def test_a_copied_directory_that_is_moved_and_emptied_is_followed() -> None:
    stream = install(b"/dev/shm/uv")
    stream.add(Op.RENAME, Uv.SITE + b"/~pkg", Uv.SITE + b"/pkg")
    stream.add(Op.UNLINK, Uv.SITE + b"/~pkg/a.py")
    found = only(analyzed(stream), "WA101")
    assert (found.files, found.bytes) == (FILES - 1, BYTES - 100)


def test_a_taken_name_makes_uv_link_to_a_temporary_one() -> None:
    stream = Stream()
    source, target = b"/dev/shm/uv/archive-v0/k/pkg/a.py", Uv.SITE + b"/pkg/a.py"
    stream.link(source, target, "EEXIST")
    stream.link(source, Uv.SITE + b"/pkg/.tmpAbCd12/a.py", "EXDEV")
    other = b"/dev/shm/uv/archive-v0/k/other/b.py"
    for origin, goal in ((source, target), (other, Uv.SITE + b"/other/b.py")):
        stream.create(goal)
        stream.add(Op.COPY, goal, origin, bytes=7)
    found = only(analyzed(stream), "WA101")
    assert (found.count, found.files, found.bytes) == (1, 2, 14)


def test_a_file_copied_twice_counts_once_with_its_last_size() -> None:
    stream = Stream()
    source, target = b"/dev/shm/c/k/a", b"/srv/project/.venv/a"
    stream.link(source, target, "EXDEV")
    stream.create(target)
    stream.add(Op.COPY, target, source, bytes=10)
    stream.add(Op.OPEN, target, access=Access.WRITE, flags=("creat", "trunc"))
    for size in (4, 3, 0):
        stream.add(Op.COPY, target, source, bytes=size)
    found = only(analyzed(stream), "WA101")
    assert (found.files, found.bytes) == (1, 7)


def test_files_of_a_package_that_was_linked_are_not_counted() -> None:
    stream = Stream()
    Uv(stream, b"/dev/shm/uv", crosses=True).wheel(b"k1", b"six", SIX)
    Uv(stream, b"/srv/cache", crosses=False).wheel(b"k2", b"pkg", PKG, link="ok")
    stream.create(Uv.SITE + b"/pkg/__pycache__/a.pyc")
    stream.write(Uv.SITE + b"/pkg/__pycache__/a.pyc", 99)
    found = only(analyzed(stream), "WA101")
    assert (found.count, found.files) == (1, len(SIX))


def test_a_store_that_names_files_by_content_is_paired_by_the_copies() -> None:
    stream = Stream()
    stream.link(b"/dev/shm/store/files/ab/cd01", b"/srv/p/node_modules/x/index.js", "EXDEV")
    for key, name in ((b"ab/cd01", b"index.js"), (b"ef/0123", b"package.json")):
        target = b"/srv/p/node_modules/x/" + name
        stream.create(target)
        stream.add(Op.COPY, target, b"/dev/shm/store/files/" + key, bytes=5)
    stream.pid = 200
    stream.create(b"/srv/p/elsewhere")
    stream.add(Op.COPY, b"/srv/p/elsewhere", b"/dev/shm/unrelated", bytes=5)
    found = only(analyzed(stream, of=policy("pnpm")), "WA101")
    assert (found.count, found.files, found.bytes) == (1, 2, 10)
    assert "npm_config_store_dir=" in found.advice[0]


def test_refusals_between_two_pairs_of_mounts_are_two_findings() -> None:
    stream = Stream()
    Uv(stream, b"/dev/shm/uv", crosses=True).wheel(b"k1", b"six", SIX)
    Uv(stream, b"/mnt/uv", crosses=False).wheel(b"k2", b"pkg", PKG)
    found = {each.rule: each.files for each in analyzed(stream)}
    assert found == {"WA101": len(SIX), "WA102": len(PKG)}


class TestCauses:
    """Which rule, and why."""

    SOURCE, TARGET = b"/srv/cache/k/a.py", b"/srv/project/.venv/a.py"

    def refused(self, result: str, mounts: tuple[object, ...] = MOUNTS, **more: object) -> Stream:
        stream = Stream(mounts)  # type: ignore[arg-type]
        stream.add(Op.LINK, self.TARGET, self.SOURCE, result=result, **more)
        stream.create(self.TARGET)
        stream.add(Op.COPY, self.TARGET, self.SOURCE, bytes=3)
        return stream

    def test_subvolumes_of_one_btrfs(self) -> None:
        stream = self.refused("EXDEV", (mount(1, DISK, "btrfs", b"/"),))
        found = only(analyzed(stream), "WA101")
        assert "subvolumes" in found.cause
        assert "UV_LINK_MODE=clone" in found.advice[0]

    def test_project_quota_within_one_mount(self) -> None:
        quota = ROOT._replace(options=("rw", "prjquota"))
        found = only(analyzed(self.refused("EXDEV", (quota,))), "WA113")
        assert "It probably comes from project ids (the mount has project quota)" in found.cause
        assert "chattr -p" in found.advice[0]

    def test_nothing_is_a_fact_without_evidence(self) -> None:
        found = only(analyzed(self.refused("EXDEV")), "WA113")
        assert "It may come from Landlock" in found.cause
        excluded = {each["cause"] for each in found.details["candidates"] if each["excluded"]}  # type: ignore[attr-defined]
        assert excluded == {"overlay", "server"}

    @pytest.mark.parametrize(("dev", "rule"), [(SHM, "WA101"), (DISK, "WA102")])
    def test_devices_decide_where_mounts_are_unknown(self, dev: int, rule: str) -> None:
        stream = self.refused("EXDEV", (), source_dev=dev, dev=DISK)
        found = only(analyzed(stream), rule)
        assert "an unknown mount of device 254:0" in found.message

    def test_nothing_known(self) -> None:
        found = only(analyzed(self.refused("EXDEV", ())), "WA101")
        assert "does not tell" in found.cause
        assert found.files == 1

    def test_mounts_of_another_namespace_are_told_apart_by_id(self) -> None:
        cache = mount(90, DISK, "ext4", b"/cache", own=False)
        app = mount(91, DISK, "ext4", b"/app", own=False)
        stream = self.refused("EXDEV", (ROOT, cache, app), source_mount=90, mount=91)
        assert "`/cache` (ext4" in only(analyzed(stream), "WA102").message

    def test_protected_hardlinks(self) -> None:
        run = run_info(host={"fs.protected_hardlinks": "1"})
        found = only(analyzed(self.refused("EPERM"), run=run), "WA103")
        assert "fs.protected_hardlinks = 1" in found.cause
        assert "ann (uid 1000)" in found.cause
        assert found.files == 1

    def test_root_is_exempt_so_it_must_be_a_flag(self) -> None:
        found = only(analyzed(self.refused("EPERM"), run=run_info(uid=0)), "WA103")
        assert "immutable" in found.cause

    def test_eperm_on_fat_means_no_hard_links(self) -> None:
        found = only(analyzed(self.refused("EPERM", (mount(1, DISK, "vfat", b"/"),))), "WA104")
        assert "no hard links" in found.cause

    @pytest.mark.parametrize("errno", ["EMLINK", "EOPNOTSUPP", "EDQUOT"])
    def test_other_refusals(self, errno: str) -> None:
        found = only(analyzed(self.refused(errno)), "WA104")
        assert errno in found.message
        assert found.details["errno"] == errno

    @pytest.mark.parametrize("errno", ["EEXIST", "ENOENT", "EROFS"])
    def test_what_is_not_about_links(self, errno: str) -> None:
        assert analyzed(self.refused(errno)) == []

    def test_eacces_without_a_copy_is_left_to_wa203(self) -> None:
        stream = Stream()
        stream.link(self.SOURCE, self.TARGET, "EACCES")
        assert analyzed(stream) == []
        assert only(analyzed(self.refused("EACCES")), "WA103").files == 1

    def test_exdev_of_other_operations_is_no_fallback(self) -> None:
        stream = Stream()
        stream.add(Op.OPEN, b"/srv/c", access=Access.READ, result="EXDEV")
        assert analyzed(stream) == []
        stream.add(Op.RENAME, b"/srv/b", b"/srv/a", result="EXDEV")
        assert only(analyzed(stream), "WA113").title == "rename refused within one mount"


class TestAdvice:
    """The one setting that fixes it."""

    def first(self, **more: object) -> str:
        found = only(analyzed(install(b"/dev/shm/uv"), **more), "WA101")  # type: ignore[arg-type]
        assert "UV_LINK_MODE=copy" in found.advice[-1]
        return found.advice[0]

    def test_uv_keeps_its_usual_cache_where_that_is_the_right_mount(self) -> None:
        assert "`UV_CACHE_DIR=/home/ann/.cache/uv`" in self.first()

    def test_else_beside_the_environment(self) -> None:
        home = mount(9, SHM, "tmpfs", b"/home")
        assert "`UV_CACHE_DIR=/srv/project/.uv-cache`" in self.first(mounts=(*MOUNTS, home))

    def test_an_environment_that_is_a_mount_of_its_own(self) -> None:
        volume = mount(9, DISK + 1, "xfs", b"/srv/project/.venv")
        stream = install(b"/dev/shm/uv", Stream((*MOUNTS, volume)))
        found = only(analyzed(stream), "WA101")
        assert not any("UV_CACHE_DIR" in line for line in found.advice), (
            "uv refuses a cache in the environment"
        )
        assert "one volume with two directories" in found.advice[0]
        assert "`UV_LINK_MODE=copy`" in found.advice[-1]

    def test_without_a_cache_tmpdir_decides(self) -> None:
        advice = self.first(run=run_info(b"uv", b"sync", b"--no-cache"))
        assert "Drop `--no-cache`" in advice
        assert "TMPDIR=/srv/project/.tmp" in advice
        assert "UV_NO_CACHE" in self.first(run=run_info(env={"UV_NO_CACHE": "1"}))

    def test_an_unknown_tool_is_advised_in_general(self) -> None:
        found = only(analyzed(install(b"/dev/shm/uv"), of=policy("generic")), "WA101")
        assert found.files == FILES
        assert "UV_" not in " ".join(found.advice)

    def test_names_are_shown(self) -> None:
        odd = mount(4, SHM, "tmpfs", b"/mnt/a\nb\xff")
        stream = install(b"/mnt/a\nb\xff/uv", Stream((*MOUNTS, odd)))
        assert r"`/mnt/a\x0ab\xff` (tmpfs" in only(analyzed(stream), "WA101").message
