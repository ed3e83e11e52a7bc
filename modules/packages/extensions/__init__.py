"""base: installed extensions as packages, wherever the data folder is: `from extensions.FOLDER.file import name`."""

import os

from modules.paths_internal import extensions_dir, script_path

__path__ = list(dict.fromkeys([extensions_dir, os.path.join(script_path, "extensions")]))
