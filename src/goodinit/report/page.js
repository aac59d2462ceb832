// The link of a finding highlights its place in the plots and the table, a click on a point that of
// its row, and a button copies a remedy. This script comes last: it needs the whole page.
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
  highlight(to);
}

function highlight(number) {
  const row = document.getElementById("row-" + number);
  if (!row) return;
  table.open = true;
  document.querySelectorAll("tr.highlighted").forEach((old) => old.classList.remove("highlighted"));
  row.classList.add("highlighted");
  // Scroll only the table's frame: the plots stay in view.
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
  } catch {  // some browsers forbid it for local files
    const area = document.body.appendChild(document.createElement("textarea"));
    area.value = text;
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  button.textContent = "copied";
}));
