"""One model of each larger family of timm against torch's FLOP counter; ``benchmarks/timm_sweep.py`` runs them all."""

from __future__ import annotations

import warnings

import pytest
import torch
from sweeps import sweep
from torch.utils.flop_counter import FlopCounterMode

from cnnscope.analysis.cost import known, node_costs
from cnnscope.analysis.receptive_field import theoretical
from cnnscope.errors import CnnscopeError
from cnnscope.sources.resolve import load
from cnnscope.sources.torch.build import build
from cnnscope.sources.torch.models import timm as recipe_of
from cnnscope.sources.torch.module import trace

MODELS = (
    "beit_base_patch16_224", "cait_xxs24_224", "coat_lite_tiny", "coatnet_0_224", "convit_tiny",
    "convmixer_1024_20_ks9_p14", "convnext_atto", "cpubone_nano", "crossvit_9_240", "csatv2", "cspnext_tiny",
    "darknet17", "davit_tiny", "deepseek_vit_412m", "deit_tiny_patch16_224", "densenet121", "dla34",
    "dm_nfnet_f0", "dpn48b", "eca_resnext26ts", "ecaresnext26t_32x4d", "edgenext_xx_small", "efficientformer_l1",
    "efficientformerv2_s0", "efficientnet_cc_b0_4e", "efficientvim_m1", "efficientvit_b0", "efficientvit_m2",
    "ese_vovnet19b_slim", "eva02_base_patch16_clip_224", "fasternet_t0", "fastvit_t8", "flexivit_small",
    "focalnet_tiny_srf", "gcvit_xxtiny", "ghostnet_050", "halonet26t", "hardcorenas_a", "hgnet_tiny",
    "hiera_tiny_224", "hieradet_small", "hrnet_w18_small", "iformer_t", "inception_next_atto",
    "inception_resnet_v2", "inception_v3", "inception_v4", "lambda_resnet26t", "lcnet_035", "lcnetv2_small",
    "legacy_seresnet18", "legacy_xception", "levit_conv_128s", "lowformer_e1", "mambaout_femto",
    "maxvit_rmlp_pico_rw_256", "mixer_s32_224", "mobilenetv1_100", "mobilenetv5_base", "mobilevitv2_050",
    "mvitv2_tiny", "naflexvit_base_patch16_siglip", "nest_tiny", "nextvit_small", "nf_resnet26", "pit_ti_224",
    "poolformer_s12", "pvt_v2_b0", "qwen3_vit_88m", "rdnet_tiny", "regnetx_002", "repghostnet_050", "repvgg_a0",
    "repvit_m1_1", "res2net50_26w_4s", "resnest14d", "resnetblur18", "resnetv2_50x1_bit", "rexnet_100",
    "samvit_base_patch16_224", "selecsls42", "shvit_s1", "skresnet18", "starnet_s1",
    "swiftformer_xs", "swin_tiny_patch4_window7_224", "swinv2_cr_tiny_224", "swinv2_tiny_window8_256",
    "tiny_vit_5m_224", "tnt_s_patch16_224", "tresnet_m", "twins_svt_small", "vgg11", "visformer_tiny",
    "vit_relpos_small_patch16_224", "vit_small_patch16_rope_224", "vit_tiny_r_s16_p8_224", "vitamin_small_224",
    "volo_d1_224", "xception41", "xcit_nano_12_p16_224",
)  # fmt: skip

# By coverage, these run every line of cnnscope that all families above run; the others are a sweep.
FEW = {
    "convmixer_1024_20_ks9_p14", "convnext_atto", "cpubone_nano", "csatv2", "darknet17", "deepseek_vit_412m",
    "deit_tiny_patch16_224", "efficientnet_cc_b0_4e", "fastvit_t8", "gcvit_xxtiny", "ghostnet_050", "halonet26t",
    "hiera_tiny_224", "hieradet_small", "mobilenetv1_100", "mvitv2_tiny", "naflexvit_base_patch16_siglip",
    "nf_resnet26", "regnetx_002", "resnest14d", "swin_tiny_patch4_window7_224", "swinv2_cr_tiny_224",
    "tnt_s_patch16_224", "vit_relpos_small_patch16_224", "volo_d1_224", "xcit_nano_12_p16_224",
}  # fmt: skip


@pytest.mark.parametrize("name", sweep([*MODELS, "sequencer2d_s"], FEW))
@pytest.mark.usefixtures("torchvision")
def test_models(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        recipe = recipe_of(name, {})
        module = build(recipe.make)
        sizes = recipe.sizes(module)
        graph, _, remarks = trace(module, sizes)
    mixed = name == "csatv2"  # its attention multiplies (B, N) by (N, B): every image attends to every other
    assert ["are mixed" in remark for remark in remarks] == [True] * mixed
    totals = known(node_costs(graph).values())
    assert sum(p.numel for p in graph.params.values() if not p.buffer) == sum(p.numel() for p in module.parameters())
    assert [node.name for node in graph.nodes if node.op.tag == "unsupported"] == []
    assert theoretical(graph).keys() == {*graph.inputs, *(node.name for node in graph.nodes)}  # none is unknown
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module.eval().to("meta").requires_grad_(False)(*(torch.empty(1, *size.shape, device="meta") for size in sizes))
    assert totals.macs == counter.get_total_flops() // 2


@pytest.mark.usefixtures("torchvision")
def test_sizes_and_keyword_arguments() -> None:
    assert load("timm:efficientnet_b1").graph.inputs["input"].features == (3, 240, 240)
    assert load("timm:vit_tiny_patch16_384").graph.inputs["input"].features == (3, 384, 384)
    larger = load("timm:vit_tiny_patch16_224?img_size=64&in_chans=1&num_classes=0").graph
    assert larger.inputs["input"].features == (1, 64, 64)
    assert larger.value(larger.outputs[0]).features == (192,)
    features = load("timm:resnet18?features_only=True").graph
    assert [features.value(name).features[0] for name in features.outputs] == [64, 64, 128, 256, 512]


@pytest.mark.parametrize(
    ("source", "code", "message", "hint"),
    [
        ("timm:resnet18?pretrained=True", "E432",
         "`pretrained` would download weights, which an architecture does not need", "leave `pretrained` out"),
        ("timm:convnext_tinny", "E431", "timm has no model `convnext_tinny`",
         "did you mean `convnext_tiny` or `convnextv2_tiny` or `convnext_tiny_hnf`?"),
        ("timm:hf-hub:somebody/something", "E431", "timm has no model `hf-hub:somebody/something`",
         "`timm.list_models()` lists them"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("torchvision")
def test_what_is_refused(source: str, code: str, message: str, hint: str) -> None:
    with pytest.raises(CnnscopeError) as caught:
        load(source)
    (found,) = caught.value.diagnostics
    assert (found.code, found.message, found.hint) == (code, message, hint)
