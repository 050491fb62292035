"""Writes the Keras fixtures beside this file. Run once with Keras 3 and once with Keras 2; the tests never run it.

    KERAS_BACKEND=torch python make_keras.py     # Keras 3.15.1: keras3_*, applications/*.keras
    python make_keras.py                         # TensorFlow 2.15.1, Keras 2.15.0: keras2_*, applications/*.json

Configs are what `to_json()` and `save()` write (initialisers, regularisers and constraints left out of the small ones);
shapes and parameter counts are what Keras itself says, MACs what torch's FLOP counter counts, footprints where the
gradient of TensorFlow's outputs is not zero.
"""

from __future__ import annotations

import gzip
import json
import os
import sys
import zipfile
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
KERAS_3 = os.environ.get("KERAS_BACKEND") == "torch"

if KERAS_3:
    import keras
    from keras import layers as L  # noqa: N812
else:
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import tensorflow as tf
    from tensorflow import keras
    from tensorflow.keras import layers as L  # noqa: N812


def functional(shape, *layers, name="m"):
    x = inputs = keras.Input(shape)
    for layer in layers:
        x = layer(x)
    return keras.Model(inputs, x, name=name)


def cases():
    """One small model a line: what each layer class makes of an input."""
    image, signal, volume = (9, 11, 4), (10, 4), (6, 7, 8, 2)
    alone = {
        "conv_same": (image, L.Conv2D(6, 3, strides=2, padding="same")),
        "conv_valid": (image, L.Conv2D(6, (3, 2), strides=(1, 3), use_bias=False)),
        "conv_dilated": (image, L.Conv2D(6, 3, dilation_rate=2, padding="same", activation="relu")),
        "conv_groups": (image, L.Conv2D(6, 3, groups=2, activation="swish")),
        "conv1d_causal": (signal, L.Conv1D(5, 3, dilation_rate=2, padding="causal")),
        "conv1d": (signal, L.Conv1D(5, 4, strides=2, padding="same")),
        "conv3d": (volume, L.Conv3D(3, 3, strides=(1, 2, 2), padding="same")),
        "depthwise": (image, L.DepthwiseConv2D(3, strides=2, padding="same", depth_multiplier=2)),
        "depthwise1d": (signal, L.DepthwiseConv1D(3, use_bias=False)),
        "separable": (image, L.SeparableConv2D(7, 3, padding="same", depth_multiplier=2, activation="tanh")),
        "separable1d": (signal, L.SeparableConv1D(7, 3, use_bias=False)),
        "transposed_3_2_same": (image, L.Conv2DTranspose(5, 3, strides=2, padding="same")),
        "transposed_3_2_valid": (image, L.Conv2DTranspose(5, 3, strides=2)),
        "transposed_2_2": (image, L.Conv2DTranspose(5, 2, strides=2, padding="same")),
        "transposed_4_2": (image, L.Conv2DTranspose(5, 4, strides=2, padding="same")),
        "transposed_5_3_same": (image, L.Conv2DTranspose(5, 5, strides=3, padding="same", use_bias=False)),
        "transposed_2_3_same": (image, L.Conv2DTranspose(5, 2, strides=3, padding="same")),
        "transposed_2_3_valid": (image, L.Conv2DTranspose(5, 2, strides=3)),
        "transposed_extra": (image, L.Conv2DTranspose(5, 3, strides=2, padding="same", output_padding=1)),
        "transposed_extra_valid": (image, L.Conv2DTranspose(5, 3, strides=2, output_padding=1)),
        "transposed1d": (signal, L.Conv1DTranspose(5, 3, strides=2, padding="same")),
        "maxpool_same": (image, L.MaxPooling2D(3, strides=2, padding="same")),
        "maxpool": (image, L.MaxPooling2D()),
        "avgpool_same": (image, L.AveragePooling2D(2, strides=2, padding="same")),
        "avgpool1d": (signal, L.AveragePooling1D(3)),
        "maxpool3d": (volume, L.MaxPooling3D((1, 2, 2))),
        "global_average": (image, L.GlobalAveragePooling2D()),
        "global_max_kept": (image, L.GlobalMaxPooling2D(keepdims=True)),
        "global_average1d": (signal, L.GlobalAveragePooling1D()),
        "global_max3d": (volume, L.GlobalMaxPooling3D()),
        "zero_padding": (image, L.ZeroPadding2D(((1, 2), (0, 3)))),
        "zero_padding1d": (signal, L.ZeroPadding1D((2, 1))),
        "zero_padding3d": (volume, L.ZeroPadding3D(2)),
        "cropping": (image, L.Cropping2D(((1, 2), (0, 3)))),
        "cropping1d": (signal, L.Cropping1D(2)),
        "upsampling": (image, L.UpSampling2D((2, 3))),
        "upsampling_bilinear": (image, L.UpSampling2D(2, interpolation="bilinear")),
        "upsampling1d": (signal, L.UpSampling1D(3)),
        "upsampling3d": (volume, L.UpSampling3D((1, 2, 2))),
        "resizing": (image, L.Resizing(5, 6)),
        "center_crop": (image, L.CenterCrop(5, 6)),
        "batchnorm": (image, L.BatchNormalization()),
        "batchnorm_no_scale": (image, L.BatchNormalization(scale=False)),
        "batchnorm_bare": (image, L.BatchNormalization(scale=False, center=False, momentum=0.9)),
        "batchnorm_flat": ((7,), L.BatchNormalization()),
        "batchnorm_signal": (signal, L.BatchNormalization()),
        "batchnorm_axis_1": (image, L.BatchNormalization(axis=1)),
        "layernorm": (image, L.LayerNormalization(epsilon=1e-6)),
        "layernorm_all": (image, L.LayerNormalization(axis=[1, 2, 3])),
        "layernorm_positions": (image, L.LayerNormalization(axis=[1, 2])),
        "layernorm_no_center": (signal, L.LayerNormalization(center=False)),
        "groupnorm": (image, L.GroupNormalization(2)),
        "groupnorm_instance": (image, L.GroupNormalization(-1, scale=False)),
        "unit_normalization": (image, L.UnitNormalization()),
        "normalization": (image, L.Normalization()),
        "normalization_known": (image, L.Normalization(mean=[1.0, 2, 3, 4], variance=[1.0] * 4)),
        "rescaling": (image, L.Rescaling(1 / 127.5, offset=-1)),
        "dense": ((7,), L.Dense(5, activation="softmax")),
        "dense_on_map": (image, L.Dense(5, activation="gelu")),
        "dense_on_tokens": (signal, L.Dense(5, use_bias=False)),
        "activation": (image, L.Activation("elu")),
        "activation_softmax": (image, L.Activation("softmax")),
        "softmax_axis": (image, L.Softmax(axis=1)),
        "relu_max": (image, L.ReLU(max_value=6)),
        "relu_odd": (image, L.ReLU(max_value=4.0, negative_slope=0.1, threshold=0.5)),
        "leaky": (image, L.LeakyReLU()),
        "prelu": (image, L.PReLU()),
        "prelu_channels": (image, L.PReLU(shared_axes=[1, 2])),
        "elu": (image, L.ELU(0.5)),
        "dropout": (image, L.Dropout(0.3)),
        "spatial_dropout": (image, L.SpatialDropout2D(0.3)),
        "spatial_dropout1d": (signal, L.SpatialDropout1D(0.3)),
        "gaussian_noise": (image, L.GaussianNoise(0.3)),
        "random_flip": (image, L.RandomFlip("horizontal")),
        "flatten": (image, L.Flatten()),
        "reshape": (image, L.Reshape((-1, 22))),
        "permute": (image, L.Permute((3, 1, 2))),
        "permute_tokens": (signal, L.Permute((2, 1))),
        "repeat": ((7,), L.RepeatVector(3)),
        "embedding": ((7,), L.Embedding(100, 16)),
        "identity": (image, L.Identity()),
    }
    for name, (shape, layer) in alone.items():
        yield name, functional(shape, layer)
    if KERAS_3:
        yield "rmsnorm", functional(image, L.RMSNormalization())
        yield "adaptive", functional(image, L.AdaptiveAveragePooling2D((3, 4)))
        for activation in ("hard_silu", "mish", "log_softmax", "celu", "leaky_relu", "hard_tanh", "squareplus"):
            yield f"activation_{activation}", functional(image, L.Activation(activation))
        yield "functions", _functions_3()
    else:
        yield "functions", _functions_2()
    channels_first = [L.Conv2D(6, 3, padding="same", data_format="channels_first"),
                      L.MaxPooling2D(2, data_format="channels_first"),
                      L.BatchNormalization(axis=1)]  # fmt: skip
    yield "channels_first", functional((3, 8, 10), *channels_first, L.Flatten(data_format="channels_first"), L.Dense(4))
    yield "autoencoder", functional(
        (8, 8, 3), L.Conv2D(4, 3, strides=2, padding="same"), L.Flatten(), L.Dense(64), L.Reshape((4, 4, 4)),
        L.Conv2DTranspose(3, 3, strides=2, padding="same", activation="sigmoid"),
    )  # fmt: skip
    yield "signals", functional(
        (32, 2), L.Conv1D(4, 5, activation="relu"), L.MaxPooling1D(2), L.BatchNormalization(), L.Dense(6),
        L.GlobalMaxPooling1D(), L.Dense(3),
    )  # fmt: skip
    yield "sequential", keras.Sequential([keras.Input((8, 8, 3)), L.Conv2D(4, 3), L.Flatten(), L.Dense(3)], name="s")
    yield from _joined()


