"use strict";
// JSON over HTTP for the page's scripts.
{
    let isLeft = false;
    window.addEventListener("pagehide", () => { isLeft = true; });
    window.addEventListener("pageshow", () => { isLeft = false; });

    /** Waits, in a page that is being left, until the user comes back to it, which may be never. */
    async function pageInUse() {
        if (isLeft) await new Promise((resolve) => window.addEventListener("pageshow", resolve, {once: true}));
    }

    /**
     * Hands the answer to a fetch to handler, or calls errorHandler for anything but an answer with status 200.
     * The browser breaks off what a page asks while it is left: that is no error, and a job goes on being followed.
     */
    async function deliver(url, options, handler, errorHandler) {
        let answer;
        try {
            const response = await fetch(url, options);
            if (response.status !== 200) throw new Error(`status ${response.status}`);
            answer = await response.json();
        } catch (e) {
            console.debug(`${url}: ${e}`);
            await pageInUse();
            errorHandler?.();
            return;
        }
        handler(answer);
    }

    /** Posts JSON. */
    function request(url, data, handler, errorHandler) {
        const options = {method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify(data)};
        deliver(url, options, handler, errorHandler);
    }

    /** Asks for JSON; data becomes the query. */
    function requestGet(url, data, handler, errorHandler) {
        const query = new URLSearchParams(data).toString();
        deliver(query ? `${url}?${query}` : url, {}, handler, errorHandler);
    }

    Object.assign(window, {request, requestGet});
}
