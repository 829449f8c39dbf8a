"""Watching files: real files, and a clock that runs as fast as the test."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from openmcp.config.loader import Loaded
from openmcp.config.sources.file import FileSource
from openmcp.errors import Misconfigured
from tests.unit.config.writing import resource, server, source, write

GATEWAY = resource("GatewayConfig", "g", "{config: {path: resources}}")


class Clock:
    """Sleeps take no time, but each lets others run; tells how often it was asked."""

    def __init__(self) -> None:
        self._ticks = asyncio.Semaphore(0)

    async def sleep(self, _: float) -> None:
        self._ticks.release()
        await asyncio.sleep(0)

    async def passed(self, ticks: int) -> None:
        """Wait until that many more sleeps have begun than were waited for before."""
        for _ in range(ticks):
            await asyncio.wait_for(self._ticks.acquire(), 10)


class Watch:
    """A source under watch."""

    def __init__(self, *paths: Path) -> None:
        self.clock = Clock()
        self.source = FileSource(paths, env={"TOKEN": "x"}, sleep=self.clock.sleep)
        self._changes: AsyncIterator[Loaded | Misconfigured] = self.source.changes()

    async def next(self) -> Loaded | Misconfigured:
        return await asyncio.wait_for(anext(self._changes), 10)

    async def next_names(self) -> list[str]:
        outcome = await self.next()
        assert isinstance(outcome, Loaded), outcome
        return [one.name for one in outcome.snapshot.servers]


async def test_a_change_is_loaded(tmp_path: Path) -> None:
    path = write(tmp_path, server("a"))
    watch = Watch(path)
    assert [one.name for one in watch.source.load().snapshot.servers] == ["a"]
    write(tmp_path, server("b"))
    assert await watch.next_names() == ["b"]


async def test_a_change_between_loading_and_watching_is_not_lost(tmp_path: Path) -> None:
    path = write(tmp_path, server("a"))
    watch = Watch(path)
    watch.source.load()
    write(tmp_path, server("b"))
    assert await watch.next_names() == ["b"]


async def test_a_faulty_change_yields_its_faults_and_the_repair_the_configuration(tmp_path: Path) -> None:
    path = write(tmp_path, server("a"))
    watch = Watch(path)
    first = watch.source.load()
    write(tmp_path, server("a", ", pth: x"))
    outcome = await watch.next()
    assert isinstance(outcome, Misconfigured)
    assert [fault.place for fault in outcome.faults] == [f"{path}:4:58"]
    write(tmp_path, server("a"))
    assert await watch.next() == first


async def test_what_changes_nothing_is_not_reported(tmp_path: Path) -> None:
    path = write(tmp_path, server("a"))
    watch = Watch(path)
    watch.source.load()
    pending = asyncio.create_task(watch.next_names())
    os.utime(path)
    await watch.clock.passed(10)
    assert not pending.done()
    write(tmp_path, server("b"))
    assert await pending == ["b"]


async def test_new_changed_and_removed_files_of_a_directory_are_noticed(tmp_path: Path) -> None:
    write(tmp_path, server("a"), name="resources/a.yaml")
    (tmp_path / "resources" / "deep").mkdir()
    watch = Watch(write(tmp_path, GATEWAY))
    watch.source.load()
    write(tmp_path, server("b"), name="resources/deep/b.yaml")
    assert await watch.next_names() == ["a", "b"]
    write(tmp_path, server("c"), name="resources/deep/b.yaml")
    assert await watch.next_names() == ["a", "c"]
    (tmp_path / "resources" / "a.yaml").unlink()
    assert await watch.next_names() == ["c"]


async def test_a_directory_that_appears_later_repairs_the_fault(tmp_path: Path) -> None:
    watch = Watch(write(tmp_path, GATEWAY))
    with pytest.raises(Misconfigured):
        watch.source.load()
    write(tmp_path, server("a"), name="resources/a.yaml")
    assert await watch.next_names() == ["a"]


async def test_the_swap_of_a_mounted_config_map_is_noticed(tmp_path: Path) -> None:
    mount = tmp_path / "mount"
    for version in ("..v1", "..v2"):
        write(mount / version, server("a" if version == "..v1" else "b"))
    (mount / "..data").symlink_to("..v1")
    (mount / "g.yaml").symlink_to("..data/g.yaml")
    for watch in (Watch(mount), Watch(mount / "g.yaml")):
        assert len(watch.source.load().snapshot.servers) == 1
    (mount / "..new").symlink_to("..v2")
    (mount / "..new").rename(mount / "..data")
    for path in (mount, mount / "g.yaml"):
        late = Watch(path)
        assert [one.name for one in late.source.load().snapshot.servers] == ["b"]


async def test_a_swap_under_watch_is_loaded(tmp_path: Path) -> None:
    for version, name in (("..v1", "a"), ("..v2", "b")):
        write(tmp_path / version, server(name))
    (tmp_path / "..data").symlink_to("..v1")
    (tmp_path / "g.yaml").symlink_to("..data/g.yaml")
    watch = Watch(tmp_path / "g.yaml")
    watch.source.load()
    (tmp_path / "..new").symlink_to("..v2")
    (tmp_path / "..new").rename(tmp_path / "..data")
    assert await watch.next_names() == ["b"]


async def test_a_rotated_secret_is_picked_up(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("old\n")
    watch = Watch(write(tmp_path, server(upstream=", credentials: [{header: X-Key, value: {file: token}}]")))
    watch.source.load()
    fresh = tmp_path / "fresh"
    fresh.write_text("new\n")
    fresh.rename(token)
    outcome = await watch.next()
    assert isinstance(outcome, Loaded)
    assert outcome.snapshot.servers[0].credentials[0].value == "new"


async def test_a_removed_file_is_a_fault_and_its_return_a_repair(tmp_path: Path) -> None:
    path = write(tmp_path, server("a"), source())
    watch = Watch(path)
    watch.source.load()
    path.rename(tmp_path / "aside")
    assert isinstance(await watch.next(), Misconfigured)
    (tmp_path / "aside").rename(path)
    assert await watch.next_names() == ["a"]


async def test_watching_without_loading_starts_from_the_moment_it_begins(tmp_path: Path) -> None:
    path = write(tmp_path, server("a"))
    watch = Watch(path)
    pending = asyncio.create_task(watch.next_names())
    await watch.clock.passed(1)
    write(tmp_path, server("b"))
    assert await pending == ["b"]