def _joined():
    """Several inputs and outputs, models inside models, layers called twice, joins, attention."""
    left, right = keras.Input((8, 8, 3), name="left"), keras.Input((8, 8, 3), name="right")
    tower = keras.Sequential([keras.Input((8, 8, 3)), L.Conv2D(4, 3, activation="relu"), L.Flatten()], name="tower")
    a, b = tower(left), tower(right)
    score = L.Dense(1, activation="sigmoid", name="score")
    outputs = [score(L.Subtract()([a, b])), score(L.Multiply()([a, b])), L.Concatenate()([a, b])]
    yield "siamese", keras.Model([left, right], outputs)

    inside = keras.Input((8, 8, 3), name="inside")
    branches = keras.Model(inside, [L.Conv2D(4, 1)(inside), L.Conv2D(4, 3, padding="same")(inside)], name="branches")
    x, y = branches(left)
    x2, y2 = branches(right)
    joins = [L.Add()([x, y, x2]), L.Average()([x, y]), L.Maximum()([x, y2, x2]), L.Minimum()([x2, y2])]
    yield "nested", keras.Model([left, right], L.Concatenate(axis=1)(joins))

    x = L.Conv2D(4, 3, padding="same", trainable=False)(left)
    gate = L.Reshape((1, 1, 4))(L.Dense(4, activation="sigmoid")(L.GlobalAveragePooling2D()(x)))
    yield "gate", keras.Model(left, L.Add()([L.Multiply()([x, gate]), gate]))

    tokens, memory = keras.Input((10, 16), name="tokens"), keras.Input((7, 12), name="memory")
    x = L.MultiHeadAttention(4, 5)(tokens, tokens)
    x = L.LayerNormalization()(L.Add()([tokens, x]))
    x = L.MultiHeadAttention(2, 6, value_dim=3, output_shape=8, use_bias=False)(x, memory)
    yield "attention", keras.Model([tokens, memory], L.Dense(3)(L.GlobalAveragePooling1D()(x)))


