"""Make the stand-in for visual wake words: write `vww01.npz`, train MobileNetV1, write `vww01.tflite`.

    python -m venv /tmp/tf && /tmp/tf/bin/pip install tensorflow-cpu==2.21.0 scikit-learn
    /tmp/tf/bin/python tools/tiny_person.py

The field's benchmark asks whether a photograph of COCO 2014 shows a person; those cannot be shipped. Its
stand-in is drawn: 96x96 RGB scenes with trees, poles, signs, hydrants, animals, houses and cars, half of them
with a figure of a person, of any size, pose and colour, often half hidden or cut by the frame. The network is
the benchmark's (C. Banbury et al., MLPerf Tiny, arXiv 2106.07597): MobileNetV1, width 0.25.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray
from tiny_images import Pixels, made

SIDE = 96
TRAINED = 12_000
MEASURED = 160
EPOCHS = 12

Canvas = NDArray[np.float32]
Point = tuple[float, float]
"""Right and down, in pixels from the top left corner."""

Window = tuple[slice, slice]
Cover = tuple[Window, Canvas]
"""Part of the canvas, and how much of each of its pixels is covered, 0 to 1."""

DOWN, RIGHT = (np.mgrid[0:SIDE, 0:SIDE] + 0.5).astype(np.float32)
SKIN = np.array([[0.96, 0.82, 0.70], [0.85, 0.65, 0.48], [0.62, 0.42, 0.28], [0.35, 0.22, 0.15]])
HAIR = np.array([[0.08, 0.06, 0.05], [0.30, 0.18, 0.08], [0.75, 0.60, 0.30], [0.6, 0.6, 0.6]])


def window(left: float, top: float, right: float, bottom: float) -> Window:
    """The rows and columns of the canvas that this part of the plane touches."""
    ends = np.clip([top - 1, bottom + 2, left - 1, right + 2], 0, SIDE).astype(int)
    return slice(ends[0], ends[1]), slice(ends[2], ends[3])


def limb(start: Point, end: Point, first: float, last: float) -> Cover:
    """Cover of a rounded bar from `start` to `end`, whose radius goes from `first` to `last`."""
    widest = max(first, last)
    (left, right), (top, bottom) = sorted((start[0], end[0])), sorted((start[1], end[1]))
    within = window(left - widest, top - widest, right + widest, bottom + widest)
    columns, rows = RIGHT[within] - start[0], DOWN[within] - start[1]
    across, along = end[0] - start[0], end[1] - start[1]
    length = max(across**2 + along**2, 1e-6)
    part = np.clip((columns * across + rows * along) / length, 0, 1)
    gap = np.hypot(columns - part * across, rows - part * along)
    return within, np.clip(first + part * (last - first) + 0.5 - gap, 0, 1)


def block(left: float, top: float, right: float, bottom: float) -> Cover:
    """Cover of an upright rectangle."""
    within = window(left, top, right, bottom)
    columns, rows = RIGHT[within], DOWN[within]
    wide = np.clip(np.minimum(columns - left, right - columns) + 0.5, 0, 1)
    return within, wide * np.clip(np.minimum(rows - top, bottom - rows) + 0.5, 0, 1)


def paint(canvas: Canvas, cover: Cover, colour: Any) -> None:
    """Lay a colour on the canvas, a little darker to the right, as if lit from the left."""
    within, share = cover
    lit = (1 - 0.004 * (RIGHT[within] - SIDE / 2))[..., None]
    canvas[within] += share[..., None] * (lit * np.asarray(colour, np.float32) - canvas[within])


def any_colour(rng: np.random.Generator) -> NDArray[np.float64]:
    """A colour that is more often dull than bright."""
    grey = rng.uniform(0.1, 0.9)
    return np.clip(grey + rng.normal(0, 0.22, 3), 0.02, 0.98)


def reached(start: Point, angle: float, length: float) -> Point:
    """The point `length` away; an angle of 0 points down, positive ones to the right."""
    return start[0] + length * np.sin(angle), start[1] + length * np.cos(angle)


def person(rng: np.random.Generator, canvas: Canvas, horizon: float) -> None:
    """A person, 45 to 130 pixels tall: standing, walking, sitting, waving, in trousers, skirt or coat."""
    tall = float(np.exp(rng.uniform(np.log(45), np.log(130))))
    middle = rng.uniform(14, 82)
    head_top = min(rng.uniform(3, 26) if tall > 80 else rng.uniform(horizon, 94) - tall * 0.9, 70.0)
    head_top = max(head_top, 2.0)
    radius = 0.072 * tall * rng.uniform(0.9, 1.15)
    build = rng.uniform(0.8, 1.35)
    lean, facing = rng.normal(0, 0.08), rng.choice([-1.0, 1.0])
    skin = SKIN[rng.integers(len(SKIN))] * rng.uniform(0.9, 1.05)
    shirt, trousers, shoes = any_colour(rng), any_colour(rng), any_colour(rng) * 0.5
    sleeve = shirt if rng.uniform() < 0.6 else skin

    head = (middle, head_top + radius)
    neck = reached(head, lean, 1.5 * radius)
    hips = reached(neck, lean, 0.31 * tall)
    sitting, gait = rng.uniform() < 0.15, rng.normal(0, 0.3)

    def arm(side: float, shade: float) -> None:
        shoulder = (neck[0] + side * 0.085 * tall * build, neck[1] + 0.035 * tall)
        raised = rng.uniform() < 0.15
        upper = side * rng.uniform(1.6, 2.8) if raised else side * 0.15 - side * gait * 0.6
        elbow = reached(shoulder, upper, 0.165 * tall)
        hand = reached(elbow, upper + facing * abs(rng.normal(0, 0.5)), 0.15 * tall)
        paint(canvas, limb(shoulder, elbow, 0.032 * tall * build, 0.027 * tall), sleeve * shade)
        paint(canvas, limb(elbow, hand, 0.026 * tall, 0.02 * tall), sleeve * shade)
        paint(canvas, limb(hand, hand, 0.024 * tall, 0.024 * tall), skin * shade)

    def leg(side: float, shade: float) -> None:
        hip = (hips[0] + side * 0.04 * tall * build, hips[1])
        thigh = facing * rng.uniform(1.2, 1.5) if sitting else side * gait
        knee = reached(hip, thigh, 0.23 * tall)
        shin = 0.0 if sitting else thigh - facing * abs(rng.normal(0, 0.25))
        foot = reached(knee, shin, 0.23 * tall)
        paint(canvas, limb(hip, knee, 0.05 * tall * build, 0.037 * tall), trousers * shade)
        paint(canvas, limb(knee, foot, 0.037 * tall, 0.026 * tall), trousers * shade)
        toe = (foot[0] + facing * 0.05 * tall, foot[1] + 0.01 * tall)
        paint(canvas, limb(foot, toe, 0.024 * tall, 0.018 * tall), shoes)

    arm(-facing, 0.8)
    leg(-1, 0.85)
    leg(1, 1)
    width = 0.085 * tall * build
    chest = (neck[0], neck[1] + 0.07 * tall)
    paint(canvas, limb(neck, chest, 0.035 * tall, 0.035 * tall), skin * 0.9)
    paint(canvas, limb(chest, hips, width, 0.07 * tall * build), shirt)
    if rng.uniform() < 0.25 and not sitting:
        hem = reached(hips, lean, rng.uniform(0.1, 0.3) * tall)
        colour = shirt if rng.uniform() < 0.5 else any_colour(rng)
        paint(canvas, limb(hips, hem, 0.07 * tall * build, 0.12 * tall * build), colour)
    hair = HAIR[rng.integers(len(HAIR))]
    crown = (head[0] - facing * 0.25 * radius, head[1] - 0.25 * radius)
    if rng.uniform() < 0.35:
        paint(canvas, limb(crown, reached(crown, 0, 2 * radius), radius, 0.6 * radius), hair)
    paint(canvas, limb(crown, crown, 1.05 * radius, radius), hair)
    chin = (head[0] + facing * 0.15 * radius, head[1] + 0.35 * radius)
    paint(canvas, limb(head, chin, 0.85 * radius, 0.7 * radius), skin)
    arm(facing, 1)


def tree(rng: np.random.Generator, canvas: Canvas, foot: Point, size: float) -> None:
    top = (foot[0] + rng.normal(0, 3), foot[1] - size)
    paint(canvas, limb(foot, top, 0.06 * size, 0.04 * size), [0.3, 0.22, 0.15])
    leaves = np.array([0.2, 0.4, 0.15]) * rng.uniform(0.5, 1.6)
    for _ in range(rng.integers(3, 8)):
        at = (top[0] + rng.normal(0, 0.18 * size), top[1] + rng.normal(0, 0.14 * size))
        paint(
            canvas,
            limb(at, at, *[rng.uniform(0.12, 0.25) * size] * 2),
            leaves * rng.uniform(0.8, 1.2),
        )


def pole(rng: np.random.Generator, canvas: Canvas, foot: Point, size: float) -> None:
    """A pole with a lamp, a round or a square sign on top."""
    top = (foot[0], foot[1] - size)
    paint(canvas, limb(foot, top, 0.03 * size, 0.025 * size), any_colour(rng) * 0.7)
    wide, kind = rng.uniform(0.06, 0.13) * size, rng.integers(3)
    if kind == 0:
        paint(canvas, limb(top, top, wide, wide), any_colour(rng))
    elif kind == 1:
        shape = block(top[0] - wide, top[1] - wide, top[0] + wide, top[1] + 1.5 * wide)
        paint(canvas, shape, any_colour(rng))
    else:
        paint(canvas, limb(top, (top[0] + 2 * wide, top[1]), 2, 2), any_colour(rng))


def pillar(rng: np.random.Generator, canvas: Canvas, foot: Point, size: float) -> None:
    """A hydrant, bollard, letter box or statue's plinth: upright, with a round top, as a person is."""
    colour, wide = any_colour(rng), rng.uniform(0.12, 0.22) * size
    shoulder = (foot[0], foot[1] - 0.7 * size)
    paint(canvas, limb(foot, shoulder, wide, wide * rng.uniform(0.7, 1)), colour)
    knob = (foot[0], foot[1] - 0.95 * size)
    paint(
        canvas,
        limb(knob, knob, *[rng.uniform(0.4, 0.8) * wide] * 2),
        colour * rng.uniform(0.6, 1.3),
    )


