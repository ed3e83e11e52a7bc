"use strict";
// JSON over HTTP for the page's scripts.
{
    /** Hands the answer to a fetch to handler, or calls errorHandler for anything but an answer with status 200. */
    async function deliver(url, options, handler, errorHandler) {
        let answer;
        try {
            const response = await fetch(url, options);
            if (response.status !== 200) throw new Error(`status ${response.status}`);
            answer = await response.json();
        } catch (e) {
            console.debug(`${url}: ${e}`);
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
