"""Read a 3MF as a scene, with its unit.

Format: 3MF Core Specification 1.3; of the Production Extension 1.1 the paths to other parts, which slicers
write.
"""

from __future__ import annotations

from array import array
from itertools import count
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import trimesh
from trimesh.visual.material import PBRMaterial

from handlers.meshes.bounds import Bounds
from handlers.meshes.package import Package, opened
from worker import Fail

__all__ = ["CORE", "UNITS", "read_3mf"]

CORE: Final = "http://schemas.microsoft.com/3dmanufacturing/core/2015/02"
PRODUCTION: Final = "http://schemas.microsoft.com/3dmanufacturing/production/2015/06"
READABLE: Final = frozenset(
    {CORE, PRODUCTION, "http://schemas.microsoft.com/3dmanufacturing/material/2015/02"}
)
UNITS: Final = {
    "micron": "um",
    "millimeter": "mm",
    "centimeter": "cm",
    "inch": "in",
    "foot": "ft",
    "meter": "m",
}
MAX_DEPTH: Final = 64  # of components within components
MAX_EXTENSIONS: Final = 100
MAX_PLACES: Final = 100_000
COUNTED: Final = {  # elements that take memory each, and how many of them a file may have
    "model": 1000, "basematerials": 100_000, "base": 100_000, "object": 100_000, "component": MAX_PLACES,
    "item": MAX_PLACES,
}  # fmt: skip

Key = tuple[str, str]  # the part's path in lower case, the object's number there


class Place(NamedTuple):
    """Where an object is used, and how it is moved there."""

    key: Key
    matrix: Any


class Thing:
    """One object of the model: a mesh, or components."""

    def __init__(self, colour: Any) -> None:
        self.colour = colour
        self.points = array("d")
        self.corners = array("q")
        self.components: list[Place] = []


class Model:
    """What the parts of a package say, while they are read."""

    def __init__(self, package: Package, name: str, bounds: Bounds) -> None:
        self.unit = "mm"  # what the standard has where the file says nothing
        self.things: dict[Key, Thing] = {}
        self.items: list[Place] = []
        self.left_out: set[str] = set()
        self._package = package
        self._name = name
        self._bounds = bounds
        self._colours: dict[Key, list[Any]] = {}
        self._group = ("", "")
        self._thing: Thing | None = None
        self._path = ""
        self._points = self._triangles = 0
        self._counts = dict.fromkeys(COUNTED, 0)

    def read(self) -> None:
        """Read the model, and every part that it names."""
        waiting, seen = [self._package.model().lower().lstrip("/")], set[str]()
        while waiting:
            self._path = waiting.pop()
            seen.add(self._path)
            self._package.parse(self._path, self._start)
            places = [*self.items, *(place for thing in self.things.values() for place in thing.components)]
            waiting = sorted({place.key[0] for place in places} - seen)

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        space, _, element = tag.rpartition(" ")
        if space == CORE and (take := TAKEN.get(element)) is not None:
            if element in COUNTED:
                self._count(element)
            try:
                take(self, attributes)
            except (KeyError, ValueError, OverflowError) as exc:
                raise Fail(
                    f"{self._name} is damaged: a <{element}> of it cannot be read ({exc!r})"[:400]
                ) from exc

    def _count(self, element: str) -> None:
        self._counts[element] += 1
        if self._counts[element] > COUNTED[element]:
            raise Fail(
                f"{self._name} has more than {COUNTED[element]:,} <{element}> elements, which is the limit"
            )

    def take_model(self, attributes: dict[str, str]) -> None:
        """Read the unit; of parts that are named by others it must be the same."""
        unit = UNITS.get(attributes.get("unit", "millimeter"))
        if unit is None:
            raise Fail(f"{self._name} is damaged: its unit is {attributes['unit'][:40]!r}")
        if self.things and unit != self.unit:
            raise Fail(
                f"{self._name} has parts in different units ({self.unit}, {unit}), which cannot be read here"
            )
        self.unit = unit
        for prefix in attributes.get("requiredextensions", "").split(maxsplit=MAX_EXTENSIONS):
            if (address := self._package.namespaces.get(prefix, prefix)) not in READABLE:
                self.left_out.add(f"what only the extension {address[:100]} describes is left out")
        if len(self.left_out) > MAX_EXTENSIONS:
            raise Fail(f"{self._name} is damaged: it needs more than {MAX_EXTENSIONS} extensions")

    def take_base_group(self, attributes: dict[str, str]) -> None:
        """Begin a list of materials."""
        self._group = (self._path, attributes["id"])
        self._colours[self._group] = []

    def take_base(self, attributes: dict[str, str]) -> None:
        """Take a material: its colour."""
        text = attributes["displaycolor"].removeprefix("#")
        colour = bytes.fromhex(text if len(text) == 8 else f"{text}FF")
        if len(colour) != 4:
            raise ValueError(f"{attributes['displaycolor'][:40]!r} is no colour")
        self._colours[self._group].append(tuple(colour))

    def take_object(self, attributes: dict[str, str]) -> None:
        """Begin an object."""
        colours = self._colours.get((self._path, attributes.get("pid", "")), [])
        index = int(attributes.get("pindex", "0"))
        if "pid" in attributes and not colours:
            self.left_out.add("properties that are no base materials are left out")
        self._thing = Thing(colours[index] if 0 <= index < len(colours) else None)
        self.things[self._path, attributes["id"]] = self._thing

    def take_vertex(self, attributes: dict[str, str]) -> None:
        """Take a point of the object."""
        self._points += 1
        if self._points % 65_536 == 0:
            self._bounds.points(self._points, self._name)
        self._in_object().points.extend(
            (float(attributes["x"]), float(attributes["y"]), float(attributes["z"]))
        )

    def take_triangle(self, attributes: dict[str, str]) -> None:
        """Take a triangle of the object."""
        self._triangles += 1
        if self._triangles % 65_536 == 0:
            self._bounds.triangles(self._triangles, self._name)
        if "p1" in attributes:
            self.left_out.add("colours of single triangles are left out")
        self._in_object().corners.extend(
            (int(attributes["v1"]), int(attributes["v2"]), int(attributes["v3"]))
        )

    def take_component(self, attributes: dict[str, str]) -> None:
        """Take an object that is a part of the object."""
        self._in_object().components.append(self._place(attributes))

    def take_item(self, attributes: dict[str, str]) -> None:
        """Take an object that is to be made."""
        self.items.append(self._place(attributes))

    def _in_object(self) -> Thing:
        if self._thing is None:
            raise Fail(f"{self._name} is damaged: it has points or triangles outside of its objects")
        return self._thing

    def _place(self, attributes: dict[str, str]) -> Place:
        path = attributes.get(f"{PRODUCTION} path", self._path).lower().lstrip("/")
        matrix = np.eye(4)
        if text := attributes.get("transform"):
            numbers = np.array([float(word) for word in text.split()]).reshape(4, 3)
            matrix[:3] = numbers.T
        return Place((path, attributes["objectid"]), matrix)


