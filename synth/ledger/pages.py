"""An SQLite file and its write-ahead log (WAL) as raw pages, for when SQLite itself cannot read them any more.

Nothing in the file is trusted: not its header, not the page tree, not a pointer. What is found is only a candidate; the
caller must be able to tell a good record from a bad one. Format: https://sqlite.org/fileformat2.html
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from struct import unpack, unpack_from
from types import TracebackType
from typing import IO, Any, NamedTuple

MAGIC = b"SQLite format 3\0"
LEAF, INDEX_LEAF, INDEX_INNER, INNER = 0x0D, 0x0A, 0x02, 0x05
COMMITTED, MAIN, NEWEST = range(3)  # where a page is looked up; see `Pages.image`
VIEWS = (COMMITTED, MAIN, NEWEST)
_SIZES = (8192, 4096, 16384, 32768, 65536, 2048, 1024, 512)
_HEAD, _FRAME = 32, 24  # bytes before all frames of the log, and before each
_WIDTHS = (0, 1, 2, 3, 4, 6, 8, 8, 0, 0)  # of the values with serial types 0 to 9


class Layout(NamedTuple):
    """How a file is cut into pages: bytes a page, and bytes at the end of each that hold nothing."""

    size: int
    reserved: int = 0

    @property
    def usable(self) -> int:
        """Bytes of a page that hold something."""
        return self.size - self.reserved


class Tree(NamedTuple):
    """A page of a b-tree: its kind and its cells' offsets; `hurt` if these cannot be all that was there."""

    kind: int
    cells: list[int]
    hurt: bool


class Shape(NamedTuple):
    """A record's head: the serial type of every column, where the values start, and bytes of head and values."""

    types: tuple[int, ...]
    start: int
    total: int


class Frames(NamedTuple):
    """The log: the page number of every frame, how many frames SQLite takes, and whether acknowledged ones follow."""

    pages: Sequence[int]
    committed: int
    cut_off: bool


class Pages:
    """The pages of the database at `path` and of its log, cut as `layout` says. Files that are absent are empty.

    The file has `count` pages, the last of which may be there in part; `whole` of them are not.
    """

    def __init__(self, path: Path, layout: Layout) -> None:
        self.layout = layout
        self._main, size = _open(path)
        self._log, log_size = _open(log_path(path))
        self.count = -(-size // layout.size)
        self.whole = size // layout.size
        self.capacity = size + log_size
        self.frames = _frames(self._log, log_size, layout.size)
        self._newest = {number: frame for frame, number in enumerate(self.frames.pages)}
        self._committed = {number: frame for frame, number in enumerate(self.frames.pages[:self.frames.committed])}

    def __enter__(self) -> Pages:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None,
                 ) -> None:
        for file in (self._main, self._log):
            if file is not None:
                file.close()

    def images(self, step: int = 1) -> Iterator[tuple[int, bytes, bool]]:
        """(page number, content, sure) of every page of the file, then of every frame of the log; or every `step`-th.

        `sure`: it belongs to the database. Other frames may stem from a transaction that was never acknowledged.
        """
        for number in range(1, self.count + 1, step):
            yield number, self.image(number, MAIN), True
        for frame in range(0, len(self.frames.pages), step):
            sure = frame < self.frames.committed or self.frames.cut_off
            yield self.frames.pages[frame], self._frame(frame), sure

    def image(self, number: int, view: int) -> bytes:
        """The content of a page: as last `COMMITTED`, as in the `MAIN` file, or the `NEWEST` in the log."""
        frames = {COMMITTED: self._committed, NEWEST: self._newest}.get(view, {})
        if number in frames:
            return self._frame(frames[number])
        return _read(self._main, (number - 1) * self.layout.size, self.layout.size)

    def _frame(self, frame: int) -> bytes:
        return _read(self._log, _HEAD + frame * (_FRAME + self.layout.size) + _FRAME, self.layout.size)

    def tree(self, number: int, image: bytes) -> Tree | None:
        """What a page of a b-tree says of itself; None for any other page."""
        start = 100 if number == 1 else 0
        kind, count, content = unpack_from(">BxxHH", image, start)
        first = start + (8 if kind in {LEAF, INDEX_LEAF} else 12)
        end = first + 2 * count
        if kind not in {LEAF, INDEX_LEAF, INDEX_INNER, INNER} or end > self.layout.usable:
            return None
        places = unpack_from(f">{count}H", image, first)
        cells = [place for place in places if end <= place < self.layout.usable]
        return Tree(kind, cells, len(cells) < count or min(cells, default=content) != content)

    def cell(self, image: bytes, place: int, kind: int) -> tuple[int, int] | None:
        """(row id, where the record starts) of the cell at `place` of a page; 0 for the row id of an index's cell."""
        try:
            _, at = varint(image, place + (4 if kind == INDEX_INNER else 0))
            return varint(image, at) if kind == LEAF else (0, at)
        except IndexError:
            return None

    def shape(self, image: bytes, place: int) -> Shape | None:
        """The head of the record at `place` in a page; None if there cannot be one."""
        try:
            size, at = varint(image, place)
            types: list[int] = []
            while at < place + size and len(types) < 32:
                kind, at = varint(image, at)
                types.append(kind)
        except IndexError:
            return None
        total = size + sum(map(width, types))
        if at != place + size or at > self.layout.usable or total > self.capacity:
            return None
        return Shape(tuple(types), size, total)

    def record(self, image: bytes, place: int, total: int, view: int) -> tuple[bytes, list[int]] | None:
        """The `total` bytes of the record at `place` and the overflow pages they lie on; None if a page is amiss."""
        usable = self.layout.usable
        least = (usable - 12) * 32 // 255 - 23
        local = total
        if total > usable - 35:
            local = least + (total - least) % (usable - 4)
            local = local if local <= usable - 35 else least
        if place + local + (4 if local < total else 0) > usable:
            return None
        parts, chain, left = [image[place:place + local]], [], total - local
        following = int.from_bytes(image[place + local:place + local + 4], "big") if left else 0
        while left > 0:
            if following < 2 or following in chain or (following > self.count and following not in self._newest):
                return None
            chain.append(following)
            page = self.image(following, view)
            parts.append(page[4:min(usable, 4 + left)])
            left -= len(parts[-1])
            following = int.from_bytes(page[:4], "big")
        return b"".join(parts), chain


