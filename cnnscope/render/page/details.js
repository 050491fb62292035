// Details of the selected layer and of the block around it.
function facts(layer) {
  const args = Object.entries(layer.args ?? {}).map(([key, value]) => `${key} ${value}`).join(", ");
  const known = (key) => (layer[key] === undefined ? "?" : count(layer[key]));
  const part = (key) => (share(layer, key) ? ` (${percent(share(layer, key))})` : "");
  return [
    ["reads", (layer.reads ?? []).join(", ")], ["input", layer.input_shapes], ["output", layer.output_shape],
    ["arguments", args], ["parameters", known("params") + part("params")], ["MACs", known("macs") + part("macs")],
    ["FLOPs", known("flops")], ["weights", bytes(layer.param_bytes)], ["activations", bytes(layer.activation_bytes)],
    ["alive meanwhile", bytes(layer.live_bytes)], ["receptive field", layer.rf], ["stride", layer.rf_stride],
    ["padding", layer.rf_padding], ["centre of the first", layer.rf_centre], ["global via", layer.rf_via],
  ].filter(([, text]) => text !== undefined && text !== "" && text !== "-");
}

function drawFacts() {
  const layer = LAYERS[state.layer];
  byId("layer").textContent = layer.name;
  byId("type").textContent = layer.op;
  const rows = facts(layer).flatMap(([word, text]) => [element("dt", {}, word), element("dd", {}, text)]);
  if (layer.spec) {
    const [place, line] = layer.spec;
    rows.push(element("dt", {}, place), element("dd", {}, element("code", {}, line)));
  }
  byId("facts").replaceChildren(...rows);
  byId("previous").disabled = state.layer === 0;
  byId("next").disabled = state.layer === LAYERS.length - 1;
}

function drawInside() {
  const place = PLACES[state.layer];
  const box = place && DATA.boxes[place.box];
  const shown = box && box.inner !== null;
  byId("parts").hidden = !box || box.count < 2;
  if (box && box.count > 1) {
    const options = Array.from({ length: box.count }, (_, i) => element("option", { value: i }, `${i + 1} of ${box.count}`));
    byId("part").replaceChildren(...options);
    byId("part").value = place.part;
  }
  byId("insides").hidden = !shown;
  const svg = shown && document.querySelector(`.inside[data-inside="${box.inner}"] svg`);
  byId("facts").parentElement.classList.toggle("alone", !shown || svg.viewBox.baseVal.width > 450);
  if (!shown) return;
  byId("inside-title").textContent = `Inside: ${box.title}${box.count > 1 ? `, ${place.part + 1} of ${box.count}` : ""}`;
  for (const inside of document.querySelectorAll(".inside")) {
    inside.hidden = Number(inside.dataset.inside) !== box.inner;
    if (inside.hidden) continue;
    const places = DATA.insides[box.inner];
    marked(inside, places.findIndex((layers) => layers.includes(place.place)));
  }
}

for (const inside of document.querySelectorAll(".inside"))
  pressable(inside, (number) => {
    const { box, part } = PLACES[state.layer];
    const layers = DATA.insides[Number(inside.dataset.inside)][number];
    if (layers.length) select(DATA.boxes[box].layers[part * DATA.boxes[box].size + layers[layers.length - 1]]);
  });

byId("part").addEventListener("change", (event) => {
  const { box, place } = PLACES[state.layer];
  select(DATA.boxes[box].layers[Number(event.target.value) * DATA.boxes[box].size + place]);
});
byId("previous").addEventListener("click", () => select(state.layer - 1));
byId("next").addEventListener("click", () => select(state.layer + 1));

watchers.push((changed) => {
  if (!changed) return;
  drawFacts();
  drawInside();
});
