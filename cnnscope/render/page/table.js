// All layers as a table to sort and filter.
const COLUMNS = [
  ["#", (layer, i) => i + 1, (layer, i) => i + 1, true], ["layer", (layer) => layer.name], ["type", (layer) => layer.op],
  ["output", (layer) => layer.output_shape ?? "-"], ["params", (layer) => count(layer.params), (layer) => layer.params, true],
  ["MACs", (layer) => count(layer.macs), (layer) => layer.macs, true],
  ["% MACs", (layer) => (share(layer, "macs") ? percent(share(layer, "macs")) : ""), (layer) => share(layer, "macs"), true],
  ["activations", (layer) => bytes(layer.activation_bytes), (layer) => layer.activation_bytes, true],
  ["RF", (layer) => layer.rf ?? "-", (layer) => layer.size ?? -1, true],
  ["stride", (layer) => layer.rf_stride ?? "-", (layer) => Number.parseFloat(layer.rf_stride), true],
];
const table = byId("table"), body = element("tbody");
const rows = LAYERS.map((layer, i) => {
  const row = element("tr", { "data-layer": i });
  COLUMNS.forEach(([, write, , right], column) => {
    const words = String(write(layer, i));
    const inside = column === 1 ? element("button", { type: "button", class: `kind-${layer.category}`, dir: "auto" }, words) : words;
    row.append(element("td", right ? { class: "r" } : {}, inside));
  });
  return row;
});
let sorted = { column: 0, down: false };

function sortRows() {
  const [, write, value = write] = COLUMNS[sorted.column];
  const keys = LAYERS.map((layer, i) => value(layer, i));
  const order = LAYERS.map((_, i) => i).sort((a, b) => {
    const [p, q] = [keys[a] ?? -1, keys[b] ?? -1];
    const by = typeof p === "string" ? p.localeCompare(q, "en", { numeric: true }) : (p || 0) - (q || 0);
    return (sorted.down ? -by : by) || a - b;
  });
  body.replaceChildren(...order.map((i) => rows[i]));
  heads.forEach((head, i) => {
    if (i === sorted.column) head.setAttribute("aria-sort", sorted.down ? "descending" : "ascending");
    else head.removeAttribute("aria-sort");
    head.firstChild.textContent = COLUMNS[i][0] + (i !== sorted.column ? "" : sorted.down ? " ↓" : " ↑");
  });
}

const heads = COLUMNS.map(([name, , , right], column) => {
  const button = element("button", { type: "button" }, name);
  button.addEventListener("click", () => {
    sorted = { column, down: sorted.column === column ? !sorted.down : Boolean(right) && column > 0 };
    sortRows();
  });
  return element("th", right ? { class: "r", scope: "col" } : { scope: "col" }, button);
});
table.append(element("thead", {}, element("tr", {}, ...heads)), body);
sortRows();

body.addEventListener("click", (event) => {
  select(Number(event.target.closest("tr").dataset.layer));
  shown();
});
watchers.push(() => rows.forEach((row, i) => row.classList.toggle("on", i === state.layer)));
