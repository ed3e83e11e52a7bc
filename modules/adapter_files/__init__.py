"""engine: files of networks of the LoRA family, whoever wrote them, and which layers of a model they are for."""

from __future__ import annotations

from modules.adapter_files.families import NetworkFamily
from modules.adapter_files.file import BUNDLED, NetworkFile, read
from modules.adapter_files.layers import LayerNames, Matched, ModelLayer, Target

__all__ = ["BUNDLED", "LayerNames", "Matched", "ModelLayer", "NetworkFamily", "NetworkFile", "Target", "read"]