def _functions_3():
    from keras import ops

    x = inputs = keras.Input((8, 6, 4))
    x = ops.relu(x) + 2.0
    y = ops.silu(x) * x - 1
    y = y / np.array([1.0, 2.0, 3.0, 4.0], "float32")
    y = ops.square(y[:, 1:, ::2, ...])
    pooled = ops.mean(y, axis=[1, 2], keepdims=True)
    flat = ops.reshape(ops.max(x, axis=(1, 2)), (-1, 2, 2))
    rolled = ops.roll(x, 1, axis=1)
    a, b = ops.split(x, 2, axis=-1)
    rest = ops.expand_dims(ops.squeeze(ops.sum(a, axis=1, keepdims=True), axis=1), axis=-1)
    turned = ops.transpose(ops.concatenate([a, b], axis=-1), (0, 2, 1, 3))
    products = ops.matmul(ops.softmax(flat, axis=-1), flat)
    head = ops.maximum(x, x[:, :1])[:, 0]
    return keras.Model(inputs, [pooled, rest, turned, products, ops.abs(rolled), head], name="m")


def _functions_2():
    x = inputs = keras.Input((8, 6, 4))
    x = tf.nn.relu(x) + 2.0
    y = 3.0 - tf.nn.silu(x) * x
    y = y / [1.0, 2.0, 3.0, 4.0]
    y = tf.square(y[:, 1:, ::2, ...])
    pooled = tf.reduce_mean(y, axis=[1, 2], keepdims=True)
    flat = tf.reshape(tf.reduce_max(x, axis=[1, 2]), [-1, 2, 2])
    rest = tf.expand_dims(tf.squeeze(tf.reduce_sum(x, axis=1, keepdims=True), axis=[1]), axis=-1)
    turned = tf.transpose(tf.concat([x, x], axis=-1), [0, 2, 1, 3])
    products = tf.matmul(tf.nn.softmax(flat, axis=-1), flat)
    head = tf.maximum(x, x[:, :1])[:, 0]
    return keras.Model(inputs, [pooled, rest, turned, products, head], name="m")


