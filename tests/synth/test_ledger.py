"""The ledger: what goes in comes out, under stable keys, durable once acknowledged, and only ever right."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from ledger_samples import answer, entry, fill, request, run_script

from pica.synth.errors import BadRequest, LedgerError, Malformed
from pica.synth.ledger import Ledger, call_content, call_key, read_calls
from pica.synth.ledger.codec import DICTIONARY_AFTER
from pica.synth.ledger.seen import Seen
from pica.synth.models.base import Answer, Request, Sampling, TokenLogprob, user

posix = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX processes")


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger(tmp_path / "ledger.sqlite", durability="normal")
    yield opened
    opened.close()


ANSWERS = {
    "empty": Answer(),
    "unicode": Answer(text="naïve 日本語 🐦 \u202e\u2028 é", finish="length", reasoning="ﷺ"),
    "nul and controls": Answer(text="a\0b\x1b[31m\r\n\x7f", model="x\0y"),
    "megabytes": Answer(text="ab" * 1_500_000 + "end", prompt_tokens=2**40),
    "logprobs": Answer(logprobs=(TokenLogprob(token="é", logprob=-0.125, top={"a": -1.5, "b": float("-inf")}),) * 3),
    "vector": Answer(vector=np.arange(384, dtype="<f4").tobytes(), values=(0.1, -3.5)),
}


class TestRoundTrip:
    @pytest.mark.parametrize("given", ANSWERS.values(), ids=ANSWERS)
    async def test_an_answer_comes_back_as_it_was(self, ledger: Ledger, given: Answer) -> None:
        stored = entry(1, given=given)
        await ledger.put([stored])
        assert ledger.get(stored.key) == given
        assert [call.answer for call in read_calls(ledger.path)] == [given]

    async def test_an_unknown_key_has_no_answer(self, ledger: Ledger) -> None:
        await ledger.put([entry(1)])
        assert ledger.get(entry(2).key) is None

    async def test_the_first_answer_of_a_key_stays(self, ledger: Ledger) -> None:
        await ledger.put([entry(1)])
        await ledger.put([entry(1, given=Answer(text="another")), entry(2)])
        assert ledger.get(entry(1).key) == answer(1)
        assert len(ledger) == 2

    def test_calls_are_read_back_whole(self, tmp_path: Path) -> None:
        path = fill(tmp_path / "l.sqlite", range(5))
        wanted = [entry(i).key.hex() for i in (3, 1)]
        calls = list(read_calls(path, [wanted[0], "00" * 16, wanted[1]]))
        assert [call.key for call in calls] == wanted
        assert calls[0].messages == request(3).messages
        assert (calls[0].identity, calls[0].task, calls[0].seed, calls[0].sample) == ("fake/m", "chat", 3, 0)
        assert calls[0].sampling == Sampling(temperature=0.7, max_tokens=200).model_dump(mode="json")
        assert (calls[0].cost, calls[0].seconds, calls[0].answer) == (0.5, 0.25, answer(3))

    def test_reading_leaves_no_file_behind(self, tmp_path: Path) -> None:
        path = fill(tmp_path / "l.sqlite", range(5))
        before = sorted(tmp_path.iterdir())
        assert len(list(read_calls(path))) == 5
        assert sorted(tmp_path.iterdir()) == before

    async def test_an_answer_that_is_no_unicode_fails_alone(self, ledger: Ledger) -> None:
        bad = entry(0, given=Answer(text="\ud800"))
        puts = [ledger.put([one]) for one in (entry(1), bad, entry(2))]
        results = await asyncio.gather(*puts, return_exceptions=True)
        assert [type(result) for result in results] == [type(None), Malformed, type(None)]
        assert ledger.get(bad.key) is None
        assert ledger.get(entry(2).key) == answer(2)
        await ledger.put([entry(3)])

    async def test_a_closed_ledger_says_so(self, tmp_path: Path) -> None:
        ledger = Ledger(tmp_path / "l.sqlite")
        ledger.close()
        ledger.close()
        with pytest.raises(LedgerError, match="closed"):
            await ledger.put([entry(1)])


BASE = Request(task="chat", prompt="p", messages=(user("hello"),), continuation="c", seed=1,
               schema={"type": "object", "required": ["a"]})
CHANGES: dict[str, Any] = {
    "task": "score", "prompt": "q", "messages": (user("hello "),), "continuation": "d", "seed": 2,
    "schema": {"type": "object", "required": ["b"]},
}
SAMPLING = {"temperature": 0.5, "top_p": 0.5, "top_k": 5, "min_p": 0.1, "max_tokens": 7, "stop": ("x",),
            "repetition_penalty": 1.1, "frequency_penalty": 0.1, "presence_penalty": 0.1, "logprobs": 2}


class TestKeys:
    def test_every_field_of_a_request_changes_the_key(self) -> None:
        assert set(CHANGES) | {"n", "sampling", "bos"} == set(Request.__struct_fields__)  # bos says what prompt starts with
        assert set(SAMPLING) == set(Sampling.model_fields)
        requests = [BASE, *(msgspec.structs.replace(BASE, **{name: value}) for name, value in CHANGES.items()),
                    *(msgspec.structs.replace(BASE, sampling=Sampling(**{name: value}))  # type: ignore[arg-type]
                      for name, value in SAMPLING.items())]
        keys = {call_key("m", one) for one in requests} | {call_key("m2", BASE), call_key("m", BASE, 1)}
        assert len(keys) == len(requests) + 2

    def test_an_absent_seed_is_not_seed_zero(self) -> None:
        assert call_key("m", Request(task="chat")) != call_key("m", Request(task="chat", seed=0))

    def test_order_of_messages_matters_and_of_keys_does_not(self) -> None:
        one, other = Request(task="chat", messages=(user("a"), user("b"))), Request(task="chat", messages=(
            {"content": "a", "role": "user"}, {"content": "b", "role": "user"}))
        assert call_key("m", one) == call_key("m", other)
        assert call_key("m", one) != call_key("m", msgspec.structs.replace(one, messages=one.messages[::-1]))
        schemas: list[dict[str, Any]] = [{"a": {"b": 1, "c": 2}, "d": 3}, {"d": 3, "a": {"c": 2, "b": 1}}]
        assert len({call_key("m", Request(task="chat", schema=schema)) for schema in schemas}) == 1

    def test_how_many_samples_were_asked_for_does_not_matter(self) -> None:
        assert call_key("m", BASE, 2) == call_key("m", msgspec.structs.replace(BASE, n=8), 2)

    def test_keys_are_the_same_in_every_release(self) -> None:
        assert call_key("fake/m", request(7), 3).hex() == "4313c00a9afeb13c9450383bb7a704aa"
        assert call_content("m", Request(task="complete", prompt="é\0\n"), 0) == (
            '["m","complete","é\\u0000\\n",[],"",{"frequency_penalty":0.0,"logprobs":0,"max_tokens":1024,"min_p":0.0,'
            '"presence_penalty":0.0,"repetition_penalty":1.0,"stop":[],"temperature":1.0,"top_k":0,"top_p":1.0},'
            "null,null,0]").encode()

    @pytest.mark.parametrize("broken", [
        Request(task="chat", messages=(user("\ud800"),)), Request(task="complete", prompt="\udfff"),
        Request(task="chat", sampling=Sampling(stop=("\ud800",))), Request(task="chat", seed=2**70)])
    def test_what_cannot_be_written_down_is_a_bad_request(self, broken: Request) -> None:
        with pytest.raises(BadRequest, match="valid Unicode"):
            call_key("m", broken)


class TestSharing:
    def test_a_second_process_gets_a_clear_error(self, ledger: Ledger) -> None:
        done = run_script("Ledger(Path(sys.argv[1]))", ledger.path)
        assert f"ledger {ledger.path} is in use by another process (pid {os.getpid()})" in done.stderr

    def test_it_can_be_opened_again_after_close(self, tmp_path: Path) -> None:
        path = fill(fill(tmp_path / "l.sqlite", range(3)), range(3, 5))
        with closing(Ledger(path)) as ledger:
            assert [ledger.get(entry(i).key) for i in range(5)] == [answer(i) for i in range(5)]

    def test_spent_counts_the_calls_of_one_owner(self, tmp_path: Path) -> None:
        path = fill(tmp_path / "l.sqlite", range(4), owner="one")
        fill(path, range(2, 6), owner="two")
        with closing(Ledger(path, owner="one")) as one:
            assert vars(one.spent()) == {"calls": 4, "prompt_tokens": 46, "completion_tokens": 120, "cost": 2.0}
        with closing(Ledger(path, owner="two")) as two:
            assert (two.spent().calls, two.spent().prompt_tokens) == (2, 29)
        with closing(Ledger(path, owner="none")) as none:
            assert none.spent().cost == 0

    async def test_another_connection_sees_what_was_acknowledged(self, ledger: Ledger) -> None:
        await asyncio.gather(*(ledger.put([entry(i)]) for i in range(300)))
        assert len(list(read_calls(ledger.path))) == 300


KILLS = """
import asyncio, os, random, signal, time

