"""What is asked beside captions in the second run: what photos show, rooms, some drawings; teachers answer most of it."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from itertools import cycle

from recipes.nano_asked import Album, Asked, album_asked
from recipes.nano_course import Course
from recipes.nano_teacher import Teacher
from recipes.nano_things import Things
from sensorium.training.features import FeatureStore

PHOTOS, ROOMS, DRAWINGS, AGREED = 8, 8, 1, 2
"""Pictures of each kind in a step; questions that a photo's captions answer alike, at most."""
SIZE = PHOTOS + ROOMS + DRAWINGS


class Beside:
    """Callable over (seed): the pictures of step after step.

    Args:
        things: of the course's photos, in their order. rooms: features of those that `teacher` knows.
    """

    def __init__(self, course: Course, things: Things, rooms: FeatureStore, teacher: Teacher, drawings: Album) -> None:
        self.course, self.things, self.rooms, self.teacher, self.drawings = course, things, rooms, teacher, drawings
        self.views = {name: view for view, name in enumerate(rooms.names)}

    def __call__(self, seed: int) -> Iterator[Sequence[Asked]]:
        """Until all photos were asked about that anything is asked about."""
        chance = random.Random(seed)
        photos = list(self._photos(seed, chance))
        rooms = cycle(chance.sample(self.teacher.pictures, len(self.teacher.pictures)))
        drawings = cycle(list(album_asked(self.drawings, chance)))
        for start in range(0, len(photos), PHOTOS):
            paths = [next(rooms) for _ in range(ROOMS)]
            indoors = [Asked(self.rooms, self.views[path], tuple(self.teacher.turns(path, chance))) for path in paths]
            yield [*photos[start : start + PHOTOS], *indoors, *(next(drawings) for _ in range(DRAWINGS))]

    def _photos(self, seed: int, chance: random.Random) -> Iterator[Asked]:
        told, agreed = self.things.turns(seed), self.course.agreed(seed)
        places = list(self.course.photos)
        for row in chance.sample(range(len(places)), len(places)):
            index = places[row]
            if turns := [*told.get(row, []), *agreed.get(index, [])[:AGREED]]:
                yield Asked(self.course.views, 2 * index + chance.randrange(2), tuple(turns))
