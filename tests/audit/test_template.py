"""The template probe names what a broken template does, and lets right ones of several families pass."""

from __future__ import annotations

import hashlib
import time

import pytest
from tokenizers import AddedToken

from sensorium.audit.template import check, probe
from sensorium.fusion.layout import Layout
from sensorium.model.causal import PLAIN
from sensorium.model.presets import CHATML, tiny_blueprint
from tests.audit.subjects import Broken, drawn, sit

LLAMA = (
    "{{ bos_token }}{% for message in messages %}{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'"
    " + message['content'] + '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
MISTRAL = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}"
    "{{ '[INST] ' + message['content'] + ' [/INST]' }}{% else %}{{ ' ' + message['content'] + '</s>' }}{% endif %}{% endfor %}"
)


def layout(template: str, begin: str = "<|im_start|>", end: str = "<|im_end|>", more: tuple[str, ...] = ()) -> Layout:
    """Over the bytes of `tiny`, with these further tokens."""
    blueprint = tiny_blueprint()
    blueprint.tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in more])
    number = blueprint.tokenizer.token_to_id(end)
    assert number is not None
    return Layout(blueprint.tokenizer, template, {"bos_token": begin, "eos_token": end}, 0, 1024, [number])


def faults(given: Layout, known: str | None = None) -> str:
    return "\n".join(finding.claim for finding in probe(given, known) if not finding.passed)


def test_right_templates_pass() -> None:
    (found,) = probe(layout(CHATML), hashlib.sha256(CHATML.encode()).hexdigest())
    assert found.passed and found.claim.endswith("opens and ends turns as it should.")
    llama = ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
    assert faults(layout(LLAMA, llama[0], llama[3], llama)) == ""
    assert faults(layout(MISTRAL, "<s>", "</s>", ("<s>", "</s>", "[INST]", "[/INST]"))) == ""
    hermes = layout(CHATML, llama[0], "<|im_end|>", llama)  # ChatML over the tokenizer of another family
    assert faults(hermes) == ""


def test_weights_that_came_without_a_template_are_no_fault() -> None:
    (found,) = probe(layout(PLAIN))
    assert found.passed and "is the plain one" in found.claim


@pytest.mark.parametrize(
    ("template", "said"),
    [
        (CHATML[: CHATML.index("{% if add")], "does not open the assistant's turn: the prompt lacks '<|im_start|>assistant'"),
        ("{{ bos_token }}" + CHATML, "begins the conversation twice, with two <|im_start|>"),
        (CHATML.replace("<|im_end|>", ""), "ends the assistant's turn without a token that ends an answer"),
        (CHATML.replace("message['role']", "'user'"), "does not say whose turn it is"),
        (
            "{% for message in messages %}{{ '### ' + message['role'] + '\n' + message['content'] + '<|im_end|>' }}{% endfor %}"
            "{% if add_generation_prompt %}{{ '### assistant\n' }}{% endif %}",
            "does not write turns as ChatML does, whose tokens the tokenizer has",
        ),
        ("{% if messages[0]['role'] != 'system' %}{{ raise_exception('no') }}{% endif %}", "refuses a plain conversation"),
    ],
)
def test_broken_templates_are_named(template: str, said: str) -> None:
    assert said in faults(layout(template))


def test_another_template_than_the_weights_learned_is_named() -> None:
    known = hashlib.sha256(CHATML.encode()).hexdigest()
    changed = CHATML.replace("<|im_end|>\\n", "<|im_end|>")
    assert f"is not the one that the weights were trained with ({known[:12]})" in faults(layout(changed), known)


@pytest.mark.parametrize("text", ["a b " * 5000, "." * 20_000, "a-" * 5000, "\n" * 20_000, "a" * 20_000])
def test_odd_long_answers_are_read_in_no_time(text: str) -> None:
    exam = sit(Broken(how=text.replace("{", "")), drawn(10, 1), variants=())
    began = time.process_time()
    check(exam)
    assert time.process_time() - began < 2