async def write(path, acknowledged, start):
    ledger = Ledger(path, durability="normal")
    async def one(i):
        await ledger.put([entry(i)])
        os.write(acknowledged, f"{i}\\n".encode())
    while True:
        await asyncio.gather(*(one(i) for i in range(start, start + 20)))
        start += 20

path, chance, seen = Path(sys.argv[1]), random.Random(0), []
for kill in range(25):
    out, into = os.pipe()
    child = os.fork()
    if not child:
        os.close(out)
        try:
            asyncio.run(write(path, into, (kill + 1) * 100_000))
        finally:
            os._exit(1)
    os.close(into)
    wanted, said = chance.randint(1, 200), b""
    while said.count(b"\\n") < wanted:
        said += os.read(out, 1 << 16)
    time.sleep(chance.random() / 300)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    while rest := os.read(out, 1 << 16):
        said += rest
    os.close(out)
    seen += [int(line) for line in said.split(b"\\n")[:-1]]
    ledger = Ledger(path, durability="normal")
    lost = [i for i in seen if ledger.get(entry(i).key) != answer(i)]
    ledger.close()
    assert not lost, (kill, lost)
print(kill + 1, len(seen))
"""


@posix
def test_no_acknowledged_answer_is_lost_when_the_process_is_killed(tmp_path: Path) -> None:
    done = run_script(KILLS, tmp_path / "l.sqlite")
    assert done.returncode == 0, done.stderr
    kills, acknowledged = map(int, done.stdout.split())
    assert kills == 25
    assert acknowledged >= kills


def test_a_dictionary_is_trained_and_old_answers_stay_readable(tmp_path: Path) -> None:
    path = fill(tmp_path / "l.sqlite", range(DICTIONARY_AFTER + 300))
    with closing(sqlite3.connect(path)) as database:
        sizes = dict(database.execute("SELECT dictionary, avg(length(answer) + length(request)) FROM calls GROUP BY 1"))
        copies = [row[0] for name in ("dictionaries", "dictionary_copies")
                  for row in database.execute(f"SELECT bytes FROM {name}")]
    assert sizes[1] < 0.6 * sizes[0]
    assert len(copies) == 2
    assert copies[0] == copies[1]
    with closing(Ledger(path)) as ledger:
        assert all(ledger.get(entry(i).key) == answer(i) for i in range(0, DICTIONARY_AFTER + 300, 7))
    fill(path, range(9000, 9010))
    assert [call.answer for call in read_calls(path)][-1] == answer(9009)


async def test_texts_that_teach_nothing_do_not_stop_the_ledger(ledger: Ledger) -> None:
    empty = entry(0, given=Answer())._replace(content=b"")
    await ledger.put([empty._replace(key=i.to_bytes(16, "big")) for i in range(DICTIONARY_AFTER + 1)])
    await ledger.put([entry(1)])
    assert ledger.get(entry(1).key) == answer(1)


UNTIL_IT_FAILS = """
import asyncio, resource

