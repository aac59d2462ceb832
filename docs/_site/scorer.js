/* Scores of search results: Sphinx's, and the pages that answer before those that mention.
   tools/site_search.py counts in the same way. */

var Scorer = {
  score: (result) => {
    const page = result[0];
    if (page === "guide") return result[4] + 5;
    if (/^(howto\/|which-recipe$|start$)/.test(page)) return result[4] + 4;
    if (/^(changes$|architecture$|contributing$|reference\/)/.test(page)) return result[4] - 4;
    return result[4];
  },
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
