"""The manuals and the program agree: options, links, pictures, files, make targets and quoted messages."""

import ast
import contextlib
import importlib
import re
import shlex

import pytest

from locations import REPOSITORY

README = "README.md"
MANUALS = {
    "SpleenSmoothSeg/README.md": ("segment", "soften"),
    "SpleenSmoothSegTraining/README.md": ("train", "evaluate"),
}
PAGES = [
    README,
    *MANUALS,
    "SpleenSmoothSeg/Resources/Models/Starter/README.md",
    "Testing/README.md",
    "Testing/IN_SLICER.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
]
README_WORDS = 1200
PRODUCT = ["SpleenSmoothSeg", "SpleenSmoothSegTraining", "Testing/setup_environment.py"]
LINK = re.compile(r'\]\(([^)\s]+)\)|<img src="([^"]+)"')
FOLDERS = ("SpleenSmoothSeg/", "SpleenSmoothSegTraining/", "Testing/", "Resources/")


def test_readme_has_at_most_1200_words():
    assert len(read(README).split()) <= README_WORDS


# ---- options


@pytest.mark.parametrize("manual", MANUALS)
def test_every_option_is_in_the_manual(manual, capsys):
    options = {option for script in MANUALS[manual] for option in options_of(script, capsys)}
    missing = {option for option in options if f"`{option}`" not in read(manual)}
    assert not missing


@pytest.mark.parametrize("manual", MANUALS)
def test_every_option_in_the_manual_exists(manual, capsys):
    options = {option for script in MANUALS[manual] for option in options_of(script, capsys)}
    documented = set(re.findall(r"^\| (?:`-\w`, )?`(--[\w-]+)`", read(manual), re.MULTILINE))
    assert documented
    assert not documented - options


def options_of(script: str, capsys) -> set[str]:
    """The long options that --help of a command line lists."""
    with contextlib.suppress(SystemExit):
        importlib.import_module(script).main(["--help"])
    _, _, listed = capsys.readouterr().out.partition("\noptions:\n")
    names = [line.strip().split("  ")[0] for line in listed.splitlines() if line.startswith("  -")]
    options = {option for line in names for option in re.findall(r"(?<![\w-])--[\w-]+", line)} - {"--help"}
    assert options, script
    return options


# ---- links, files and targets


@pytest.mark.parametrize("page", PAGES)
def test_links_and_pictures_exist(page):
    targets = [first or second for first, second in LINK.findall(read(page))]
    local = [target.partition("#") for target in targets if "://" not in target]
    missing = [path for path, _, _ in local if path and not (REPOSITORY / page).parent.joinpath(path).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES)
def test_linked_headings_exist(page):
    targets = [first for first, _ in LINK.findall(read(page)) if "#" in first and "://" not in first]
    missing = []
    for target in targets:
        path, _, anchor = target.partition("#")
        file = (REPOSITORY / page).parent / path if path else REPOSITORY / page
        if anchor not in anchors(file.read_text(encoding="utf-8")):
            missing.append(target)
    assert not missing


@pytest.mark.parametrize("page", PAGES)
def test_files_named_in_code_exist(page):
    names = {word for code in codes(page) for word in re.split(r"[\s=:,]+", code) if word.startswith(FOLDERS)}
    missing = [name for name in names if not (REPOSITORY / name).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES)
def test_make_targets_named_in_code_exist(page):
    targets = set(re.findall(r"^([a-z-]+):", read("Makefile"), re.MULTILINE))
    named = {word for code in codes(page) for call in re.findall(r"^make ([^|;\n]+)", code, re.MULTILINE)
             for word in shlex.split(call) if re.fullmatch(r"[a-z][a-z-]*", word)}  # fmt: skip
    assert not named - targets


def test_readme_first_shows_how_to_segment_and_test():
    section = read(README).partition("## Without Slicer")[2]
    block = re.search(r"```\n(.*?)```", section, re.DOTALL)
    assert block.group(1).splitlines() == ["make segment", "make test"]
    assert section[: block.start()].count("\n") <= 5


def test_readme_python_example_prints_the_volume(monkeypatch, capsys):
    [code] = re.findall(r"```python\n(.*?)```", read(README), re.DOTALL)
    assert len(code.splitlines()) == 5
    monkeypatch.chdir(REPOSITORY)
    exec(code, {})
    assert 200 < float(capsys.readouterr().out) < 300  # mL


# ---- messages


def test_messages_quoted_in_the_readme_are_those_of_the_program():
    rows = read(README).partition("## Troubleshooting")[2].partition("\n## ")[0].splitlines()
    quotes = [quote for row in rows if row.startswith("|") for quote in re.findall(r'"([^"]+)"', row.split("|")[1])]
    parts = {part.strip(" ;") for quote in quotes for part in quote.split("…")} - {""}
    assert len(parts) >= 10
    texts = list(string_literals())
    assert not {part for part in parts if not any(part in text for text in texts)}


def string_literals():
    """The text of every string of the product; an f-string gives its constant parts."""
    for place in map(REPOSITORY.joinpath, PRODUCT):
        for file in place.rglob("*.py") if place.is_dir() else [place]:
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield node.value


# ---- helpers


def read(page: str) -> str:
    return (REPOSITORY / page).read_text(encoding="utf-8")


def codes(page: str) -> list[str]:
    """The code blocks and the inline code of a page."""
    text = read(page)
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    return blocks + re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE))


def anchors(text: str) -> set[str]:
    """The anchors that GitHub gives the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
