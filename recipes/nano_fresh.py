"""The shapes of what is trained for `nano`, and random weights in these shapes."""

from __future__ import annotations

from torch import Tensor, nn

from recipes.nano_model import EMBED_RMS, WEIGHTS
from sensorium.batch import Modality
from sensorium.fusion.projector import MLPProjector, ProjectorConfig
from sensorium.fusion.resampler import Resampler
from sensorium.heads.embedding import EmbeddingHead, ResidualMap
from sensorium.model.config import Projector
from sensorium.model.config import Resampler as ResamplerLink
from sensorium.model.presets import Eyes, Trained
from sensorium.nn.lora import LoraConfig, add_lora
from sensorium.nn.peft import PREFIX

EYES, SIDE = Eyes(variant=2, size=320), 5
"""EfficientNet-Lite2 sees 320 pixels on a grid of 10 x 10; the language model reads the means of 2 x 2 of these."""


def shapes() -> Trained:
    """Those that ship, but for the eyes and the image connector."""
    shipped = Trained.model_validate_json((WEIGHTS / "nano.json").read_bytes())
    image = ProjectorConfig(
        dim_in=1280,
        dim_out=576,
        hidden=1152,
        pool="adaptive",
        size=SIDE,
        positions=(SIDE, SIDE),
        norm_out="rms",
        dropout=0.1,
    )
    connectors = {**shipped.connectors, Modality.IMAGE: Projector(config=image)}
    return shipped.model_copy(update={"eyes": EYES, "connectors": connectors})


def fresh(made: Trained) -> dict[str, Tensor]:
    """Random weights by their shipped names; the adapter and the text map change nothing yet."""
    image, audio = made.connectors[Modality.IMAGE], made.connectors[Modality.AUDIO]
    assert isinstance(image, Projector)
    assert isinstance(audio, ResamplerLink)
    assert made.adapter is not None
    modules: dict[str, nn.Module] = {
        "connectors.image.": MLPProjector(image.config),
        "connectors.audio.": Resampler(audio.config),
    }
    for module in modules.values():
        nn.init.constant_(module.get_parameter("norm_out.weight"), EMBED_RMS)
    modules["dual.image_head."] = EmbeddingHead(made.image_head)
    if made.text_map is not None:
        modules["dual.text_head."] = ResidualMap(made.image_head.dim_out, made.text_map)
    tensors = {prefix + name: tensor for prefix, module in modules.items() for name, tensor in module.state_dict().items()}
    return tensors | _adapter(made.adapter)


def _adapter(config: LoraConfig) -> dict[str, Tensor]:
    wide, narrow, inner = 576, 192, 1536
    sizes = {"q_proj": (wide, wide), "k_proj": (wide, narrow), "v_proj": (wide, narrow), "o_proj": (wide, wide)}
    sizes |= {"gate_proj": (wide, inner), "up_proj": (wide, inner), "down_proj": (inner, wide)}
    tensors: dict[str, Tensor] = {}
    for layer in range(30):
        for name, (dim_in, dim_out) in sizes.items():
            block = nn.Sequential(nn.Linear(dim_in, dim_out, bias=False))
            add_lora(block, LoraConfig(config.r, config.alpha, targets=("0",)))
            path = f"{PREFIX}layers.{layer}.{'self_attn' if name[0] in 'qkvo' else 'mlp'}.{name}"
            for key, tensor in block.state_dict().items():
                if "lora" in key:
                    tensors[f"{path}.{key.removeprefix('0.')}.weight"] = tensor
    return tensors
