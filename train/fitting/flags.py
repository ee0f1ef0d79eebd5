"""The command line of everything that trains: one flag for each field of a configuration."""

import argparse
import dataclasses
import functools
import inspect
import re
from collections.abc import Mapping
from dataclasses import is_dataclass
from typing import Any, Literal, NoReturn, get_args, get_origin, get_type_hints

from train.data.config import DataConfig
from train.data.opening import data_folder
from train.fitting.config import (
    ConfigError,
    FitConfig,
    from_dict,
    model_name,
    read_config,
    without_none,
)
from train.registry import DEFAULT_MODEL, MODELS

NAMES = {"photos": "data"}
"""Flags that are not called like their field."""


class Parser(argparse.ArgumentParser):
    """Flags for every field; a mistake raises one line instead of printing the usage."""

    def __init__(self, prog: str, description: str) -> None:
        super().__init__(prog=prog, description=description, allow_abbrev=False)
        self.add_argument("--config", help="JSON file with any of these fields; flags override it")
        recipes = "; ".join(
            f"{name} by default has {', '.join(f'{k} {v}' for k, v in model.recipe.items())}"
            for name, model in MODELS.items()
            if model.recipe
        )
        self.add_argument(
            "--model",
            dest="network.model",
            choices=MODELS,
            default=argparse.SUPPRESS,
            help=f"which network is trained (default {DEFAULT_MODEL}); {recipes}",
        )
        self._add_fields(FitConfig, "", self.add_argument_group("run"))
        self._add_fields(DataConfig, "data.", self.add_argument_group("data"))
        for name, model in MODELS.items():
            title = f"network, --model {name}"
            self._add_fields(model.config, "network.", self.add_argument_group(title))
        for flag, field, off in (("amp", "amp", "off"), ("encoder", "network.encoder", None)):
            self.add_argument(
                f"--no-{flag}",
                dest=field,
                action="store_const",
                const=off,
                default=argparse.SUPPRESS,
                help=argparse.SUPPRESS if off else f"no {flag}",
            )

    def error(self, message: str) -> NoReturn:
        """Raise what argparse would print below the usage."""
        raise ConfigError(f"{message}. See --help.")

    def _add_fields(self, kind: Any, prefix: str, group: Any) -> None:
        hints, notes = get_type_hints(kind), _attribute_notes(kind)
        for entry in dataclasses.fields(kind):
            hint = without_none(hints[entry.name])
            if is_dataclass(hint) or entry.name == "model":
                continue
            options: dict[str, Any] = {"dest": prefix + entry.name, "default": argparse.SUPPRESS}
            if hint is bool:
                options["action"] = argparse.BooleanOptionalAction
            elif entry.name == "photos":
                options |= {"action": "append", "metavar": "DIR"}
            elif get_origin(hint) is tuple:
                parse = functools.partial(_listed, get_args(hint)[0])
                options |= {"type": parse, "metavar": "A,B,..."}
            elif get_origin(hint) is Literal:
                options["choices"] = get_args(hint)
            else:
                options |= {"type": hint, "metavar": {str: "TEXT"}.get(hint, "N")}
            default = ",".join(d) if isinstance(d := entry.default, tuple) else d
            shown = "" if default in (None, "") else f" (default {default})"
            flag = NAMES.get(entry.name, entry.name).replace("_", "-")
            if f"--{flag}" in self._option_string_actions:
                continue  # another model's field of that name and meaning
            text = (notes.get(entry.name, "") + shown).replace("%", "%%")
            group.add_argument(f"--{flag}", help=text, **options)


def _listed(kind: type, text: str) -> list[Any]:
    """The items of a list that is separated by commas; an empty text is an empty list."""
    return [kind(item) for item in text.split(",")] if text else []


def fit_config(options: argparse.Namespace, stored: Mapping[str, Any] | None = None) -> FitConfig:
    """The configuration that flags, a file and the defaults make together.

    Args:
        options: From a `Parser`.
        stored: The fields of a run to continue, in place of a file.

    Raises:
        ConfigError: If a field is unknown, or a value is wrong.
        FileNotFoundError: If the file is absent.
    """
    base = with_data_folder(read_config(options.config)) if options.config else dict(stored or {})
    for name, value in vars(options).items():
        owner, _, field = name.rpartition(".")
        if owner:
            base[owner] = {**base.get(owner, {}), field: value}
        elif field in FitConfig.__dataclass_fields__:
            base[field] = value
    if stored is None:
        network = base.get("network", {})
        name = model_name(network) if isinstance(network, Mapping) else DEFAULT_MODEL
        base = {**MODELS[name].recipe, **base}
    data = base.setdefault("data", {})
    if isinstance(data, dict) and not (data.get("photos") or data.get("pairs")):
        data["photos"] = [str(data_folder() / "train")]
    return from_dict(FitConfig, base)


def with_data_folder(value: Any) -> Any:
    """A configuration whose texts say $HARMONIZER_DATA, with the folder in its place."""
    if isinstance(value, str):
        return value.replace("$HARMONIZER_DATA", str(data_folder()))
    if isinstance(value, list):
        return [with_data_folder(item) for item in value]
    if isinstance(value, dict):
        return {name: with_data_folder(item) for name, item in value.items()}
    return value


def _attribute_notes(kind: type) -> dict[str, str]:
    """What the class's docstring says about each attribute, each in one line."""
    _, _, listed = (inspect.getdoc(kind) or "").partition("Attributes:\n")
    notes = re.findall(r"^    (\w+): (.+(?:\n        .+)*)", listed, re.MULTILINE)
    return {name: re.sub(r"\s+", " ", note).strip(" .") for name, note in notes}
