"""Build the site: `make docs`.

    .venv/bin/python tools/build_site.py [--out build/site]

1. Stage: copy docs/ below build/site/source, and write the pages that are made from the code
   (recipes, options of the command line) and from the files beside docs/ (changes, ...).
2. Run Sphinx on that, in English and in Chinese; a warning is an error.
3. Add llms.txt and a Markdown twin of each page.
4. Check that each translated page has a translation for each of its paragraphs, and that the
   search finds what people type.

Sphinx and what it needs lie in build/sphinx (docs/requirements.txt), which `make docs` puts on the
path; .venv is left as it is. Nothing is asked of a network.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
CATALOGS = DOCS / "_site" / "locale" / "zh_CN" / "LC_MESSAGES"
MAY_WAIT = 5  # paragraphs of a page: new rows of a table need not wait for their translator
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tools")]

import site_pages
import site_search
import site_twins


def main() -> None:
    """Stage, build, add, check."""
    parser = argparse.ArgumentParser(description="Build the site.")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "site")
    out: Path = parser.parse_args().out.resolve()
    began = time.monotonic()
    source, html = out / "source", out / "html"
    stage(source)
    english = start_sphinx(source, html, out / "trees")
    chinese = start_sphinx(source, out / "zh", out / "trees-zh", "-D", "language=zh_CN")
    finish(english, chinese)
    shutil.copytree(out / "zh", html / "zh", dirs_exist_ok=True)
    site_twins.write(source, html)
    untranslated(source, out)
    check_search(html)
    print(f"{html / 'index.html'}: {time.monotonic() - began:.0f} s")


def stage(source: Path) -> None:
    """Copy docs/ and write the generated pages; leave a file alone that is as it should be."""
    pages: dict[str, bytes] = {}
    for path in sorted(DOCS.rglob("*")):
        name = path.relative_to(DOCS)
        if path.is_file() and name.parts[0] != "_site" and "__pycache__" not in name.parts:
            content = path.read_bytes()
            if path.suffix == ".md":
                content = site_pages.with_pages_beside(content.decode(), len(name.parts)).encode()
            pages[name.as_posix()] = content
    pages |= {name: text.encode() for name, text in site_pages.generated(ROOT).items()}
    listed = site_pages.with_unlisted(pages["index.md"].decode(), pages)
    pages["index.md"] = listed.encode()
    for path in source.rglob("*"):
        staged = path.is_file() and "api" not in path.parts  # those are autosummary's
        if staged and path.relative_to(source).as_posix() not in pages:
            path.unlink()
    for name, content in pages.items():
        path = source / name
        if not path.exists() or path.read_bytes() != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def start_sphinx(source: Path, out: Path, trees: Path, *options: str) -> subprocess.Popen[bytes]:
    """Run Sphinx beside this process. It shows all warnings, and fails if there are any."""
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "-b", "html"]
    command += ["-c", str(DOCS), "-d", str(trees), *options, str(source), str(out)]
    return subprocess.Popen(command)


def finish(*runs: subprocess.Popen[bytes]) -> None:
    """Wait for the runs; stop if one has failed."""
    codes = [run.wait() for run in runs]  # of all, also where the first has failed
    if any(codes):
        sys.exit("the site has errors or warnings")


def untranslated(source: Path, out: Path) -> None:
    """Stop if a page with a catalog has many paragraphs that its catalog doesn't have."""
    # Only the pages by hand: those from the code aren't translated, and take most of the time.
    options = ["-D", "autosummary_generate=0", "-D", "exclude_patterns=reference/**,recipes/**"]
    shutil.rmtree(out / "messages", ignore_errors=True)
    command = [sys.executable, "-m", "sphinx", "-Q", "-b", "gettext", "-c", str(DOCS)]
    command += ["-d", str(out / "trees-gettext"), *options, str(source), str(out / "messages")]
    subprocess.run(command, check=True)
    stale = False
    for catalog in sorted(CATALOGS.rglob("*.po")):
        template = out / "messages" / catalog.relative_to(CATALOGS).with_suffix(".pot")
        missing = site_twins.without_translation(template, catalog)
        for message in missing:
            print(f"{catalog.relative_to(ROOT)}: no translation, shown in English: {message!r}")
        stale |= len(missing) > MAY_WAIT
    if stale:
        sys.exit(f"a page has more than {MAY_WAIT} paragraphs without a translation")


def check_search(html: Path) -> None:
    """Stop if the search doesn't find a page by what people type for it."""
    from sphinx.search.en import SearchEnglish
    from sphinx.search.zh import SearchChinese

    english = site_search.not_found(html / "searchindex.js", SearchEnglish({}), chinese=False)
    index = html / "zh" / "searchindex.js"
    wrong = english + site_search.not_found(index, SearchChinese({}), chinese=True)
    if wrong:
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    main()
