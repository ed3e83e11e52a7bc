"""state: settings rows of training of embeddings and hypernetworks."""

from __future__ import annotations

from modules.options import OptionInfo, options_section

sections = [
    options_section(
        ("training", "Training", "training"),
        {
            "unload_models_when_training": OptionInfo(False, "Move VAE and text encoder to main memory while training"),
            "pin_memory": OptionInfo(False, "Pin the memory of training data").info("faster, needs more main memory"),
            "save_optimizer_state": OptionInfo(False, "Save the state of the optimiser beside the result").info(
                "to go on later"
            ),
            "save_training_settings_to_txt": OptionInfo(True, "Save the settings of a training beside its log"),
            "dataset_filename_word_regex": OptionInfo(
                "", "Regular expression that finds the words of a caption in a file name"
            ),
            "dataset_filename_join_string": OptionInfo(" ", "Text between the words found"),
            "training_image_repeats_per_epoch": OptionInfo(
                1, "Times each picture is shown in an epoch", component_args={"precision": 0}
            ).info("changes the displayed epoch only"),
            "training_write_csv_every": OptionInfo(500, "Write the loss to a CSV file every N steps").info("0: never"),
            "training_xattention_optimizations": OptionInfo(False, "Use the chosen attention while training"),
            "training_enable_tensorboard": OptionInfo(False, "Write a log for TensorBoard"),
            "training_tensorboard_save_images": OptionInfo(False, "Put preview pictures into the TensorBoard log"),
            "training_tensorboard_flush_every": OptionInfo(120, "Seconds between writes of the TensorBoard log"),
        },
    ),
]
