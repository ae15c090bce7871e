"""Typed trees in YAML: reading with errors that name key, value and line, and printing with comments.

The tree itself is declared elsewhere (depthd/config.py, depthd/mono/model.py) as pydantic models; the
comments that `to_yaml` prints are the fields' descriptions, so that nothing about a key is written twice.
"""

from __future__ import annotations

import difflib
import re
import textwrap
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from depthd.errors import UsageError

KeyPath = tuple[str | int, ...]
_WIDTH = 100


class Section(BaseModel):
    """A part of a tree; a key that is not known is an error."""

    # Descriptions name modes and models; "model_" is no reserved word here.
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, protected_namespaces=())


SectionType = TypeVar("SectionType", bound=Section)


@dataclass(frozen=True)
class Octal:
    """Marks an integer that is written in octal, as file modes are: Annotated[int, Octal()]."""


# libyaml's, where PyYAML has it, is ten times as fast: the start of a service reads several files.
_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_SafeLoader):
    """YAML 1.1 as PyYAML reads it, plus the octal numbers of YAML 1.2 (0o640)."""


_Loader.yaml_implicit_resolvers = {k: list(v) for k, v in yaml.SafeLoader.yaml_implicit_resolvers.items()}
_Loader.add_implicit_resolver("!octal", re.compile(r"^0o[0-7]+$"), ["0"])
_Loader.add_constructor("!octal", lambda loader, node: int(str(node.value), 8))


@dataclass
class _Source:
    """Plain data with the place each key came from ("demo.yaml line 3", "--set mono.threads=-1")."""

    data: dict[str, Any]
    places: dict[KeyPath, str]

    def place(self, path: KeyPath) -> str:
        """Where the nearest enclosing key that was written down stands; empty if nothing was."""
        for length in range(len(path), -1, -1):
            if path[:length] in self.places:
                return self.places[path[:length]]
        return ""


def read(
    model: type[SectionType],
    path: Path | None = None,
    overrides: Sequence[str] | None = None,
    remedy: str = "`depthd config show` prints every key with its meaning",
) -> SectionType:
    """Reads a YAML file (or none: all defaults) into `model` and applies `key.path=value` overrides in order.

    Values of overrides are YAML too (`[left, mono]` is a list). An override that changes a section's `kind`
    leaves behind the file's keys that the new kind does not have. Raises UsageError naming every wrong key
    with its full path, the value found and the line it stands in.
    """
    source = _read_file(path) if path is not None else _Source({}, {})
    for override in overrides or ():
        _apply_override(model, source, override)
    return _checked(model, source, remedy)


def build(model: type[SectionType], data: dict[str, Any], remedy: str) -> SectionType:
    """A tree from plain data, for example options of a command. Raises UsageError as `read` does."""
    return _checked(model, _Source(data, {}), remedy)


def to_yaml(tree: Section, alternatives: bool = False) -> str:
    """The tree as YAML, each key under its description.

    With alternatives, the kinds that a section could have instead (another camera) follow as comments, so
    that every knob is shown.
    """
    return "\n".join(_yaml_lines(tree, indent=0, alternatives=alternatives)) + "\n"


# Reading


def _checked(model: type[SectionType], source: _Source, remedy: str) -> SectionType:
    _fill_in_kinds(model, source.data)
    lines = [_line(source, path, f"should not be {flag}") for path, flag in _misplaced_flags(model, source.data)]
    try:
        tree = model.model_validate(source.data)
    except ValidationError as error:
        lines += [_explain(model, source, detail) for detail in error.errors()]
    if lines:
        raise UsageError(_listed(lines), remedy)
    return tree


def _listed(lines: list[str]) -> str:
    """One error is one line; several stand below a heading."""
    if len(lines) == 1:
        return lines[0]
    return f"{len(lines)} keys are wrong:\n  " + "\n  ".join(lines)


def _read_file(path: Path) -> _Source:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", "name a YAML file that can be read") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not a text file in UTF-8", "name a YAML file") from None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return _Source({}, {})
        if not isinstance(node, yaml.MappingNode):
            raise UsageError(f"{path} holds no `key: value` lines", "see config/depthd.yaml for the keys")
        places: dict[KeyPath, str] = {(): str(path)}
        _note_lines(node, (), path, places)
        return _Source(loader.construct_document(node), places)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise UsageError(f"{path} line {line} is not YAML: {error.problem}", "mend that line") from None
    except yaml.YAMLError as error:
        problem = " ".join(str(error).split())
        raise UsageError(f"{path} is not YAML: {problem}", "name a YAML file") from None


def _note_lines(node: yaml.Node, path: KeyPath, file: Path, places: dict[KeyPath, str]) -> None:
    """Records the line of every key below `node`. Raises UsageError for a key given twice."""
    if isinstance(node, yaml.SequenceNode):
        children = [((*path, i), child, child) for i, child in enumerate(node.value)]
    elif isinstance(node, yaml.MappingNode):
        children = [((*path, str(key.value)), key, value) for key, value in node.value]
    else:
        return
    for child_path, key, value in children:
        place = f"{file} line {key.start_mark.line + 1}"
        if child_path in places:
            raise UsageError(f"{dotted(child_path)} is given twice: {places[child_path]}, {place}", "keep one")
        places[child_path] = place
        _note_lines(value, child_path, file, places)


