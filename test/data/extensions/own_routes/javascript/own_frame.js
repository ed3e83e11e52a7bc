// Puts the page of the extension's own routes into its tab, and presses the buttons it asks for.
onUiLoaded(() => {
    const frame = document.createElement("iframe");
    frame.src = "own/v1/frame";
    frame.style = "width: 100%; height: 300px";
    gradioApp().querySelector("#own_frame").replaceChildren(frame);
    gradioApp().getElementById("own_frame_load").click();
    const bus = new BroadcastChannel("own-frame");
    bus.addEventListener("message", ({data}) => gradioApp().querySelector(`#${data.button}`).click());
});
