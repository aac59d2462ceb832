/* Search in Chinese. */

// A question in Chinese goes to the Chinese pages.
if (location.pathname.endsWith("/search.html") && document.documentElement.lang === "en" &&
    /\p{Script=Han}/u.test(new URLSearchParams(location.search).get("q") ?? "")) {
  location.replace("zh/search.html" + location.search);
}

// Sphinx 9.0 asks for this name and doesn't bring it. Its index has words stemmed as in English.
window.ChineseStemmer = function () { return new EnglishStemmer(); };

// A run of Chinese characters is several words; the index has those of two characters and more.
window.splitQuery = (query) => {
  const terms = query.split(/[^\p{Letter}\p{Number}_\p{Emoji_Presentation}]+/gu).filter(Boolean);
  if (!Intl.Segmenter) return terms;
  const chinese = new Intl.Segmenter("zh", { granularity: "word" });
  return terms.flatMap((term) => {
    if (!/\p{Script=Han}/u.test(term)) return [term];
    const words = [...chinese.segment(term)].map((word) => word.segment);
    const long = words.filter((word) => word.length > 1);
    return long.length ? long : [term];
  });
};
