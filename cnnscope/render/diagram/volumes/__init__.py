"""The volumes: feature maps as solids to scale, in the manner of the LeNet and AlexNet figures."""
