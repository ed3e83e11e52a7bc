"""base: the folders extensions read, under the names they know. The values come from paths_internal."""

from __future__ import annotations

import sys

from modules import moved_modules
from modules.paths_internal import (  # noqa: F401  # names extensions import from here
    cwd,
    data_path,
    extensions_builtin_dir,
    extensions_dir,
    models_path,
    packages_path,
    script_path,
)

for folder in (packages_path, script_path):
    if folder not in sys.path:
        sys.path.insert(0, folder)
moved_modules.install()

# There are no cloned repositories: the program folder stands for all of them.
sd_path = script_path
paths: dict[str, str] = {"Stable Diffusion": sd_path}
