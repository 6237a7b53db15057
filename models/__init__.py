"""Networks to try the toolkit on: one normalization family each, written from the papers, with seeded random weights.

`MODELS` maps a name to its `ModelSpec`. Listing them imports no PyTorch; building one does.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch

__all__ = ["MODELS", "ModelSpec"]

Pixels = Literal["standardized", "centered", "patches"]


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """One network of the collection.

    `factory` is "module:function" inside this package; the function takes no argument and returns the network.
    `input_shape` is one input without its batch axis: (3, height, width), or (tokens, features) for token models.
    `pixels` says how the picture is fed: "standardized" (zero mean and unit deviation), "centered" (0 to 255, the mean
    subtracted, as AlexNet and Caffe have it) or "patches" (an embedding of the picture's patches, one a token).
    `dynamic_axes` names the axes of the input whose length stays open in the exported model.
    """

    name: str
    family: str
    summary: str
    paper: str
    factory: str
    input_shape: tuple[int, ...]
    pixels: Pixels = "standardized"
    dynamic_axes: tuple[tuple[int, str], ...] = ((0, "batch"),)

    def build(self) -> torch.nn.Module:
        """The network in eval mode; every call gives the same weights and leaves the global random state alone."""
        import torch

        module, function = self.factory.split(":")
        make = getattr(importlib.import_module(f"{__name__}.{module}"), function)
        with torch.random.fork_rng(devices=[]):
            network: torch.nn.Module = make()
        return network.eval()

    def example_inputs(self, batch: int = 1) -> tuple[torch.Tensor, ...]:
        """The picture as this network takes it, float32 (batch, *input_shape); each item of a batch differs."""
        from models.picture import as_input

        return (as_input(self.input_shape, self.pixels, batch),)

    @property
    def dynamic_shapes(self) -> tuple[dict[int, str], ...]:
        """The open axes as `onnxnorm.export` and `torch.onnx.export` take them: for each input, axis to name."""
        return (dict(self.dynamic_axes),)


_IMAGE_AXES = ((0, "batch"), (2, "height"), (3, "width"))

_SPECS = (
    ModelSpec(
        name="alexnet",
        family="inter-channel LRN",
        summary="AlexNet in two columns, its fully connected layers narrowed",
        paper="Krizhevsky et al. 2012, ImageNet Classification with Deep Convolutional Neural Networks",
        factory="alexnet:inter_channel",
        input_shape=(3, 227, 227),
        pixels="centered",
    ),
    ModelSpec(
        name="alexnet-intra",
        family="intra-channel LRN",
        summary="AlexNet with the normalization over a window inside each channel",
        paper="Krizhevsky et al. 2012; the region from Krizhevsky's cuda-convnet (rnorm) and Caffe (WITHIN_CHANNEL)",
        factory="alexnet:intra_channel",
        input_shape=(3, 227, 227),
        pixels="centered",
    ),
    ModelSpec(
        name="googlenet",
        family="inter-channel LRN",
        summary="GoogLeNet at half width, nine inception modules, torch's LocalResponseNorm",
        paper="Szegedy et al. 2014, Going Deeper with Convolutions",
        factory="googlenet:googlenet",
        input_shape=(3, 128, 128),
        pixels="centered",
    ),
    ModelSpec(
        name="resnet18",
        family="BatchNorm",
        summary="ResNet-18 at half width, height and width open",
        paper="He et al. 2015, Deep Residual Learning for Image Recognition",
        factory="resnet:resnet18",
        input_shape=(3, 112, 112),
        dynamic_axes=_IMAGE_AXES,
    ),
    ModelSpec(
        name="preact-resnet",
        family="BatchNorm",
        summary="ResNet-26 of pre-activation bottlenecks: BatchNorm and ReLU before each convolution",
        paper="He et al. 2016, Identity Mappings in Deep Residual Networks",
        factory="resnet:preact_resnet",
        input_shape=(3, 64, 64),
    ),
    ModelSpec(
        name="se-resnet",
        family="BatchNorm",
        summary="Residual bottlenecks gated by squeeze-and-excitation",
        paper="Hu et al. 2017, Squeeze-and-Excitation Networks",
        factory="resnet:se_resnet",
        input_shape=(3, 64, 64),
    ),
    ModelSpec(
        name="densenet",
        family="BatchNorm",
        summary="DenseNet-BC with 21 dense layers: BatchNorm after every concatenation",
        paper="Huang et al. 2016, Densely Connected Convolutional Networks",
        factory="densenet:densenet",
        input_shape=(3, 64, 64),
    ),
    ModelSpec(
        name="dpn",
        family="BatchNorm",
        summary="Dual-path net: a residual and a densely connected path, grouped convolutions",
        paper="Chen et al. 2017, Dual Path Networks",
        factory="dpn:dpn",
        input_shape=(3, 64, 64),
    ),
    ModelSpec(
        name="mobilenet",
        family="BatchNorm",
        summary="MobileNetV2 at half width: depthwise convolutions, ReLU6, linear bottlenecks",
        paper="Sandler et al. 2018, MobileNetV2: Inverted Residuals and Linear Bottlenecks",
        factory="mobilenet:mobilenet_v2",
        input_shape=(3, 96, 96),
    ),
    ModelSpec(
        name="unet",
        family="BatchNorm",
        summary="U-Net whose up-convolutions are plain and grouped transposed convolutions with BatchNorm",
        paper="Ronneberger et al. 2015, U-Net: Convolutional Networks for Biomedical Image Segmentation",
        factory="unet:unet",
        input_shape=(3, 96, 96),
    ),
    ModelSpec(
        name="repvgg",
        family="BatchNorm",
        summary="RepVGG as it is trained: 3x3, 1x1 and identity branches, each with its BatchNorm",
        paper="Ding et al. 2021, RepVGG: Making VGG-style ConvNets Great Again",
        factory="repvgg:repvgg",
        input_shape=(3, 64, 64),
    ),
    ModelSpec(
        name="mobileone",
        family="BatchNorm",
        summary="MobileOne as it is trained: four branches, a scale branch and an identity branch for each convolution",
        paper="Vasu et al. 2022, MobileOne: An Improved One millisecond Mobile Backbone",
        factory="mobileone:mobileone",
        input_shape=(3, 96, 96),
        dynamic_axes=_IMAGE_AXES,
    ),
    ModelSpec(
        name="acnet",
        family="BatchNorm",
        summary="ACNet as it is trained: 3x3, 1x3 and 3x1 convolutions side by side, each with its BatchNorm",
        paper="Ding et al. 2019, ACNet: Strengthening the Kernel Skeletons by Asymmetric Convolution Blocks",
        factory="acnet:acnet",
        input_shape=(3, 64, 64),
    ),
    ModelSpec(
        name="dbb",
        family="BatchNorm",
        summary="ResNet of Diverse Branch Blocks: parallel and serial convolutions, averages, BatchNorms",
        paper="Ding et al. 2021, Diverse Branch Block: Building a Convolution as an Inception-like Unit",
        factory="dbb:dbb",
        input_shape=(3, 64, 64),
    ),
    ModelSpec(
        name="repvit",
        family="BatchNorm",
        summary="RepViT as it is trained: depthwise branches and the identity under one BatchNorm, GELU, gates",
        paper="Wang et al. 2023, RepViT: Revisiting Mobile CNN From ViT Perspective",
        factory="repvit:repvit",
        input_shape=(3, 96, 96),
    ),
    ModelSpec(
        name="levit",
        family="BatchNorm",
        summary="LeViT-style hybrid: BatchNorm after every Linear, attention with learned biases, Hardswish",
        paper="Graham et al. 2021, LeViT: a Vision Transformer in ConvNet's Clothing for Faster Inference",
        factory="levit:levit",
        input_shape=(3, 112, 112),
    ),
    ModelSpec(
        name="per-activation",
        family="per-activation BatchNorm",
        summary="A small convolutional net with statistics for every (channel, row, column)",
        paper="Ioffe and Szegedy 2015, Batch Normalization (algorithm 1, one activation at a time)",
        factory="per_activation:per_activation",
        input_shape=(3, 32, 32),
    ),
    ModelSpec(
        name="transformer",
        family="LayerNorm",
        summary="Four encoder blocks, LayerNorm before attention and MLP, the number of tokens open",
        paper="Vaswani et al. 2017, Attention Is All You Need; Ba et al. 2016, Layer Normalization",
        factory="transformer:layer_norm",
        input_shape=(64, 128),
        pixels="patches",
        dynamic_axes=((0, "batch"), (1, "tokens")),
    ),
    ModelSpec(
        name="transformer-rms",
        family="RMSNorm",
        summary="Four llama-style blocks: RMSNorm, attention and a gated (SwiGLU) MLP, no biases",
        paper="Zhang and Sennrich 2019, Root Mean Square Layer Normalization; Shazeer 2020, GLU Variants",
        factory="transformer:rms_norm",
        input_shape=(64, 128),
        pixels="patches",
        dynamic_axes=((0, "batch"), (1, "tokens")),
    ),
    ModelSpec(
        name="style",
        family="GroupNorm and InstanceNorm",
        summary="Picture to picture: InstanceNorm in encoder and decoder, GroupNorm in the residual blocks",
        paper="Ulyanov et al. 2016, Instance Normalization; Wu and He 2018, Group Normalization",
        factory="style:style",
        input_shape=(3, 96, 96),
    ),
    ModelSpec(
        name="vae-decoder",
        family="GroupNorm",
        summary="Decoder of a latent diffusion model: GroupNorm and SiLU before every convolution, one attention",
        paper="Rombach et al. 2022, High-Resolution Image Synthesis with Latent Diffusion Models",
        factory="vae:vae_decoder",
        input_shape=(3, 24, 24),
    ),
    ModelSpec(
        name="convnext",
        family="LayerNorm over channels",
        summary="ConvNeXt with 1x1 convolutions, LayerNorm between two Transposes in every block",
        paper="Liu et al. 2022, A ConvNet for the 2020s",
        factory="convnext:convnext",
        input_shape=(3, 96, 96),
    ),
    ModelSpec(
        name="convnext-v2",
        family="GlobalResponseNorm",
        summary="ConvNeXt V2: channels last in every block, global response normalization between its linear layers",
        paper="Woo et al. 2023, ConvNeXt V2: Co-designing and Scaling ConvNets with Masked Autoencoders",
        factory="convnext:convnext_v2",
        input_shape=(3, 96, 96),
    ),
    ModelSpec(
        name="unet-group",
        family="GroupNorm",
        summary="The U-Net with GroupNorm of eight groups in the place of BatchNorm",
        paper="Ronneberger et al. 2015, U-Net; Wu and He 2018, Group Normalization",
        factory="unet:unet_group_norm",
        input_shape=(3, 96, 96),
    ),
    ModelSpec(
        name="stylegan",
        family="InstanceNorm",
        summary="Generator that grows a constant, each convolution followed by InstanceNorm and a style",
        paper="Karras et al. 2019, A Style-Based Generator Architecture for Generative Adversarial Networks",
        factory="stylegan:stylegan",
        input_shape=(3, 8, 8),
    ),
    ModelSpec(
        name="bit",
        family="GroupNorm",
        summary="ResNet-26 of pre-activation bottlenecks with GroupNorm and ReLU",
        paper="Kolesnikov et al. 2020, Big Transfer (BiT): General Visual Representation Learning",
        factory="bit:bit",
        input_shape=(3, 96, 96),
    ),
)

MODELS: Mapping[str, ModelSpec] = MappingProxyType({spec.name: spec for spec in _SPECS})
