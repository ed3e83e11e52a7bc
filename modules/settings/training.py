"""state: settings rows of training of embeddings and hypernetworks."""

from __future__ import annotations

from modules.options import OptionInfo, options_section

sections = [
    options_section(
        ("training", "Training", "training"),
        {
            "unload_models_when_training": OptionInfo(False, "Move VAE/CLIP to CPU while training"),
            "pin_memory": OptionInfo(False, "DataLoader pin_memory while training"),
            "save_optimizer_state": OptionInfo(False, "Write .optim next to trained file"),
            "save_training_settings_to_txt": OptionInfo(True, "Write settings JSON into training log dir"),
            "dataset_filename_word_regex": OptionInfo("", "Regex extracting caption words from file names"),
            "dataset_filename_join_string": OptionInfo(" ", "Joins the extracted words"),
            "training_image_repeats_per_epoch": OptionInfo(
                1, "Only scales displayed epoch numbers", component_args={"precision": 0}
            ),
            "training_write_csv_every": OptionInfo(500, "Loss CSV interval in steps; 0 off"),
            "training_xattention_optimizations": OptionInfo(False, "Keep attention optimizations during training"),
            "training_enable_tensorboard": OptionInfo(False, "Write tensorboard events"),
            "training_tensorboard_save_images": OptionInfo(False, "Add previews to tensorboard"),
            "training_tensorboard_flush_every": OptionInfo(120, "Tensorboard flush seconds"),
        },
    ),
]