def rows(model, prefix=""):
    """Every layer but inputs: its name, output shapes without batch, and parameters (trainable, other)."""
    for layer in model.layers:
        if isinstance(layer, L.InputLayer):
            continue
        path = f"{prefix}{layer.name}"
        if hasattr(layer, "layers"):
            yield from rows(layer, f"{path}/")
            continue
        outputs = layer._inbound_nodes[0].output_tensors if KERAS_3 else layer.get_output_at(0)
        outputs = outputs if isinstance(outputs, (list, tuple)) else [outputs]
        weights = [sum(int(_numel(w)) for w in ws) for ws in (layer.trainable_weights, layer.non_trainable_weights)]
        yield [path, [list(x.shape)[1:] for x in outputs], *weights]


def _numel(weight):
    size = 1
    for n in weight.shape:
        size *= int(n)
    return size


def lean(value):
    if isinstance(value, dict):
        drop = ("initializer", "regularizer", "constraint")
        return {k: lean(v) for k, v in value.items() if not k.endswith(drop) and k != "compile_config"}
    return [lean(v) for v in value] if isinstance(value, list) else value


def macs(model):
    """Half the FLOPs that torch's counter finds in one image: Keras on torch runs torch's own convolutions."""
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    inputs = [torch.zeros((1, *x.shape[1:])) for x in model.inputs]
    plain = sdpa_kernel(SDPBackend.MATH)  # the counter misses the fused kernels on a CPU
    with torch.no_grad(), plain, FlopCounterMode(display=False) as counter:
        model(inputs if len(inputs) > 1 else inputs[0])
    return counter.get_total_flops() // 2


WINDOWS = ("conv", "depthwise", "separable", "transposed", "maxpool", "avgpool", "zero", "cropping", "upsampling",
           "resizing", "center")  # fmt: skip


def footprint(model):
    """Along the first axis of positions: which input indices each output index depends on, by random gradients."""
    shape = model.inputs[0].shape[1:]
    for weight in model.weights:
        weight.assign(tf.random.uniform(weight.shape, 0.1, 1.0))
    rest = list(range(2, len(shape) + 1))
    seen = [set() for _ in range(model.outputs[0].shape[1])]
    for _ in range(12):
        x = tf.Variable(tf.random.uniform((1, *shape), 0.1, 1.0))
        with tf.GradientTape() as tape:
            y = tf.reduce_sum(model(x, training=False), axis=rest)[0]
        for o, gradient in enumerate(tape.jacobian(y, x)):
            moved = tf.reduce_sum(tf.abs(gradient[0]), axis=list(range(1, len(shape)))).numpy()
            seen[o].update(i for i, g in enumerate(moved) if g > 0)
    return [[min(s), max(s)] if s else None for s in seen]


def write_layers():
    result = {"keras": keras.__version__ if KERAS_3 else "2.15.0", "models": {}}
    for name, model in cases():
        keras.backend.clear_session()
        entry = {"config": lean(json.loads(model.to_json())), "layers": list(rows(model))}
        entry["params"] = model.count_params()
        entry["trainable"] = sum(map(_numel, model.trainable_weights))
        if KERAS_3 and name not in ("embedding", "channels_first", "layernorm_positions"):  # fail in Keras on torch
            entry["macs"] = macs(model)
        if not KERAS_3 and name.startswith(WINDOWS):
            entry["footprint"] = footprint(model)
        result["models"][name] = entry
        print(name, file=sys.stderr)
    text = json.dumps(result, separators=(",", ":")).encode()
    path = HERE / f"keras{3 if KERAS_3 else 2}_layers.json.gz"
    path.write_bytes(gzip.compress(text, mtime=0))