def _apply_override(model: type[Section], source: _Source, override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not all(key.split(".")):
        raise UsageError(f"--set {override} has not the form key.path=value", "write for example mono.threads=4")
    try:
        value = yaml.load(text, _Loader)
    except yaml.YAMLError:
        raise UsageError(f"--set {override}: {text!r} is not a YAML value", "quote or mend it") from None
    *parents, last = key.split(".")
    data = source.data
    for depth, parent in enumerate(parents):
        source.places.setdefault(tuple(parents[: depth + 1]), f"--set {override}")
        below = data.get(parent)
        if below is None:
            below = data[parent] = {}
        elif not isinstance(below, dict):
            inner = dotted(tuple(parents[: depth + 1]))
            raise UsageError(f"--set {override}: {inner} is a value, not a section", "name one of its neighbours")
        data = below
    if last == "kind" and data.get("kind", value) != value:
        for other in set(data) - _keys_of_kind(model, parents, value):
            del data[other]
    data[last] = value
    source.places[tuple(key.split("."))] = f"--set {override}"


def _keys_of_kind(model: type[Section], parents: list[str], kind: Any) -> set[str]:
    """The keys that the section at `parents` has if it is of this kind; none if no such kind exists."""
    sections: Mapping[str, type[Section]] = {"": model}
    for parent in parents:
        (section,) = sections.values() if len(sections) == 1 else (None,)
        field = section.model_fields.get(parent) if section else None
        sections = _sections_of(field) if field else {}
    return set(sections[kind].model_fields) if kind in sections else set()


def _fill_in_kinds(model: type[Section], data: dict[str, Any]) -> None:
    """An empty section means its defaults, and a section without `kind` is of the default kind."""
    for name, field in model.model_fields.items():
        sections = _sections_of(field)
        if not sections or name not in data:
            continue
        if data[name] is None:
            data[name] = {}
        below = data[name]
        if not isinstance(below, dict):
            continue
        if field.discriminator and isinstance(field.default, Section):
            below.setdefault(field.discriminator, getattr(field.default, str(field.discriminator)))
        kind = below.get(str(field.discriminator), "")
        if isinstance(kind, str) and kind in sections:
            _fill_in_kinds(sections[kind], below)


def _misplaced_flags(model: type[Section], data: dict[str, Any], above: KeyPath = ()) -> Iterator[tuple[KeyPath, str]]:
    """Keys set to true or false that are no flags; pydantic would read them as 1 and 0."""
    for name, field in model.model_fields.items():
        value = data.get(name)
        sections = _sections_of(field)
        if isinstance(value, dict) and sections:
            kind = value.get(str(field.discriminator), "")
            if isinstance(kind, str) and kind in sections:
                yield from _misplaced_flags(sections[kind], value, (*above, name))
        elif isinstance(value, bool) and bool not in (field.annotation, *typing.get_args(field.annotation)):
            yield (*above, name), "true" if value else "false"


def _sections_of(field: FieldInfo) -> dict[str, type[Section]]:
    """The sections a field can hold, by kind ("" where there is no choice); empty for a plain value."""
    candidates = (field.annotation, *typing.get_args(field.annotation))
    sections = [c for c in candidates if isinstance(c, type) and issubclass(c, Section)]
    if not field.discriminator:
        return {"": sections[0]} if sections else {}
    return {typing.get_args(s.model_fields[str(field.discriminator)].annotation)[0]: s for s in sections}


# Errors


def dotted(path: KeyPath) -> str:
    """("camera", "fps") -> "camera.fps"; ("planes", 1) -> "planes[1]"."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _explain(model: type[Section], source: _Source, detail: ErrorDetails) -> str:
    """One line: key, what is wrong with which value, where it stands."""
    path, section = _key_path(model, detail["loc"])
    context = detail.get("ctx", {})
    kind = detail["type"]
    if kind == "extra_forbidden":
        problem = "unknown key" + _suggest(str(path[-1]), section)
    elif kind == "missing":
        problem = "missing, and it has no default"
    elif kind == "union_tag_invalid":
        discriminator = str(context["discriminator"]).strip("'")
        path = (*path, discriminator)
        problem = f"should be one of {context['expected_tags']}, not {_show(context['tag'])}"
    elif kind in ("model_type", "dict_type", "model_attributes_type"):
        problem = f"should be a section with keys of its own, not {_show(detail['input'])}"
    elif kind == "value_error":
        problem = f"{context['error']}, found {_show(detail['input'])}"
    else:
        message = detail["msg"].removeprefix("Input ")
        problem = f"{message[0].lower()}{message[1:]}, not {_show(detail['input'])}"
    return _line(source, path, problem)


def _line(source: _Source, path: KeyPath, problem: str) -> str:
    place = source.place(path)
    line = f"{dotted(path) or 'the whole tree'}: {problem}" + (f" ({place})" if place else "")
    return " ".join(line.split())


def _key_path(model: type[Section], location: tuple[int | str, ...]) -> tuple[KeyPath, type[Section]]:
    """Pydantic's location without the kinds and types that it puts between the keys; and the last section."""
    path: list[str | int] = []
    section: type[Section] | None = model
    innermost = model
    rest = list(location)
    while rest and section is not None:
        part = rest.pop(0)
        path.append(part)
        field = section.model_fields.get(str(part))
        sections = _sections_of(field) if field else {}
        if field and field.discriminator and rest:
            section = sections.get(str(rest.pop(0)))
        else:
            section = sections.get("")
            if field and rest and typing.get_origin(field.annotation) is dict:
                path.append(rest.pop(0))
        innermost = section or innermost
    path += [part for part in rest if isinstance(part, int)]
    return tuple(path), innermost


def _suggest(unknown: str, section: type[Section]) -> str:
    near = difflib.get_close_matches(unknown, section.model_fields, n=1)
    if near:
        return f"; did you mean {near[0]}?"
    return f"; known here: {', '.join(section.model_fields)}"


def _show(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


# Printing


def _yaml_lines(section: Section, indent: int, alternatives: bool) -> Iterator[str]:
    pad = "  " * indent
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if indent == 0 and (isinstance(value, Section) or name != next(iter(type(section).model_fields))):
            yield ""
        for line in _comment(field, value, len(pad)):
            yield f"{pad}# {line}"
        if not isinstance(value, Section):
            yield f"{pad}{name}: {_scalar(value, field)}"
            continue
        yield f"{pad}{name}:"
        yield from _yaml_lines(value, indent + 1, alternatives)
        if alternatives:
            yield from _alternatives(name, field, value, pad)


def _alternatives(name: str, field: FieldInfo, active: Section, pad: str) -> Iterator[str]:
    for kind, section in _sections_of(field).items():
        if not field.discriminator or isinstance(active, section):
            continue
        yield ""
        yield f"{pad}# {name}, if of kind {kind}:"
        for key, inner in section.model_fields.items():
            required = inner.is_required()
            value = None if required else inner.default
            for line in _comment(inner, value, len(pad) + 2):
                yield f"{pad}#   # {line}"
            shown = "(needed)" if required else _scalar(value, inner)
            yield f"{pad}#   {key}: {shown}"


def _comment(field: FieldInfo, value: Any, indent: int) -> list[str]:
    """Description, choices, range, and the default where the value is another one."""
    parts = [field.description.rstrip(".") + "."] if field.description else []
    if field.discriminator:
        parts.append(f"Kinds: {', '.join(_sections_of(field))}.")
    choices = _choices(field.annotation)
    if len(choices) > 1:
        any_of = "Any of" if typing.get_origin(field.annotation) is tuple else "One of"
        parts.append(f"{any_of} {', '.join(choices)}.")
    bounds = _bounds(field)
    if bounds:
        parts.append(f"{bounds}.")
    is_default = field.is_required() or isinstance(value, Section) or value == field.default
    if not is_default:
        parts.append(f"Default {_scalar(field.default, field)}.")
    return _wrap(" ".join(parts), _WIDTH - indent)


def _choices(annotation: Any) -> list[str]:
    if typing.get_origin(annotation) is typing.Literal:
        return [str(choice) for choice in typing.get_args(annotation)]
    inner = (_choices(argument) for argument in typing.get_args(annotation))
    return [choice for choices in inner for choice in choices]


def _bounds(field: FieldInfo) -> str:
    """The limits of a number in words ("From 0 to 100", "Above 0"), read from its annotation."""
    limits: dict[str, Any] = {}
    for item in (field, *typing.get_args(field.annotation)):
        for mark in getattr(item, "metadata", getattr(item, "__metadata__", ())):
            for inner in (mark, *getattr(mark, "metadata", ())):
                limits |= {n: getattr(inner, n) for n in ("ge", "gt", "le", "lt") if hasattr(inner, n)}
    if _is_octal(field):
        return ""
    low = f"from {limits['ge']:g}" if "ge" in limits else f"above {limits['gt']:g}" if "gt" in limits else ""
    high = f"to {limits['le']:g}" if "le" in limits else f"below {limits['lt']:g}" if "lt" in limits else ""
    return f"{low} {high}".strip().capitalize()


def _is_octal(field: FieldInfo) -> bool:
    return any(isinstance(mark, Octal) for mark in field.metadata)


def _scalar(value: Any, field: FieldInfo) -> str:
    if _is_octal(field) and isinstance(value, int):
        return f"0o{value:o}"
    text = yaml.safe_dump(_plain(value), default_flow_style=True, width=10_000, allow_unicode=True, sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...")


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return {name: _plain(getattr(value, name)) for name in type(value).model_fields}
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {_plain(key): _plain(item) for key, item in value.items()}
    return value


def _wrap(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, max(40, width), break_long_words=False, break_on_hyphens=False)
