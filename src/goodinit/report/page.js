// Links of findings mark their places in the plots and in the table; points of a plot lead to
// their rows; buttons copy a remedy. Stands last in the page, where all of it is there.
const plots = document.getElementById("plots");
const table = document.getElementById("calls");

function show(from, to) {
  const low = Math.min(from, to) - 0.5, high = Math.max(from, to) + 0.5;
  const shapes = Object.keys(plots.layout).filter((name) => /^yaxis/.test(name)).map((name) => {
    const number = name.slice(5);
    return { type: "rect", layer: "below", line: { width: 0 }, fillcolor: "#fff7de",
      xref: "x" + number, yref: "y" + number + " domain", x0: low, x1: high, y0: 0, y1: 1 };
  });
  Plotly.relayout(plots, { shapes });
  light(to);
}

function light(number) {
  const row = document.getElementById("row-" + number);
  if (!row) return;
  table.open = true;
  document.querySelectorAll("tr.lit").forEach((lit) => lit.classList.remove("lit"));
  row.classList.add("lit");
  // Within its own frame: the plots stay where they are.
  const frame = row.closest(".scroll");
  frame.scrollTop = row.offsetTop - frame.clientHeight / 2;
}

document.querySelectorAll("a[data-to]").forEach((link) => link.addEventListener("click", () => {
  show(Number(link.dataset.from), Number(link.dataset.to));
}));
plots?.on("plotly_click", (event) => {
  const number = event.points[0].customdata;
  if (number !== undefined) show(number, number);
});
document.querySelectorAll("button[data-copy]").forEach((button) => button.addEventListener("click", async () => {
  const text = button.dataset.copy;
  try {
    await navigator.clipboard.writeText(text);
  } catch {  // not allowed for files in some browsers
    const area = document.body.appendChild(document.createElement("textarea"));
    area.value = text;
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  button.textContent = "copied";
}));
