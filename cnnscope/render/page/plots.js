// Cost and receptive field along the network; pressing a plot selects the layer there.
const PAD = { left: 46, right: 12, top: 14, bottom: 24 };
const HEIGHT = 190;

function chart(id, draw) {
  const host = byId(id);
  const redraw = () => {
    const width = host.clientWidth;
    if (!width) return;
    const inner = width - PAD.left - PAD.right;
    const step = inner / LAYERS.length;
    const x = (i) => PAD.left + (i + 0.5) * step;
    const svg = element("<svg", { viewBox: `0 0 ${width} ${HEIGHT}`, height: HEIGHT, role: "img" });
    svg.append(element("<path", { class: "axis", d: `M${PAD.left} ${HEIGHT - PAD.bottom}H${width - PAD.right}` }));
    svg.append(text(PAD.left, HEIGHT - 8, "first layer"), text(width - PAD.right, HEIGHT - 8, "last", "end"));
    draw(svg, x, step, width);
    svg.append(element("<path", { class: "cursor" }));
    svg.addEventListener("click", (event) => {
      const place = event.clientX - svg.getBoundingClientRect().left - PAD.left;
      select(Math.min(LAYERS.length - 1, Math.max(0, Math.floor(place / step))));
    });
    host.replaceChildren(svg);
    host.cursor = () => svg.lastChild.setAttribute("d", `M${x(state.layer)} ${PAD.top}V${HEIGHT - PAD.bottom}`);
    if (state.layer >= 0) host.cursor();
  };
  new ResizeObserver(redraw).observe(host);
  watchers.push(() => host.cursor?.());
}

function text(x, y, words, anchor = "start") {
  return element("<text", { x, y, "text-anchor": anchor }, words);
}

// Round numbers up to the largest, three to five of them.
function ticks(largest) {
  const raw = largest / 4, unit = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].find((n) => n * unit >= raw) * unit;
  return Array.from({ length: Math.floor(largest / step) + 1 }, (_, i) => i * step);
}

function scaled(svg, width, largest, label) {
  const y = (value) => HEIGHT - PAD.bottom - (value / largest) * (HEIGHT - PAD.top - PAD.bottom);
  for (const tick of ticks(largest)) {
    if (tick) svg.append(element("<path", { class: "soft", d: `M${PAD.left} ${y(tick)}H${width - PAD.right}` }));
    svg.append(text(PAD.left - 6, y(tick) + 4, label(tick), "end"));
  }
  return y;
}

chart("cost", (svg, x, step, width) => {
  const largest = Math.max(0.001, ...LAYERS.flatMap((layer) => [share(layer, "macs"), share(layer, "params")]));
  const y = scaled(svg, width, largest, (tick) => `${+(100 * tick).toFixed(2)} %`);
  const wide = Math.max(0.5, Math.min(step * 0.42, 14));
  LAYERS.forEach((layer, i) => {
    for (const [key, left] of [["macs", x(i) - wide], ["params", x(i)]]) {
      const top = y(share(layer, key));
      if (share(layer, key)) svg.append(element("<rect", { class: key, x: left, y: top, width: wide, height: HEIGHT - PAD.bottom - top }));
    }
  });
  svg.append(element("<rect", { class: "macs", x: width - 160, y: 2, width: 10, height: 10 }), text(width - 146, 11, "MACs"));
  svg.append(element("<rect", { class: "params", x: width - 96, y: 2, width: 10, height: 10 }), text(width - 82, 11, "parameters"));
  svg.setAttribute("aria-label", "share of MACs and parameters by layer; the table has the numbers");
});

chart("growth", (svg, x, step, width) => {
  const sizes = LAYERS.map((layer) => layer.size);
  const extent = DATA.inputs.length ? Math.max(...DATA.inputs[DATA.inputs.length - 1].extents) : 0;
  const largest = Math.max(1, extent, ...sizes.filter((size) => size !== undefined)) * 1.04;
  const y = scaled(svg, width, largest, (tick) => count(Math.round(tick)));
  let line = "", band = [], drawing = false;
  sizes.forEach((size, i) => {
    if (size === undefined) return void (drawing = false);
    line += `${drawing ? "L" : "M"}${x(i)} ${y(size)}`;
    drawing = true;
    if (LAYERS[i].shortest !== undefined) band.push([x(i), y(size), y(LAYERS[i].shortest)]);
  });
  if (band.length > 1) {
    const there = band.map(([at, top]) => `${at} ${top}`), back = band.map(([at, , low]) => `${at} ${low}`).reverse();
    svg.append(element("<polygon", { class: "band", points: [...there, ...back].join(" ") }));
  }
  svg.append(element("<path", { class: "growth", d: line || "M0 0" }));
  if (extent) {
    svg.append(element("<path", { class: "size", d: `M${PAD.left} ${y(extent)}H${width - PAD.right}` }));
    svg.append(text(PAD.left + 6, y(extent) - 5, `input: ${count(extent)}`));
  }
  svg.setAttribute("aria-label", "receptive field size by layer; the table has the numbers");
});
