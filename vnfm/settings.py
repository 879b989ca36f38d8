"""What the manager is told at its start: folders, VIMs, what is asked of packages; checked before anything runs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from vnfm.lcm.healing import HealingPolicy
from vnfm.model.problem import Problem, problem
from vnfm.store.fetching import PackageSources
from vnfm.store.sealing import Seal
from vnfm.vim.connection import VimSettings
from vnfm.vim.process import command_of

VIM_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")


@dataclass(frozen=True, slots=True)
class PackageRules:
    """What is asked of packages, and where they may be fetched from."""

    trust_store: Path | None = None
    signature_required: bool = False
    sources: PackageSources = field(default_factory=PackageSources)


@dataclass(frozen=True, slots=True)
class Settings:
    """What `vnfm serve` was told."""

    state_dir: Path
    listen: str  # unix:PATH or HOST:PORT
    database_url: str
    vims: tuple[VimSettings, ...]
    healing: HealingPolicy | None  # None: nothing is healed by itself
    packages: PackageRules = field(default_factory=PackageRules)
    seal: Seal | None = None  # for secrets in the database; None: none are kept


def parse_vim(text: str) -> VimSettings:
    """NAME=KIND[:CONFIG.yaml]. Raises ProblemError `vim-config`."""
    name, equals, rest = text.partition("=")
    if not equals or not name or not rest:
        raise problem("vim-config", f"--vim {text}: expected NAME=KIND[:CONFIG.yaml]")
    check_vim_name(name)
    if rest.startswith(("grpc:", "exec:")):
        return VimSettings(name, rest, {})
    kind, _, file = rest.partition(":")
    return VimSettings(name, kind, _config_of(kind, file) if file else {})


def check_vim_name(name: str) -> None:
    """It names a folder too. Raises ProblemError `vim-config`."""
    if not VIM_NAME.fullmatch(name):
        raise problem(
            "vim-config",
            f"VIM name {name!r}: expected letters, digits, - and _, at most 63, a letter or digit first",
            instance=name,
        )


def _config_of(kind: str, file: str) -> Mapping[str, Any]:
    """A VIM's configuration file; the mock's may be a bare script."""
    try:
        data = yaml.safe_load(Path(file).read_text())
    except OSError as error:
        raise problem("vim-config", f"{file}: {error}") from error
    except yaml.YAMLError as error:
        raise problem("vim-config", f"{file}: {_place_of(error)}") from None
    if kind == "mock" and isinstance(data, list):
        return {"script": data}
    if not isinstance(data, dict):
        raise problem("vim-config", f"{file}: expected a mapping of settings, found {type(data).__name__}")
    return data


def _place_of(error: yaml.YAMLError) -> str:
    """What is wrong with the file, and where, without its lines, which may hold secrets."""
    mark = getattr(error, "problem_mark", None)
    where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    return f"{where}{getattr(error, 'problem', None) or 'it is no YAML'}"


def sealed_by(key_file: Path | None, passphrase: str | None, state_dir: Path) -> Seal | None:
    """From `vnfm serve`'s options. Raises ProblemError `bad-key-file`."""
    if key_file is not None and passphrase is not None:
        raise problem("bad-key-file", "--key-file and --passphrase: expected one of them")
    if key_file is not None:
        return Seal.of_file(key_file, state_dir)
    return None if passphrase is None else Seal.of_passphrase(passphrase)


def settings_for(
    state_dir: Path, name: str, kind: str, config: Mapping[str, Any], locked: Problem | None = None
) -> VimSettings:
    """Complete what a plugin on this host needs to know of this host."""
    check_vim_name(name)
    if not kind.startswith("grpc:"):
        command_of(kind)
    folder = state_dir / "vim" / name
    defaults: dict[str, Any] = {}
    if kind == "local":
        defaults = {"state_dir": str(folder / "data")}
    elif kind == "mock":
        defaults = {"state_file": str(folder / "mock-state.json")}
    return VimSettings(name, kind, {**defaults, **config}, locked)


def package_rules(trust_store: Path | None, signature: str, sources: Sequence[str]) -> PackageRules:
    """From `vnfm serve`'s options. Raises ProblemError: bad-trust-store, bad-package-source, bad-signature-policy."""
    if signature not in ("if-present", "require"):
        raise problem("bad-signature-policy", f"--signature {signature}: expected require or if-present")
    if signature == "require" and trust_store is None:
        raise problem(
            "bad-trust-store", "--signature require needs --trust-store FILE|DIR: the certificates of whom you trust"
        )
    if trust_store is not None:
        from vnfm.tosca import TrustStore

        trust_store = trust_store.absolute()
        TrustStore.load(trust_store)
    return PackageRules(trust_store, signature == "require", PackageSources.of(sources))


def default_state_dir(environ: Mapping[str, str], uid: int) -> Path:
    """/var/lib/vnfm for root, $XDG_STATE_HOME/vnfm else."""
    if uid == 0:
        return Path("/var/lib/vnfm")
    return Path(environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "vnfm"