def log_path(path: Path) -> Path:
    """Where SQLite keeps the log of the database at `path`."""
    return Path(f"{path}-wal")


def layouts(path: Path) -> list[Layout]:
    """Every way to cut the file at `path` into pages, what the file and its log say first."""
    main, _ = _open(path)
    log, _ = _open(log_path(path))
    head, log_head = _read(main, 0, 100), _read(log, 0, _HEAD)
    for file in (main, log):
        if file is not None:
            file.close()
    said = [unpack_from(">H", head, 16)[0], unpack_from(">I", log_head, 8)[0]]
    sizes = dict.fromkeys([*(65536 if size == 1 else size for size in said), *_SIZES])
    reserved = dict.fromkeys([head[20] if head.startswith(MAGIC) else 0, 0])
    return [Layout(size, rest) for size in sizes if size in _SIZES for rest in reserved if size - rest >= 480]


def promised(path: Path) -> int:
    """Pages that the header says the file has; 0 where the header is not to be trusted."""
    main, _ = _open(path)
    head = _read(main, 0, 100)
    if main is not None:
        main.close()
    trusted = head.startswith(MAGIC) and head[24:28] == head[92:96]
    return int.from_bytes(head[28:32], "big") if trusted else 0


def varint(data: bytes, at: int) -> tuple[int, int]:
    """(value, offset after it) of the variable-length number at `at`; raises IndexError past the end."""
    value = 0
    for place in range(at, at + 8):
        byte = data[place]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, place + 1
    return value << 8 | data[at + 8], at + 9


def width(kind: int) -> int:
    """Bytes of a value of serial type `kind`."""
    return (kind - 12) // 2 if kind >= 12 else _WIDTHS[kind] if kind < 10 else 0


def values(shape: Shape, data: bytes) -> list[Any]:
    """The values of a record: numbers, None, and blobs and texts as bytes."""
    found: list[Any] = []
    at = shape.start
    for kind in shape.types:
        part = data[at:at + width(kind)]
        at += len(part)
        if kind >= 12:
            found.append(part)
        elif kind == 7:
            found.append(unpack(">d", part)[0])
        else:
            found.append({0: None, 8: 0, 9: 1}.get(kind, int.from_bytes(part, "big", signed=True)))
    return found


def _open(path: Path) -> tuple[IO[bytes] | None, int]:
    if not path.is_file():
        return None, 0
    return path.open("rb"), path.stat().st_size


def _read(file: IO[bytes] | None, offset: int, size: int) -> bytes:
    """`size` bytes; zeros for what is behind the end, or on a bad sector."""
    data = b""
    if file is not None:
        try:
            file.seek(offset)
            data = file.read(size)
        except OSError:
            pass
    return data.ljust(size, b"\0")


def _frames(log: IO[bytes] | None, log_size: int, size: int) -> Frames:
    """All frames of a log, and how far SQLite follows them: to the last commit before a checksum is wrong."""
    head = _read(log, 0, _HEAD)
    order = ">" if head[3] & 1 else "<"
    salts, sums = head[16:24], _checksum(head[:24], (0, 0), order)
    whole = sums == unpack(">II", head[24:])
    count = max(0, (log_size - _HEAD) // (_FRAME + size))
    pages, committed, cut_off = array("L"), 0, count > 0 and not whole
    for frame in range(count):
        data = _read(log, _HEAD + frame * (_FRAME + size), _FRAME + size)
        number, commit = unpack_from(">II", data)
        pages.append(number)
        current = data[8:16] == salts
        if whole:
            sums = _checksum(data[_FRAME:], _checksum(data[:8], sums, order), order)
            whole = current and sums == unpack(">II", data[16:24])
        if commit and whole:
            committed = frame + 1
        cut_off |= bool(commit and current and not whole)
    return Frames(pages, committed, cut_off)


def _checksum(data: bytes, sums: tuple[int, int], order: str) -> tuple[int, int]:
    first, second = sums
    words = iter(unpack(f"{order}{len(data) // 4}I", data))
    for one, two in zip(words, words, strict=True):
        first = (first + one + second) & 0xFFFFFFFF
        second = (second + two + first) & 0xFFFFFFFF
    return first, second
