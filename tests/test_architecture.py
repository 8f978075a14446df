"""The rooms of the house and the arrows between them, read from the source; and quick imports.

An import counts wherever it stands, inside functions too.
"""

import ast
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import vad_jax

ROOT = Path(vad_jax.__file__).resolve().parent
COMMANDS = ("adapt", "convert", "evaluate", "prepare", "score", "train")
MOST_LINES = 400

# Room → what it may import of the house, itself included where it has several files. A module that
# is a room of its own comes before the folder that it lies in; "" is the package's root (`create`).
MAY_IMPORT = {
    "types": (),
    "atomic": (),
    "spelling": (),
    "disguise": ("types",),
    "messages": (),
    "user_folders": (),
    "learning.subsets": (),
    "learning.meta": ("learning.subsets",),
    "learning.optim": ("learning.subsets",),
    "nets": ("types", "nets"),
    "methods": ("nets", "types", "learning.meta", "learning.optim"),
    "runtime": ("types",),
    "config": ("types",),  # and a method's file, by name, with importlib
    "config_files": ("config", "types"),
    "data": ("types", "atomic", "disguise", "messages", "user_folders", "data"),
    # What labels say of classes and events is read where labels are read.
    "datasets.annotated": ("types", "data", "datasets", "evaluation", "spelling"),
    "datasets": (
        "types",
        "atomic",
        "disguise",
        "messages",
        "spelling",
        "user_folders",
        "data",
        "datasets",
        "datasets.annotated",
    ),
    "scoring": ("types", "data", "scoring"),
    "learning": (
        "types",
        "atomic",
        "messages",
        "runtime",
        "data",
        "scoring",
        "spelling",
        "config",
        "learning",
        "learning.optim",
        "learning.meta",
        "learning.subsets",
    ),
    "evaluation": ("types", "atomic", "disguise", "evaluation", "spelling"),
    "interop": ("config", "types", "interop", "learning.subsets"),
    "detector": ("scoring", "learning", "evaluation", "data", "spelling", "types"),
    "pictures": ("detector", "scoring", "evaluation", "data", "types", "pictures"),
    "runs": (
        "",
        "atomic",
        "config",
        "data",
        "datasets",
        "detector",
        "evaluation",
        "interop",
        "learning",
        "learning.subsets",
        "messages",
        "pictures",
        "runs",
        "runtime",
        "scoring",
        "spelling",
        "tfds",
        "types",
    ),
    "": ("types", "config", "detector", "learning.meta", "runs"),
    "cli": ("config", "config_files", "messages", "runtime", "types"),
    "overview": ("config", "config_files", "datasets"),
    "__main__": ("cli", "overview", "types"),
    "tfds": ("evaluation", "datasets", "data", "spelling", "types"),
    "benchmarks": None,
    **dict.fromkeys(COMMANDS, ("cli", "runs", "spelling", "types")),
}

WITHOUT_JAX = (
    "types",
    "evaluation",
    "config",
    "config_files",
    "messages",
    "overview",
    "cli",
    "__main__",
    *COMMANDS,
)
FRAMEWORKS = {"jax", "jaxlib", "flax", "optax", "orbax", "tensorflow", "torch"}


def modules():
    """Name below `vad_jax` → its file; the package's own `__init__` is ""."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(part for part in parts if part != "__init__")] = path
    return found


MODULES = modules()


def room(name):
    """The longest room that a module lies in."""
    places = [r for r in MAY_IMPORT if r and (name == r or name.startswith(r + "."))]
    return max(places, key=len, default="" if name == "" else None)


def imports(nodes):
    """Every module or name that import statements among the nodes bring in, absolute."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute in this house"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def of_the_house(name):
    """The module below `vad_jax` that an imported name belongs to, or None."""
    package, _, rest = name.partition(".")
    if package != "vad_jax":
        return None
    while rest and rest not in MODULES:
        rest = rest.rpartition(".")[0]
    return rest


def executed_on_import(tree):
    """All nodes but those inside functions and `if TYPE_CHECKING`."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        quiet = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        if not quiet and not isinstance(node, ast.FunctionDef | ast.Lambda):
            waiting += ast.iter_child_nodes(node)


def same_part(name, target):
    """One module, or two of one method that grew into a package; never two methods."""
    method = name.startswith("methods.") and name.split(".")[:2]
    return target == name or method == target.split(".")[:2]


def wrong_arrows(name, tree):
    allowed = MAY_IMPORT[room(name)]
    for imported in imports(ast.walk(tree)):
        target = of_the_house(imported)
        if target is None or allowed is None or same_part(name, target):
            continue
        if room(target) not in allowed:
            yield f"{name or '__init__'} → {target or '__init__'}"


@pytest.fixture(scope="module")
def trees():
    return {name: ast.parse(path.read_text()) for name, path in MODULES.items()}


def test_every_module_lies_in_a_room():
    homeless = [name for name in MODULES if room(name) is None]
    assert not homeless, f"no room for {homeless}: add one to MAY_IMPORT and to architecture.md"


def test_no_arrow_between_rooms_is_wrong(trees):
    wrong = [arrow for name, tree in trees.items() for arrow in wrong_arrows(name, tree)]
    assert not wrong, "these imports cross a wall (MAY_IMPORT says which may): " + ", ".join(wrong)


def used(name, tree):
    """The modules that a module takes from, its own package's `__init__` apart."""
    quiet = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for inner in ast.walk(node)
    }
    found = {of_the_house(i) for i in imports(n for n in ast.walk(tree) if n not in quiet)}
    return {t for t in found if t is not None and t != name and not name.startswith(f"{t}.")}


