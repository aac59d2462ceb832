"""Does the site's search find what people type? docs/_site/searches.txt has the questions."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Collection
from pathlib import Path
from typing import Any, Protocol

SEARCHES = Path(__file__).resolve().parent.parent / "docs" / "_site" / "searches.txt"
CHINESE = re.compile(r"[\u4e00-\u9fff]")
IN_TITLE, IN_TEXT = 15, 5  # the scores of Sphinx's searchtools.js
SHOWN = 8  # results on the first screen
SHORTEST = 3  # letters of a word that a page must have
PREFERENCE = 4  # less than the difference between a title and a text


class Language(Protocol):
    """What is asked of Sphinx's SearchLanguage."""

    stopwords: Collection[str]

    def stem(self, word: str) -> str:
        """Return what the index has for a word."""
        ...


def searches(chinese: bool) -> list[tuple[str, str]]:
    """Return what people type in one of the languages, each with the page for it."""
    lines = [line for line in SEARCHES.read_text().splitlines() if line and line[0] != "#"]
    pairs = [line.split(" = ") for line in lines]
    return [(typed, page) for typed, page in pairs if bool(CHINESE.search(typed)) == chinese]


def keywords(page: str, chinese: bool) -> list[str]:
    """Return the words by which a page is looked for.

    Of Chinese, all pieces of up to four characters: browsers and jieba cut words differently.
    """
    typed = [one for one, of in searches(chinese) if of == page]
    words = [word for one in typed for word in split(one)]
    for run in re.findall(r"\w+", " ".join(typed)) if chinese else ():
        words += [run[i : i + n] for n in (2, 3, 4) for i in range(len(run) - n + 1)]
    return list(dict.fromkeys(words))


def split(typed: str) -> list[str]:
    """Return the words of a search; a run of Chinese characters may be several, as in search.js."""
    words = [word for word in re.findall(r"\w+", typed.lower()) if not word.isdigit()]
    if not CHINESE.search(typed):
        return words
    import jieba

    parts = [part for word in words for part in jieba.cut(word)]
    return [part for part in parts if len(part) > 1] or words


def not_found(index: Path, language: Language, chinese: bool) -> list[str]:
    """Return the searches whose page is not on the first screen of results, and what is there."""
    text = index.read_text().removeprefix("Search.setIndex(").removesuffix(")")
    loaded = json.loads(text)
    wrong = []
    for typed, page in searches(chinese):
        words = [word for word in split(typed) if word not in language.stopwords]
        first = results(loaded, [language.stem(word) for word in words])[:SHOWN]
        if page not in first:
            wrong.append(f"search {typed!r}: {page} is not among {', '.join(first) or 'nothing'}")
    return wrong


def results(index: dict[str, Any], words: list[str]) -> list[str]:
    """Return the pages that searchtools.js lists, best first; it also matches parts of words."""
    scores: dict[int, dict[str, int]] = defaultdict(dict)
    for word in words:
        for terms, score in (("terms", IN_TEXT), ("titleterms", IN_TITLE)):
            found = index[terms].get(word, [])
            for page in [found] if isinstance(found, int) else found:
                scores[page][word] = score
    enough = {len(words), sum(len(word) >= SHORTEST for word in words)}
    best = {
        page: max(of.values()) + preference(index["docnames"][page])
        for page, of in scores.items()
        if len(of) in enough
    }
    ordered = sorted(best, key=lambda page: (-best[page], index["titles"][page].lower()))
    return [index["docnames"][page] for page in ordered]


def preference(page: str) -> int:
    """Return what a page gains or loses by its kind, as in docs/_site/scorer.js."""
    if page == "guide":
        return PREFERENCE + 1
    if re.match(r"howto/|which-recipe$|start$", page):
        return PREFERENCE
    return -PREFERENCE if re.match(r"changes$|architecture$|contributing$|reference/", page) else 0
