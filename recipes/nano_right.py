"""What is asked beside captions in the first run: questions about photos, rooms and drawings, with their right answers."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from recipes.nano_asked import Asked, album_asked
from recipes.nano_course import Course

SIZE = 10
"""Pictures of a step."""


class Right:
    """Callable over (seed): the pictures of step after step; about as many photos as others."""

    def __init__(self, course: Course) -> None:
        self.course = course

    def __call__(self, seed: int) -> Iterator[Sequence[Asked]]:
        """Until all that the later albums ask was asked."""
        chance, course = random.Random(seed), self.course
        asked = course.questions(seed)
        out = [item for album in course.later for item in album_asked(album, chance)]
        some = chance.sample(list(asked), min(len(asked), max(len(out) // 2, 1)))
        out += [Asked(course.views, 2 * index + chance.randrange(2), tuple(asked[index])) for index in some]
        chance.shuffle(out)
        for start in range(0, len(out), SIZE):
            yield out[start : start + SIZE]