async def fill_up():
    for i in range(100_000):
        await ledger.put([entry(i, words=300)])
        acknowledged.append(i)

if sys.argv[2] != "0":
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
acknowledged, ledger = [], Ledger(Path(sys.argv[1]), durability="normal")
try:
    asyncio.run(fill_up())
except Exception as error:
    print(type(error).__name__, error)
try:
    asyncio.run(ledger.put([entry(10 ** 6)]))
except Exception as error:
    print(type(error).__name__, error)
print([i for i in acknowledged if ledger.get(entry(i, words=300).key) != answer(i, 300)], len(acknowledged))
ledger.close()
"""


def _check_full(path: Path, limit: int, message: str) -> int:
    done = run_script(UNTIL_IT_FAILS, path, limit)
    first, again, lost = done.stdout.splitlines()
    assert first == again
    assert first.startswith("LedgerError")
    assert message in first
    assert "every answer stored so far is kept" in first
    assert lost.startswith("[] ")
    return int(lost.split()[1])


@posix
def test_a_file_size_limit_gives_a_clear_line_and_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    acknowledged = _check_full(path, 600_000, "a limit on file sizes")
    assert acknowledged > 10
    with closing(Ledger(path)) as ledger:
        assert [i for i in range(acknowledged) if ledger.get(entry(i).key) != answer(i, 300)] == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    if sys.platform != "linux" or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a file system (root on Linux)")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_gives_a_clear_line_and_loses_nothing(small_disk: Path, tmp_path: Path) -> None:
    acknowledged = _check_full(small_disk / "l.sqlite", 0, "no space left")
    assert acknowledged > 10
    shutil.copytree(small_disk, tmp_path / "elsewhere")  # a full disk gives up no room for SQLite's own files
    calls = list(read_calls(tmp_path / "elsewhere" / "l.sqlite"))
    assert [call.answer for call in calls[:acknowledged]] == [answer(i, 300) for i in range(acknowledged)]


@posix
def test_a_read_only_folder_can_be_read_and_not_written() -> None:
    with tempfile.TemporaryDirectory() as folder:
        fill(Path(folder) / "l.sqlite", range(3))
        Path(folder).chmod(0o555)
        done = run_script("""
            import os
            os.chdir(sys.argv[1])
            if os.getuid() == 0:
                os.setgroups([]); os.setgid(65534); os.setuid(65534)
            from pica.synth.ledger import read_calls
            print(len(list(read_calls(Path("l.sqlite")))))
            for name in ("l.sqlite", "new.sqlite", "absent/l.sqlite"):
                try:
                    Ledger(Path(name))
                except Exception as error:
                    print(type(error).__name__, error)
            """, folder)
        Path(folder).chmod(0o755)
    count, *errors = done.stdout.splitlines()
    assert count == "3"
    assert len(errors) == 3
    for error, why in zip(errors, ("Permission denied", "Permission denied", "No such file or directory"), strict=True):
        assert error.startswith("LedgerError ledger ")
        assert f"cannot be opened for writing ({why})" in error


class TestForeignFiles:
    """Each is refused in one line, left as it is, and its lock is free again."""

    @staticmethod
    def refused(path: Path, message: str) -> None:
        before = path.read_bytes()
        for _ in range(2):
            with pytest.raises(LedgerError, match=message) as caught:
                Ledger(path)
            assert "\n" not in str(caught.value)
            with pytest.raises(LedgerError, match=message):
                list(read_calls(path))
        assert path.read_bytes() == before

    def test_not_a_database(self, tmp_path: Path) -> None:
        path = tmp_path / "notes.txt"
        path.write_text("Notes that somebody wrote.\n" * 100)
        self.refused(path, "damaged or none of ours")

    def test_a_database_of_something_else(self, tmp_path: Path) -> None:
        path = tmp_path / "other.sqlite"
        with closing(sqlite3.connect(path)) as database:
            database.executescript("CREATE TABLE t(a); PRAGMA application_id = 77;")
        self.refused(path, "no ledger of this version.*0x4d")

    def test_a_version_of_the_future(self, tmp_path: Path) -> None:
        path = fill(tmp_path / "l.sqlite", range(3))
        with closing(sqlite3.connect(path)) as database:
            database.execute("PRAGMA user_version = 2")
        self.refused(path, "version 2; known: 0x50696361, 1")

    def test_a_folder(self, tmp_path: Path) -> None:
        with pytest.raises(LedgerError, match="cannot be"):
            Ledger(tmp_path)

    def test_nothing_at_all(self, tmp_path: Path) -> None:
        with pytest.raises(LedgerError, match="no ledger at"):
            list(read_calls(tmp_path / "absent.sqlite"))
        assert list(tmp_path.iterdir()) == []


class TestDamage:
    def test_a_wrong_index_entry_is_noticed(self, tmp_path: Path) -> None:
        """Two entries of the index change places: each key then leads to the other's answer."""
        path = fill(tmp_path / "l.sqlite", range(10))
        data = bytearray(path.read_bytes())
        keys = [entry(i).key for i in (3, 5)]
        places = [_places(data, key) for key in keys]
        index = [max(found, key=lambda place: data[place - 1] < 10) for found in places]  # after the type of the row id
        for place, key in zip(index, keys[::-1], strict=True):
            data[place:place + 16] = key
        path.write_bytes(data)
        with closing(Ledger(path)) as ledger:
            for i in range(10):
                found: object = None
                try:
                    found = ledger.get(entry(i).key)
                except LedgerError as error:
                    found = str(error)
                assert found in (None, answer(i)) or "index of keys is wrong" in str(found)
            with pytest.raises(LedgerError, match="pica ledger salvage"):
                for key in keys:
                    assert ledger.get(key) is None
                pytest.fail("both keys were merely not found")

    def test_a_flipped_bit_in_an_answer_is_noticed(self, tmp_path: Path) -> None:
        path = fill(tmp_path / "l.sqlite", range(3))
        with closing(sqlite3.connect(path)) as database:
            stored = database.execute("SELECT answer FROM calls WHERE id = 2").fetchone()[0]
        data = bytearray(path.read_bytes())
        data[data.index(stored) + len(stored) // 2] ^= 4
        path.write_bytes(data)
        with closing(Ledger(path)) as ledger:
            assert ledger.get(entry(0).key) == answer(0)
            with pytest.raises(LedgerError, match="damaged"):
                ledger.get(entry(1).key)
        with pytest.raises(LedgerError, match="damaged"):
            list(read_calls(path))

    def test_a_lost_dictionary_is_noticed(self, tmp_path: Path) -> None:
        path = fill(tmp_path / "l.sqlite", range(DICTIONARY_AFTER + 50))
        with closing(sqlite3.connect(path)) as database:
            database.execute("UPDATE dictionaries SET bytes = x'37a430ec00000000000000000000'")
            database.commit()
        with pytest.raises(LedgerError, match="damaged"):
            Ledger(path)


def _places(data: bytearray, part: bytes) -> list[int]:
    found = [-1]
    while (place := data.find(part, found[-1] + 1)) >= 0:
        found.append(place)
    assert all(a < b for a, b in pairwise(found))
    return found[1:]


class TestSeen:
    def test_nothing_that_was_added_is_ever_missed(self) -> None:
        seen, keys = Seen(), [number.to_bytes(4, "big") * 4 for number in range(0, 200_000, 7)]
        for key in keys:
            seen.add(key)
        assert all(key in seen for key in keys)

    def test_new_keys_are_seldom_taken_for_old_ones(self) -> None:
        seen = Seen()
        for number in range(50_000):
            seen.add(call_key("m", request(number)))
        assert sum(call_key("m2", request(number)) in seen for number in range(20_000)) < 20
