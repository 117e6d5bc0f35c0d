"""easy-VQA: drawings of one coloured shape each, and questions about it; they come with the package `easy-vqa`."""

from __future__ import annotations

from recipes.nano_data import PictureQuestion
from sensorium.data.sentences import as_question
from sensorium.errors import DependencyError


def drawings() -> list[PictureQuestion]:
    """Every question; a tenth of the training drawings is the split "dev".

    Raises:
        DependencyError: the package is not installed.
    """
    try:
        import easy_vqa
    except ImportError as error:
        raise DependencyError("the drawings", "need the package easy-vqa", "Run: pip install easy-vqa==1.0") from error
    found: list[PictureQuestion] = []
    for split, asked, paths in (
        ("train", easy_vqa.get_train_questions(), easy_vqa.get_train_image_paths()),
        ("test", easy_vqa.get_test_questions(), easy_vqa.get_test_image_paths()),
    ):
        for question, answer, picture in zip(*asked, strict=True):
            kept = "dev" if split == "train" and picture % 10 == 0 else split
            found.append(PictureQuestion(paths[picture], kept, as_question(question), answer))
    return found
