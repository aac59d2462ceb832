/* Search in Chinese. */

// A question in Chinese goes to the Chinese pages.
if (location.pathname.endsWith("/search.html") && document.documentElement.lang === "en" &&
    /\p{Script=Han}/u.test(new URLSearchParams(location.search).get("q") ?? "")) {
  location.replace("zh/search.html" + location.search);
}

// Sphinx 9.0 asks for this name and doesn't bring it. Its index has words stemmed as in English.
window.ChineseStemmer = function () { return new EnglishStemmer(); };

// A run of Chinese characters is several words; the index has those of two characters and more,
// and none of those that only ask.
const asking = new Set(["如何", "怎么", "怎样", "怎么样", "什么", "为什么", "为何", "哪个", "可以"]);
window.splitQuery = (query) => {
  const terms = query.split(/[^\p{Letter}\p{Number}_\p{Emoji_Presentation}]+/gu).filter(Boolean);
  if (!Intl.Segmenter) return terms;
  const chinese = new Intl.Segmenter("zh", { granularity: "word" });
  const words = terms.flatMap((term) => {
    if (!/\p{Script=Han}/u.test(term)) return [term];
    const parts = [...chinese.segment(term)].map((part) => part.segment);
    const long = parts.filter((part) => part.length > 1 && !asking.has(part));
    return long.length ? long : [term];
  });
  const long = words.filter((word) => !/^\p{Script=Han}$/u.test(word) && !asking.has(word));
  return long.length ? long : words;
};