TAKEN: Final = {
    "model": Model.take_model,
    "basematerials": Model.take_base_group,
    "base": Model.take_base,
    "object": Model.take_object,
    "vertex": Model.take_vertex,
    "triangle": Model.take_triangle,
    "component": Model.take_component,
    "item": Model.take_item,
}


def read_3mf(path: Path, name: str, bounds: Bounds) -> tuple[trimesh.Scene, str, list[str]]:
    """Return the scene of a 3MF, its unit, and what of the file is left out.

    Raises:
        Fail: it is broken, or too large.
    """
    with opened(path, name, bounds) as package:
        model = Model(package, name, bounds)
        model.read()
    check_uses(model, name, bounds)
    scene = scene_of(model, name)
    return scene, model.unit, sorted(model.left_out)


def check_uses(model: Model, name: str, bounds: Bounds) -> None:
    """Refuse objects that contain themselves or are not there, and count what all places come to."""
    totals: dict[Key, tuple[int, int]] = {}

    def total(key: Key, above: tuple[Key, ...]) -> tuple[int, int]:
        """Return how many places and triangles an object comes to."""
        if key in above or len(above) > MAX_DEPTH:
            raise Fail(f"{name} is damaged: its object {key[1][:40]} contains itself, or lies too deep")
        if (thing := model.things.get(key)) is None:
            raise Fail(f"{name} is damaged: it uses an object {key[1][:40]!r} that is not there")
        if key not in totals:
            parts = [total(place.key, (*above, key)) for place in thing.components]
            totals[key] = (
                1 + sum(part[0] for part in parts),
                len(thing.corners) // 3 + sum(part[1] for part in parts),
            )
        return totals[key]

    sums = [total(item.key, ()) for item in model.items]
    bounds.triangles(sum(triangles for _, triangles in sums), name)
    if (places := sum(count for count, _ in sums)) > MAX_PLACES:
        raise Fail(f"{name} places its objects {places:,} times; {MAX_PLACES:,} are the limit")


def mesh_of(thing: Thing, name: str) -> trimesh.Trimesh:
    """Return the mesh of an object."""
    points = np.frombuffer(thing.points, dtype=np.float64).reshape(-1, 3).copy()
    corners = np.frombuffer(thing.corners, dtype=np.int64).reshape(-1, 3).copy()
    if corners.min() < 0 or corners.max() >= len(points):
        raise Fail(f"{name} is damaged: some of its triangles use points that do not exist")
    mesh = trimesh.Trimesh(points, corners, process=False)
    if thing.colour is not None:
        mesh.visual = trimesh.visual.TextureVisuals(material=PBRMaterial(baseColorFactor=thing.colour))
    return mesh


def scene_of(model: Model, name: str) -> trimesh.Scene:
    """Return the scene: every mesh once, at each of its places."""
    scene = trimesh.Scene()
    meshes = {key: mesh_of(thing, name) for key, thing in model.things.items() if len(thing.corners)}
    numbers = count()

    def put(place: Place, above: Any) -> None:
        """Put an object and its components into the scene."""
        matrix = above @ place.matrix
        if (mesh := meshes.get(place.key)) is not None:
            geometry, node = "/".join(place.key), f"place {next(numbers)}"
            if geometry in scene.geometry:
                scene.graph.update(frame_to=node, matrix=matrix, geometry=geometry)
            else:
                scene.add_geometry(mesh, geom_name=geometry, node_name=node, transform=matrix)
        for component in model.things[place.key].components:
            put(component, matrix)

    for item in model.items:
        put(item, np.eye(4))
    return scene
