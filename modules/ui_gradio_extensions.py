"""face: the page's scripts and style sheets, those of extensions included, written into the HTML that Gradio serves.

Gradio's own `head=` is inserted once the page runs, too late for scripts that wait for the page or for a component.
"""

from __future__ import annotations

import html
import json
import os
import re
from typing import Any

from gradio import routes

from modules import localization, scripts, shared, shared_gradio_themes, ui_files, ui_stylesheet, util
from modules.paths import data_path, script_path


def webpath(fn: str) -> str:
    """Returns the address of a file for the page: relative if it is part of the program, with its time so that a new
    one is fetched.
    """
    is_ours = ui_files.is_inside(fn, script_path)
    path = os.path.relpath(fn, script_path).replace("\\", "/") if is_ours else os.path.abspath(fn)
    return f"file={path}?{os.path.getmtime(fn)}"


def script_tag(path: str, *, module: bool = False) -> str:
    """Returns the tag that runs a script of the page."""
    kind = "module" if module else "text/javascript"
    return f'<script type="{kind}" src="{html.escape(webpath(path))}"></script>'


def page_state_html() -> str:
    """Returns what the page's scripts and its first paint start from, as it is now: settings, translation, the theme
    that the page's address or --theme names.
    """
    theme = json.dumps(shared.cmd_opts.theme)
    statements = [
        f"window.currentOpts = {util.json_in_script(shared.opts.dumpjson())}",
        localization.localization_js(shared.opts.localization),
        f'document.documentElement.dataset.askedTheme = new URLSearchParams(location.search).get("__theme") ?? {theme}',
    ]
    return "\n".join(["<script>", *statements, "</script>", f"<style>{background_css()}</style>", ""])


def javascript_html() -> str:
    """Returns script tags in the order they run: script.js, javascript/*.js and *.mjs of program and extensions."""
    tags = [script_tag(os.path.join(script_path, "script.js"))]
    tags += [script_tag(script.path) for script in scripts.list_scripts("javascript", ".js")]
    tags += [script_tag(script.path, module=True) for script in scripts.list_scripts("javascript", ".mjs")]
    if shared.cmd_opts.theme:
        tags.append(f"<script>set_theme({json.dumps(shared.cmd_opts.theme)});</script>")
    return "\n".join([*tags, ""])


def css_html() -> str:
    """Returns links to style.css of program and extensions and user.css, and the rules that settings make."""
    files = [*scripts.list_files_with_name("style.css"), os.path.join(data_path, "user.css")]
    addresses = [ui_stylesheet.webpath(), *(webpath(path) for path in files if os.path.isfile(path))]
    links = [f'<link rel="stylesheet" property="stylesheet" href="{html.escape(address)}">' for address in addresses]
    return "\n".join([*links, f"<style>{gallery_height_css()}{viewer_css()}</style>", ""])


def background_css() -> str:
    """Returns the rules of the page's background in light and dark, which it has before Gradio is there, and where it
    is scrolled beyond its end.
    """
    light = shared_gradio_themes.resolve_var("body_background_fill")
    dark = shared_gradio_themes.resolve_var("body_background_fill_dark")

    def rule(theme: str, color: str, scheme: str) -> str:
        """Returns the rule for pages of a theme."""
        pages = f":root{theme}:root"
        return f"{pages}, {pages} body {{ background: {color}; color-scheme: {scheme}; }} "

    asked_light, asked_dark = ('[data-asked-theme="light"]', '[data-asked-theme="dark"]')
    return (
        f"{rule('', light, 'light')}@media (prefers-color-scheme: dark) {{ {rule('', dark, 'dark')}}} "
        f"{rule(asked_light, light, 'light')}{rule(asked_dark, dark, 'dark')}"
    )


def gallery_height_css() -> str:
    """Returns the height of the results as the setting gallery_height gives it: a CSS length, or a number of pixels."""
    height = shared.opts.gallery_height.strip()
    if not re.fullmatch(r"[\w.%()+*/ ,-]+", height):
        return ""
    return f".gradio-container.gradio-container {{ --gallery-height: {height}{'px' if height.isdigit() else ''}; }}"


def viewer_css() -> str:
    """Returns how much the viewer's buttons, and the bar they stand on, cover of the image."""
    icons, toolbar = (getattr(shared.opts, f"sd_webui_modal_lightbox_{part}_opacity") for part in ("icon", "toolbar"))
    return f"#lightboxModal {{ --lightbox-icon-opacity: {icons:g}; --lightbox-toolbar-opacity: {toolbar:g}; }}"


def reload_javascript() -> None:
    """Reads scripts and styles anew for the pages served from now on. The page that asks for the login gets neither
    them, as their files ask for it too, nor Gradio's list of what can be called.
    """
    head, body = javascript_html(), css_html()

    def template_response(*args: Any, **kwargs: Any) -> Any:
        """Returns Gradio's answer with scripts and styles of ours written into it."""
        context = kwargs.get("context", {})
        if context.get("config", {}).get("auth_required"):
            context["gradio_api_info"] = {"named_endpoints": {}, "unnamed_endpoints": {}}
            return original_template_response(*args, **kwargs)
        response = original_template_response(*args, **kwargs)
        if kwargs.get("name", "").startswith("frontend/"):
            response.body = response.body.replace(
                b"</head>", f'{page_state_html()}{head}<meta name="referrer" content="no-referrer"/></head>'.encode()
            )
            response.body = response.body.replace(b"</body>", f"{body}</body>".encode())
            response.init_headers()
        return response

    routes.templates.TemplateResponse = template_response


def page_options() -> dict[str, Any]:
    """Returns the arguments for `gr.mount_gradio_app`: our theme, no footer and no history of Gradio's, and the files
    it may serve.
    """
    return {
        "theme": shared.gradio_theme,
        "footer_links": [],
        "run_history": False,
        "allowed_paths": ui_files.allowed_paths(),
        "blocked_paths": ui_files.blocked_paths(),
        "show_error": True,
    }


original_template_response = routes.templates.TemplateResponse
