"""What others publish about the zoo's networks.

TORCHVISION: parameters from each weight enum's ``meta["num_params"]`` (torchvision 0.28), MACs from
torch.utils.flop_counter on the meta device in eval mode at the published crop, halved; to three decimals these are the
``meta["_ops"]`` that torchvision labels GFLOPs. The three at the end lie outside its classification table: RetinaNet's
published figure leaves its batch norms out, whose scale and shift torchvision keeps as buffers when it is pretrained.
"""

from __future__ import annotations

TORCHVISION: dict[str, tuple[str, int, int]] = {
    "alexnet-torchvision": ("alexnet", 61_100_840, 714_188_480),
    "vgg11": ("vgg11", 132_863_336, 7_609_090_048),
    "vgg13": ("vgg13", 133_047_848, 11_308_466_176),
    "vgg16": ("vgg16", 138_357_544, 15_470_264_320),
    "vgg19": ("vgg19", 143_667_240, 19_632_062_464),
    "googlenet-torchvision": ("googlenet", 6_624_904, 1_498_376_192),
    "inception_v3": ("inception_v3", 27_161_264, 5_713_216_096),
    "resnet18": ("resnet18", 11_689_512, 1_814_073_344),
    "resnet34": ("resnet34", 21_797_672, 3_663_761_408),
    "resnet50": ("resnet50", 25_557_032, 4_089_184_256),
    "resnet101": ("resnet101", 44_549_160, 7_801_405_440),
    "resnet152": ("resnet152", 60_192_808, 11_513_626_624),
    "resnext50_32x4d": ("resnext50_32x4d", 25_028_904, 4_230_479_872),
    "wide_resnet50_2": ("wide_resnet50_2", 68_883_240, 11_398_021_120),
    "densenet121": ("densenet121", 7_978_856, 2_834_161_664),
    "densenet201": ("densenet201", 20_013_928, 4_291_365_888),
    "squeezenet1_0": ("squeezenet1_0", 1_248_424, 818_924_576),
    "squeezenet1_1": ("squeezenet1_1", 1_235_496, 349_151_936),
    "mobilenet_v2": ("mobilenet_v2", 3_504_872, 300_774_272),
    "mobilenet_v3_large": ("mobilenet_v3_large", 5_483_032, 216_589_760),
    "mobilenet_v3_small": ("mobilenet_v3_small", 2_542_856, 56_510_400),
    "shufflenet_v2_x1_0": ("shufflenet_v2_x1_0", 2_278_604, 144_907_992),
    "efficientnet_b0": ("efficientnet_b0", 5_288_548, 385_814_752),
    "convnext_tiny": ("convnext_tiny", 28_589_128, 4_455_531_264),
    "deeplabv3_resnet50": ("segmentation.deeplabv3_resnet50", 42_004_074, 178_721_945_088),
    "r3d_18": ("video.r3d_18", 33_371_472, 40_696_553_472),
    "retinanet_resnet50_fpn": ("detection.retinanet_resnet50_fpn", 34_014_999, 151_540_437_248),
}
"""Zoo id -> torchvision's name, its published parameters, its MACs."""

TIMM: dict[str, tuple[str, int]] = {
    "mobilenet_v1": ("mobilenetv1_100", 224),
    "xception": ("legacy_xception", 299),
    "vit_tiny": ("vit_tiny_patch16_224", 224),
}
"""Zoo id -> timm's name and its input size. Counted in the test: timm publishes no exact figures."""

KERAS_SUMMARY = """\
conv2d_5 (Conv2D)                (None, 28, 28, 64)    3,200
max_pooling2d_3 (MaxPooling2D)   (None, 14, 14, 64)    0
conv2d_6 (Conv2D)                (None, 14, 14, 128)   73,856
conv2d_7 (Conv2D)                (None, 14, 14, 128)   147,584
max_pooling2d_4 (MaxPooling2D)   (None, 7, 7, 128)     0
conv2d_8 (Conv2D)                (None, 7, 7, 256)     295,168
conv2d_9 (Conv2D)                (None, 7, 7, 256)     590,080
max_pooling2d_5 (MaxPooling2D)   (None, 3, 3, 256)     0
flatten_1 (Flatten)              (None, 2304)          0
dense_3 (Dense)                  (None, 128)           295,040
dropout_2 (Dropout)              (None, 128)           0
dense_4 (Dense)                  (None, 64)            8,256
dropout_3 (Dropout)              (None, 64)            0
dense_5 (Dense)                  (None, 10)            650
"""
"""`model.summary()` of the lecture CNN as Keras prints it (CSI 4106, University of Ottawa, fall 2024)."""
