"""Programming requests about small records: twelve operations on many kinds of thing."""

from __future__ import annotations

from dataclasses import dataclass

from llm_validation.data.builtin.drawing import lines


@dataclass(frozen=True)
class Exercise:
    """A function to write: what it returns, its code, and a call with the value it must give."""

    name: str
    arguments: str
    returns: str
    body: str
    call: str
    expected: object

    @property
    def code(self) -> str:
        """The whole function with its docstring."""
        body = "\n".join(f"    {line}" for line in self.body.splitlines())
        return f'def {self.name}({self.arguments}):\n    """Return {self.returns}."""\n{body}\n'


# thing, plural, field
_KINDS = tuple(
    tuple(line.split(", "))
    for line in lines("""
        book, books, price
        city, cities, population
        player, players, score
        mountain, mountains, height
        car, cars, speed
        dog, dogs, weight
        film, films, rating
        river, rivers, length
        hall, halls, capacity
        trip, trips, distance
        song, songs, duration
        parcel, parcels, volume
        employee, employees, salary
        lake, lakes, depth
        tree, trees, age
        screen, screens, brightness
        team, teams, budget
        ship, ships, tonnage
        museum, museums, size
        garden, gardens, area
        shop, shops, profit
        video, videos, quality
        road, roads, width
        hotel, hotels, cost
        lamp, lamps, power
        runner, runners, stamina
    """)
)

# name, extra argument, what it returns, body, extra value of the call, expected value; the call
# has three records, A with 4, B with 9 and C with 4.
_OPERATIONS: tuple[tuple[str, str, str, str, str, object], ...] = (
    (
        "{plural}_above",
        "limit",
        "the names of all {plural} whose {field} is above the limit",
        'return [{one}["name"] for {one} in {plural} if {one}["{field}"] > limit]',
        "5",
        ["B"],
    ),
    (
        "total_{field}",
        "",
        "the total {field} of the {plural}",
        'return sum({one}["{field}"] for {one} in {plural})',
        "",
        17,
    ),
    (
        "average_{field}",
        "",
        "the average {field} of the {plural}, or 0 for an empty list",
        "if not {plural}:\n    return 0\n"
        'return sum({one}["{field}"] for {one} in {plural}) / len({plural})',
        "",
        17 / 3,
    ),
    (
        "top_{one}",
        "",
        "the name of the {one} with the highest {field}",
        'best = max({plural}, key=lambda {one}: {one}["{field}"])\nreturn best["name"]',
        "",
        "B",
    ),
    (
        "{plural}_by_{field}",
        "",
        "the names of the {plural}, ordered from the lowest {field} to the highest",
        'ordered = sorted({plural}, key=lambda {one}: {one}["{field}"])\n'
        'return [{one}["name"] for {one} in ordered]',
        "",
        ["A", "C", "B"],
    ),
    (
        "count_{plural}",
        "least",
        "how many {plural} have at least a given {field}",
        'return sum(1 for {one} in {plural} if {one}["{field}"] >= least)',
        "4",
        3,
    ),
    (
        "{field}_table",
        "",
        "a dictionary from the name of each {one} to its {field}",
        'return {{{one}["name"]: {one}["{field}"] for {one} in {plural}}}',
        "",
        {"A": 4, "B": 9, "C": 4},
    ),
    (
        "group_{plural}",
        "",
        "a dictionary that lists, for every {field}, the names of its {plural}",
        "groups = {{}}\nfor {one} in {plural}:\n"
        '    groups.setdefault({one}["{field}"], []).append({one}["name"])\nreturn groups',
        "",
        {4: ["A", "C"], 9: ["B"]},
    ),
    (
        "split_{plural}",
        "limit",
        "two lists of names: {plural} with a {field} below the limit, and the others",
        "low, high = [], []\nfor {one} in {plural}:\n"
        '    (low if {one}["{field}"] < limit else high).append({one}["name"])\nreturn low, high',
        "9",
        (["A", "C"], ["B"]),
    ),
    (
        "raise_{field}",
        "amount",
        "copies of the {plural} in which every {field} has grown by the amount",
        'return [{{**{one}, "{field}": {one}["{field}"] + amount}} for {one} in {plural}]',
        "1",
        None,
    ),
    (
        "{field}_range",
        "",
        "the gap between the largest and the smallest {field} among the {plural}",
        'values = [{one}["{field}"] for {one} in {plural}]\nreturn max(values) - min(values)',
        "",
        5,
    ),
    (
        "any_{one}_over",
        "limit",
        "True if the {field} of at least one {one} exceeds the limit",
        'return any({one}["{field}"] > limit for {one} in {plural})',
        "9",
        False,
    ),
)


def _records(field: str, *, more: int = 0) -> list[dict[str, object]]:
    return [{"name": name, field: value + more} for name, value in (("A", 4), ("B", 9), ("C", 4))]


def record_exercises() -> list[Exercise]:
    """Every operation on every kind of record."""
    exercises = []
    for one, plural, field in _KINDS:
        words = {"one": one, "plural": plural, "field": field}
        for name, extra, returns, body, value, expected in _OPERATIONS:
            named = name.format(**words)
            arguments = f"{plural}, {extra}" if extra else plural
            given = f"{_records(field)}, {value}" if value else f"{_records(field)}"
            exercises.append(
                Exercise(
                    named,
                    arguments,
                    returns.format(**words),
                    body.format(**words),
                    f"{named}({given})",
                    _records(field, more=1) if extra == "amount" else expected,
                )
            )
    return exercises
