"""Sets of images: `open_images` finds the kind of a path, each kind reads in a file of its own."""

from cnnscope.trained.images.kinds import KINDS, open_images
from cnnscope.trained.images.sample import ImageSet, Sample, Shard, Skipped

__all__ = ["KINDS", "ImageSet", "Sample", "Shard", "Skipped", "open_images"]
