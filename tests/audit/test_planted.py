"""Each planted defect is caught and named in one sentence, with its number and where to look."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sensorium.audit import grounding, onesided, template
from sensorium.audit.checks import findings
from sensorium.audit.exam import Exam
from sensorium.audit.grounding import by_kind, survival
from sensorium.audit.onesided import side
from sensorium.evaluation.result import Finding
from tests.audit.subjects import Always, Broken, Deaf, Sighted, drawn, sit

ITEMS = drawn(120, 5)


def failed(model: Sighted, check: Callable[[Exam], list[Finding]]) -> list[Finding]:
    return [found for found in check(sit(model, ITEMS)) if not found.passed]


def test_a_model_that_ignores_its_picture() -> None:
    found = failed(Deaf(), grounding.check)
    assert len(found) == 3
    assert found[0].claim.startswith("The model ignores what it is shown: 100% of 120 answers stay the same with the media of")
    assert all("falls by 0 [" in one.claim and "] (p = 1.000, sign flips by cluster)." in one.claim for one in found)
    assert found[1].claim.count("blanked") == found[2].claim.count("removed") == 1
    assert found[0].estimate is not None and found[0].estimate.n == 120 and found[0].estimate.low > 0.9
    assert set(found[0].evidence) <= {item.sample.id for item in ITEMS} and len(found[0].evidence) == 10


def test_a_model_that_ignores_its_picture_on_one_kind_of_question_only() -> None:
    exam = sit(Always(word="1", to="How many"), drawn(160, 6))
    kinds = by_kind(exam, "shuffled")
    assert kinds["counting"].deaf and not kinds["colour"].deaf and kinds["counting"].stayed.value == 1
    (found,) = (one for one in grounding.check(exam) if not one.passed)
    assert found.claim.startswith("On questions of the kind 'counting': The model ignores what it is shown")
    whole = survival(exam, "shuffled")
    assert whole is not None and whole.gain.low > 0


def test_a_model_that_says_yes_always() -> None:
    first, second = failed(Always(), onesided.check)
    assert first.claim.startswith("The model answers 'yes' to all questions nearly always: 100% of 120, where it is right for")
    assert "yes-or-no questions" in second.claim and "balanced accuracy 0.500" in second.claim
    assert first.estimate is not None and first.estimate.value == 1 and len(first.evidence) == 10


def test_a_model_that_says_yes_to_every_question_for_a_thing_sees_what_is_not_there() -> None:
    exam = sit(Always(to="Is there"), drawn(100, 7, ("existence",), yes=0.5))
    by_check = {found.check: found for found in findings([exam]) if not found.passed}
    assert by_check["hallucination"].claim.startswith("The model sees things that are not there: 100% of 50 things")
    assert "most often a" in by_check["hallucination"].claim and ": a" in by_check["hallucination"].evidence[0]
    row = side(exam, range(len(exam.items)))
    assert row is not None and row.always and row.bits == 0 and row.bits_due == 1 and row.balanced == 0.5


@pytest.mark.parametrize(
    ("how", "share", "said"),
    [
        ("{}<|im_end|>", 0.1, "hold a template's marks or raw tokens"),
        ("{}</s></s>", 1.0, "hold a template's marks or raw tokens"),
        ("Ġ{}", 1.0, "hold a template's marks or raw tokens"),
        ("assistant\n{}", 1.0, "hold a turn's heading"),
        ("{}\nUser: And what else?\nAssistant: Nothing.", 0.3, "hold a turn's heading"),
        ("{question} {}", 0.3, "say the question again"),
        ("", 0.4, "are empty"),
        ("...", 0.6, "hold no answer that the task could read"),
        ("{0} {0} {0} {0} {0} {0} {0}", 0.5, "say the same words over and over"),
    ],
)
def test_a_broken_template(how: str, share: float, said: str) -> None:
    found = failed(Broken(how=how, share=share), template.check)
    assert any(f"answers {said}" in one.claim for one in found)
    assert all(one.claim.startswith("The prompt's template looks broken") and one.evidence for one in found)


def test_a_template_without_an_end() -> None:
    (found,) = failed(Broken(finish="length"), template.check)
    assert "100% of 120 answers were cut at the token limit: the model does not end its turn" in found.claim
