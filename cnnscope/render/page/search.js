// Search over names, types and shapes: rows that do not match are hidden, boxes without a match are pale.
const field = byId("filter");
const TEXTS = LAYERS.map((layer) => [layer.name, layer.op, layer.input_shapes, layer.output_shape].join(" ").toLowerCase());
let matches = [];

function search() {
  const words = field.value.toLowerCase().replaceAll("×", "x").split(/\s+/).filter(Boolean);
  const fits = TEXTS.map((text) => words.every((word) => text.includes(word)));
  matches = words.length ? LAYERS.map((_, i) => i).filter((i) => fits[i]) : [];
  rows.forEach((row, i) => (row.hidden = !fits[i]));
  picture.classList.toggle("searching", words.length > 0);
  for (const node of picture.querySelectorAll("[data-n]")) {
    const { layers, more } = DATA.boxes[node.dataset.n];
    node.classList.toggle("pale", ![...layers, ...more].some((i) => fits[i]));
  }
  byId("shown").textContent = words.length ? `${matches.length} of ${LAYERS.length} layers` : "";
}
field.addEventListener("input", search);

// Enter goes from match to match, with Shift backwards; Escape leaves.
field.addEventListener("keydown", (event) => {
  if (event.key === "Escape") {
    field.value = "";
    search();
    field.blur();
  }
  if (event.key !== "Enter" || !matches.length) return;
  const next = event.shiftKey ? matches.findLast((i) => i < state.layer) : matches.find((i) => i > state.layer);
  select(next ?? (event.shiftKey ? matches[matches.length - 1] : matches[0]));
});
addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input,select,textarea")) return;
  event.preventDefault();
  field.focus();
  field.select();
});
