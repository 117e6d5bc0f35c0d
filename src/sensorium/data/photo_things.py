"""The things that yes-or-no questions about photos ask for, with the words of captions that name them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple


class Thing(NamedTuple):
    """`words` name it, in singular and plural; `doubtful` ones may mean it, so that it does not count as absent."""

    words: frozenset[str]
    doubtful: frozenset[str]


_PEOPLE = (
    "person people man men guy guys woman women lady ladies boy boys girl girls child children kid kids toddler "
    "toddlers baby babies player players crowd group couple rider skier climber surfer skateboarder snowboarder biker "
    "bicyclist cyclist hiker swimmer runner runners team teenager teenagers someone adult adults teen family"
)
_ANYONE = (
    "person people player players crowd group couple rider skier climber surfer skateboarder snowboarder biker "
    "bicyclist cyclist hiker swimmer runner runners team someone adult adults teenager teenagers friends family he "
    "she his her"
)
_YOUNG = "child children kid kids toddler toddlers baby"

_TABLE = (
    ("a person", _PEOPLE, "he she his her hand hands face"),
    ("a man", "man men guy guys", _ANYONE),
    ("a woman", "woman women lady ladies", _ANYONE),
    ("a child", "child children kid kids boy boys girl girls toddler toddlers baby babies", "youth teenager young people"),
    ("a boy", "boy boys", f"{_ANYONE} {_YOUNG} young"),
    ("a girl", "girl girls", f"{_ANYONE} {_YOUNG} young"),
    ("a baby", "baby babies infant", "toddler toddlers"),
    ("a crowd", "crowd crowds", "group people audience spectators"),
    ("a dog", "dog dogs puppy puppies greyhound greyhounds poodle", "animal animals retriever terrier"),
    ("a horse", "horse horses pony", "animal animals"),
    ("a bird", "bird birds duck ducks seagull seagulls", "animal"),
    ("a ball", "ball balls football basketball volleyball baseball", "soccer tennis rugby"),
    ("a bike", "bike bikes bicycle bicycles", "biker biking motorcycle motorbike cyclist bicyclist"),
    ("a motorcycle", "motorcycle motorcycles motorbike", "bike biker dirtbike"),
    ("a car", "car cars", "vehicle vehicles truck van traffic taxi"),
    ("a boat", "boat boats canoe kayak sailboat raft", "ship rafting kayaker"),
    ("a bench", "bench benches", ""),
    ("a fence", "fence fences", ""),
    ("a building", "building buildings", "house store city town"),
    ("a tree", "tree trees", "woods forest wooded branch"),
    ("a rock", "rock rocks boulder", "cliff stone rocky"),
    ("a mountain", "mountain mountains", "hill cliff peak"),
    ("a hill", "hill hills", "mountain slope"),
    ("a cliff", "cliff", "rock mountain"),
    ("a pool", "pool", "swimming"),
    ("a beach", "beach shore", "ocean sand"),
    ("a field", "field", "grass grassy meadow"),
    ("a street", "street streets", "road sidewalk city"),
    ("a road", "road roads", "street path track"),
    ("a sidewalk", "sidewalk", "street pavement walkway"),
    ("a wall", "wall walls", ""),
    ("a park", "park", "playground"),
    ("a hat", "hat hats cap", "helmet"),
    ("a helmet", "helmet helmets", "hat biker"),
    ("a shirt", "shirt shirts", "top jersey"),
    ("a jacket", "jacket jackets coat coats", "vest"),
    ("a dress", "dress dresses", ""),
    ("a toy", "toy toys", ""),
    ("a stick", "stick sticks", "branch"),
    ("a skateboard", "skateboard skateboards skateboarder skateboarders skateboarding", "board"),
    ("a snowboard", "snowboard snowboarder snowboarders snowboarding", "board"),
    ("a surfboard", "surfboard surfboards surfer surfers surfing", "board"),
    ("a wave", "wave waves", "ocean surf"),
    ("a ramp", "ramp ramps", ""),
    ("a swing", "swing", "swings swinging"),
    ("a slide", "slide", "slides sliding"),
    ("a frisbee", "frisbee", "disc disk"),
    ("a table", "table tables", ""),
    ("a camera", "camera cameras", ""),
    ("a sign", "sign signs", ""),
    ("a rope", "rope ropes", ""),
    ("a lake", "lake", "water river pond"),
    ("a river", "river stream creek", "water lake"),
    ("an ocean", "ocean sea", "water beach waves lake"),
    ("a fountain", "fountain", ""),
    ("a guitar", "guitar guitars", ""),
    ("a backpack", "backpack backpacks", "pack bag"),
    ("a bed", "bed", ""),
    ("a chair", "chair chairs", ""),
    ("a window", "window windows", ""),
    ("a flag", "flag flags", ""),
    ("a leash", "leash", ""),
    ("a race", "race", "racing track"),
    ("a skier", "skier skiers skiing skis ski", ""),
    ("a tennis racket", "racket racquet tennis", ""),
    ("a soccer player", "soccer", ""),
    ("a football player", "football", ""),
    ("a basketball", "basketball", ""),
    ("a baseball player", "baseball", ""),
    ("a playground", "playground", "park slide swing"),
    ("water", "water ocean sea lake river pool pond stream creek waves wave", "wet beach swimming boat fountain splash"),
    ("snow", "snow snowy", "skier snowboarder ski ice"),
    ("grass", "grass grassy lawn", "field yard park"),
    ("sand", "sand sandy", "beach"),
    ("dirt", "dirt mud muddy", "ground"),
    ("ice", "ice", "snow hockey"),
    ("mud", "mud muddy", "dirt"),
    ("a path", "path trail", "road"),
    ("a suit", "suit", "bathing swim"),
    ("sunglasses", "sunglasses", "glasses goggles"),
    ("a bag", "bag bags", "backpack purse"),
    ("a bridge", "bridge", ""),
    ("a flower", "flower flowers", ""),
    ("a bus", "bus", ""),
    ("a truck", "truck trucks", "vehicle car"),
    ("a tent", "tent tents", ""),
    ("an umbrella", "umbrella umbrellas", ""),
    ("a couch", "couch sofa", ""),
    ("a bathing suit", "bathing bikini swimsuit", "swim trunks"),
)

THINGS: Mapping[str, Thing] = MappingProxyType(
    {name: Thing(frozenset(words.split()), frozenset(doubtful.split())) for name, words, doubtful in _TABLE}
)
"""By the name that a question uses, article included: `a dog`, `snow`."""