def animal(rng: np.random.Generator, canvas: Canvas, foot: Point, size: float) -> None:
    """A dog, horse or cow, from the side."""
    fur, facing = any_colour(rng) * np.array([1, 0.9, 0.75]), rng.choice([-1.0, 1.0])
    long, back = rng.uniform(0.35, 0.5) * size, foot[1] - 0.6 * size
    front, rear = (foot[0] + facing * long, back), (foot[0] - facing * long, back)
    for hip in (front, rear):
        for step in rng.normal(0, 0.2, 2):
            paint(
                canvas,
                limb(hip, reached(hip, step, 0.55 * size), 0.06 * size, 0.04 * size),
                fur * 0.8,
            )
    paint(canvas, limb(rear, front, *[rng.uniform(0.13, 0.2) * size] * 2), fur)
    head = reached(front, facing * rng.uniform(1.7, 2.6), 0.35 * size)
    nose = (head[0] + facing * 0.15 * size, head[1] + 0.05 * size)
    paint(canvas, limb(front, head, 0.11 * size, 0.09 * size), fur)
    paint(canvas, limb(head, nose, 0.1 * size, 0.06 * size), fur * 0.9)
    paint(canvas, limb(rear, reached(rear, -facing * 1.2, 0.3 * size), 2, 1), fur * 0.9)


