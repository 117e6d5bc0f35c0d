"""Words of corpora as one writes them."""

from __future__ import annotations

from sensorium.data.sentences import as_question, as_sentence


def test_sentences_are_written_as_people_write() -> None:
    assert as_sentence("a dog 's toy , on  grass .") == "A dog's toy, on grass."
    assert as_sentence("red") == "Red." and as_sentence("It rains.") == "It rains."


def test_questions_are_written_as_people_write() -> None:
    assert as_question("what is on the night_stand ?") == "What is on the night stand?"
    assert as_question("Why") == "Why"
