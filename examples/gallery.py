"""Draws the gallery: ``python examples/gallery.py`` writes ``docs/gallery.md`` and ``docs/pictures/gallery/*.svg``.

One network of each kind in the zoo, each as its ladder and its sheet.
"""

from pathlib import Path

import cnnscope

NETWORKS = {
    "lenet5": "A chain: one box a row until the rows have no resolution left.",
    "alexnet": "Two groups (`g2`) in the second, fourth and fifth convolution, as on the two GPUs of the paper.",
    "vgg16": "Equal convolutions in series share a box.",
    "googlenet": "Blocks of four branches; the two heads that only training uses are dashed.",
    "resnet50": "A staircase: each stage begins with a projection (dashed arc), the rest adds its input (solid arc).",
    "unet": "A U: the contracting path goes down at the left, the expanding one up at the right.",
    "densenet121": "Dense blocks: each layer adds 32 channels (`+32 each`), and a chain of them is one box.",
    "mobilenet_v3_large": "Inverted residuals with depthwise convolutions (`dw`), some with squeeze and excitation.",
    "efficientnet_b0": "The same blocks, more of them.",
    "vit_tiny": "A transformer: one row of tokens, and a class token.",
    "yolov3": "A backbone, and a pyramid that goes up again with an output on each of three levels.",
    "retinanet_resnet50_fpn": "A feature pyramid whose levels share the weights of their heads (letters).",
}
"""What to look at in each picture."""

DOCS = Path(__file__).resolve().parent.parent / "docs"
PICTURES = DOCS / "pictures" / "gallery"
HEAD = """# Gallery

The ladder and the sheet of one network of each kind in the zoo. `python examples/gallery.py` draws this page and its
pictures; `cnnscope diagram NAME -o NAME.svg` and `cnnscope diagram NAME --view sheet -o NAME.svg` draw any of them, and
[diagrams](diagrams.md) says how to read them.
"""


def main() -> None:
    """Draws all pictures and writes the page about them."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    text = HEAD
    for name, what in NETWORKS.items():
        model = cnnscope.load(name)
        text += f"\n## {model.name}\n\n{what}\n\n"
        for view in ("ladder", "sheet"):
            file = PICTURES / f"{name}-{view}.svg"
            model.diagram(view=view).write(file)
            text += f"![The {view} of {model.name}](pictures/gallery/{file.name})\n"
    (DOCS / "gallery.md").write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
