// Theme, address, and what is selected at first.
const dark = matchMedia("(prefers-color-scheme:dark)");
const isDark = () => (document.documentElement.dataset.theme ?? (dark.matches ? "dark" : "light")) === "dark";
const named = () => (byId("theme").textContent = isDark() ? "Light theme" : "Dark theme");
byId("theme").addEventListener("click", () => {
  document.documentElement.dataset.theme = isDark() ? "light" : "dark";
  named();
});
dark.addEventListener("change", named);
named();

// The address ends in #layer:y,x, so that a link leads to a unit.
function fromAddress() {
  let wanted = "";
  try {
    wanted = decodeURIComponent(location.hash.slice(1));
  } catch {
    return false; // no text at all: as if there were none
  }
  const [, name, at] = /^(.*?)(?::(\d+(?:,\d+)*))?$/s.exec(wanted);
  const layer = LAYERS.findIndex((one) => one.name === name);
  if (layer >= 0) select(layer, at?.split(",").map(Number));
  return layer >= 0;
}
watchers.push(() => {
  const at = state.at.length ? `:${state.at.join(",")}` : "";
  history.replaceState(null, "", `#${encodeURIComponent(LAYERS[state.layer].name)}${at}`);
});
addEventListener("hashchange", fromAddress);

// At first, the deepest layer whose field still fits well into the input.
function first() {
  const extent = DATA.inputs.length ? Math.max(...DATA.inputs[DATA.inputs.length - 1].extents) : 0;
  const wide = (field) => field && field.exact && field.at.some((n) => n > 1);
  const fitting = LAYERS.map((layer, i) => i).filter((i) => wide(DATA.fields[i]) && LAYERS[i].size <= 0.7 * extent);
  return fitting.length ? fitting[fitting.length - 1] : 0;
}
fit();
if (!fromAddress()) select(first());
document.documentElement.dataset.ready = "";