def house(rng: np.random.Generator, canvas: Canvas, foot: Point, size: float) -> None:
    wide, tall, wall = rng.uniform(0.4, 0.9) * size, rng.uniform(0.7, 1.3) * size, any_colour(rng)
    left, top = foot[0] - wide, foot[1] - tall
    paint(canvas, block(left, top, foot[0] + wide, foot[1]), wall)
    pane, step = any_colour(rng) * 0.6, rng.uniform(9, 16)
    for x in np.arange(left + 3, foot[0] + wide - 5, step):
        for y in np.arange(top + 4, foot[1] - 6, step):
            paint(canvas, block(x, y, x + 0.4 * step, y + 0.55 * step), pane)


def car(rng: np.random.Generator, canvas: Canvas, foot: Point, size: float) -> None:
    colour, long, low = any_colour(rng), 0.7 * size, foot[1] - 0.2 * size
    cabin = ((foot[0] - 0.3 * long, low - 0.22 * size), (foot[0] + 0.3 * long, low - 0.22 * size))
    paint(canvas, limb(*cabin, 0.16 * size, 0.16 * size), colour * 0.6)
    paint(
        canvas, block(foot[0] - long, low - 0.18 * size, foot[0] + long, low + 0.1 * size), colour
    )
    for x in (foot[0] - 0.55 * long, foot[0] + 0.55 * long):
        paint(
            canvas,
            limb((x, low + 0.1 * size), (x, low + 0.1 * size), *[0.12 * size] * 2),
            [0.1] * 3,
        )


def bush(rng: np.random.Generator, canvas: Canvas, foot: Point, size: float) -> None:
    leaves = np.array([0.25, 0.42, 0.18]) * rng.uniform(0.5, 1.4)
    for _ in range(rng.integers(3, 7)):
        at = (foot[0] + rng.normal(0, 0.35 * size), foot[1] - rng.uniform(0, 0.3) * size)
        paint(
            canvas,
            limb(at, at, *[rng.uniform(0.15, 0.3) * size] * 2),
            leaves * rng.uniform(0.8, 1.2),
        )


