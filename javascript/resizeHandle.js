"use strict";
// The handle between two columns: drag it to give one more room, double click it to put it back.
{
    const MIN_COLUMN_PX = 320;
    const HANDLE_PX = 16;
    const DOUBLE_TAP_MS = 500;

    /** A row of two columns with a handle. Its state is the width of the left column, or none for the original layout. */
    class ResizableRow {
        constructor(row) {
            this.row = row;
            this.minLeft = Number(row.dataset.minLeft) || MIN_COLUMN_PX;
            this.handle = document.createElement("div");
            this.handle.className = "resize-handle";
            this.handle.title = "Drag to resize, double click to reset";
            row.insertBefore(this.handle, row.children[1]);
            row.classList.add("resizable");
            this.reset();
            this.handle.addEventListener("pointerdown", (event) => this.start(event));
            this.handle.addEventListener("dblclick", () => this.reset());
        }

        reset() {
            this.row.style.gridTemplateColumns = this.row.dataset.columns || `minmax(0, 1fr) ${HANDLE_PX}px minmax(0, 1fr)`;
        }

        setLeft(pixels) {
            const largest = this.row.offsetWidth - MIN_COLUMN_PX - HANDLE_PX;
            const left = Math.max(Math.min(pixels, largest), Math.min(this.minLeft, largest));
            this.row.style.gridTemplateColumns = `${left}px ${HANDLE_PX}px minmax(0, 1fr)`;
        }

        start(event) {
            if (event.button !== 0) return;
            if (event.pointerType !== "mouse") {
                if (event.timeStamp - (this.lastTap ?? -DOUBLE_TAP_MS) < DOUBLE_TAP_MS) this.reset();
                this.lastTap = event.timeStamp;
            }
            event.preventDefault();
            this.handle.setPointerCapture(event.pointerId);
            document.body.classList.add("resizing");
            const offset = event.clientX - this.row.children[0].offsetWidth;
            const move = (moved) => this.setLeft(moved.clientX - offset);
            this.handle.addEventListener("pointermove", move);
            const stop = () => {
                this.handle.removeEventListener("pointermove", move);
                document.body.classList.remove("resizing");
            };
            this.handle.addEventListener("lostpointercapture", stop, {once: true});
        }
    }

    function setupAllResizeHandles() {
        for (const row of gradioApp().querySelectorAll(".resize-handle-row:not(.resizable)")) {
            if (row.children.length === 2) new ResizableRow(row);
        }
    }

    onUiLoaded(setupAllResizeHandles);
    // Tabs that were not shown yet are built when they are opened.
    onAfterUiUpdate(setupAllResizeHandles);

    Object.assign(window, {setupAllResizeHandles});
}
