"""The documentation is true: its examples run, its links lead somewhere, nothing is left out."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

import gateway
import gateway.testing
from docs.simulated import PAGES as SIMULATED
from gateway import load_config
from gateway.adapters import ADAPTERS
from gateway.cli import main
from gateway.config.fields import codecs_of
from gateway.core.errors import ERRORS
from gateway.policies import POLICIES
from tests.documents import (
    PAGES,
    ROOT,
    Block,
    Workspace,
    blocks_of,
    links_of,
    prose_of,
    sessions_of,
)
from tests.support import require
from tests.test_arrows import PARTS, SHARED

DOCS = ROOT / "docs"
REFERENCE = DOCS / "reference"
EXAMPLES = sorted((ROOT / "config" / "examples").rglob("*.*"))


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def blocks(language: str) -> list[object]:
    return [
        pytest.param(block, id=f"{named(page)}:{block.line}")
        for page in PAGES
        for block in blocks_of(page)
        if block.language == language
    ]


def load_generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# ---------------------------------------------------------------- examples


def stand_in_for(module: Path) -> None:
    """Write a module that has every function, if the page does not show the module itself."""
    if not module.exists():
        module.parent.mkdir(parents=True, exist_ok=True)
        module.write_text("def __getattr__(name): return lambda **given: None\n")


@pytest.mark.parametrize("block", blocks("toml"))
def test_configurations_pass_the_check(
    block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tomllib.loads(block.text)
    if block.file is None:
        assert block.mark == "fragment", "name the file in the first line, or mark it a fragment"
        return
    for name in re.findall(r'"env:(\w+)"', block.text):
        monkeypatch.setenv(name, "https://name.example/")
    for name in re.findall(r'"file:([\w.-]+)"', block.text):
        (tmp_path / name).write_text("x")
    (tmp_path / "config").symlink_to(ROOT / "config")
    page = next(page for page in PAGES if block in blocks_of(page))
    for module in blocks_of(page):
        if module.language == "python" and module.file is not None:
            (tmp_path / module.file).write_text(module.text)
    for name in re.findall(r'^module = "([\w.]+)"', block.text, re.MULTILINE):
        stand_in_for(tmp_path / f"{name.replace('.', '/')}.py")
    path = tmp_path / block.file
    path.write_text(block.text)
    load_config(path)


@pytest.mark.parametrize("block", blocks("python"))
def test_python_is_python(block: Block) -> None:
    compile(block.text, "page", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    assert block.file or block.mark in {"run", "fragment"}, "name the file, or mark it"
    if block.mark == "run":
        command = [sys.executable, "-W", "error", "-c", block.text]
        subprocess.run(command, cwd=ROOT, check=True, timeout=60)


@pytest.mark.parametrize("block", blocks("sh"))
def test_shell_blocks_say_what_they_are(block: Block) -> None:
    assert block.mark in {"", "background", "demo", "example"}
    if block.mark != "example":
        assert list(sessions_of(block)), "nothing to run: begin commands with `$ `, or mark it"


@pytest.mark.end_to_end
@pytest.mark.parametrize("page", [one for one in PAGES if one not in SIMULATED], ids=named)
async def test_sessions_print_what_the_page_says(page: Path, tmp_path: Path) -> None:
    """Those of simulations aside, which `test_simulated_pages` compares to the byte."""
    if shutil.which("curl") is None:
        require("curl")
    async with Workspace.open(tmp_path) as workspace:
        if any(block.mark == "demo" for block in blocks_of(page)):
            await workspace.start_demo()
        for block in blocks_of(page):
            if block.file is not None:
                workspace.write(block.file, block.text)
            elif block.language == "sh" and block.mark != "example":
                for session in sessions_of(block):
                    await workspace.run(session)


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for page in PAGES:
        for target in re.findall(r"\bmake ([a-z]+)\b(?=[`\n]| ARGS| {2,})", page.read_text()):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"{page.name}: make {target}"


# ---------------------------------------------------------------- links


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_somewhere(page: Path) -> None:
    for link in links_of(page):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{named(page)}: {link}"
        if anchor:
            assert anchor in anchors_of(target), f"{named(page)}: {link}"


def anchors_of(page: Path) -> set[str]:
    """The anchors that a page's headings have where Markdown is shown."""
    headings = re.findall(r"^#+ (.*)$", prose_of(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_pages_that_the_code_refers_to_exist() -> None:
    for path in [*(ROOT / "gateway").rglob("*.py"), *(ROOT / "config").rglob("*.toml")]:
        for page in re.findall(r"\bdocs/[\w./-]*\w", path.read_text()):
            found = [*ROOT.glob(page), *ROOT.glob(f"{page}-*")]  # a decision goes by its number
            assert found, f"{named(path)}: {page}"


def test_every_page_is_on_the_map() -> None:
    linked = {(DOCS / link.partition("#")[0]).resolve() for link in links_of(DOCS / "index.md")}
    for page in DOCS.rglob("*.md"):
        if page.name != "index.md" and page.parent.name != "adr":
            assert page in linked, f"docs/index.md does not name {named(page)}"


def test_every_decision_is_in_its_index() -> None:
    index = DOCS / "adr" / "README.md"
    linked = {(index.parent / link).resolve() for link in links_of(index)}
    assert linked >= set(index.parent.glob("0*.md"))


def test_every_example_is_named() -> None:
    text = "".join(page.read_text() for page in PAGES)
    for path in EXAMPLES:
        if path.is_file() and path.suffix in {".toml", ".py"}:
            assert path.name in text, f"no page names {named(path)}"


# ---------------------------------------------------------------- reference


def test_the_configuration_reference_is_up_to_date() -> None:
    generator = load_generator()
    assert generator.PAGE.read_text() == generator.config_page(), "run: python docs/generate.py"


@pytest.mark.parametrize("kind", ADAPTERS)
def test_adapters_have_a_page(kind: str) -> None:
    text = (REFERENCE / "adapters" / f"{kind}.md").read_text()
    for cls in (ADAPTERS[kind].settings, ADAPTERS[kind].call):
        for key in codecs_of(cls):
            assert f"`{key}`" in text, key


@pytest.mark.parametrize("policy", POLICIES)
def test_policies_have_a_page(policy: str) -> None:
    text = (REFERENCE / "policies" / f"{policy}.md").read_text()
    module = importlib.import_module(f"gateway.policies.{policy}")
    settings = getattr(module, f"{policy.title()}Settings", None)
    for key in () if settings is None else codecs_of(settings):
        assert f"| `{key}` |" in text, key


def inbound_protocols() -> list[str]:
    beside = SHARED["inbound"] | PARTS["inbound", "http"] | {"__init__", "__pycache__"}
    names = {path.name.removesuffix(".py") for path in (ROOT / "gateway" / "inbound").iterdir()}
    return sorted(names - beside)


@pytest.mark.parametrize("protocol", inbound_protocols())
def test_inbound_protocols_have_a_page(protocol: str) -> None:
    assert (REFERENCE / f"inbound-{protocol}.md").exists()


def test_every_error_is_documented() -> None:
    text = (REFERENCE / "errors.md").read_text()
    for error in ERRORS:
        rows = [line for line in text.splitlines() if line.startswith(f"| `{error.code}` |")]
        assert len(rows) == 1, error.code
        assert str(error.status) in rows[0], f"{error.code}: {error.status}"


def test_every_command_and_option_is_documented(capsys: pytest.CaptureFixture[str]) -> None:
    text = (REFERENCE / "cli.md").read_text()
    commands = re.findall(r"^    ([a-z-]+) ", helped(capsys), re.MULTILINE)
    assert commands
    for option in re.findall(r"--[a-z-]+", helped(capsys)):
        assert f"`{option}`" in text, option
    for command in commands:
        page = text.partition(f"\n## gateway {command}\n")[2].partition("\n## ")[0]
        assert page, command
        for option in re.findall(
            r"^  (?:-\w, )?(--[a-z-]+)", helped(capsys, command), re.MULTILINE
        ):
            assert option == "--help" or option in page, f"{command} {option}"


def helped(capsys: pytest.CaptureFixture[str], *command: str) -> str:
    with pytest.raises(SystemExit):
        main([*command, "--help"])
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("module", "page"), [(gateway, "public-api.md"), (gateway.testing, "testing.md")]
)
def test_every_public_name_is_documented(module: ModuleType, page: str) -> None:
    text = (REFERENCE / page).read_text()
    for name in module.__all__:
        assert f"`{name}`" in text or f"`{name}(" in text, name


# ---------------------------------------------------------------- docstrings


def public_docstrings() -> list[object]:
    """Every name in a module's `__all__` that is defined there, with its docstring."""
    found = []
    for path in sorted((ROOT / "gateway").rglob("*.py")):
        tree = ast.parse(path.read_text())
        public = public_names(tree)
        place = named(path).removesuffix(".py").replace("/", ".")
        for node, after in zip(tree.body, [*tree.body[1:], None], strict=True):
            for name in defined_by(node) & public:
                doc = docstring_of(node, after)
                found.append(pytest.param(doc, id=f"{place}:{name}"))
    return found


def public_names(tree: ast.Module) -> set[str]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return set(ast.literal_eval(node.value))
    return set()


def defined_by(node: ast.stmt) -> set[str]:
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return {node.name}
    if isinstance(node, ast.AnnAssign):
        return {ast.unparse(node.target)}
    if isinstance(node, ast.Assign):
        return {ast.unparse(target) for target in node.targets}
    return set()


def docstring_of(node: ast.stmt, after: ast.stmt | None) -> str | None:
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return ast.get_docstring(node)
    if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
        return str(after.value.value)
    return None


@pytest.mark.parametrize("doc", public_docstrings())
def test_public_names_promise_something(doc: str | None) -> None:
    assert doc, "no docstring"
    assert re.match(r"[A-Z`\"'0-9].*[.!?]$", doc.partition("\n")[0]), doc.partition("\n")[0]
