"""Small models that Keras itself saves and runs, in a process of its own: files, an input and Keras' output for each.

    KERAS_BACKEND=torch python keras_oracle.py FOLDER NAME ...

Weights are random numbers, also those that Keras starts with zeros and ones. An output is (N, ...) with the author's
axes. ``NAME.npz`` has ``x0``, ``x1`` ..., ``y0`` ..., and Keras' own counts of parameters.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import keras_layer_models

IMAGE, SIGNAL = (9, 11, 4), (6, 5)


def write(folder: Path, names: Iterable[str]) -> None:
    """Runs this file in another process, because Keras changes its environment."""
    command = [sys.executable, __file__, str(folder), *names]
    environment = {**os.environ, "KERAS_BACKEND": "torch", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]


def models() -> dict[str, Callable[[], Any]]:
    import keras
    from keras import layers as L  # noqa: N812

    def chain(shape: tuple[int, ...], *layers: Any) -> Any:
        x = inputs = keras.Input(shape)
        for layer in layers:
            x = layer(x)
        return keras.Model(inputs, x)

    def windows() -> Any:
        return chain(
            (16, 16, 3), L.Conv2D(8, 3, padding="same", strides=2, activation="relu"), L.BatchNormalization(),
            L.SeparableConv2D(6, 3, depth_multiplier=2), L.Conv2D(4, 3, name="zz", groups=2),
            L.Conv2DTranspose(4, 3, strides=2, padding="same"), L.DepthwiseConv2D(3, depth_multiplier=2, name="a"),
            L.Dropout(0.3), L.PReLU(shared_axes=[1, 2]), L.GlobalAveragePooling2D(), L.Dense(5),
        )  # fmt: skip

    def normalised() -> Any:
        return chain(
            IMAGE, L.Normalization(), L.BatchNormalization(scale=False), L.BatchNormalization(center=False, axis=1),
            L.LayerNormalization(), L.GroupNormalization(2), L.RMSNormalization(), L.Conv2D(3, 2), L.Flatten(),
            L.Dense(4, use_bias=False),
        )  # fmt: skip

    def nested() -> Any:
        """A model inside a model, called twice, with part of it frozen, beside layers of the same classes."""
        block = keras.Sequential(
            [keras.Input((8, 8, 4)), L.Conv2D(4, 3, padding="same"), L.BatchNormalization(), L.ReLU()], name="block"
        )
        block.layers[0].trainable = False
        inputs = keras.Input((8, 8, 4))
        first = L.Conv2D(4, 1)
        x = block(first(inputs))
        x = L.Add()([x, block(x)])
        x = L.BatchNormalization()(first(x))
        inside = keras.Input((8, 8, 4))
        outer = keras.Model(inside, L.Conv2D(2, 1)(L.BatchNormalization()(L.Conv2D(4, 1)(inside))), name="outer")
        return keras.Model(inputs, L.Flatten()(outer(x) + outer(x)))

    def shared() -> Any:
        """A layer and a model that two models use."""
        conv, block = L.Conv2D(4, 1), keras.Sequential([keras.Input((8, 8, 4)), L.Conv2D(4, 1), L.BatchNormalization()])
        inside, inputs = keras.Input((8, 8, 4)), keras.Input((8, 8, 4))
        outer = keras.Model(inside, L.Conv2D(4, 1)(block(conv(inside))))
        return keras.Model(inputs, L.Conv2D(2, 1)(conv(block(outer(inputs)))))

    def frozen() -> Any:
        block = keras.Sequential([keras.Input((8, 8, 4)), L.Conv2D(4, 3), L.BatchNormalization()])
        block.trainable = False
        return chain((8, 8, 4), block, L.Conv2D(2, 1), L.BatchNormalization())

    def recurrent() -> Any:
        inputs = keras.Input(SIGNAL)
        x = L.LSTM(4, return_sequences=True)(inputs)
        x = L.Bidirectional(L.GRU(3, return_sequences=True))(x)
        x = L.Bidirectional(L.LSTM(3, return_sequences=True, use_bias=False), merge_mode="ave")(x)
        y = L.Bidirectional(L.SimpleRNN(2, activation="relu"), merge_mode="sum")(x)
        whole, last = L.GRU(4, return_sequences=True, return_state=True)(x)
        return keras.Model(inputs, L.Concatenate()([L.Bidirectional(L.LSTM(2))(whole), y, last, L.SimpleRNN(3)(x)]))

    def twins() -> Any:
        def inner(name: str, units: int) -> Any:
            inside = keras.Input((6,))
            return keras.Model(inside, L.Dense(6, name="same")(L.Dense(units, name="first")(inside)), name=name)

        inputs = keras.Input((6,))
        return keras.Model(inputs, L.Dense(2, name="same")(inner("b", 5)(inner("a", 4)(inputs))))

    def constants() -> Any:
        inputs = keras.Input(IMAGE)
        x = L.Rescaling(1 / 127.5, offset=-1.0)(inputs)
        x = L.Normalization(mean=[1.0, 2, 3, 4], variance=[1.0, 2, 3, 0.5])(x)
        x = L.Average()([x * 2.0 - 1.0, 3.0 + x, x / 4.0])
        x = L.RandomFlip()(L.RandomRotation(0.2)(L.RandomZoom(0.1)(L.RandomContrast(0.2)(x))))
        return keras.Model(inputs, L.Conv2D(3, 2)(L.Rescaling([0.5, 1.0, 2.0, 3.0])(x)))

    return keras_layer_models.models(keras) | {
        "recurrent": recurrent,
        "twins": twins,
        "constants": constants,
        "windows": windows,
        "normalised": normalised,
        "nested": nested,
        "shared": shared,
        "frozen": frozen,
    }


def main(folder: Path, names: list[str]) -> None:
    """Writes models. ``--layers I N`` stands for part I of N of all models of single layers, of which one that Keras
    cannot make becomes a line of ``refused.json``, and which have no files but their archives.
    """
    import keras
    import numpy as np

    random, known, refused = np.random.default_rng(0), models(), {}
    single, sweep = list(keras_layer_models.models(keras)), names[0] == "--layers"
    for name in single[int(names[1]) :: int(names[2])] if sweep else names:
        keras.utils.clear_session()
        try:
            _write(folder / name.replace("/", "-"), known[name](), random, whole=not sweep)
        except Exception as error:  # each backend of Keras refuses in its own way
            if not sweep:
                raise
            refused[name] = f"{type(error).__name__}: {error}"
    (folder / "refused.json").write_text(json.dumps(refused))
    (folder / "names.json").write_text(json.dumps([single, keras_layer_models.classes(keras)]))


def _write(stem: Path, model: Any, random: Any, *, whole: bool) -> None:
    import keras
    import numpy as np

    model.set_weights([_values(weight, random) for weight in model.weights])
    feeds = [_feed(x, random) for x in model.inputs]
    results = keras.tree.flatten(model(feeds if len(feeds) > 1 else feeds[0], training=False))
    arrays = {f"x{i}": x for i, x in enumerate(feeds)}
    arrays |= {f"y{i}": keras.ops.convert_to_numpy(y) for i, y in enumerate(results)}
    trained = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    np.savez(f"{stem}.npz", params=model.count_params(), trainable=trained, **arrays)
    for suffix in (".keras", ".h5") if whole else (".keras",):
        model.save(f"{stem}{suffix}")
    if whole:
        model.save_weights(f"{stem}.weights.h5")
        Path(f"{stem}.json").write_text(model.to_json())


def _feed(x: Any, random: Any) -> Any:
    shape = (2, *x.shape[1:])
    return random.integers(0, 9, shape).astype("int32") if "int" in x.dtype else random.normal(size=shape).astype("f4")


def _values(weight: Any, random: Any) -> Any:
    """Random numbers for a weight; positive where they are variances."""
    if "int" in str(weight.dtype):
        return random.integers(1, 9, weight.shape)
    if "variance" in weight.path:
        return random.uniform(0.5, 1.5, weight.shape).astype("float32")
    return random.normal(0, 0.4, weight.shape).astype("float32")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
