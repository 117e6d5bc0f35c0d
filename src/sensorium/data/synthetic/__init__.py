"""The procedural synthetic world, where the right answer is always known."""

from sensorium.data.synthetic.captions import Hallucination, name
from sensorium.data.synthetic.clip import FPS, Event, Moving, mkv
from sensorium.data.synthetic.corpus import FAULTS, write_corpus
from sensorium.data.synthetic.dice import Dice
from sensorium.data.synthetic.draw import png
from sensorium.data.synthetic.edits import Change
from sensorium.data.synthetic.questions import KINDS, Question
from sensorium.data.synthetic.say import can_say, say
from sensorium.data.synthetic.scene import Scene
from sensorium.data.synthetic.sound import RATE, wav
from sensorium.data.synthetic.thing import CLASSES, COLOURS, GROUPS, HELD_OUT, SHAPES, Thing, related
from sensorium.data.synthetic.words import LANGUAGES, Language
from sensorium.data.synthetic.world import ASK, Samples, Split, What, World, box_answer

__all__ = [
    "ASK",
    "CLASSES",
    "COLOURS",
    "FAULTS",
    "FPS",
    "GROUPS",
    "HELD_OUT",
    "KINDS",
    "LANGUAGES",
    "RATE",
    "SHAPES",
    "Change",
    "Dice",
    "Event",
    "Hallucination",
    "Language",
    "Moving",
    "Question",
    "Samples",
    "Scene",
    "Split",
    "Thing",
    "What",
    "World",
    "box_answer",
    "can_say",
    "mkv",
    "name",
    "png",
    "related",
    "say",
    "wav",
    "write_corpus",
]
