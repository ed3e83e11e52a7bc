onUiLoaded(() => gradioApp().querySelector("#own_tab_box")?.classList.add("seen"));