VALUES = ("conv_same", "conv_groups", "conv1d_causal", "depthwise", "separable", "transposed_3_2_same",
          "transposed_3_2_valid", "transposed_4_2", "transposed_5_3_same", "transposed_2_3_same", "transposed_extra",
          "maxpool_same", "avgpool_same", "upsampling_bilinear", "batchnorm_no_scale", "batchnorm_signal",
          "layernorm_all",
          "groupnorm", "dense_on_map", "softmax_axis", "prelu_channels", "flatten", "reshape", "permute",
          "channels_first", "autoencoder", "signals", "siamese")  # fmt: skip


def write_values():
    """Random weights, an input and what Keras makes of it, for some of the small models."""
    import torch

    random, arrays = np.random.default_rng(0), {}
    for name, model in cases():
        if name not in VALUES:
            continue
        for layer in _flat(model):
            for variable in layer.weights:
                low = 0.1 if "variance" in variable.name else -1.0
                variable.assign(random.uniform(low, 1.0, variable.shape).astype("float32"))
                arrays[f"{name}|{layer.name}|{variable.name}"] = np.array(variable.value.detach())
        arrays[f"{name}|config"] = np.array(json.dumps(lean(json.loads(model.to_json()))))
        feeds = [random.uniform(-1, 1, (1, *x.shape[1:])).astype("float32") for x in model.inputs]
        with torch.no_grad():
            outputs = model(
                [torch.tensor(x) for x in feeds] if len(feeds) > 1 else torch.tensor(feeds[0]), training=False
            )
        for i, x in enumerate(feeds):
            arrays[f"{name}|x{i}"] = x
        for i, y in enumerate(outputs if isinstance(outputs, list) else [outputs]):
            arrays[f"{name}|y{i}"] = y.numpy()
    np.savez_compressed(HERE / "keras3_values.npz", **arrays)


def _flat(model):
    for layer in model.layers:
        yield from _flat(layer) if hasattr(layer, "layers") else (layer,)


def write_applications():
    """Configs as `save()` archives them (weights left out: they are never read), and what Keras says of each layer."""
    table = []
    names = ["MobileNetV2", "ResNet50", "InceptionV3", "DenseNet121", "EfficientNetB0", "ConvNeXtTiny", "Xception",
             "MobileNetV3Small"]  # fmt: skip
    for name in names if KERAS_3 else ["EfficientNetB0", "MobileNetV3Small"]:
        keras.backend.clear_session()
        model = getattr(keras.applications, name)(weights=None)
        folder = HERE / "applications"
        folder.mkdir(exist_ok=True)
        if KERAS_3:
            from keras.src.saving.saving_lib import _serialize_model_as_json

            config, metadata = _serialize_model_as_json(model)
            with zipfile.ZipFile(folder / f"{name}.keras", "w", zipfile.ZIP_DEFLATED) as archive:
                for member, text in (("metadata.json", metadata), ("config.json", config)):
                    archive.writestr(zipfile.ZipInfo(member, (1980, 1, 1, 0, 0, 0)), text, zipfile.ZIP_DEFLATED)
        else:
            (folder / f"{name}.keras2.json.gz").write_bytes(gzip.compress(model.to_json().encode(), mtime=0))
        if None in model.inputs[0].shape[1:]:  # the same model at a known size, for its shapes
            keras.backend.clear_session()
            model = getattr(keras.applications, name)(weights=None, input_shape=(224, 224, 3))
        total = [name, model.count_params(), sum(map(_numel, model.trainable_weights)), macs(model) if KERAS_3 else ""]
        table.append("\t".join(map(str, ["model", *total])))
        for path, shapes, trainable, other in rows(model):
            table.append("\t".join(map(str, [path, "x".join(map(str, shapes[0])), trainable, other])))
        print(name, file=sys.stderr)
    text = ("\n".join(table) + "\n").encode()
    (HERE / f"keras{3 if KERAS_3 else 2}_applications.tsv.gz").write_bytes(gzip.compress(text, mtime=0))


if __name__ == "__main__":
    write_layers()
    write_applications()
    if KERAS_3:
        write_values()
