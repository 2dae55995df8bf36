"""Damaged ledgers: what is intact is found and saved, what is not is counted, and nothing wrong ever comes out."""

from __future__ import annotations

import asyncio
import random
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from ledger_samples import answer, entry, fill

from pica.synth.errors import LedgerError, UsageError
from pica.synth.ledger import Ledger, read_calls
from pica.synth.ledger.codec import DICTIONARY_AFTER
from pica.synth.ledger.file import APPLICATION, SCHEMA, VERSION
from pica.synth.ledger.pages import Layout, Pages, layouts, log_path
from pica.synth.ledger.remains import best_layout
from pica.synth.ledger.salvage import Check, check, salvage

PAGE = 8192
CALLS = 400
KEYS = {entry(i).key: i for i in range(DICTIONARY_AFTER + 400)}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A ledger of 400 calls without a dictionary, each call on one page."""
    return fill(tmp_path_factory.mktemp("small") / "l.sqlite", range(CALLS)).read_bytes()


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A ledger with a dictionary."""
    return fill(tmp_path_factory.mktemp("large") / "l.sqlite", range(DICTIONARY_AFTER + 400)).read_bytes()


@pytest.fixture(scope="module")
def spread(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A ledger of 60 calls that lie on many pages each."""
    return fill(tmp_path_factory.mktemp("spread") / "l.sqlite", range(60), words=9000).read_bytes()


def pages_of(data: bytes, column: str, path: Path) -> dict[int, set[int]]:
    """Call number -> the pages (from 0) that its compressed texts lie on, found by looking for their bytes."""
    path.write_bytes(data)
    found: dict[int, set[int]] = {}
    with closing(sqlite3.connect(path)) as database:
        for key, *blobs in database.execute(f"SELECT key, {column} FROM calls"):
            parts = [blob[min(k, max(len(blob) - 64, 0)):][:64] for blob in blobs for k in range(0, len(blob), 64)]
            places = [(data.find(part), len(part)) for part in parts]  # -1: goes on on another page
            found[KEYS[key]] = {at // PAGE for place, size in places if place >= 0 for at in (place, place + size - 1)}
    return found


def saved(path: Path, to: Path) -> tuple[Check, set[int]]:
    """The salvage's findings, and the numbers of the calls in the new ledger, each of which must be right."""
    to.unlink(missing_ok=True)
    found = salvage(path, to)
    numbers, unsealed = set(), 0
    for call in read_calls(to):
        number = KEYS[bytes.fromhex(call.key)]
        assert call.answer == answer(number, call.answer.completion_tokens)
        assert call.identity == "fake/m"
        assert (call.cost, call.seconds) in {(0.5, 0.25), (0, 0)}
        unsealed += not call.cost
        numbers.add(number)
    assert (len(numbers), unsealed) == (found.calls, found.unsealed)
    assert found.saved_to == to
    with closing(Ledger(to)) as ledger:
        assert len(ledger) == found.calls
        assert all(ledger.get(entry(number).key) is not None for number in numbers)
    assert check(to).healthy
    return found, numbers


class TestHealthy:
    def test_nothing_is_wrong(self, tmp_path: Path, large: bytes) -> None:
        path = tmp_path / "l.sqlite"
        path.write_bytes(large)
        found = check(path)
        assert found == Check(path, DICTIONARY_AFTER + 400, 0, 0, 0, 0, len(large) // PAGE, 0, 0, False, "ok")
        assert (found.healthy, found.advice) == (True, "nothing to do")
        assert list(tmp_path.iterdir()) == [path]
        assert path.read_bytes() == large

    def test_a_healthy_ledger_is_copied(self, tmp_path: Path, large: bytes) -> None:
        path = tmp_path / "l.sqlite"
        path.write_bytes(large)
        assert saved(path, tmp_path / "new.sqlite")[1] == set(range(DICTIONARY_AFTER + 400))
        assert list(read_calls(path)) == list(read_calls(tmp_path / "new.sqlite"))

    def test_an_empty_one_is_healthy(self, tmp_path: Path) -> None:
        path = fill(tmp_path / "l.sqlite", range(0))
        assert check(path).healthy
        assert saved(path, tmp_path / "new.sqlite")[1] == set()

    def test_the_owner_goes_with_the_call(self, tmp_path: Path) -> None:
        path = fill(fill(tmp_path / "l.sqlite", range(3), owner="one"), range(3, 8), owner="zwei ö")
        data = path.read_bytes()
        path.write_bytes(b"\0" * 100 + data[100:])
        salvage(path, tmp_path / "new.sqlite")
        with closing(Ledger(tmp_path / "new.sqlite", owner="zwei ö")) as ledger:
            assert (ledger.spent().calls, ledger.spent().prompt_tokens, ledger.spent().cost) == (5, 75, 2.5)


def zero(data: bytes, page: int) -> bytes:
    return data[:page * PAGE] + bytes(PAGE) + data[(page + 1) * PAGE:]


HEADERS: dict[str, Callable[[bytes], bytes]] = {
    "header": lambda data: bytes(100) + data[100:],
    "header of noise": lambda data: random.Random(1).randbytes(100) + data[100:],
    "first page": lambda data: zero(data, 0),
    "page size": lambda data: data[:16] + b"\x10\x00" + data[18:],
    "reserved bytes": lambda data: data[:20] + b"\x40" + data[21:],
    "schema": lambda data: data.replace(b"CREATE TABLE calls", b"CREATE TABLE c\xfflls"),
    "name that is no text": lambda data: data.replace(b"tablecallscalls", b"tablec\xcellsc\xcells"),
}


class TestKnownLayouts:
    """Damage at places whose calls are known: exactly those are lost, and the numbers say so."""

    @pytest.mark.parametrize("damage", HEADERS.values(), ids=HEADERS)
    @pytest.mark.parametrize("kind", ["small", "spread"])
    def test_no_call_is_lost_with_the_head_of_the_file(self, tmp_path: Path, damage: Callable[[bytes], bytes],
                                                       kind: str, request: pytest.FixtureRequest) -> None:
        data = request.getfixturevalue(kind)
        path = tmp_path / "l.sqlite"
        path.write_bytes(damage(data))
        found, numbers = saved(path, tmp_path / "new.sqlite")
        assert numbers == set(range(CALLS if kind == "small" else 60))
        assert (found.damaged, found.missing, found.healthy) == (0, 0, False)
        assert path.read_bytes() == damage(data)

    @pytest.mark.parametrize("kind", ["small", "spread"])
    def test_a_lost_page_costs_the_calls_that_lie_on_it(self, tmp_path: Path, kind: str,
                                                        request: pytest.FixtureRequest) -> None:
        data = request.getfixturevalue(kind)
        path = tmp_path / "l.sqlite"
        pages = pages_of(data, "answer, request", path)
        for page in random.Random(3).sample(range(1, len(data) // PAGE), 6):
            path.write_bytes(zero(data, page))
            found, numbers = saved(path, tmp_path / "new.sqlite")
            assert numbers == {call for call, its in pages.items() if page not in its}
            assert found.calls + found.damaged + found.missing == len(pages)

    def test_a_flipped_bit_costs_one_call(self, tmp_path: Path, small: bytes) -> None:
        path = tmp_path / "l.sqlite"
        path.write_bytes(small)
        with closing(sqlite3.connect(path)) as database:
            blob = database.execute("SELECT answer FROM calls WHERE key = ?", (entry(77).key,)).fetchone()[0]
        data = bytearray(small)
        data[small.index(blob) + len(blob) // 2] ^= 1
        path.write_bytes(data)
        found, numbers = saved(path, tmp_path / "new.sqlite")
        assert numbers == set(range(CALLS)) - {77}
        assert (found.damaged, found.missing, found.verdict, found.healthy) == (1, 0, "ok", False)

    def test_a_damaged_cost_is_not_believed(self, tmp_path: Path, small: bytes) -> None:
        path = tmp_path / "l.sqlite"
        path.write_bytes(small)
        with closing(sqlite3.connect(path)) as database:
            database.execute("UPDATE calls SET cost = 1e99 WHERE id = 5")
            database.execute("UPDATE calls SET owner = 'thief' WHERE id = 6")
            database.execute("UPDATE calls SET prompt_tokens = 10000 WHERE id = 7")
            database.commit()
        assert "without owner, model's name, cost and times, which are damaged: 3" in "\n".join(check(path).explain())
        found, numbers = saved(path, tmp_path / "new.sqlite")
        assert (numbers, found.unsealed, found.healthy) == (set(range(CALLS)), 3, False)
        with closing(Ledger(tmp_path / "new.sqlite")) as ledger:
            assert ledger.spent().cost == (CALLS - 3) * 0.5

    def test_the_head_of_a_page_costs_no_call(self, tmp_path: Path, small: bytes) -> None:
        path = tmp_path / "l.sqlite"
        page = small.index(entry(200).key) // PAGE
        path.write_bytes(small[:page * PAGE] + bytes(8) + small[page * PAGE + 8:])
        assert saved(path, tmp_path / "new.sqlite")[1] == set(range(CALLS))

    def test_a_cut_file_keeps_the_calls_before_the_cut(self, tmp_path: Path, small: bytes) -> None:
        path = tmp_path / "l.sqlite"
        pages = pages_of(small, "answer, request", path)
        for size in (len(small) - 1, len(small) // 2, len(small) // 3 + 777, PAGE * 9):
            path.write_bytes(small[:size])
            found, numbers = saved(path, tmp_path / "new.sqlite")
            assert numbers >= {call for call, its in pages.items() if max(its) < size // PAGE}
            assert numbers <= {call for call, its in pages.items() if max(its) <= size // PAGE}
            assert (found.cut, found.pages) == (len(small) // PAGE - size // PAGE, len(small) // PAGE)
            assert not found.healthy

    def test_a_cut_that_cost_nothing_is_said(self, tmp_path: Path) -> None:
        path = fill(tmp_path / "l.sqlite", range(0))
        data = path.read_bytes()
        assert data.endswith(b"\0")  # SQLite reads zeros behind the end, so that it cannot tell
        path.write_bytes(data[:-1])
        found = check(path)
        assert found == Check(path, 0, 0, 0, 0, 0, len(data) // PAGE, 0, 1, False, "ok")
        assert (found.healthy, found.explain()[0]) == (False, f"ledger {path}: damaged")

    def test_nothing_left_is_said(self, tmp_path: Path) -> None:
        path = tmp_path / "l.sqlite"
        for content in (b"", b"notes " * 5000, bytes(50_000), random.Random(2).randbytes(50_000)):
            path.write_bytes(content)
            assert check(path).calls == 0
            assert "nothing of a ledger was found" in check(path).advice
            with pytest.raises(LedgerError, match="nothing can be saved"):
                salvage(path, tmp_path / "new.sqlite")
        assert list(tmp_path.iterdir()) == [path]


class TestDictionary:
    @staticmethod
    def copies(data: bytes, path: Path) -> list[set[int]]:
        """The pages (from 0) of both copies of the dictionary."""
        path.write_bytes(data)
        with closing(sqlite3.connect(path)) as database:
            content = database.execute("SELECT bytes FROM dictionaries").fetchone()[0]
        found: list[set[int]] = [set(), set()]
        for k in range(0, len(content), 200):
            first = data.index(content[k:k + 200]) if content[k:k + 200] in data else -1
            if first >= 0:
                found[0].add(first // PAGE)
                found[1].add(data.index(content[k:k + 200], first + 1) // PAGE)
        return found

    def test_one_copy_is_enough(self, tmp_path: Path, large: bytes) -> None:
        path = tmp_path / "l.sqlite"
        for copy in self.copies(large, path):
            data = large
            for page in copy:
                data = zero(data, page)
            path.write_bytes(data)
            found, numbers = saved(path, tmp_path / "new.sqlite")
            assert numbers == set(KEYS.values())
            assert (found.damaged, found.missing) == (0, 0)

    def test_without_any_copy_its_calls_are_counted_as_lost(self, tmp_path: Path, large: bytes) -> None:
        path = tmp_path / "l.sqlite"
        data = large
        for page in set.union(*self.copies(large, path)):
            data = zero(data, page)
        with closing(sqlite3.connect(path)) as database:
            without = {KEYS[key] for key, in database.execute("SELECT key FROM calls WHERE dictionary = 0")}
        path.write_bytes(data)
        found, numbers = saved(path, tmp_path / "new.sqlite")
        assert numbers == without
        assert found.damaged == found.undecodable == len(KEYS) - len(without)
        assert f"({found.damaged} because their dictionary is lost)" in "\n".join(found.explain())


class TestAnyDamage:
    """Random damage, reproducible by its seed."""

    @staticmethod
    def hurt(data: bytes, seed: int) -> tuple[bytes, set[int]]:
        """Damaged data and the pages (from 0) that were touched."""
        chance, damaged = random.Random(seed), bytearray(data)
        touched = set()
        for _ in range(chance.choice((1, 3, 12))):
            at, kind = chance.randrange(len(data)), chance.randrange(4)
            size = min((1, 64, PAGE, 512)[kind], len(data) - at)
            at = at if kind < 2 else at // size * size
            flipped = bytes([damaged[at] ^ 1 << chance.randrange(8)])
            damaged[at:at + size] = (flipped, chance.randbytes(size), bytes(size), bytes(size))[kind]
            touched |= {at // PAGE, (at + size - 1) // PAGE}
        if chance.random() < 0.2:
            cut = chance.randrange(len(data) // 2, len(data))
            damaged = damaged[:cut]
            touched |= set(range(cut // PAGE, len(data) // PAGE + 1))
        return bytes(damaged), touched

    @pytest.mark.parametrize("seed", range(20))
    def test_get_is_never_wrong_and_salvage_saves_every_call_on_an_untouched_page(
            self, tmp_path: Path, small: bytes, seed: int) -> None:
        path = tmp_path / "l.sqlite"
        pages = pages_of(small, "answer, request", path)
        data, touched = self.hurt(small, seed)
        path.write_bytes(data)
        _, numbers = saved(path, tmp_path / "new.sqlite")
        assert numbers >= {call for call, its in pages.items() if not its & touched}
        assert path.read_bytes() == data
        try:
            ledger = Ledger(path)
        except LedgerError as error:
            assert "pica ledger salvage" in str(error) or "no ledger of this version" in str(error)
            return
        with closing(ledger):
            for i in range(0, CALLS, 3):
                try:
                    assert ledger.get(entry(i).key) in (None, answer(i))
                except LedgerError as error:
                    assert "\n" not in str(error)

    @pytest.mark.parametrize("seed", range(3))
    def test_long_calls_and_dictionaries(self, tmp_path: Path, large: bytes, spread: bytes, seed: int) -> None:
        path = tmp_path / "l.sqlite"
        for data in (large, spread):
            damaged, touched = self.hurt(data, seed + 100)
            pages = pages_of(data, "answer, request", path)
            copies = TestDictionary.copies(data, path) if data is large else [set()]
            path.write_bytes(damaged)
            _, numbers = saved(path, tmp_path / "new.sqlite")
            if any(not copy & touched for copy in copies):
                assert numbers >= {call for call, its in pages.items() if not its & touched}


async def _with_log(path: Path, calls: range) -> None:
    """A copy of a ledger, taken while its calls are in the log only, at `path`."""
    source = path.parent / "source.sqlite"
    with closing(Ledger(source, durability="normal")) as ledger:
        for start in range(calls.start, calls.stop, 20):
            await ledger.put([entry(i) for i in range(start, start + 20)])
        shutil.copy(source, path)
        shutil.copy(log_path(source), log_path(path))


class TestLog:
    """A killed process leaves answers in the write-ahead log."""

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        asyncio.run(_with_log(tmp_path / "l.sqlite", range(200)))
        return tmp_path / "l.sqlite"

    def test_a_log_is_no_damage(self, path: Path, tmp_path: Path) -> None:
        before = log_path(path).read_bytes()
        found = check(path)
        assert (found.healthy, found.calls, found.verdict) == (True, 200, "ok")
        assert log_path(path).read_bytes() == before
        assert saved(path, tmp_path / "new.sqlite")[1] == set(range(200))

    def test_the_log_alone_is_enough(self, path: Path, tmp_path: Path) -> None:
        path.unlink()
        found, numbers = saved(path, tmp_path / "new.sqlite")
        assert numbers == set(range(200))
        assert not found.healthy

    def test_a_damaged_head_of_the_log(self, path: Path, tmp_path: Path) -> None:
        data = log_path(path).read_bytes()
        log_path(path).write_bytes(bytes([data[0] ^ 1]) + data[1:18] + b"\0\0" + data[20:])
        found, numbers = saved(path, tmp_path / "new.sqlite")
        assert numbers == set(range(200))
        assert found.log_damaged
        assert "leaves acknowledged calls in it aside" in "\n".join(found.explain())

    def test_a_damaged_frame_does_not_cost_those_behind_it(self, path: Path, tmp_path: Path) -> None:
        data = bytearray(log_path(path).read_bytes())
        frames = (len(data) - 32) // (24 + PAGE)
        place = 32 + frames // 2 * (24 + PAGE) + 24
        data[place:place + 16] = b"sixteen of noise"
        log_path(path).write_bytes(data)
        found, numbers = saved(path, tmp_path / "new.sqlite")
        assert found.log_damaged
        assert numbers >= set(range(180, 200))
        assert len(numbers) > 150

    def test_what_was_never_acknowledged_is_no_damage(self, path: Path) -> None:
        data = log_path(path).read_bytes()
        log_path(path).write_bytes(data[:-(24 + PAGE)])  # the last transaction lacks its end
        found = check(path)
        assert (found.healthy, found.damaged, found.missing, found.log_damaged) == (True, 0, 0, False)
        assert 180 <= found.calls <= 200


class TestRefusals:
    def test_nothing_is_overwritten(self, tmp_path: Path, small: bytes) -> None:
        path, there = tmp_path / "l.sqlite", tmp_path / "there.sqlite"
        path.write_bytes(small)
        there.write_text("mine")
        for target in (there, path):
            with pytest.raises(UsageError, match="exists; name a new file"):
                salvage(path, target)
        log_path(tmp_path / "new.sqlite").write_text("mine")
        with pytest.raises(UsageError, match="-wal exists"):
            salvage(path, tmp_path / "new.sqlite")
        assert (there.read_text(), path.read_bytes()) == ("mine", small)

    def test_an_absent_ledger_and_an_absent_folder(self, tmp_path: Path, small: bytes) -> None:
        with pytest.raises(LedgerError, match="no ledger at"):
            check(tmp_path / "absent.sqlite")
        (tmp_path / "l.sqlite").write_bytes(small)
        with pytest.raises(LedgerError, match="cannot be written"):
            salvage(tmp_path / "l.sqlite", tmp_path / "absent" / "new.sqlite")

    def test_a_ledger_in_use_is_not_salvaged(self, tmp_path: Path) -> None:
        with closing(Ledger(tmp_path / "l.sqlite")), pytest.raises(LedgerError, match="in use by another process"):
            salvage(tmp_path / "l.sqlite", tmp_path / "new.sqlite")


@pytest.mark.parametrize(("size", "reserved"), [(512, 0), (1024, 0), (4096, 12), (8192, 0), (65536, 0)])
def test_pages_are_cut_as_they_were_written(tmp_path: Path, size: int, reserved: int) -> None:
    path = tmp_path / "l.sqlite"
    with closing(sqlite3.connect(path)) as database:
        database.executescript(f"PRAGMA page_size = {size}; PRAGMA user_version = 0; VACUUM;")
    data = bytearray(path.read_bytes())
    if reserved:  # as some builds of SQLite have it
        data[20], data[105:107] = reserved, (size - reserved).to_bytes(2, "big")
        path.write_bytes(data)
    with closing(sqlite3.connect(path)) as database:
        database.executescript(f"{SCHEMA} PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {VERSION};")
        database.execute("PRAGMA journal_mode = WAL")
    fill(path, range(60), words=400)
    assert layouts(path)[0] == best_layout(path) == Layout(size, reserved)
    assert check(path).healthy
    content = path.read_bytes()
    path.write_bytes(content[:100] + bytes(size - 100) + content[size:])
    assert best_layout(path) == Layout(size, reserved)
    assert saved(path, tmp_path / "new.sqlite")[1] == set(range(60))
    if not reserved:
        path.write_bytes(bytes(100) + content[100:])
        assert best_layout(path) == Layout(size)
        assert check(path).calls == 60


def test_a_page_is_looked_up_where_it_was_asked_for(tmp_path: Path, small: bytes) -> None:
    path = tmp_path / "l.sqlite"
    path.write_bytes(small)
    with Pages(path, Layout(PAGE)) as pages:
        assert [image for _, image, _ in pages.images()] == [small[k:k + PAGE] for k in range(0, len(small), PAGE)]
        assert pages.image(10 ** 6, 0) == bytes(PAGE)


def test_the_schema_is_the_one_that_salvage_recognises() -> None:
    """A column more or less must change `pica.synth.ledger.remains` too."""
    with closing(sqlite3.connect(":memory:")) as database:
        database.executescript(SCHEMA)
        names = {table: [row[1] for row in database.execute(f"PRAGMA table_info({table})")]
                 for table in ("calls", "dictionaries", "dictionary_copies")}
    assert names == {"calls": ["id", "key", "answer", "request", "dictionary", "owner", "model", "prompt_tokens",
                               "completion_tokens", "cost", "seconds", "at", "seal"],
                     "dictionaries": ["id", "bytes"], "dictionary_copies": ["id", "bytes"]}
