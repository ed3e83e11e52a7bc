"use strict";
// When Gradio's image editors are made, and what they draw on. Drawings on hidden canvases do not cost visible ones their picture. Gradio's image editor takes two WebGL contexts as
// soon as it is made, browsers give a page 16, and past that they take them from the oldest canvases, which stay white
// from then on. When they become scarce, canvases that nobody has seen yet lend theirs, until they are seen.
(() => {
    const SCARCE = 12;
    const BETWEEN_EDITORS_MS = 1000;
    const getContext = HTMLCanvasElement.prototype.getContext;
    const living = new Map(); // canvas -> its context; null once it was seen, which is for good
    const lent = new Map(); // canvas -> what gives its context back

    const whenSeen = new IntersectionObserver((entries) => {
        for (const {target} of entries.filter((entry) => entry.isIntersecting)) {
            whenSeen.unobserve(target);
            const lender = lent.get(target);
            lent.delete(target);
            lender?.restoreContext();
            living.set(target, null);
        }
    });

    /** Leaves canvases that were seen, and are no longer on the page, to the browser. */
    function forgetRemoved() {
        for (const [canvas, context] of living) {
            if (!context && !canvas.isConnected) living.delete(canvas);
        }
    }

    /** Takes the context of the oldest canvas that is on the page and was never seen. */
    function lendOne() {
        for (const [canvas, context] of living) {
            const lender = context && !canvas.checkVisibility() && context.getExtension("WEBGL_lose_context");
            if (lender) {
                living.delete(canvas);
                lent.set(canvas, lender);
                lender.loseContext();
                return;
            }
        }
    }

    let spareTime = whenUiLoaded();

    /**
     * Runs make() when the frame of an image editor is seen, at the latest when the browser has time after the page is
     * loaded, one after the other: where it draws without a GPU, making one takes half a second.
     */
    window.whenCanvasIsNeeded = function (frame, make) {
        const sizes = new ResizeObserver(([{contentRect}]) => contentRect.width > 0 && once());
        const once = () => {
            sizes.disconnect();
            make();
        };
        sizes.observe(frame);
        spareTime = spareTime.then(() => new Promise((resolve) => setTimeout(resolve, BETWEEN_EDITORS_MS)));
        spareTime.then(() => window.requestIdleCallback?.(once));
    };

    /** Whether nobody sees an image editor: then they need not draw themselves at every frame. */
    window.canvasesAreHidden = function () {
        for (const canvas of [...living.keys(), ...lent.keys()]) if (canvas.offsetParent) return false;
        return true;
    };

    HTMLCanvasElement.prototype.getContext = function (kind, ...settings) {
        const isNew = String(kind).startsWith("webgl") && !living.has(this) && !lent.has(this);
        if (isNew && living.size >= SCARCE) {
            forgetRemoved();
            if (living.size >= SCARCE) lendOne();
        }
        const context = getContext.call(this, kind, ...settings);
        if (isNew && context) {
            living.set(this, context);
            whenSeen.observe(this);
        }
        return context;
    };
})();