def scrap(rng: np.random.Generator, canvas: Canvas, foot: Point, size: float) -> None:
    """Rounded bars at any angle, coloured as clothes are: what only looks like parts of a person."""
    at = (foot[0], foot[1] - 0.5 * size)
    for _ in range(rng.integers(1, 4)):
        end = reached(at, rng.uniform(0, 2 * np.pi), rng.uniform(0.2, 0.5) * size)
        paint(canvas, limb(at, end, *rng.uniform(0.03, 0.12, 2) * size), any_colour(rng))
        at = end


THINGS: tuple[Callable[[np.random.Generator, Canvas, Point, float], None], ...] = (
    tree, pole, pole, pillar, pillar, animal, animal, house, car, bush, scrap, scrap,
)  # fmt: skip


def thing(rng: np.random.Generator, canvas: Canvas, horizon: float) -> None:
    """Anything but a person, somewhere on the ground."""
    foot = (rng.uniform(0, SIDE), rng.uniform(horizon + 2, 94))
    THINGS[rng.integers(len(THINGS))](rng, canvas, foot, float(np.exp(rng.uniform(3.2, 4.4))))


def ground(rng: np.random.Generator, horizon: float) -> Canvas:
    """Sky or wall above, ground or floor below, each a slope with a slow wave."""
    canvas = np.zeros((SIDE, SIDE, 3), np.float32)
    for cover in (np.ones_like(DOWN), np.clip(DOWN - horizon + 0.5, 0, 1)):
        slope, wave, phase = rng.normal(0, 0.15, 3), rng.normal(0, 0.05, 3), rng.uniform(0, 6)
        angle, pace = rng.uniform(0, np.pi), rng.uniform(0.02, 0.5)
        ripple = np.sin(pace * (DOWN * np.sin(angle) + RIGHT * np.cos(angle)) + phase)
        surface = (
            any_colour(rng) + (DOWN / SIDE - 0.5)[..., None] * slope + ripple[..., None] * wave
        )
        canvas += cover[..., None] * (surface.astype(np.float32) - canvas)
    return canvas


def scene(rng: np.random.Generator, with_person: bool) -> Pixels:
    """One scene, uint8 (96, 96, 3)."""
    horizon = rng.uniform(25, 75)
    canvas = ground(rng, horizon)
    for _ in range(rng.integers(0, 3)):
        thing(rng, canvas, horizon)
    if with_person:
        person(rng, canvas, horizon)
    else:
        thing(rng, canvas, horizon)
    if rng.uniform() < 0.25:
        thing(rng, canvas, 75.0)  # in front of whatever is there
    canvas = 0.5 + (canvas - 0.5) * rng.uniform(0.6, 1.1) + rng.normal(0, 0.05)
    drawn: Pixels = np.clip(np.rint(255 * canvas), 0, 255).astype(np.uint8)
    return drawn


def scenes(seed: int, count: int, seen: bool) -> tuple[Pixels, Pixels]:
    """Scenes (count, 96, 96, 3) and labels (count,), 1 for a person, half of each; any seed is unseen."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(count) % 2).astype(np.uint8)
    return np.stack([scene(rng, bool(label)) for label in labels]), labels


def mobilenet() -> keras.Model:
    """MobileNetV1 of width 0.25: 8 filters at first, thirteen depthwise separable layers, two outputs."""
    weights = {"kernel_regularizer": keras.regularizers.L2(1e-4)}

    def rectified(x: Any) -> Any:
        return layers.ReLU()(layers.BatchNormalization()(x))

    entry = layers.Input((SIDE, SIDE, 3))
    x = rectified(
        layers.Conv2D(8, 3, 2, padding="same", kernel_initializer="he_normal", **weights)(entry)
    )
    strides = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)
    filters = (16, 32, 32, 64, 64, 128, 128, 128, 128, 128, 128, 256, 256)
    for stride, count in zip(strides, filters, strict=True):
        x = rectified(layers.DepthwiseConv2D(3, stride, padding="same")(x))
        x = rectified(layers.Conv2D(count, 1, kernel_initializer="he_normal", **weights)(x))
    x = layers.Flatten()(layers.AveragePooling2D(3)(x))
    return keras.Model(entry, layers.Dense(2, activation="softmax")(x))


def main() -> None:
    words = {
        "benchmark": "vww01",
        "what": "stand-in for visual wake words: drawn scenes with or without a drawn person, 96x96 RGB",
        "made_by": "tools/tiny_person.py",
        "from": "drawn by the script from seeds alone",
        "network": "MobileNetV1, width 0.25",
    }
    made("vww01", scenes, mobilenet, (TRAINED, MEASURED, EPOCHS), words, mirrored=True)


if __name__ == "__main__":
    main()
