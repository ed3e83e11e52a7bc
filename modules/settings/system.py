"""state: settings rows of the program itself, its console, its profiler and its API."""

from __future__ import annotations

from modules.options import OptionInfo, options_section
from modules.settings.widgets import choices, slider

sections = [
    options_section(
        ("system", "System", "system"),
        {
            "auto_launch_browser": OptionInfo(
                "Local",
                "Open browser at start: never, local only, always",
                "Radio",
                choices("Disable", "Local", "Remote"),
            ),
            "enable_console_prompts": OptionInfo(False, "Print prompts to console on UI generations"),
            "show_warnings": OptionInfo(False, "Show Python UserWarnings").needs_reload_ui(),
            "show_gradio_deprecation_warnings": OptionInfo(True, "Show gradio deprecation warnings").needs_reload_ui(),
            "memmon_poll_rate": OptionInfo(
                8, "VRAM polls per second during UI jobs; 0 off", "Slider", slider(0, 40, 1)
            ),
            "samples_log_stdout": OptionInfo(False, "Print generation info JSON to stdout"),
            "multiple_tqdm": OptionInfo(True, "Second console bar for the whole job"),
            "enable_upscale_progressbar": OptionInfo(True, "Console bar for tiled upscaling"),
            "print_hypernet_extra": OptionInfo(False, "Verbose hypernetwork loading"),
            "list_hidden_files": OptionInfo(True, "Include dot-directories when listing models"),
            "disable_mmap_load_safetensors": OptionInfo(False, "Read safetensors fully instead of mmap"),
            "hide_ldm_prints": OptionInfo(True, "Silence prints of the model libraries"),
            "dump_stacks_on_signal": OptionInfo(False, "Print thread stacks on Ctrl-C"),
        },
    ),
    options_section(
        ("profiler", "Profiler", "system"),
        {
            "profiling_enable": OptionInfo(False, "Wrap each generation in torch profiler"),
            "profiling_activities": OptionInfo(["CPU"], "Profiler activities", "CheckboxGroup", choices("CPU", "CUDA")),
            "profiling_record_shapes": OptionInfo(True, "Profiler record_shapes"),
            "profiling_profile_memory": OptionInfo(True, "Profiler profile_memory"),
            "profiling_with_stack": OptionInfo(True, "Profiler with_stack"),
            "profiling_filename": OptionInfo("trace.json", "Chrome trace output file"),
        },
    ),
    options_section(
        ("API", "API", "system"),
        {
            "api_enable_requests": OptionInfo(True, "API accepts http(s) URLs as images", restrict_api=True),
            "api_forbid_local_requests": OptionInfo(
                True, "Reject URLs resolving to non-global addresses", restrict_api=True
            ),
            "api_useragent": OptionInfo("", "User-Agent for those downloads", restrict_api=True),
            "api_max_size": OptionInfo(8192, "Largest width and height a request may ask for", restrict_api=True),
            "api_max_steps": OptionInfo(1000, "Most sampling steps a request may ask for", restrict_api=True),
            "api_max_batch_size": OptionInfo(64, "Largest batch size a request may ask for", restrict_api=True),
            "api_max_n_iter": OptionInfo(1000, "Most batches a request may ask for", restrict_api=True),
        },
    ),
]
