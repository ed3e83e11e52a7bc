"""state: settings rows of the program itself, its console, its profiler and its API."""

from __future__ import annotations

from modules.options import OptionHTML, OptionInfo, options_section
from modules.settings.widgets import choices, slider

sections = [
    options_section(
        ("system", "System", "system"),
        {
            "auto_launch_browser": OptionInfo(
                "Local",
                "Open the page in a browser at the start",
                "Radio",
                choices("Disable", "Local", "Remote"),
            ),
            "enable_console_prompts": OptionInfo(False, "Print the prompt of every job of the page to the console"),
            "show_warnings": OptionInfo(False, "Show warnings in the console").needs_reload_ui(),
            "show_gradio_deprecation_warnings": OptionInfo(
                True, "Show Gradio's warnings about old usage in the console"
            ).needs_reload_ui(),
            "memmon_poll_rate": OptionInfo(
                8, "Measurements of GPU memory per second while a job runs", "Slider", slider(0, 40, 1)
            ).info("0: none"),
            "samples_log_stdout": OptionInfo(False, "Print the infotext of every picture to the console"),
            "multiple_tqdm": OptionInfo(True, "Show a second progress bar in the console for the whole job"),
            "enable_upscale_progressbar": OptionInfo(
                True, "Show a progress bar in the console while upscaling tile by tile"
            ),
            "print_hypernet_extra": OptionInfo(False, "Print details of hypernetworks to the console"),
            "list_hidden_files": OptionInfo(True, "Look for models in hidden folders too"),
            "disable_mmap_load_safetensors": OptionInfo(
                False, "Read .safetensors files as a whole instead of mapping them into memory"
            ).info("faster on network drives"),
            "hide_ldm_prints": OptionInfo(True, "Keep prints of model libraries from the console"),
            "hook_seconds": OptionInfo(
                30,
                "Name an extension in the log that has been working for this many seconds",
                "Slider",
                slider(0, 600, 1),
            ).info("one hook of it, or the loading of a file, while it still works; 0: never"),
            "dump_stacks_on_signal": OptionInfo(
                False, "Print what every thread is doing when the program is stopped with Ctrl+C"
            ),
        },
    ),
    options_section(
        ("profiler", "Profiler", "system"),
        {
            "profiling_explanation": OptionHTML(
                "torch's profiler records where a job spends its time. Open the file it writes in chrome://tracing or "
                "https://ui.perfetto.dev. Jobs take longer and need more memory while it is on."
            ),
            "profiling_enable": OptionInfo(False, "Profile every job"),
            "profiling_activities": OptionInfo(["CPU"], "Processors to watch", "CheckboxGroup", choices("CPU", "CUDA")),
            "profiling_record_shapes": OptionInfo(True, "Record shapes of tensors"),
            "profiling_profile_memory": OptionInfo(True, "Record use of memory"),
            "profiling_with_stack": OptionInfo(True, "Record the lines of code"),
            "profiling_filename": OptionInfo("trace.json", "File of the profile"),
        },
    ),
    options_section(
        ("API", "API", "system"),
        {
            "api_enable_requests": OptionInfo(
                True, "Take http and https addresses in the place of pictures", restrict_api=True
            ),
            "api_forbid_local_requests": OptionInfo(True, "Refuse addresses of the local network", restrict_api=True),
            "api_useragent": OptionInfo("", "User agent for fetching pictures", restrict_api=True),
            "api_max_size": OptionInfo(8192, "Largest width and height a request may ask for", restrict_api=True),
            "api_max_steps": OptionInfo(1000, "Most sampling steps a request may ask for", restrict_api=True),
            "api_max_batch_size": OptionInfo(64, "Largest batch size a request may ask for", restrict_api=True),
            "api_max_n_iter": OptionInfo(1000, "Most batches a request may ask for", restrict_api=True),
            "api_max_images": OptionInfo(1024, "Most pictures a job may make in all", restrict_api=True),
            "api_max_tokens": OptionInfo(7500, "Most tokens of one prompt", restrict_api=True),
            "api_max_upload": OptionInfo(1024, "Largest upload to the page", restrict_api=True).info("MB"),
            "api_max_prompt_parts": OptionInfo(64, "Most parts of one prompt joined by AND", restrict_api=True),
        },
    ),
    options_section(
        ("jobs", "Jobs", "system"),
        {
            "jobs_after_restart": OptionInfo(
                "as asked",
                "Jobs that still wait when the program ends",
                "Radio",
                choices("as asked", "run", "hold", "drop"),
                restrict_api=True,
            ).info("as asked: those of the page are held, those that clients only queued are run"),
            "jobs_history": OptionInfo(10_000, "Jobs to remember", restrict_api=True).info("0: all"),
            "jobs_spool_size": OptionInfo(
                1000, "Most megabytes of images that were not saved, and of large requests", restrict_api=True
            ).info("of jobs that are over, the oldest go first; 0: no limit"),
            "jobs_spool_days": OptionInfo(7, "Days to keep them", restrict_api=True).info("0: no limit"),
            "jobs_limit": OptionInfo(0, "Most jobs that may wait", restrict_api=True).info("0: any number"),
            "jobs_user_limit": OptionInfo(0, "Most jobs of one user that may wait", restrict_api=True).info(
                "0: any number"
            ),
            "jobs_webhook_hosts": OptionInfo(
                "", "Hosts whose addresses may be called when a job is over", restrict_api=True
            ).info("separated by commas, *.example.org for all below example.org; none if empty"),
            "jobs_webhook_secret": OptionInfo("", "Secret that these calls are signed with", restrict_api=True),
        },
    ),
]
