"""Networks of `keras.applications` at small inputs with random weights: an archive, an input, and Keras' own answers.

    KERAS_BACKEND=torch python keras_applications.py FOLDER NAME ...

``NAME.npz`` has ``x0``, ``y0``, counts of parameters, and ``shapes``: each layer's output shape as text.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

SMALL = {
    "ConvNeXtTiny": 64, "DenseNet121": 64, "EfficientNetB0": 64, "EfficientNetB1": 64, "EfficientNetV2B0": 64,
    "EfficientNetV2B3": 64, "InceptionResNetV2": 96, "InceptionV3": 96, "MobileNet": 64, "MobileNetV2": 64,
    "MobileNetV3Large": 64, "MobileNetV3Small": 64, "ResNet50": 64, "ResNet50V2": 64, "VGG16": 64,
    "Xception": 96,
}  # fmt: skip
"""Names with the side of a small square image. Keras does not make NASNet on torch. Other names get 96."""


def main(folder: Path, names: list[str]) -> None:
    import keras
    import numpy as np

    for name in names:
        keras.utils.clear_session()
        side = SMALL.get(name, 96)
        random = np.random.default_rng(0)
        args: dict[str, Any] = {
            "weights": None,
            "input_shape": (side, side, 3),
            "classes": 7,
            "classifier_activation": None,
        }
        model = getattr(keras.applications, name)(**args)
        x = random.uniform(0, 255, (2, side, side, 3)).astype("float32")
        for weight in model.weights:
            if any(word in weight.path for word in ("beta", "bias")):
                weight.assign(random.normal(0, 0.3, weight.shape).astype("float32"))
        for layer in model.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.momentum = 0.5
        model(x, training=True)  # statistics half those of the images: no signal grows or dies
        y = keras.ops.convert_to_numpy(model(x, training=False))
        model.save(folder / f"{name}.keras")
        trained = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
        shapes = [f"{layer.name} {'x'.join(map(str, layer.output.shape[1:]))}" for layer in model.layers]
        counts = {"params": model.count_params(), "trainable": trained}
        np.savez(folder / f"{name}.npz", x0=x, y0=y, shapes=np.array(shapes), **counts)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
