"""The wheel and the sdist hold what the floors hold and nothing else, and the command works where it is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FLOORS = ("synth", "train", "eval", "recipes")
HOSTILE = ("train", "eval", "recipes", "synth", "models", "report", "filters")


def run(*command: str | Path, cwd: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}  # what is installed shall be found
    done = subprocess.run([*map(str, command)], cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what a build needs, links kept, so that building leaves nothing in the working tree."""
    copy = tmp_path_factory.mktemp("checkout")
    for name in ("pica", *FLOORS):
        shutil.copytree(ROOT / name, copy / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "MANIFEST.in"):
        shutil.copy(ROOT / name, copy)
    (copy / "tests").mkdir()
    shutil.copy(__file__, copy / "tests")
    return copy


@pytest.fixture(scope="module")
def built(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and the wheel built from that sdist (as installers do where there is no wheel)."""
    out = tmp_path_factory.mktemp("built")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, checkout, cwd=out)
    return out


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (path,) = built.glob("*.whl")
    return path


def expected(checkout: Path) -> set[str]:
    """Every file of the floors and of `pica/` itself, by its path in the package."""
    files = [Path(folder, name).relative_to(checkout)  # without following the links in pica/
             for top in ("pica", *FLOORS) for folder, _, names in os.walk(checkout / top) for name in names]
    return {path.as_posix() if path.parts[0] == "pica" else f"pica/{path.as_posix()}" for path in files}


def test_the_wheel_holds_the_floors_and_nothing_else(wheel: Path, checkout: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
    assert {name for name in names if ".dist-info/" not in name} == expected(checkout)
    assert len({name.split("/")[0] for name in names}) == 2  # pica and its dist-info
    assert "pica/py.typed" in names


def test_the_wheel_carries_the_licence(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (licence,) = [name for name in archive.namelist() if name.endswith("licenses/LICENSE")]
        assert archive.read(licence) == (ROOT / "LICENSE").read_bytes()
        (metadata,) = [name for name in archive.namelist() if name.endswith("/METADATA")]
        assert "License-Expression: Apache-2.0" in archive.read(metadata).decode()


def test_the_sdist_holds_files_in_place_of_links(built: Path, checkout: Path) -> None:
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        members = {member.name.partition("/")[2]: member for member in archive if not member.isdir()}
    assert all(member.isreg() for member in members.values())
    assert {name for name in members if name.startswith("pica/")} == expected(checkout)
    assert not {name for name in members if name.startswith("tests/")}


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of commands of a new environment with the wheel; its dependencies are those of this environment."""
    place = tmp_path_factory.mktemp("installed")
    venv.create(place, with_pip=False, symlinks=True)
    scripts = Path(sysconfig.get_path("scripts", "venv", {"base": str(place)}))
    python = scripts / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel, cwd=place)
    purelib = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=place).strip())
    # A folder named in a .pth file is only a path: the .pth files in it (editable installs) are not read.
    (purelib / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return scripts


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A folder of a user's own files whose names are those of our floors; importing one ends the process."""
    for name in HOSTILE:
        (tmp_path / f"{name}.py").write_text("raise SystemExit('a stranger was imported')\n", encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("command", [["pica"], ["python", "-m", "pica"]], ids=" ".join)
def test_the_command_works_among_strangers(installed: Path, hostile: Path, command: list[str]) -> None:
    def pica(*arguments: str) -> str:
        return run(installed / command[0], *command[1:], *arguments, cwd=hostile)

    assert "recipes" in pica("--help")
    assert "magpie" in pica("recipes")
    made = pica("run", "magpie", "n=2", "teacher=fake/magpie", "tags=[]", "duplicates.embedder=none", "--out", "made")
    assert "2 rows" in made
    assert (hostile / "made" / "report.html").is_file()


def test_what_runs_is_what_was_installed(installed: Path, hostile: Path) -> None:
    where = run(installed / "python", "-c", "import pica.recipes; print(pica.recipes.__file__)", cwd=hostile)
    assert Path(where.strip()).is_relative_to(installed.parent)