def in_a_circle(graph):
    """The modules from which arrows lead back to themselves."""

    def reached(start):
        seen, waiting = set(), list(graph[start])
        while waiting:
            name = waiting.pop()
            if name not in seen:
                seen.add(name)
                waiting += graph[name]
        return seen

    return {name for name in graph if name in reached(name)}


def test_there_is_no_circle(trees):
    # The root is a door to all rooms (`vad_jax.load`), opened when it is asked for.
    graph = {name: used(name, tree) - {""} for name, tree in trees.items()}
    assert not in_a_circle(graph)
    assert in_a_circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == {"b", "c"}


def test_files_hold_one_concept():
    lengths = sorted(len(path.read_text().splitlines()) for path in MODULES.values())
    assert lengths[len(lengths) // 2] <= 150, "the median file"
    long = {n: len(p.read_text().splitlines()) for n, p in MODULES.items()}
    assert not {name: lines for name, lines in long.items() if lines > MOST_LINES}


def test_commands_are_flags_and_one_call():
    for name in COMMANDS:
        assert len(MODULES[name].read_text().splitlines()) <= 80, name


def test_file_names_of_a_run_stand_once(trees):
    """In `runs/workdir.py`; those of an evaluation, which knows no run, in `score_files.py`."""
    names = (
        "config.json", "data.json", "environment.json", "metrics.jsonl", "normal.npz",
        "normal_windows.npz", "scores.npz", "controls.npz", "metrics.json", "report.html",
        "comparison.html",
    )  # fmt: skip
    said = {name: [] for name in names}
    for module, tree in trees.items():
        docs = {id(d) for d in docstrings(tree)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and id(node) not in docs and node.value in said:
                said[node.value].append(module)
    for name, modules in said.items():
        assert modules in (["runs.workdir"], ["evaluation.score_files"]), f"{name} in {modules}"


def docstrings(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                yield first.value


def test_a_wrong_arrow_would_be_named():
    inside_a_function = ast.parse("def f():\n    from vad_jax.data import windows")
    assert list(wrong_arrows("nets.unet", inside_a_function)) == ["nets.unet → data.windows"]
    the_loop = ast.parse("import vad_jax.learning.loop")
    assert list(wrong_arrows("methods.mnad", the_loop)) == ["methods.mnad → learning.loop"]
    a_method = ast.parse("from vad_jax.methods.mnad import create")
    assert list(wrong_arrows("methods.mpn", a_method)) == ["methods.mpn → methods.mnad"]
    assert not list(wrong_arrows("methods.mnad.losses", a_method))


def test_rooms_without_jax_import_no_framework(trees):
    for name, tree in trees.items():
        if room(name) in WITHOUT_JAX:
            packages = {imported.split(".")[0] for imported in imports(ast.walk(tree))}
            assert not packages & FRAMEWORKS, f"{name} → {sorted(packages & FRAMEWORKS)}"


def test_tensorflow_is_imported_in_functions_only(trees):
    for name, tree in trees.items():
        if name.startswith("benchmarks.peers."):
            continue  # written in torch, and imported only where it is asked for
        packages = {i.split(".")[0] for i in imports(executed_on_import(tree))}
        if name in ("datasets.build.builders", "datasets.build.forms"):
            packages -= {"tensorflow_datasets"}  # classes derive from its; it has no TensorFlow
        assert not packages & {"tensorflow", "tensorflow_datasets", "torch"}, name


def python(*arguments, **environment):
    """A new interpreter's answer, and the seconds that it took."""
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT.parent,
        env=os.environ | environment,
        timeout=120,
        check=False,
    )
    return done, time.perf_counter() - began


def test_importing_the_package_is_quick_and_brings_no_framework():
    code = "import sys, vad_jax; print(sorted({m.split('.')[0] for m in sys.modules}))"
    runs = [python("-c", code) for _ in range(2)]  # the quicker of two: the machine may be busy
    assert runs[0][0].returncode == 0, runs[0][0].stderr
    loaded = set(ast.literal_eval(runs[0][0].stdout))
    assert not loaded & FRAMEWORKS
    assert min(seconds for _, seconds in runs) < 2


@pytest.mark.parametrize("command", ["vad_jax.train", "vad_jax.evaluate"])
def test_help_is_quick_and_starts_no_device(command):
    # A platform that does not exist: whoever creates a backend fails loudly.
    runs = [python("-m", command, "--help", JAX_PLATFORMS="nosuch") for _ in range(2)]
    done = runs[0][0]
    assert done.returncode in (0, 1), done.stderr  # absl leaves with 1
    assert "--[no]json" in done.stdout
    assert "Traceback" not in done.stderr
    assert min(seconds for _, seconds in runs) < 3


def test_no_backend_starts_before_a_run_needs_it():
    code = (
        "import vad_jax, vad_jax.config, vad_jax.scoring, vad_jax.runs.training\n"
        "vad_jax.create(vad_jax.config.defaults('mnad'))\n"
        "import jax; from jax._src import xla_bridge\n"
        "assert not xla_bridge.backends_are_initialized()"
    )
    done, _ = python("-c", code)
    assert done.returncode == 0, done.stderr
