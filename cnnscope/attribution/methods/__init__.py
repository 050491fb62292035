"""The methods of attribution by name. Those of one kind share a file; a method from elsewhere is a file of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cnnscope.registry import Registry

if TYPE_CHECKING:
    from cnnscope.attribution.contract import Method

METHODS: Registry[Method] = Registry(
    "cnnscope.attributions",
    "method of attribution",
    {
        name: f"{__name__}.{place}"
        for name, place in {
            "deconvolution": "gradients:DECONVOLUTION",
            "deeplift": "deeplift:DEEPLIFT",
            "feature-ablation": "perturbations:FEATURE_ABLATION",
            "grad-cam": "activation_maps:GRAD_CAM",
            "grad-cam-pp": "activation_maps:GRAD_CAM_PP",
            "gradient-shap": "paths:GRADIENT_SHAP",
            "guided-backprop": "gradients:GUIDED_BACKPROP",
            "guided-grad-cam": "activation_maps:GUIDED_GRAD_CAM",
            "input-x-gradient": "gradients:INPUT_X_GRADIENT",
            "integrated-gradients": "paths:INTEGRATED_GRADIENTS",
            "layer-cam": "activation_maps:LAYER_CAM",
            "lrp": "lrp:LRP",
            "occlusion": "perturbations:OCCLUSION",
            "saliency": "gradients:SALIENCY",
            "smoothgrad": "gradients:SMOOTHGRAD",
        }.items()
    },
    form="cnnscope.attribution.contract:Method",
    code="E481",
)
